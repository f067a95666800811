"""The step of K modules against an objective written by hand and differentiated by autograd."""

import copy
import itertools
import pickle

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from sknn._activations import ACTIVATIONS
from sknn._autograd import AutogradStep, RowCost, detached_copy, raw_scores, released, row_cost
from sknn._losses import LOSSES, make_loss
from sknn.modules import MLP, LeNet5

N_ROWS, BLOCKS = 12, (3, 2)
PARAMETER = {"log_loss": 0.1, "focal": 1.5, "huber": 0.7, "quantile": 0.3}

# Written out, so that nothing of sknn decides what is right.
FORWARD = {
    "identity": lambda z: z,
    "logistic": lambda z: 1 / (1 + torch.exp(-z)),
    "tanh": lambda z: (torch.exp(z) - torch.exp(-z)) / (torch.exp(z) + torch.exp(-z)),
    "relu": lambda z: torch.where(z > 0, z, 0.0),
    "leaky_relu": lambda z: torch.where(z > 0, z, 0.01 * z),
    "elu": lambda z: torch.where(z > 0, z, torch.exp(z) - 1),
    "selu": lambda z: 1.0507009873554805 * torch.where(z > 0, z, 1.6732632423543772 * (torch.exp(z) - 1)),
    "softplus": lambda z: torch.log1p(torch.exp(z)),
    "silu": lambda z: z / (1 + torch.exp(-z)),
    "gelu": lambda z: z * 0.5 * (1 + torch.erf(z / 2**0.5)),
}


def networks(n_models, activation="tanh", n_outputs=5, dtype=torch.float64, **options):
    return [MLP(4, n_outputs, (6, 3), activation, random_state=k, dtype=dtype, **options) for k in range(n_models)]


def batch(n_models, link, weighted, seed=0):
    rng = np.random.default_rng(seed)
    X = torch.from_numpy(rng.normal(size=(n_models, N_ROWS, 4)))
    if link == "softmax":
        y = np.stack([rng.integers(c, size=(n_models, N_ROWS)) for c in BLOCKS], axis=-1)
    else:
        shape = (n_models, N_ROWS, 5)
        makers = {"logistic": lambda: rng.integers(2, size=shape), "exp": lambda: rng.poisson(1.0, shape)}
        y = makers.get(link, lambda: rng.normal(size=shape))().astype(float)
    weight = torch.from_numpy(rng.uniform(0.1, 3.0, (n_models, N_ROWS))) if weighted else None
    return X, torch.from_numpy(y), weight


def objective_by_hand(module, loss, X, y, weight, alpha, activation, batch_norm):
    """Return the weighted mean loss plus alpha / 2 |W|^2 over the weight sum, for parameters of the module's names."""
    p = dict(module.named_parameters())
    layers = [int(name.split(".")[1]) for name in p if name.endswith("weight") and p[name].ndim == 2]
    h = X
    for layer in layers:
        h = h @ p[f"layers.{layer}.weight"].T + p[f"layers.{layer}.bias"]
        if layer == layers[-1]:
            break
        if batch_norm:
            centred = h - h.mean(0)
            h = centred / (centred.square().mean(0) + 1e-5).sqrt()
            h = h * p[f"layers.{layer + 1}.weight"] + p[f"layers.{layer + 1}.bias"]
        h = FORWARD[activation](h)
    weight = torch.ones(len(X), dtype=X.dtype) if weight is None else weight
    squares = sum(p[f"layers.{layer}.weight"].square().sum() for layer in layers)
    return ((loss.value(h, y) * weight).sum() + alpha / 2 * squares) / weight.sum()


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize(("name", "link"), LOSSES)
def test_gradient_is_the_objectives(name, link, activation):
    loss = make_loss(name, link, PARAMETER.get(name, 0.0), BLOCKS)
    choices = itertools.product((1, 3), (False, True), (0.0, 0.7), (False, True))
    for n_models, weighted, alpha, batch_norm in choices:
        modules = networks(n_models, activation, batch_norm=batch_norm)
        twins = copy.deepcopy(modules)
        step = AutogradStep(modules, loss, alpha=alpha)
        X, y, weight = batch(n_models, link, weighted)
        step.parameters.grad.fill_(torch.nan)  # of the step before: must not stay
        value = step(X, y, weight)
        assert value.shape == (n_models,)
        for k, (module, twin) in enumerate(zip(modules, twins, strict=True)):
            row_weight = None if weight is None else weight[k]
            expected = objective_by_hand(twin, loss, X[k], y[k], row_weight, alpha, activation, batch_norm)
            expected.backward()
            torch.testing.assert_close(value[k], expected.detach(), rtol=1e-10, atol=1e-10)
            for parameter, reference in zip(module.parameters(), twin.parameters(), strict=True):
                torch.testing.assert_close(parameter.grad, reference.grad, rtol=1e-10, atol=1e-10)


def test_all_activations_are_written_out():
    assert FORWARD.keys() == ACTIVATIONS.keys()
    z = torch.linspace(-4, 4, 81, dtype=torch.float64)
    for name, forward in FORWARD.items():
        torch.testing.assert_close(ACTIVATIONS[name].module()(z), forward(z), rtol=1e-12, atol=1e-12)


def test_weights_of_one_change_nothing_and_their_scale_cancels():
    loss = make_loss("squared_error", "identity")
    X, y, weight = batch(2, "identity", weighted=True)
    results = []
    for given, alpha in ((None, 0.3), (torch.ones_like(weight), 0.3), (weight, 0.3), (10 * weight, 3.0)):
        step = AutogradStep(networks(2), loss, alpha=alpha)
        results.append((step(X, y, given), step.parameters.grad))
    for (value, gradient), (same_value, same_gradient) in (results[:2], results[2:]):
        torch.testing.assert_close(value, same_value, rtol=1e-12, atol=0)
        torch.testing.assert_close(gradient, same_gradient, rtol=1e-12, atol=1e-15)
    assert not torch.allclose(results[0][0], results[2][0])


def test_a_weight_of_two_is_a_row_twice():
    loss = make_loss("log_loss", "softmax", 0.0, BLOCKS)
    X, y, _ = batch(2, "softmax", weighted=False)
    weight = torch.ones(2, N_ROWS, dtype=torch.float64)
    weight[:, 0], weight[:, 1] = 2.0, 0.0
    weighted = AutogradStep(networks(2), loss, alpha=0.5)
    value = weighted(X, y, weight)
    rows = torch.tensor([0, 0, *range(2, N_ROWS)])
    repeated = AutogradStep(networks(2), loss, alpha=0.5)
    torch.testing.assert_close(value, repeated(X[:, rows], y[:, rows], None))
    torch.testing.assert_close(weighted.parameters.grad, repeated.parameters.grad)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("batch_norm", [False, True])
def test_models_together_equal_models_alone_bit_for_bit(dtype, batch_norm):
    loss = make_loss("log_loss", "softmax", 0.0, BLOCKS)
    X, y, weight = (part if part.dtype == torch.int64 else part.to(dtype) for part in batch(3, "softmax", True))
    together = AutogradStep(networks(3, dtype=dtype, batch_norm=batch_norm), loss, alpha=0.1)
    values = together(X, y, weight)
    for k in range(3):
        module = networks(3, dtype=dtype, batch_norm=batch_norm)[k]
        alone = AutogradStep([module], loss, alpha=0.1)
        one = slice(k, k + 1)
        assert torch.equal(alone(X[one], y[one], weight[one])[0], values[k])
        assert torch.equal(alone.parameters.grad[0], together.parameters.grad[k])


def test_raw_scores_are_those_of_each_module_in_eval_mode():
    modules = networks(2, dropout=0.5, batch_norm=True)
    step = AutogradStep(modules, make_loss("squared_error", "identity"))
    X, y, _ = batch(2, "identity", weighted=False)
    with torch.random.fork_rng():
        step(X, y, None)
    for module in modules:
        raw = raw_scores(module, X[0])
        assert raw.shape == (N_ROWS, 5)
        assert not raw.requires_grad
        torch.testing.assert_close(raw, copy.deepcopy(module).eval()(X[0]).detach())
    with torch.random.fork_rng():
        step(X, y, None)
    assert all(module.training for module in modules)


def test_frozen_parameters_have_no_part_in_it():
    (module,) = networks(1)
    frozen = module.linear_layers()[0]
    frozen.weight.requires_grad_(False)
    before = frozen.weight.clone()
    step = AutogradStep([module], make_loss("squared_error", "identity"), alpha=0.5)
    step(*batch(1, "identity", weighted=False))
    step.parameters.data.add_(step.parameters.grad)
    assert torch.equal(frozen.weight, before)
    assert frozen.weight.grad is None
    assert step.parameters.decayed.sum() == 6 * 3 + 3 * 5


def test_tied_parameters_get_the_sum_of_their_gradients():
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.matrix = nn.Parameter(torch.arange(20.0, dtype=torch.float64).reshape(5, 4) / 20)
            self.again = self.matrix

        def forward(self, X):
            return F.tanh(X @ self.matrix.T) @ self.again @ self.matrix.T

    module, twin = Tied(), Tied()
    X, y, _ = batch(1, "identity", weighted=False)
    step = AutogradStep([module], make_loss("squared_error", "identity"), alpha=0.4)
    value = step(X, y, None)
    expected = F.mse_loss(twin(X[0]), y[0], reduction="sum") / 2 + 0.2 * twin.matrix.square().sum()
    (expected / N_ROWS).backward()
    torch.testing.assert_close(value[0], expected.detach() / N_ROWS)
    torch.testing.assert_close(module.matrix.grad, twin.matrix.grad)
    published = detached_copy(module)
    assert published.again is published.matrix


@pytest.mark.parametrize("publish", [detached_copy, released])
@pytest.mark.parametrize("k", [0, 1])
def test_published_module_stands_alone(k, publish):
    modules = networks(2, dropout=0.5, batch_norm=True)
    for module in modules:
        for part in module.modules():
            if hasattr(part, "generator"):
                part.generator = torch.Generator().manual_seed(0)
    step = AutogradStep(modules, make_loss("squared_error", "identity"))
    step(*batch(2, "identity", weighted=False))
    expected = raw_scores(modules[k], batch(2, "identity", weighted=False)[0][0])
    published = publish(modules[k])
    assert (published is modules[k]) == (publish is released)

    def predict(module):
        return module(batch(2, "identity", weighted=False)[0][0]).detach()

    assert not any(part.training for part in published.modules())
    assert all(getattr(part, "generator", None) is None for part in published.modules())
    assert all(parameter.grad is None for parameter in published.parameters())
    own = {parameter.untyped_storage().data_ptr() for parameter in published.parameters()}
    assert len(own) == len(list(published.parameters()))
    assert all(p.untyped_storage().nbytes() == p.nbytes for p in published.parameters())
    torch.testing.assert_close(predict(published), expected, rtol=0, atol=0)
    assert torch.equal(predict(pickle.loads(pickle.dumps(published))), predict(published))
    step.parameters.data.zero_()
    if publish is detached_copy:  # training goes on; so do the running means
        step(*batch(2, "identity", weighted=False, seed=5))
    torch.testing.assert_close(predict(published), expected, rtol=0, atol=0)


def test_autocast_computes_in_bfloat16_and_keeps_wide_weights():
    loss = make_loss("squared_error", "identity")
    X, y, _ = (None if part is None else part.float() for part in batch(1, "identity", weighted=False))
    wide, narrow = (AutogradStep(networks(1, dtype=torch.float32), loss, autocast=flag) for flag in (False, True))
    values = [step(X, y, None) for step in (wide, narrow)]
    scores = [raw_scores(step.modules[0], X[0], autocast=flag) for step, flag in ((wide, False), (narrow, True))]
    assert narrow.parameters.grad.dtype == values[1].dtype == scores[1].dtype == torch.float32
    torch.testing.assert_close(*(step.parameters.grad for step in (wide, narrow)), rtol=0.1, atol=0.02)
    assert not torch.equal(*scores)
    torch.testing.assert_close(*values, rtol=0.02, atol=0)


def test_cost_of_a_row_counts_each_place_of_a_map_and_the_widest_map():
    dense = 4 * 6 + 6 + 6 * 3 + 3 + 3 * 5 + 5
    assert row_cost(networks(1)[0], torch.zeros(1, 4, dtype=torch.float64)) == RowCost(dense, 4)
    maps = 6 * 28 * 28 * 25 + 16 * 10 * 10 * 6 * 25
    biases_of_maps, dense = 6 + 16, 400 * 120 + 120 + 120 * 84 + 84 + 84 * 10 + 10
    assert row_cost(LeNet5(random_state=0), torch.zeros(1, 1, 32, 32)) == RowCost(
        maps + biases_of_maps + dense, 6 * 28 * 28
    )
