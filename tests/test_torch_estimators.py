"""`TorchClassifier` and `TorchRegressor` train the user's module: how it is made, how it learns, what it is told."""

import copy
import functools

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from own_modules import Noisy, Recurrent, Tied, Wide, assert_same_weights, drawn, fast, state_of
from sklearn.base import clone
from sklearn.datasets import load_iris
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn

from sknn import MLPTorchClassifier, MLPTorchRegressor, TorchClassifier, TorchRegressor
from sknn.modules import MLP

X, LABELS = load_iris(return_X_y=True)
X, LABELS = (X - X.mean(axis=0))[::2], LABELS[::2]  # (75, 4), three classes in order
SHUFFLED = np.random.RandomState(0).permutation(len(X))
X, LABELS = X[SHUFFLED], LABELS[SHUFFLED]
REAL = X @ [1.0, -2.0, 0.5, 0.0] + np.sin(X[:, 0])
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def make_wide(n_features_in, n_outputs, width=6):
    return Wide(n_features_in, n_outputs, width)


def by_position(first, second, third=6):
    return Wide(first, second, third)


@pytest.mark.parametrize(
    "module",
    [
        make_wide,
        by_position,
        functools.partial(Wide, width=6),
        functools.partial(by_position, third=6),
        lambda n_features_in, n_outputs: Wide(n_features_in, n_outputs, 6),
        lambda n_outputs, n_features_in: Wide(n_features_in, n_outputs),
        lambda n_outputs: Wide(4, n_outputs),
        lambda: Wide(4, 3),
        lambda **sizes: Wide(4, 3),
    ],
)
def test_every_way_to_make_a_module_makes_the_same_one(module):
    assert_same_weights(fast(module=module).fit(X, LABELS), fast().fit(X, LABELS))


def test_sizes_go_by_position_where_parameters_have_other_names():
    linear = fast(module=nn.Linear).fit(X, LABELS)
    assert (linear.module_.in_features, linear.module_.out_features) == (4, 3)
    without = fast(module=nn.Linear, module_params={"bias": False}).fit(X, LABELS)
    assert without.module_.bias is None


def test_an_instance_is_copied_and_trained_on_from_its_weights():
    module = drawn(Wide, 4, 3)
    before = copy.deepcopy(module.state_dict())
    still = fast(module=module, learning_rate_init=1e-30, alpha=0).fit(X.astype(np.float32), LABELS)
    torch.testing.assert_close(state_of(still), before, rtol=0, atol=1e-25)
    moved = fast(module=module).fit(X, LABELS)
    assert not torch.equal(moved.module_.hidden.weight.float(), before["hidden.weight"])
    assert moved.module is module and module.training
    torch.testing.assert_close(module.state_dict(), before, rtol=0, atol=0)
    assert all(parameter.grad is None for parameter in module.parameters())


@pytest.mark.parametrize(("Estimator", "y"), [(TorchClassifier, LABELS), (TorchRegressor, REAL)])
def test_without_a_module_it_is_the_multi_layer_perceptron(Estimator, y):
    default = fast(Estimator, None, module_params={"hidden_layer_sizes": (5,)}).fit(X, y)
    assert isinstance(default.module_, MLP)
    assert default.module_.linear_layers()[0].out_features == 5


OPTIMIZERS = {
    "adam": lambda groups: torch.optim.Adam(groups, lr=0.01),
    "adamw": lambda groups: torch.optim.AdamW(groups, lr=0.01),
    "sgd": lambda groups: torch.optim.SGD(groups, lr=0.01, momentum=0.9, nesterov=True),
    "rmsprop": lambda groups: torch.optim.RMSprop(groups, lr=0.01),
    "nadam": lambda groups: torch.optim.NAdam(groups, lr=0.01),
    "adagrad": lambda groups: torch.optim.Adagrad(groups, lr=0.01, eps=1e-8),
}


def plain_fit(module, X, y, loss, solver, *, alpha, n_epochs=3, batch_size=25):
    """Train as anyone would write it, and return the mean loss of each epoch."""
    weights, others = ([p for p in module.parameters() if (p.ndim >= 2) == wide] for wide in (True, False))
    decay = {"weight_decay": alpha if solver == "adamw" else 0}
    optimizer = OPTIMIZERS[solver]([{"params": weights, **decay}, {"params": others, "weight_decay": 0}])
    curve, n_steps, X, y = [], 0, torch.from_numpy(X), torch.from_numpy(y)
    for _ in range(n_epochs):
        total = 0.0
        for rows in torch.arange(len(X)).split(batch_size):
            n_steps += 1
            penalty = sum(w.square().sum() for w in weights) * (0.5 * alpha / len(rows))
            objective = loss(module.train()(X[rows]), y[rows]) + (penalty if solver != "adamw" else 0)
            optimizer.zero_grad()
            objective.backward()
            if solver == "adam":  # scikit-learn's place for epsilon
                for group in optimizer.param_groups:
                    group["eps"] = 1e-8 / np.sqrt(1 - 0.999**n_steps)
            optimizer.step()
            total += objective.item() * len(rows)
        curve.append(total / len(X))
    return curve


MODULES = {
    "dense": lambda n_outputs: Wide(4, n_outputs),
    "normalised": lambda n_outputs: Wide(4, n_outputs, norm=nn.BatchNorm1d),
    "tied": lambda n_outputs: Tied(4, n_outputs),
    "recurrent": Recurrent,
    "attentive": lambda n_outputs: nn.Sequential(
        nn.TransformerEncoderLayer(4, 2, 8, dropout=0.0, batch_first=True), nn.Linear(4, n_outputs)
    ),
}
PLAIN_LOSSES = {
    TorchClassifier: (LABELS, 3, F.cross_entropy),
    TorchRegressor: (REAL, 1, lambda raw, y: 0.5 * F.mse_loss(raw[:, 0], y)),
}


@pytest.mark.parametrize("Estimator", PLAIN_LOSSES)
@pytest.mark.parametrize(("kind", "solver"), [*(("dense", s) for s in OPTIMIZERS), *((k, "adam") for k in MODULES)])
def test_a_fit_is_a_plain_loop_over_the_same_module(Estimator, kind, solver):
    y, n_outputs, loss = PLAIN_LOSSES[Estimator]
    module = drawn(MODULES[kind], n_outputs).double()
    options = {"solver": solver, "learning_rate_init": 0.01, "alpha": 0.5, "shuffle": False}
    fitted = fast(Estimator, module, **options).fit(X, y)
    curve = plain_fit(module, X, y, loss, solver, alpha=0.5)
    np.testing.assert_allclose(fitted.loss_curve_, curve, rtol=1e-10)
    torch.testing.assert_close(state_of(fitted), module.state_dict(), rtol=1e-9, atol=1e-10)
    with torch.no_grad():
        raw = module.eval()(torch.from_numpy(X)).numpy()
    expected = raw.argmax(axis=1) if Estimator is TorchClassifier else raw.ravel()
    np.testing.assert_allclose(fitted.predict(X), expected, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("solver", ["adam", "sgd", "lbfgs"])
@pytest.mark.parametrize(("Estimator", "y"), [(MLPTorchClassifier, LABELS), (MLPTorchRegressor, REAL)])
def test_a_fit_is_that_of_the_perceptron_from_the_same_start(Estimator, y, solver):
    options = {
        "solver": solver,
        "alpha": 0.1,
        "shuffle": False,
        "max_iter": 5,
        "batch_size": 25,
        "device": "cpu",
        "random_state": 0,
    }
    expected = Estimator(hidden_layer_sizes=(6,), activation="tanh", **options).fit(X, y)
    Own = TorchClassifier if Estimator is MLPTorchClassifier else TorchRegressor
    start = MLP(4, expected.n_outputs_, (6,), "tanh", random_state=0, dtype=torch.float64)
    fitted = Own(start, **options).fit(X, y)
    assert fitted.loss_curve_ == expected.loss_curve_
    torch.testing.assert_close(state_of(fitted), state_of(expected), rtol=0, atol=0)
    np.testing.assert_array_equal(fitted.predict(X), expected.predict(X))


def test_module_parameters_have_names_for_get_params_set_params_and_clone():
    network = fast(module_params={"width": 5})
    assert network.get_params()["module__width"] == 5
    assert "module__width" not in network.get_params(deep=False)
    given = network.module_params
    assert network.set_params(module__width=7, alpha=0.5) is network
    assert (network.module_params, network.alpha, given) == ({"width": 7}, 0.5, {"width": 5})
    twin = clone(network).set_params(module__width=9)
    assert (twin.module_params, network.module_params) == ({"width": 9}, {"width": 7})
    assert twin.fit(X, LABELS).module_.hidden.out_features == 9
    network.set_params(module=by_position, module_params={}, module__third=4)
    assert network.fit(X, LABELS).module_.hidden.out_features == 4
    assert "by_position" in repr(network)


def test_a_grid_over_module_parameters_in_a_pipeline():
    pipeline = make_pipeline(StandardScaler(), fast(max_iter=20, learning_rate_init=0.05, module_params={"width": 2}))
    assert pipeline.get_params()["torchclassifier__module__width"] == 2
    grid = {"torchclassifier__module__width": [1, 8], "torchclassifier__module": [Wide, make_wide]}
    search = GridSearchCV(pipeline, grid, cv=2, error_score="raise").fit(X, LABELS)
    assert search.best_params_["torchclassifier__module__width"] == 8
    assert search.best_estimator_[-1].module_.hidden.out_features == 8


class PassedOn(Wide):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)


@pytest.mark.parametrize("module", [PassedOn, lambda **sizes: Wide(**sizes)], ids=["class", "function"])
def test_signatures_that_pass_everything_on_get_the_sizes(module):
    network = fast(module=module, module_params={"width": 6}).fit(X, LABELS)
    assert (network.module_.hidden.in_features, network.module_.hidden.out_features) == (4, 6)


def returns_wrong(shape):
    class Wrong(nn.Linear):
        def forward(self, X):
            raw = super().forward(X)
            return {
                "one dimension": raw[:, 0],
                "three": raw.unsqueeze(-1),
                "the mean of all rows": raw.mean(0, keepdim=True),
                "a tuple": (raw, raw),
                "a tuple in training": (raw, raw) if self.training else raw,
            }[shape]

    return Wrong


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"module_params": {"wide": 3}}, r"'wide' for module Wide.*\['n_features_in', 'n_outputs', 'width', 'norm'\]"),
        ({"module": drawn(Wide, 4, 3), "module_params": {"width": 3}}, r"instance, which takes no parameters.*'width'"),
        ({"module": lambda n_features_in, n_outputs, w: None}, "cannot be called with .*missing .* 'w'"),
        ({"module": lambda n_features_in, n_outputs: "text"}, "must make a torch.nn.Module, got str from <lambda>"),
        ({"module": "Wide"}, "'module' parameter of TorchClassifier must be a callable or None"),
        ({"module": drawn(Wide, 4, 5)}, r"shape \(n, 3\) for n rows of shape \(4,\), got \(2, 5\) for two rows"),
        ({"module": returns_wrong("one dimension")}, r"shape \(n, 3\) .* got \(2,\)"),
        ({"module": returns_wrong("three")}, r"shape \(n, 3\) .* got \(2, 3, 1\)"),
        ({"module": returns_wrong("a tuple")}, r"shape \(n, 3\) .* got tuple"),
        ({"module": lambda: nn.AdaptiveAvgPool1d(3)}, "AdaptiveAvgPool1d has no parameters to train"),
        ({"module": lambda: nn.Linear(4, 3).requires_grad_(False)}, "Linear has no parameters to train"),
        ({"module": Noisy, "solver": "lbfgs"}, r"'lbfgs' needs a loss that is the same .* \['Dropout'\]"),
        ({"input_shape": (-2, -2)}, r"input_shape must be integers > 0, got \(-2, -2\)"),
        ({"input_shape": (4.0,)}, r"input_shape must be integers > 0, got \(4.0,\)"),
        ({"module": returns_wrong("the mean of all rows")}, r"shape \(n, 3\) .* got \(1, 3\) for two rows"),
        ({"module": returns_wrong("a tuple in training")}, r"shape \(n, n_outputs\) .* got tuple .* in training"),
        ({"input_shape": (2, 3)}, r"X has 4 features, but input_shape=\(2, 3\)"),
        ({"loss": lambda raw, y: F.cross_entropy(raw, y)}, r"value for each of 25 rows, got the shape \(\).*reduction"),
        ({"loss": nn.CrossEntropyLoss}, r"an instance, such as CrossEntropyLoss\(\), got the class"),
        ({"loss": lambda raw, y: 1.0}, "value for each of 25 rows, got float"),
        ({"loss": "mse"}, "'loss' parameter of TorchClassifier must be"),
        (
            {"module": functools.partial(Wide, norm=nn.BatchNorm1d), "batch_size": 1},
            "at least 2 rows",
        ),
    ],
)
def test_what_cannot_be_trained_is_told(options, message):
    network = fast(**options)
    with pytest.raises((ValueError, TypeError), match=message):
        network.fit(X, LABELS)
    assert not hasattr(network, "module_")


@pytest.mark.global_rng
def test_a_function_may_return_the_same_module_again():
    net = nn.Linear(4, 3)
    first, second = (TorchClassifier(lambda n_features_in, n_outputs: net, max_iter=n, random_state=0) for n in (2, 9))
    before, weights = first.fit(X, LABELS).predict_proba(X), net.weight.detach().clone()
    second.fit(X, LABELS)
    np.testing.assert_array_equal(first.predict_proba(X), before)
    assert torch.equal(net.weight, weights)
