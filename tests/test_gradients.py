"""`check_gradients` confirms right gradients, finds wrong ones, and leaves the estimator as it was."""

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.datasets import load_diabetes, load_iris

from sknn import GradientCheck, MLPTorchClassifier, MLPTorchRegressor, check_gradients
from sknn._activations import ACTIVATIONS
from sknn._losses import Loss

X, LABELS = load_iris(return_X_y=True)
X, LABELS = X[::6] - X.mean(axis=0), LABELS[::6]
REAL = np.abs(load_diabetes().target[: len(X)]) / 100
WEIGHT = np.linspace(0, 2, len(X))
SMOOTH = sorted(set(ACTIVATIONS) - {"relu", "leaky_relu", "elu", "selu"})
CLASSES = {
    "binary": (LABELS > 0).astype(int),
    "multiclass": LABELS,
    "strings": np.array(["a", "b", "c"])[LABELS],
    "multilabel": np.stack([LABELS > 0, LABELS > 1, LABELS == 1], axis=1).astype(int),
    "several columns": np.stack([LABELS + 1, LABELS % 2 + 3], axis=1),
}
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@pytest.mark.parametrize("loss", ["log_loss", "focal"])
@pytest.mark.parametrize("kind", CLASSES)
@pytest.mark.parametrize("activation", SMOOTH)
def test_classifier(kind, loss, activation):
    estimator = MLPTorchClassifier((4, 3), activation, alpha=0.1, loss=loss, label_smoothing=0.1, random_state=0)
    check = check_gradients(estimator, X, CLASSES[kind], WEIGHT)
    assert check.max_absolute_error < 1e-7
    assert check.max_relative_error < 1e-7
    assert np.abs(check.analytic).max() > 1e-2


@pytest.mark.parametrize("loss", ["squared_error", "absolute_error", "huber", "poisson", "quantile"])
@pytest.mark.parametrize("activation", SMOOTH)
def test_regressor(loss, activation):
    estimator = MLPTorchRegressor(loss, (4, 3), activation, alpha=0.1, quantile=0.3, random_state=0)
    for y in (REAL, np.stack([REAL, REAL[::-1]], axis=1)):
        assert check_gradients(estimator, X, y, WEIGHT).max_absolute_error < 1e-6
        assert check_gradients(estimator, X, y).max_absolute_error < 1e-6


@pytest.mark.parametrize("activation", ["relu", "leaky_relu", "elu", "selu"])
def test_activations_with_a_kink(activation):
    check = check_gradients(MLPTorchRegressor(activation=activation, random_state=0), X, REAL, h=1e-6)
    assert np.median(np.abs(check.analytic - check.numerical)) < 1e-7


@pytest.mark.parametrize(
    "options",
    [
        {"batch_norm": True},
        {"dropout": 0.5},  # off in a check: a random objective has no differences
        {"class_weight": "balanced"},
        {"solver": "lbfgs"},
        {"solver": "adamw"},
        {"early_stopping": True},
        {"hidden_layer_sizes": ()},
        {"dtype": "float32"},
        {"dtype": "bfloat16"},
        {"batch_size": 5},
    ],
    ids=str,
)
@pytest.mark.parametrize("fitted", [False, True])
def test_with(options, fitted):
    options = {"hidden_layer_sizes": (4,), "max_iter": 3, "random_state": 0, **options}
    estimator = MLPTorchClassifier(activation="tanh", **options)
    if fitted:
        estimator.fit(X, LABELS)
    assert check_gradients(estimator, X, LABELS, WEIGHT).max_absolute_error < 1e-6


def test_a_wrong_gradient_is_found():
    class Wrong(MLPTorchRegressor):
        """A regressor whose squared error forgets the factor of one output."""

        def _make_loss(self, targets):
            return Loss(lambda raw, y: 0.5 * (raw - y).square().sum(-1), lambda raw, y: (raw - y) * 0.99)

    right, wrong = (
        check_gradients(cls(activation="tanh", random_state=0), X, REAL) for cls in (MLPTorchRegressor, Wrong)
    )
    assert wrong.max_relative_error > 1e3 * right.max_relative_error
    assert wrong.max_absolute_error > 1e-4


def test_the_fitted_weights_are_checked():
    estimator = MLPTorchRegressor("squared_error", (5,), "tanh", alpha=0.2, random_state=0)
    before = check_gradients(estimator, X, REAL)
    estimator.set_params(solver="lbfgs", max_iter=5000, tol=1e-6).fit(X, REAL)
    after = check_gradients(estimator, X, REAL)
    assert np.abs(before.analytic).max() > 0.1
    assert np.abs(after.analytic).max() < 1e-4  # a minimum
    assert after.max_absolute_error < 1e-6


def test_the_objective_is_the_one_of_fit():
    """One step of plain gradient descent over all rows moves the weights against the checked gradient."""
    options = {"solver": "sgd", "momentum": 0, "alpha": 0.3, "max_iter": 1, "random_state": 0}
    start, moved = (
        MLPTorchClassifier((3,), "tanh", learning_rate_init=rate, class_weight="balanced", **options).fit(
            X, LABELS, WEIGHT
        )
        for rate in (1e-300, 0.1)
    )
    check = check_gradients(start, X, LABELS, WEIGHT)
    before, after = (
        np.concatenate([np.vstack(layer).T.ravel() for layer in zip(network.coefs_, network.intercepts_, strict=True)])
        for network in (start, moved)
    )
    np.testing.assert_allclose((before - after) / 0.1, check.analytic, atol=1e-12)


@pytest.mark.parametrize("fitted", [False, True])
def test_the_estimator_stays_as_it_is(fitted):
    estimator = MLPTorchClassifier((4,), dropout=0.2, batch_norm=True, max_iter=2, random_state=0)
    if fitted:
        estimator.fit(X, LABELS)
    before, parameters = dict(vars(estimator)), clone(estimator).get_params()
    state = {name: value.clone() for name, value in estimator.module_.state_dict().items()} if fitted else {}
    check_gradients(estimator, X, LABELS)
    assert vars(estimator) == before
    assert estimator.get_params() == parameters
    for name, value in state.items():
        assert torch.equal(estimator.module_.state_dict()[name], value)


def test_parameters_are_drawn():
    estimator = MLPTorchRegressor("squared_error", (7,), "tanh", random_state=0)
    everything = check_gradients(estimator, X, REAL)
    assert len(everything.names) == len(everything.analytic) == len(everything.numerical) == 4 * 7 + 7 + 7 + 1
    assert everything.names[0] == "layers.0.weight"
    assert set(everything.names) == {f"layers.{i}.{kind}" for i in (0, 2) for kind in ("weight", "bias")}
    draws = [check_gradients(estimator, X, REAL, max_parameters=10, random_state=seed) for seed in (0, 0, 1)]
    assert len(draws[0].names) == 10
    np.testing.assert_array_equal(draws[0].analytic, draws[1].analytic)
    assert not np.array_equal(draws[0].analytic, draws[2].analytic)
    assert set(draws[0].analytic) <= set(everything.analytic)


def test_errors_of_known_gradients():
    check = GradientCheck(("a", "b"), np.array([3.0, 4.0]), np.array([3.0, 4.5]))
    assert check.max_absolute_error == 0.5
    assert check.max_relative_error == pytest.approx(0.5 / (5 + np.hypot(3, 4.5)))
    assert GradientCheck(("a",), np.zeros(1), np.zeros(1)).max_relative_error == 0


@pytest.mark.parametrize("arguments", [{"h": 0.0}, {"h": -1e-4}, {"h": np.inf}, {"max_parameters": 0}])
def test_wrong_numbers_are_told(arguments):
    with pytest.raises(ValueError, match=f"{next(iter(arguments))} must be .*, got {next(iter(arguments.values()))}"):
        check_gradients(MLPTorchClassifier(), X, LABELS, **arguments)


@pytest.mark.parametrize(
    ("options", "message"), [({"alpha": -1.0}, "alpha"), ({"solver": "lbfgs", "batch_norm": True}, "batch_norm")]
)
def test_wrong_parameters_are_told(options, message):
    with pytest.raises(ValueError, match=message):
        check_gradients(MLPTorchClassifier(**options), X, LABELS)
