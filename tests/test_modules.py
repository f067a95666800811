"""The networks as plain torch modules: layers, initial weights, subclasses, and dropout's expectation."""

import copy
import pickle

import numpy as np
import pytest
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier
from torch import nn

from sknn._activations import ACTIVATIONS
from sknn._initializers import INITIALIZERS
from sknn.modules import MLP, Dropout


def shapes(module):
    return [type(layer).__name__ for layer in module.layers]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, ["Linear", "ReLU", "Linear"]),
        ({"hidden_layer_sizes": ()}, ["Linear"]),
        ({"hidden_layer_sizes": np.array([7, 6])}, ["Linear", "ReLU", "Linear", "ReLU", "Linear"]),
        ({"dropout": 0.5, "activation": "tanh"}, ["Linear", "Tanh", "Dropout", "Linear"]),
        ({"batch_norm": True}, ["Linear", "BatchNorm1d", "ReLU", "Linear"]),
        (
            {"batch_norm": True, "dropout": 0.1, "activation": "gelu"},
            ["Linear", "BatchNorm1d", "GELU", "Dropout", "Linear"],
        ),
        ({"hidden_layer_sizes": (), "batch_norm": True, "dropout": 0.1}, ["Linear"]),
    ],
)
def test_layers(options, expected):
    network = MLP(4, 3, **options, random_state=0)
    assert shapes(network) == expected
    assert network.eval()(torch.zeros(5, 4)).shape == (5, 3)
    assert len(network.linear_layers()) == expected.count("Linear")


def test_default_is_one_hidden_layer_of_a_hundred():
    assert [tuple(layer.weight.shape) for layer in MLP(4, 3, random_state=0).linear_layers()] == [(100, 4), (3, 100)]


@pytest.mark.parametrize("activation", ["logistic", "tanh"])
def test_raw_scores_are_scikit_learns(activation):
    X = np.random.default_rng(0).normal(size=(20, 4))
    reference = MLPClassifier((5, 3), activation, solver="lbfgs", max_iter=1, random_state=0)
    with pytest.warns(ConvergenceWarning):
        reference.fit(X, np.arange(20) % 3)
    network = MLP(4, 3, (5, 3), activation, dtype=torch.float64, random_state=0)
    with torch.no_grad():
        for layer, coef, intercept in zip(
            network.linear_layers(), reference.coefs_, reference.intercepts_, strict=True
        ):
            layer.weight.copy_(torch.from_numpy(coef.T))
            layer.bias.copy_(torch.from_numpy(intercept))
        scores = network(torch.from_numpy(X)).softmax(-1)
    np.testing.assert_allclose(scores, reference.predict_proba(X), rtol=1e-12)


@pytest.mark.parametrize("weight_init", INITIALIZERS)
def test_weights_repeat_with_their_seed(weight_init):
    def weights(random_state):
        network = MLP(4, 3, (5,), weight_init=weight_init, random_state=random_state)
        return torch.cat([parameter.flatten() for parameter in network.parameters()])

    assert torch.equal(weights(0), weights(0))
    assert torch.equal(weights(0), weights(np.random.RandomState(0)))
    assert not torch.equal(weights(0), weights(1))


def test_without_a_seed_torchs_global_generator_decides():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        first, second = MLP(4, 3), MLP(4, 3)
        torch.manual_seed(0)
        again = MLP(4, 3)
    weights = [network.linear_layers()[0].weight for network in (first, second, again)]
    assert torch.equal(weights[0], weights[2])
    assert not torch.equal(weights[0], weights[1])


@pytest.mark.parametrize("dtype", [None, torch.float32, torch.float64])
def test_dtype_is_of_every_tensor(dtype):
    network = MLP(4, 3, (5,), batch_norm=True, random_state=0, dtype=dtype)
    floating = [t for t in [*network.parameters(), *network.buffers()] if t.is_floating_point()]
    assert {tensor.dtype for tensor in floating} == {dtype or torch.float32}
    wide = MLP(4, 3, (5,), random_state=0, dtype=torch.float64).linear_layers()[0].weight
    torch.testing.assert_close(network.linear_layers()[0].weight, wide, check_dtype=False, rtol=1e-7, atol=1e-8)


@pytest.mark.parametrize(
    ("name", "value", "valid"), [("activation", "swish", ACTIVATIONS), ("weight_init", "zeros", INITIALIZERS)]
)
def test_unknown_names_list_the_valid_ones(name, value, valid):
    with pytest.raises(ValueError, match=f"{name} must be one of") as caught:
        MLP(4, 3, **{name: value}, random_state=0)
    assert repr(value) in str(caught.value)
    assert all(repr(known) in str(caught.value) for known in valid)


def test_subclass_extends_the_network():
    class Residual(MLP):
        """An MLP that learns what to add to its input."""

        def forward(self, X):
            return X + super().forward(X)

    network, plain = (cls(4, 4, (8,), random_state=0) for cls in (Residual, MLP))
    X = torch.linspace(-1, 1, 12).reshape(3, 4)
    torch.testing.assert_close(network(X), X + plain(X))
    for copied in (copy.deepcopy(network), pickle.loads(pickle.dumps(plain))):
        assert torch.equal(copied.linear_layers()[0].weight, plain.linear_layers()[0].weight)
    with pytest.raises(RuntimeError, match="size mismatch"):
        network.load_state_dict(MLP(4, 4, (9,), random_state=0).state_dict())


def test_a_plain_torch_loop_trains_it():
    rng = np.random.default_rng(0)
    X = torch.from_numpy(rng.normal(size=(100, 4))).float()
    y = X[:, :1] * X[:, 1:2]
    network = MLP(4, 1, (20,), "tanh", random_state=0)
    optimizer = torch.optim.Adam(network.parameters(), lr=0.02)
    for _ in range(300):
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(network(X), y)
        loss.backward()
        optimizer.step()
    assert loss < 0.05 * y.var()


# --- dropout ---


def dropout(p, seed):
    layer = Dropout(p)
    layer.generator = torch.Generator().manual_seed(seed)
    return layer


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_dropout_keeps_the_expectation(p, seed):
    n = 40_000
    out = dropout(p, seed)(torch.full((n,), 3.0, dtype=torch.float64))
    values, rounded = out.unique(), round(p * 2**16) / 2**16
    torch.testing.assert_close(values, torch.tensor([0.0, 3 / (1 - rounded)], dtype=torch.float64))
    deviation = np.sqrt(p * (1 - p) / n)
    assert abs((out == 0).double().mean().item() - p) < 4 * deviation
    assert abs(out.mean().item() / 3 - 1) < 4 * deviation / (1 - p)


@pytest.mark.parametrize("n", [1, 3, 4, 5, 1001])
def test_neurons_are_dropped_one_by_one(n):
    """Of 64 random bits come four masks; none depends on another."""
    layer, X = dropout(0.5, 0), torch.ones(n)
    kept = torch.stack([layer(X) > 0 for _ in range(2000)]).double()  # (2000, n)
    assert (abs(kept.mean(0) - 0.5) < 5 * 0.5 / np.sqrt(2000)).all()
    for distance in (1, 2, 3, 4):
        together = (kept[:, distance:] * kept[:, : max(n - distance, 0)]).mean()
        assert n <= distance or abs(together - 0.25) < 5 * np.sqrt(0.25 * 0.75 / (2000 * (n - distance)))


@pytest.mark.parametrize("p", [1e-9, 1 - 1e-9])
def test_extreme_probabilities_stay_finite(p):
    out = dropout(p, 0)(torch.ones(1000))
    assert out.isfinite().all()
    assert (out > 0).all() if p < 0.5 else (out == 0).double().mean() > 0.99


@pytest.mark.parametrize("p", [0.0, 0.5])
def test_dropout_is_off_in_eval_mode_and_at_zero(p):
    layer, X = dropout(p, 0), torch.arange(6.0)
    assert layer.eval()(X) is X
    assert (layer.train()(X) is X) == (p == 0)


def test_dropout_passes_gradients_through_its_mask():
    X = torch.ones(1000, dtype=torch.float64, requires_grad=True)
    out = dropout(0.5, 0)(X)
    out.sum().backward()
    assert torch.equal(X.grad, out.detach())  # 2 where kept, 0 where dropped


def test_dropout_draws_from_its_own_generator():
    X = torch.ones(100)
    first, second = dropout(0.5, 0), dropout(0.5, 0)
    masks = [first(X), first(X)]
    assert not torch.equal(*masks)
    assert torch.equal(second(X), masks[0])
    assert torch.equal(second(X), masks[1])
    assert not torch.equal(dropout(0.5, 1)(X), masks[0])


def test_dropout_without_a_generator_draws_from_torchs():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        first = Dropout(0.5)(torch.ones(100))
        torch.manual_seed(0)
        assert torch.equal(Dropout(0.5)(torch.ones(100)), first)


def test_reprs_tell_the_numbers():
    assert repr(Dropout(0.3)) == "Dropout(p=0.3)"
    assert "Linear(in_features=4, out_features=7, bias=True)" in repr(MLP(4, 3, (7,), random_state=0))


@pytest.mark.parametrize("p", [1.0, -0.5, float("nan")])
def test_dropout_is_a_probability_below_one(p):
    for make in (Dropout, lambda p: MLP(4, 2, dropout=p)):
        with pytest.raises(ValueError, match=r"in \[0, 1\), got"):
            make(p)
