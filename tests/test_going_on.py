"""Fits that go on from the fit before: warm starts and streams whose data or parameters have changed."""

import numpy as np
import pytest
from sklearn.datasets import load_digits, load_iris
from sklearn.metrics import log_loss

from sknn import MLPTorchClassifier, MLPTorchRegressor

X, Y = load_iris(return_X_y=True)
DIGITS, NUMBERS = load_digits(return_X_y=True)
DIGITS, NUMBERS = DIGITS[:300], NUMBERS[:300]
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def network(**parameters):
    return MLPTorchClassifier(**{"hidden_layer_sizes": (16, 8), "max_iter": 5, "random_state": 0, **parameters})


def noisy_halves():
    rng = np.random.RandomState(0)
    X = rng.standard_normal((300, 4))
    y = np.where(rng.uniform(size=300) < 0.25, -1, 1) * (X[:, 0] + X[:, 1]) > 0
    return X[:200], y[:200], X[200:], y[200:]


@pytest.mark.parametrize("seed", range(3))
def test_early_stopping_keeps_the_best_of_a_warm_start(seed):
    """The fit before kept its last weights, so its best score is of weights that are gone."""
    X, y, X_val, y_val = noisy_halves()
    rough = {"solver": "sgd", "learning_rate_init": 0.05, "batch_size": 4, "warm_start": True, "random_state": seed}
    fitted = network(**rough, max_iter=40).fit(X, y, X_val=X_val, y_val=y_val)
    before = fitted.score(X_val, y_val)
    fitted.set_params(early_stopping=True, max_iter=20).fit(X, y, X_val=X_val, y_val=y_val)
    best = max(before, *fitted.validation_scores_[-fitted.n_iter_ :])
    assert fitted.best_validation_score_ == fitted.score(X_val, y_val) == best


def test_early_stopping_of_a_warm_start_is_judged_on_its_own_rows():
    X, y, X_val, y_val = noisy_halves()
    fitted = network(early_stopping=True, warm_start=True, max_iter=100, learning_rate_init=0.01)
    fitted.fit(X, y, X_val=X_val, y_val=y_val)
    assert fitted.score(X_val, ~y_val) < 0.4
    fitted.fit(X, ~y, X_val=X_val, y_val=~y_val)
    assert fitted.best_validation_score_ == fitted.score(X_val, ~y_val) > 0.6


@pytest.mark.parametrize("change", [(0.2, 0.0), (0.0, 0.5), (0.2, 0.5)])
@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_dropout_may_change_on_the_way(change, method):
    fitted = network(dropout=change[0], warm_start=True, learning_rate_init=1e-9).fit(X, Y)
    before = fitted.predict_proba(X)
    getattr(fitted.set_params(dropout=change[1]), method)(X, Y)
    np.testing.assert_allclose(fitted.predict_proba(X), before, atol=1e-6)
    assert fitted.module_.layers[2].__class__.__name__ == ("Dropout" if change[1] else "Linear")


def test_lbfgs_that_has_converged_tells_the_loss_of_the_present_rows():
    parameters = {"hidden_layer_sizes": (8,), "solver": "lbfgs", "max_iter": 500, "alpha": 0, "random_state": 0}
    fitted = MLPTorchRegressor(**parameters, warm_start=True).fit(X, X[:, 0])
    fitted.set_params(tol=1e9).fit(X, X[:, 0] + 1000)
    assert fitted.loss_ == pytest.approx(0.5 * np.mean((fitted.predict(X) - X[:, 0] - 1000) ** 2), rel=1e-9)


@pytest.mark.parametrize("name", ["momentum", "nesterovs_momentum", "beta_1", "beta_2", "epsilon", "alpha", "power_t"])
@pytest.mark.parametrize("solver", ["sgd", "adam", "adamw", "nadam", "rmsprop", "adagrad"])
def test_numbers_of_numpy_are_numbers(name, solver):
    """A grid made by numpy holds them."""
    plain = network(solver=solver)
    value = getattr(plain, name)
    other = network(solver=solver, **{name: np.bool_(value) if value is True else np.float64(value)})
    np.testing.assert_array_equal(other.fit(X, Y).predict_proba(X), plain.fit(X, Y).predict_proba(X))
    if value is not True:
        network(solver=solver, **{name: np.float32(value)}).fit(X, Y)


def test_a_stream_with_many_classes_does_not_warn():
    """A batch of it is no regression problem, although most of its labels are there but once."""
    stream = network()
    for start in range(0, 300, 30):
        stream.partial_fit(DIGITS[start : start + 30], np.arange(start, start + 30), classes=np.arange(300))
    network().fit(DIGITS, np.arange(300) // 2, X_val=DIGITS[:30], y_val=np.arange(30) // 2)


@pytest.mark.parametrize("n_labels", [2, 3])
def test_classes_of_a_multilabel_stream_are_its_columns(n_labels):
    y = np.stack([k == Y for k in range(n_labels)], axis=1).astype(int)
    stream = network().partial_fit(X, y, classes=np.arange(n_labels)).partial_fit(X, y, classes=np.arange(n_labels))
    assert stream.predict(X).shape == y.shape
    with pytest.raises(ValueError, match=rf"np.arange\({n_labels}\), got \[5, 6\]"):
        network().partial_fit(X, y, classes=[5, 6])


def test_weights_too_small_to_divide_by_are_absent_rows():
    weight = np.where(np.arange(150) < 40, 1e-310, 1.0)
    tiny, absent = (network(batch_size=20).fit(X, Y, w) for w in (weight, np.where(weight == 1, 1.0, 0.0)))
    np.testing.assert_array_equal(tiny.predict_proba(X), absent.predict_proba(X))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_class_weights_too_small_to_divide_by_are_absent_classes(dtype):
    parameters = {"batch_size": 20, "dtype": dtype}
    tiny = network(class_weight={0: 1e-25, 1: 1.0, 2: 1.0}, **parameters).fit(X, Y, np.where(Y == 0, 1e-25, 1.0))
    absent = network(**parameters).fit(X, Y, np.where(Y == 0, 0.0, 1.0))
    np.testing.assert_array_equal(tiny.predict_proba(X), absent.predict_proba(X))


@pytest.mark.parametrize("kind", ["columns", "labels"])
def test_balanced_classes_of_several_columns_count_weights(kind):
    y = np.stack([Y, Y[::-1] > 0], axis=1) if kind == "columns" else np.stack([Y > 0, Y > 1], axis=1).astype(int)
    weight = np.random.RandomState(0).randint(0, 3, 150)
    parameters = {"class_weight": "balanced", "solver": "lbfgs", "max_iter": 10}
    weighted = network(**parameters).fit(X, y, weight)
    repeated = network(**parameters).fit(X.repeat(weight, axis=0), y.repeat(weight, axis=0))
    np.testing.assert_allclose(weighted.coefs_[0], repeated.coefs_[0], rtol=1e-6, atol=1e-9)


def test_verbose_regressor_of_one_row_says_nan(capsys):
    MLPTorchRegressor(max_iter=1, verbose=True, random_state=0).fit(X[:1], Y[:1])
    assert "R2 = nan" in capsys.readouterr().out


def test_interrupt_in_the_first_epoch_tells_no_loss_of_another_fit():
    class Interrupts:
        def setup(self, estimator, context):
            pass

        teardown = on_fit_task_end = setup

        def on_fit_task_begin(self, estimator, context):
            if context.task_name == "epoch":
                raise KeyboardInterrupt

    fitted = network(warm_start=True).fit(X, Y)
    before = log_loss(Y, fitted.predict_proba(X))
    with pytest.warns(UserWarning, match="interrupted by user"):
        fitted.set_callbacks(Interrupts()).fit(X, Y)
    assert np.isnan(fitted.loss_)
    assert log_loss(Y, fitted.predict_proba(X)) == before
