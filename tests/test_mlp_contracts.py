"""The contracts that scikit-learn's own tests hold its MLP to, where the comparison with it does not hold them yet."""

import re
import warnings

import joblib
import numpy as np
import pandas as pd
import pytest
import scipy.sparse
from sklearn.datasets import load_digits, load_iris, make_multilabel_classification, make_regression
from sklearn.metrics import roc_auc_score

from sknn import MLPTorchClassifier, MLPTorchRegressor

DIGITS, NUMBERS = load_digits(n_class=3, return_X_y=True)
DIGITS, NUMBERS = DIGITS[:200] / 16, NUMBERS[:200]
ONES = (NUMBERS == 1).astype(int)
IRIS, SPECIES = load_iris(return_X_y=True)
REAL, TARGET = make_regression(n_samples=120, n_features=8, n_informative=8, noise=20.0, random_state=7)
TARGET = (TARGET - TARGET.mean()) / TARGET.std()
MANY, INDICATOR = make_multilabel_classification(n_samples=50, random_state=0)

both_estimators = pytest.mark.parametrize("Estimator", [MLPTorchClassifier, MLPTorchRegressor])
both_targets = pytest.mark.parametrize("y", [ONES, NUMBERS], ids=["binary", "multiclass"])
activations = pytest.mark.parametrize("activation", ["identity", "logistic", "tanh", "relu"])
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@both_estimators
def test_stronger_penalty_makes_smaller_weights(Estimator):
    sizes = []
    for alpha in (0.0, 1.0, 10.0):
        network = Estimator(hidden_layer_sizes=10, alpha=alpha, random_state=1).fit(DIGITS, ONES)
        sizes.append([np.abs(coef).sum() for coef in network.coefs_])
    assert (np.diff(sizes, axis=0) < 0).all()


def test_one_step_is_the_one_worked_out_by_hand():
    """A network of one feature, one hidden neuron and one output, where the chain rule fits on a line."""
    w, b, v, c, x, alpha, rate = 0.5, -0.2, 1.5, 0.3, 2.0, 0.1, 0.2
    network = MLPTorchClassifier(
        1, "logistic", solver="sgd", momentum=0, alpha=alpha, learning_rate_init=rate, random_state=0
    )
    network.partial_fit([[x]], [0], classes=[0, 1])
    network.coefs_, network.intercepts_ = [[[w]], [[v]]], [[b], [c]]
    network.partial_fit([[x]], [0])

    hidden = 1 / (1 + np.exp(-(w * x + b)))
    probability = 1 / (1 + np.exp(-(v * hidden + c)))
    delta = probability * v * hidden * (1 - hidden)
    assert network.coefs_[0].item() == pytest.approx(w - rate * (delta * x + alpha * w), rel=1e-12)
    assert network.intercepts_[0].item() == pytest.approx(b - rate * delta, rel=1e-12)
    assert network.coefs_[1].item() == pytest.approx(v - rate * (probability * hidden + alpha * v), rel=1e-12)
    assert network.intercepts_[1].item() == pytest.approx(c - rate * probability, rel=1e-12)
    assert network.loss_ == pytest.approx(-np.log(1 - probability) + alpha / 2 * (w**2 + v**2))


# --- L-BFGS ---


@both_targets
@activations
def test_lbfgs_classifies(activation, y):
    network = MLPTorchClassifier(50, activation, solver="lbfgs", max_iter=150, random_state=1)
    network.fit(DIGITS[:150], y[:150])
    assert network.score(DIGITS[:150], y[:150]) > 0.95
    assert network.score(DIGITS[150:], y[150:]) > 0.9
    assert network.predict(DIGITS).dtype == y.dtype


@activations
def test_lbfgs_regresses(activation):
    network = MLPTorchRegressor(hidden_layer_sizes=50, activation=activation, solver="lbfgs", tol=1e-3, random_state=1)
    assert network.fit(REAL, TARGET).score(REAL, TARGET) > (0.9 if activation == "identity" else 0.98)


@both_estimators
def test_max_fun_bounds_lbfgs(Estimator):
    network = Estimator(hidden_layer_sizes=20, solver="lbfgs", max_fun=10, tol=0.0, random_state=1)
    with pytest.warns(UserWarning, match="EXCEEDS LIMIT"):
        network.fit(DIGITS, ONES)
    assert network.n_iter_ <= 10


# --- several labels, several outputs ---


def test_multilabel_learns_with_every_way_of_fitting():
    options = {"hidden_layer_sizes": 50, "activation": "logistic", "alpha": 1e-5, "random_state": 0}
    network = MLPTorchClassifier(solver="lbfgs", max_iter=150, **options).fit(MANY, INDICATOR)
    assert network.score(MANY, INDICATOR) > 0.97
    stream = MLPTorchClassifier(solver="sgd", learning_rate_init=0.2, **options)
    for _ in range(100):
        stream.partial_fit(MANY, INDICATOR, classes=[0, 1, 2, 3, 4])
    assert stream.score(MANY, INDICATOR) > 0.9
    stopping = MLPTorchClassifier(early_stopping=True, max_iter=20, random_state=0).fit(MANY, INDICATOR)
    assert stopping.predict(MANY).shape == INDICATOR.shape


def test_multilabel_probabilities_are_of_each_label():
    network = MLPTorchClassifier(30, solver="lbfgs", random_state=0).fit(MANY, INDICATOR)
    probability = network.predict_proba(MANY)
    np.testing.assert_array_equal(probability > 0.5, INDICATOR)
    assert np.abs(probability.sum(axis=1) - 1).max() > 0.5
    np.testing.assert_allclose(np.exp(network.predict_log_proba(MANY)), probability)


def test_several_outputs_are_learned_together():
    X, y = make_regression(n_samples=100, n_features=10, n_targets=5, random_state=11)
    network = MLPTorchRegressor(hidden_layer_sizes=50, solver="lbfgs", max_iter=200, tol=1e-2, random_state=1)
    assert network.fit(X, y / 100).score(X, y / 100) > 0.9


@both_targets
def test_probabilities_rank_and_agree_with_their_logarithms(y):
    network = MLPTorchClassifier(5, "logistic", learning_rate_init=0.02, random_state=1).fit(DIGITS, y)
    probability, logarithm = network.predict_proba(DIGITS), network.predict_log_proba(DIGITS)
    assert probability.shape == (len(y), len(np.unique(y)))
    np.testing.assert_allclose(np.exp(logarithm), probability)
    np.testing.assert_allclose(probability.sum(axis=1), 1)
    np.testing.assert_array_equal(probability.argmax(axis=1), logarithm.argmax(axis=1))
    scores = probability[:, 1] if len(np.unique(y)) == 2 else probability
    assert roc_auc_score(y, scores, multi_class="ovr") > 0.999


# --- partial_fit ---


@both_targets
def test_partial_fit_classifies_as_fit_does(y):
    options = {"solver": "sgd", "alpha": 1e-5, "learning_rate_init": 0.2, "random_state": 1}
    network = MLPTorchClassifier(max_iter=60, tol=0, **options).fit(DIGITS, y)
    stream = MLPTorchClassifier(**options)
    for _ in range(60):
        stream.partial_fit(DIGITS, y, classes=np.unique(y))
    np.testing.assert_array_equal(stream.predict(DIGITS), network.predict(DIGITS))
    assert stream.score(DIGITS, y) > 0.95


@pytest.mark.parametrize("momentum", [0, 0.9])
def test_partial_fit_regresses_as_fit_does(momentum):
    options = {"solver": "sgd", "momentum": momentum, "batch_size": len(REAL), "learning_rate_init": 0.01}
    network = MLPTorchRegressor(max_iter=60, random_state=1, **options).fit(REAL, TARGET)
    stream = MLPTorchRegressor(random_state=1, **options)
    for _ in range(60):
        stream.partial_fit(REAL, TARGET)
    np.testing.assert_allclose(stream.predict(REAL), network.predict(REAL), rtol=1e-9)
    assert stream.score(REAL, TARGET) > 0.4


def test_partial_fit_knows_classes_that_come_later():
    network = MLPTorchClassifier(random_state=0)
    network.partial_fit([[1], [2], [3]], ["a", "b", "c"], classes=["a", "b", "c", "d"])
    network.partial_fit([[4]], ["d"])
    assert network.score([[1], [2], [3], [4]], list("abcd")) > 0


def test_partial_fit_refuses_wrong_classes():
    X, y = [[3, 2], [1, 6]], [1, 0]
    with pytest.raises(ValueError, match="classes must be passed on the first call"):
        MLPTorchClassifier().partial_fit(X, y)
    with pytest.raises(ValueError, match="classes"):
        MLPTorchClassifier().partial_fit(X, y, classes=[2])
    network = MLPTorchClassifier(random_state=0).partial_fit(X, y, classes=[0, 1])
    with pytest.raises(ValueError, match="not the same as on last call"):
        network.partial_fit(X, y, classes=[1, 2])
    with pytest.raises(ValueError, match="classes not in"):
        network.partial_fit(X, [1, 2])


@both_estimators
def test_partial_fit_is_for_stochastic_solvers_without_early_stopping(Estimator):
    assert not hasattr(Estimator(solver="lbfgs"), "partial_fit")
    network = Estimator(early_stopping=True, max_iter=2, random_state=0).fit(IRIS, SPECIES)
    with pytest.raises(ValueError, match="partial_fit does not support early_stopping=True"):
        network.partial_fit(IRIS, SPECIES)


def test_a_loaded_network_learns_on(tmp_path):
    network = MLPTorchRegressor(hidden_layer_sizes=20, learning_rate_init=0.01, random_state=42).fit([[2]], [4])
    joblib.dump(network, tmp_path / "network.joblib")
    loaded = joblib.load(tmp_path / "network.joblib")
    for _ in range(150):
        loaded.partial_fit([[2]], [1])
    assert loaded.predict([[2]]) == pytest.approx([1], rel=1e-3)
    assert network.predict([[2]]) != pytest.approx([1], rel=1e-3)


# --- when a fit ends ---


@both_estimators
def test_early_stopping_ends_near_its_best_score(Estimator):
    options = {"solver": "sgd", "tol": 0.2, "max_iter": 300, "random_state": 0}
    stopping = Estimator(early_stopping=True, **options).fit(DIGITS, ONES)
    assert stopping.n_iter_ < 300
    assert stopping.best_loss_ is None
    assert max(stopping.validation_scores_) == stopping.best_validation_score_
    assert all(score < stopping.best_validation_score_ + 0.2 for score in stopping.validation_scores_[-2:])
    plain = Estimator(**options).fit(DIGITS, ONES)
    assert plain.validation_scores_ is plain.best_validation_score_ is None
    assert plain.best_loss_ == min(plain.loss_curve_)


@pytest.mark.parametrize("n_iter_no_change", [2, 5, 20])
def test_n_iter_no_change_is_the_patience(n_iter_no_change):
    network = MLPTorchClassifier(solver="sgd", tol=1e9, n_iter_no_change=n_iter_no_change, random_state=0)
    network.fit(DIGITS, ONES)
    assert network.n_iter_ == n_iter_no_change + 2  # the first epoch improves on nothing


def test_infinite_patience_never_stops():
    network = MLPTorchClassifier(solver="sgd", tol=1e9, n_iter_no_change=np.inf, max_iter=60, random_state=0)
    assert network.fit(DIGITS, ONES).n_iter_ == 60


@pytest.mark.parametrize("learning_rate", ["constant", "adaptive"])
def test_tolerance_ends_the_fit(learning_rate):
    network = MLPTorchClassifier(tol=0.5, max_iter=3000, solver="sgd", learning_rate=learning_rate, random_state=0)
    assert network.fit([[3, 2], [1, 6]], [1, 0]).n_iter_ < 3000


@both_estimators
@pytest.mark.parametrize("solver", ["sgd", "adam", "lbfgs"])
def test_each_warm_start_runs_all_its_iterations(Estimator, solver):
    network = Estimator(solver=solver, warm_start=True, n_iter_no_change=np.inf, random_state=0)
    for max_iter in (3, 3, 8):
        with pytest.warns(UserWarning, match="onverge"):
            network.set_params(max_iter=max_iter).fit(IRIS, SPECIES)
        assert network.n_iter_ == max_iter


def test_warm_start_needs_the_same_classes():
    network = MLPTorchClassifier(2, solver="lbfgs", warm_start=True, random_state=42, tol=1e-2).fit(IRIS, SPECIES)
    network.fit(IRIS, np.roll(SPECIES, 10))
    for classes in ([0, 1], [0, 1, 3], [0, 1, 2, 3]):
        y = np.resize(classes, len(IRIS))
        message = f"Previously got [0 1 2], `y` has {np.array(classes)}"
        with pytest.raises(ValueError, match="warm_start can only be used where `y` has the same classes") as caught:
            network.fit(IRIS, y)
        assert message in str(caught.value)


@both_estimators
def test_warm_start_goes_on_with_the_validation_scores(Estimator):
    network = Estimator(max_iter=5, warm_start=True, early_stopping=True, random_state=0).fit(IRIS, SPECIES)
    before = list(network.validation_scores_)
    network.fit(IRIS, SPECIES)
    assert network.validation_scores_[: len(before)] == before
    assert len(network.validation_scores_) > len(before)


# --- early stopping's split ---


def test_the_split_is_stratified_for_two_classes():
    with pytest.raises(ValueError, match="The least populated classes in y have only 1 member"):
        MLPTorchClassifier(early_stopping=True, random_state=0).fit([[1, 2], [2, 3], [3, 4], [4, 5]], [0, 0, 0, 1])


@both_estimators
def test_the_split_needs_rows(Estimator):
    with pytest.raises(ValueError, match="The validation set is too small"):
        Estimator(early_stopping=True, random_state=0).fit([[1.0], [2.0]], [1, 1])


def test_string_labels_are_scored_in_early_stopping():
    labels = np.array(["class a", "class b", "class c"], dtype=object)[SPECIES]
    network = MLPTorchClassifier(early_stopping=True, max_iter=30, learning_rate_init=0.02, random_state=0)
    network.fit(IRIS, labels)
    assert len(network.validation_scores_) == network.n_iter_
    assert network.best_validation_score_ > 0.5


def test_the_only_class_is_right_from_the_first_epoch():
    network = MLPTorchClassifier(early_stopping=True, max_iter=5, random_state=0).fit(IRIS, np.zeros(len(IRIS)))
    assert network.validation_scores_ == [1.0] * network.n_iter_


@both_estimators
def test_feature_names_are_kept_in_early_stopping(Estimator):
    X = pd.DataFrame(REAL[:20, :2], columns=["left", "right"])
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        network = Estimator(early_stopping=True, validation_fraction=0.2, random_state=0).fit(X, np.ones(20))
        network.predict(X)
    assert network.feature_names_in_.tolist() == ["left", "right"]


def test_weights_of_one_are_no_weights_in_early_stopping():
    options = {"early_stopping": True, "tol": 1e-2, "learning_rate_init": 0.01, "batch_size": 10, "random_state": 42}
    weighted = MLPTorchRegressor(hidden_layer_sizes=10, **options).fit(REAL, TARGET, np.ones(len(REAL)))
    plain = MLPTorchRegressor(hidden_layer_sizes=10, **options).fit(REAL, TARGET)
    np.testing.assert_allclose(weighted.predict(REAL), plain.predict(REAL))


# --- numbers that do not end well ---


def test_weights_that_are_not_finite_are_an_error():
    X = np.finfo(np.float64).max * np.random.RandomState(0).uniform(size=(10, 2))
    message = "Solver produced non-finite parameter weights. The input data may contain large values and need to be"
    with pytest.raises(ValueError, match=re.escape(message)):
        MLPTorchRegressor(random_state=0).fit(X, np.arange(10.0))


def test_divergence_under_early_stopping_keeps_the_best_weights():
    options = {"activation": "identity", "solver": "sgd", "learning_rate_init": 1.0, "max_iter": 20}
    network = MLPTorchRegressor(early_stopping=True, random_state=0, **options).fit(IRIS, SPECIES)
    assert np.isnan(network.validation_scores_[-1])
    assert isinstance(network.validation_scores_[-1], float)
    assert np.isfinite(network.predict(IRIS)).all()


# --- rows and dtypes ---


@both_estimators
def test_shuffle_decides_the_order(Estimator):
    def coefs(shuffle, seed=0):
        network = Estimator(hidden_layer_sizes=1, max_iter=1, batch_size=1, random_state=seed, shuffle=shuffle)
        return network.fit(REAL, TARGET > 0).coefs_[0]

    for shuffle in (True, False):
        np.testing.assert_array_equal(coefs(shuffle), coefs(shuffle))
    assert not np.array_equal(coefs(True), coefs(False))


@pytest.mark.parametrize("container", [scipy.sparse.csr_matrix, scipy.sparse.csr_array])
@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_sparse_rows_are_the_dense_ones(container, solver):
    network = MLPTorchClassifier(15, solver=solver, max_iter=30, random_state=1)
    dense = network.fit(DIGITS, NUMBERS).predict_proba(DIGITS)
    np.testing.assert_array_equal(network.predict_proba(container(DIGITS)), dense)
    np.testing.assert_array_equal(network.fit(container(DIGITS), NUMBERS).predict_proba(DIGITS), dense)


@both_estimators
def test_dtype_of_rows_is_that_of_weights_and_predictions(Estimator):
    predictions = []
    for dtype in (np.float64, np.float32):
        X = DIGITS.astype(dtype)
        network = Estimator(hidden_layer_sizes=(5, 3), alpha=1e-5, tol=1e-1, random_state=1).fit(X[:150], NUMBERS[:150])
        assert {array.dtype for array in [*network.coefs_, *network.intercepts_]} == {np.dtype(dtype)}
        predict = network.predict if Estimator is MLPTorchRegressor else network.predict_proba
        predictions.append(predict(X[150:]))
        assert predictions[-1].dtype == dtype
    np.testing.assert_allclose(*predictions, rtol=5e-3, atol=1e-4)
