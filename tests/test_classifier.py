"""What the classifier offers beyond scikit-learn's MLP: kinds of labels, class weights, losses, scores."""

import warnings

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
from scipy.special import expit, softmax
from sklearn.datasets import load_iris, make_classification, make_multilabel_classification
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, balanced_accuracy_score, log_loss
from sklearn.neural_network import MLPClassifier
from sklearn.utils.class_weight import compute_sample_weight

from sknn import MLPTorchClassifier

X, Y = load_iris(return_X_y=True)
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def fit(y, X=X, sample_weight=None, **parameters):
    parameters = {
        "hidden_layer_sizes": (8,),
        "max_iter": 20,
        "learning_rate_init": 0.02,
        "random_state": 0,
        **parameters,
    }
    return MLPTorchClassifier(**parameters).fit(X, y, sample_weight)


@pytest.mark.parametrize(
    "names",
    [[-5, 0, 7], [2.0, 3.0, 5.0], ["setosa", "versicolor", "virginica"], [False, True, True], list("cab")],
    ids=["negative", "floats", "strings", "bools", "unsorted"],
)
@pytest.mark.parametrize("container", [np.array, list, pd.Series, lambda y: pd.Series(y, dtype="category")])
def test_labels_of_any_kind_come_back(names, container):
    labels = np.array(names)[Y]
    network = fit(container(labels))
    reference = LogisticRegression().fit(X, container(labels))
    np.testing.assert_array_equal(network.classes_, np.unique(labels))
    assert network.classes_.dtype == reference.classes_.dtype
    predicted = network.predict(X)
    assert predicted.dtype == network.classes_.dtype
    np.testing.assert_array_equal(network.classes_[network.predict_proba(X).argmax(axis=1)], predicted)


@pytest.mark.parametrize("container", [np.asarray, scipy.sparse.csr_matrix, scipy.sparse.coo_array, pd.DataFrame])
def test_multilabel_is_like_scikit_learns(container):
    X, y = make_multilabel_classification(n_samples=80, n_classes=4, random_state=0)
    network = fit(container(y), X)
    reference = MLPClassifier((8,), max_iter=20, learning_rate_init=0.02, random_state=0).fit(X, y)
    np.testing.assert_allclose(network.predict_proba(X), reference.predict_proba(X), atol=1e-6)
    predicted = network.predict(X)
    assert scipy.sparse.issparse(predicted) == scipy.sparse.issparse(container(y))
    predicted = predicted.toarray() if scipy.sparse.issparse(predicted) else predicted
    np.testing.assert_array_equal(predicted, reference.predict(X))
    assert network.score(X, y) == accuracy_score(y, predicted)


def test_several_columns_of_classes_have_a_softmax_each():
    names = np.array(["a", "bb", "ccc"])
    y = np.stack([names[Y], names[(Y * 2) % 3], np.where(Y == 1, "x", "y")], axis=1)
    network = fit(y, max_iter=200)
    assert [classes.tolist() for classes in network.classes_] == [["a", "bb", "ccc"]] * 2 + [["x", "y"]]
    assert network.n_outputs_ == 8
    assert network.out_activation_ == "softmax"
    probabilities, raw = network.predict_proba(X), network.decision_function(X)
    for j in range(3):
        np.testing.assert_allclose(probabilities[j], softmax(raw[j], axis=1))
        np.testing.assert_array_equal(network.classes_[j][raw[j].argmax(axis=1)], network.predict(X)[:, j])
    assert network.score(X, y) == (network.predict(X) == y).all(axis=1).mean() > 0.9
    assert network.score(X, y, Y == 0) == (network.predict(X) == y).all(axis=1)[Y == 0].mean()


def test_several_columns_equal_a_softmax_each_by_hand():
    """With no hidden layer the columns do not interact, so that each trains as alone from the same weights."""
    y = np.stack([Y, (Y + 1) % 3], axis=1)
    plain = {"hidden_layer_sizes": (), "weight_init": "normal", "solver": "sgd", "alpha": 0, "max_iter": 1}
    together, start = (fit(y, **plain, learning_rate_init=rate) for rate in (0.02, 1e-300))
    for j, part in enumerate((slice(0, 3), slice(3, 6))):
        proba = softmax(X @ start.coefs_[0][:, part] + start.intercepts_[0][part], axis=1)
        gradient = X.T @ (proba - np.eye(3)[y[:, j]]) / len(X)
        # One step over all rows; Nesterov's momentum 0.9 takes it 1.9 times.
        expected = start.coefs_[0][:, part] - 0.02 * 1.9 * gradient
        np.testing.assert_allclose(together.coefs_[0][:, part], expected, atol=1e-12)


def test_two_values_other_than_zero_and_one_are_classes_not_an_indicator():
    y = np.stack([Y > 0, Y > 1], axis=1) + 1
    network = fit(y)
    assert [classes.tolist() for classes in network.classes_] == [[1, 2], [1, 2]]
    assert set(np.unique(network.predict(X))) == {1, 2}


def test_one_class_is_always_predicted():
    network = fit(np.full(len(X), "only"))
    assert (network.predict(X) == "only").all()
    np.testing.assert_array_equal(network.predict_proba(X), np.ones((len(X), 1)))
    np.testing.assert_array_equal(network.predict_log_proba(X), np.zeros((len(X), 1)))


@pytest.mark.parametrize("binary", [False, True])
def test_scores_of_all_kinds_agree(binary):
    y = (Y > 0).astype(int) if binary else Y
    network = fit(y)
    raw = network.decision_function(X)
    if binary:
        assert raw.shape == (len(X),)
        expected = np.stack([expit(-raw), expit(raw)], axis=1)
    else:
        expected = softmax(raw, axis=1)
    np.testing.assert_allclose(network.predict_proba(X), expected, rtol=1e-12)
    np.testing.assert_allclose(network.predict_log_proba(X), np.log(expected), rtol=1e-9)


@pytest.mark.parametrize("binary", [False, True])
def test_log_probabilities_stay_finite_where_probabilities_round_to_zero(binary):
    network = fit((Y > 0).astype(int) if binary else Y)
    far = X * 1e5
    assert (network.predict_proba(far) == 0).any()
    log_proba = network.predict_log_proba(far)
    assert np.isfinite(log_proba).all()
    np.testing.assert_array_equal(log_proba.argmax(axis=1), network.predict_proba(far).argmax(axis=1))


@pytest.mark.parametrize("class_weight", [{0: 1.0, 1: 5.0, 2: 0.5}, {1: 3.0}, "balanced"])
def test_class_weight_is_a_sample_weight(class_weight):
    rows = np.r_[0:50, 50:70, 100:110]
    weighted = fit(Y[rows], X[rows], class_weight=class_weight)
    expected = fit(Y[rows], X[rows], sample_weight=compute_sample_weight(class_weight, Y[rows]))
    np.testing.assert_array_equal(weighted.predict_proba(X), expected.predict_proba(X))


def test_class_weight_multiplies_sample_weight():
    weight = np.arange(len(Y)) % 4.0
    weighted = fit(Y, class_weight={0: 1, 1: 2, 2: 3}, sample_weight=weight)
    expected = fit(Y, sample_weight=weight * (Y + 1))
    np.testing.assert_array_equal(weighted.predict_proba(X), expected.predict_proba(X))


def test_balanced_counts_a_weight_of_two_as_two_rows():
    weight = np.where(Y == 0, 3, np.arange(len(Y)) % 3)
    weighted = fit(Y, class_weight="balanced", sample_weight=weight, batch_size=1000, solver="lbfgs")
    repeated = fit(Y.repeat(weight), X.repeat(weight, axis=0), class_weight="balanced", batch_size=1000, solver="lbfgs")
    np.testing.assert_allclose(weighted.predict_proba(X), repeated.predict_proba(X), atol=1e-6)


def test_weights_of_columns_of_classes_multiply():
    y = np.stack([Y, Y % 2], axis=1) + 1
    class_weight = [{1: 1, 2: 2, 3: 3}, {1: 1, 2: 4}]
    weighted = fit(y, class_weight=class_weight)
    expected = fit(y, sample_weight=compute_sample_weight(class_weight, y))
    for given, right in zip(weighted.predict_proba(X), expected.predict_proba(X), strict=True):
        np.testing.assert_array_equal(given, right)


@pytest.mark.parametrize("seed", range(3))
def test_balanced_weights_find_the_rare_class(seed):
    X, y = make_classification(1000, 10, weights=[0.95], class_sep=0.7, flip_y=0, random_state=seed)
    plain, balanced = (fit(y, X, class_weight=weight, max_iter=60) for weight in (None, "balanced"))
    assert balanced_accuracy_score(y, balanced.predict(X)) > balanced_accuracy_score(y, plain.predict(X))


@pytest.mark.parametrize("binary", [False, True])
def test_no_hidden_layer_is_logistic_regression(binary):
    y = (Y > 1).astype(int) if binary else Y
    network = fit(y, hidden_layer_sizes=(), solver="lbfgs", alpha=1.0, max_iter=5000, tol=1e-8)
    reference = LogisticRegression(C=1.0, tol=1e-10, max_iter=5000).fit(X, y)
    np.testing.assert_allclose(network.predict_proba(X), reference.predict_proba(X), atol=1e-3)


def test_label_smoothing_makes_probabilities_less_sure():
    sure, smoothed = (fit(Y, label_smoothing=amount, max_iter=300) for amount in (0.0, 0.3))
    sure, smoothed = (np.median(network.predict_proba(X).max(axis=1)) for network in (sure, smoothed))
    assert sure > 0.95
    assert smoothed == pytest.approx(0.8, abs=0.05)  # the label itself, smoothed by 0.3 over three classes


def test_focal_loss_of_exponent_zero_is_log_loss():
    for y in (Y, (Y > 0).astype(int)):
        focal, plain = fit(y, loss="focal", focal_gamma=0.0), fit(y)
        np.testing.assert_allclose(focal.predict_proba(X), plain.predict_proba(X), atol=1e-9)


@pytest.mark.parametrize("loss", ["log_loss", "focal"])
def test_reported_loss_is_the_objective(loss):
    network = fit(Y, loss=loss, solver="lbfgs", alpha=0.0, max_iter=10)
    p = network.predict_proba(X)[np.arange(len(Y)), Y]
    expected = log_loss(Y, network.predict_proba(X)) if loss == "log_loss" else ((1 - p) ** 2 * -np.log(p)).mean()
    assert network.loss_ == pytest.approx(expected)


def test_only_plain_schedules_warn_at_max_iter():
    for learning_rate in ("cosine", "onecycle"):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            fit(Y, learning_rate=learning_rate)
    with pytest.warns(ConvergenceWarning, match=r"Maximum iterations \(20\) reached"):
        fit(Y)


@pytest.mark.parametrize("first", ["array", "list"])
def test_stream_of_several_columns(first):
    y = np.stack([Y, Y % 2], axis=1) + 1
    classes = [np.array([1, 2, 3]), [1, 2]] if first == "array" else [[1, 2, 3], [1, 2]]
    network = MLPTorchClassifier((8,), learning_rate_init=0.05, random_state=0)
    network.partial_fit(X[:1], y[:1], classes=classes)
    for _ in range(300):
        network.partial_fit(X, y)
    assert network.score(X, y) > 0.9
