"""EarlyStoppingOnMetric against separate fits of each length, scikit-learn's MLP and early stopping by accuracy."""

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.callback import ScoringMonitor
from sklearn.datasets import load_breast_cancer, load_diabetes
from sklearn.metrics import log_loss, make_scorer, mean_absolute_error, roc_auc_score
from sklearn.neural_network import MLPClassifier
from sklearn.preprocessing import scale

from sknn import MLPTorchClassifier, MLPTorchRegressor
from sknn.callbacks import EarlyStoppingOnMetric

X, Y = load_breast_cancer(return_X_y=True)
X = scale(X)
TRAINING, VALIDATION = slice(0, 80), slice(80, None)
WEIGHT = np.random.default_rng(0).uniform(0, 2, len(X))
# Few rows and large steps: the scores rise and fall.
NETWORK = MLPTorchClassifier((20,), learning_rate_init=0.01, batch_size=20, max_iter=20, random_state=1)
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def given(weight=None):
    """Return the arguments of fit: rows to train on and to validate on."""
    weights = {} if weight is None else {"sample_weight": weight[TRAINING], "sample_weight_val": weight[VALIDATION]}
    return {"X": X[TRAINING], "y": Y[TRAINING], "X_val": X[VALIDATION], "y_val": Y[VALIDATION], **weights}


def end_and_best(scores, patience, tol):
    """Return at which epoch a fit of such scores ends and which is its best, both counted from 1."""
    best, stale = 0, 0
    for epoch in range(1, len(scores)):
        stale = stale + 1 if scores[epoch] < scores[best] + tol else 0
        best = epoch if scores[epoch] > scores[best] else best
        if stale > patience:
            return epoch + 1, best + 1
    return len(scores), best + 1


METRICS = {
    "roc_auc": lambda network, weight: roc_auc_score(Y[VALIDATION], network.predict_proba(X[VALIDATION])[:, 1]),
    "neg_log_loss": lambda network, weight: (
        -log_loss(Y[VALIDATION], network.predict_proba(X[VALIDATION]), sample_weight=weight)
    ),
}


@pytest.mark.parametrize(
    ("scoring", "parameters", "weight", "patience", "tol"),
    [
        ("neg_log_loss", {}, WEIGHT, 3, 1e-3),
        ("roc_auc", {}, None, 2, 1e-4),
        ("roc_auc", {"batch_norm": True, "dropout": 0.2}, None, 2, 0.0),
        ("neg_log_loss", {"solver": "lbfgs"}, None, 4, 0.0),
    ],
)
def test_the_weights_are_those_of_the_best_of_all_shorter_fits(scoring, parameters, weight, patience, tol):
    network = clone(NETWORK).set_params(**parameters)
    fits = [clone(network).set_params(max_iter=n).fit(**given(weight)) for n in range(1, 21)]
    scores = [METRICS[scoring](fit, None if weight is None else weight[VALIDATION]) for fit in fits]
    end, best = end_and_best(scores, patience, tol)
    assert 1 < best < 20
    assert end < 20

    stopping = EarlyStoppingOnMetric(scoring, n_iter_no_change=patience, tol=tol)
    network.set_callbacks(stopping).fit(**given(weight))
    assert network.n_iter_ == end
    assert stopping.best_epoch_ == best
    np.testing.assert_allclose(stopping.scores_, scores[:end], rtol=1e-9)
    assert stopping.best_score_ == stopping.scores_[best - 1]
    np.testing.assert_array_equal(network.predict_proba(X), fits[best - 1].predict_proba(X))
    assert network.loss_curve_ == fits[end - 1].loss_curve_


def test_by_accuracy_it_stops_where_the_network_and_scikit_learn_do():
    parameters = {"early_stopping": True, "validation_fraction": 0.3, "max_iter": 200, "n_iter_no_change": 4}
    own = clone(NETWORK).set_params(**parameters).fit(X, Y)
    names = MLPClassifier().get_params()
    reference = MLPClassifier(**{name: value for name, value in own.get_params().items() if name in names}).fit(X, Y)
    stopping = EarlyStoppingOnMetric("accuracy", n_iter_no_change=4)
    network = clone(own).set_params(n_iter_no_change=np.inf).set_callbacks(stopping).fit(X, Y)
    assert network.n_iter_ == own.n_iter_ == reference.n_iter_ < 200
    assert stopping.scores_ == own.validation_scores_ == reference.validation_scores_
    np.testing.assert_array_equal(network.predict_proba(X), own.predict_proba(X))
    np.testing.assert_allclose(network.coefs_[0], reference.coefs_[0], rtol=1e-6, atol=1e-9)


def test_a_function_of_ones_own_and_a_regressor():
    X, y = load_diabetes(return_X_y=True)
    X, y = scale(X), y / y.std()
    parameters = {"hidden_layer_sizes": (20,), "learning_rate_init": 0.02, "batch_size": 50, "random_state": 0}
    rows = {"X": X[:150], "y": y[:150], "X_val": X[150:], "y_val": y[150:]}
    fits = [MLPTorchRegressor(max_iter=n, **parameters).fit(**rows) for n in range(1, 21)]
    scores = [-mean_absolute_error(y[150:], fit.predict(X[150:])) for fit in fits]

    def scorer(estimator, X, y):
        return -mean_absolute_error(y, estimator.predict(X))

    for scoring in (scorer, make_scorer(mean_absolute_error, greater_is_better=False)):
        stopping = EarlyStoppingOnMetric(scoring, n_iter_no_change=20)
        network = MLPTorchRegressor(max_iter=20, **parameters).set_callbacks(stopping).fit(**rows)
        np.testing.assert_allclose(stopping.scores_, scores, rtol=1e-12)
        assert 1 < stopping.best_epoch_ == np.argmax(scores) + 1 < 20
        np.testing.assert_array_equal(network.predict(X), fits[np.argmax(scores)].predict(X))


def test_other_callbacks_see_the_weights_that_the_fit_leaves():
    stopping, monitor = EarlyStoppingOnMetric("neg_log_loss", n_iter_no_change=3), ScoringMonitor(scoring="accuracy")
    network = clone(NETWORK).set_callbacks(stopping, monitor).fit(**given())
    of_tasks = {task["task_name"]: task["accuracy"] for task in monitor.get_logs().data}
    assert stopping.best_epoch_ < network.n_iter_
    assert of_tasks["fit"] == network.score(X[TRAINING], Y[TRAINING]) != of_tasks["epoch"]  # that of the last


def test_an_interrupt_leaves_the_best_weights():
    class Interrupting:
        def __call__(self, estimator, X, y):
            if estimator.n_iter_ == 15:
                raise KeyboardInterrupt
            return -log_loss(y, estimator.predict_proba(X))

    stopping = EarlyStoppingOnMetric(Interrupting(), n_iter_no_change=25)
    network = clone(NETWORK).set_callbacks(stopping)
    with pytest.warns(UserWarning, match="Training interrupted by user"):
        network.fit(**given())
    assert network.n_iter_ == 15
    assert len(stopping.scores_) == 14
    loss = log_loss(Y[VALIDATION], network.predict_proba(X[VALIDATION]))
    assert stopping.best_score_ == max(stopping.scores_) == pytest.approx(-loss, rel=1e-12)


def test_scores_that_are_nan_are_never_the_best():
    def scorer(estimator, X, y):
        return np.nan if estimator.n_iter_ != 2 else 0.5

    stopping = EarlyStoppingOnMetric(scorer, n_iter_no_change=3)
    network = clone(NETWORK).set_callbacks(stopping).fit(**given())
    assert (stopping.best_epoch_, stopping.best_score_, network.n_iter_) == (2, 0.5, 6)
    never = EarlyStoppingOnMetric(lambda estimator, X, y: np.nan, n_iter_no_change=3)
    network.set_callbacks(never).fit(**given())
    assert (never.best_epoch_, never.best_score_, network.n_iter_) == (None, -np.inf, 4)
    np.testing.assert_array_equal(
        network.predict_proba(X), clone(NETWORK).set_params(max_iter=4).fit(**given()).predict_proba(X)
    )


def test_a_warm_start_is_judged_by_its_own_epochs():
    stopping = EarlyStoppingOnMetric("neg_log_loss", n_iter_no_change=3)
    network = clone(NETWORK).set_params(warm_start=True).set_callbacks(stopping).fit(**given())
    first, losses = stopping.best_score_, len(network.loss_curve_)
    network.fit(**given())
    assert len(stopping.scores_) == len(network.loss_curve_) - losses == network.n_iter_
    loss = log_loss(Y[VALIDATION], network.predict_proba(X[VALIDATION]))
    assert stopping.best_score_ == pytest.approx(-loss, rel=1e-12)
    assert stopping.best_score_ != first


def test_without_validation_rows_it_says_how_to_get_some():
    network = clone(NETWORK).set_callbacks(EarlyStoppingOnMetric("roc_auc"))
    with pytest.raises(ValueError, match="give X_val and y_val to fit, or set early_stopping=True"):
        network.fit(X, Y)
    assert not hasattr(network, "module_")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"scoring": "rocauc"}, "rocauc"),
        ({"scoring": ["accuracy", "roc_auc"]}, "'scoring' parameter"),
        ({"scoring": "accuracy", "n_iter_no_change": 0}, "'n_iter_no_change' parameter"),
        ({"scoring": "accuracy", "tol": -1.0}, "'tol' parameter"),
        ({"scoring": lambda estimator, X, y: {"accuracy": 1.0}}, "scoring must give one number, got {'accuracy': 1.0}"),
    ],
)
def test_what_is_wrong_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        clone(NETWORK).set_callbacks(EarlyStoppingOnMetric(**arguments)).fit(**given())
