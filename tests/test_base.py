"""What all estimators share: validation data, verbosity, routing, pickles, warm starts and streams."""

import copy
import pickle
import re

import joblib
import numpy as np
import pytest
import sklearn
import torch
from sklearn.base import clone
from sklearn.datasets import load_diabetes, load_digits
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from sknn import MLPTorchClassifier, MLPTorchRegressor

DIGITS, LABELS = load_digits(return_X_y=True)
DIGITS, LABELS = DIGITS[:400] / 16, LABELS[:400]
DIABETES, PROGRESSION = load_diabetes(return_X_y=True)
SETS = {MLPTorchClassifier: (DIGITS, LABELS), MLPTorchRegressor: (DIABETES, PROGRESSION / 100)}
pytestmark = [
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
    pytest.mark.parametrize("Estimator", SETS),
]


def halves(Estimator):
    X, y = SETS[Estimator]
    return X[::2], y[::2], X[1::2], y[1::2]


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_given_validation_rows_are_scored_after_each_epoch(Estimator, solver):
    X, y, X_val, y_val = halves(Estimator)
    weight = np.linspace(0, 1, len(y_val))
    network = Estimator(hidden_layer_sizes=(10,), solver=solver, max_iter=5, random_state=0)
    network.fit(X, y, X_val=X_val, y_val=y_val, sample_weight_val=weight)
    expected = []
    for n_epochs in range(1, network.n_iter_ + 1):
        alone = clone(network).set_params(max_iter=n_epochs).fit(X, y)
        expected.append(alone.score(X_val, y_val, weight))
    np.testing.assert_allclose(network.validation_scores_, expected, rtol=1e-12)
    assert network.best_validation_score_ == max(network.validation_scores_)
    np.testing.assert_array_equal(network.predict(X), alone.predict(X))  # scored, not trained on


def test_early_stopping_on_given_rows_keeps_the_best_weights(Estimator):
    X, y, X_val, y_val = halves(Estimator)
    parameters = {"learning_rate_init": 0.05, "early_stopping": True, "n_iter_no_change": 5, "max_iter": 300}
    network = Estimator(hidden_layer_sizes=(50,), **parameters, random_state=0)
    network.fit(X, y, X_val=X_val, y_val=y_val)
    assert network.n_iter_ < 300
    assert network.validation_scores_[-1] < network.best_validation_score_ == max(network.validation_scores_)
    assert network.score(X_val, y_val) == pytest.approx(network.best_validation_score_, abs=1e-12)
    assert network.best_loss_ is None


def test_batch_norm_statistics_go_back_with_the_best_weights(Estimator):
    X, y, X_val, y_val = halves(Estimator)
    parameters = {"batch_norm": True, "early_stopping": True, "learning_rate_init": 0.1, "max_iter": 30}
    network = Estimator(hidden_layer_sizes=(20,), **parameters, random_state=0)
    network.fit(X, y, X_val=X_val, y_val=y_val)
    assert network.score(X_val, y_val) == pytest.approx(network.best_validation_score_, abs=1e-12)


@pytest.mark.parametrize("with_validation", [False, True])
def test_verbose_prints_a_line_an_epoch(Estimator, with_validation, capsys):
    X, y, X_val, y_val = halves(Estimator)
    validation = {"X_val": X_val, "y_val": y_val} if with_validation else {}
    network = Estimator(hidden_layer_sizes=(10,), max_iter=3, verbose=True, random_state=0).fit(X, y, **validation)
    name = "accuracy" if Estimator is MLPTorchClassifier else "R2"
    number = r"-?\d+\.\d+"
    score = rf", validation score = {number}" if with_validation else ""
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    for i, line in enumerate(lines, start=1):
        assert re.fullmatch(rf"Iteration {i}/3, loss = {number}, {name} = {number}{score}, \d+\.\d\d s", line)
    last = float(re.search(rf"{name} = ({number})", lines[-1])[1])
    assert last == pytest.approx(network.score(X, y), abs=1e-4)


def test_sample_weight_is_routed(Estimator):
    X, y = SETS[Estimator]
    weight = np.arange(len(y)) % 3.0
    with sklearn.config_context(enable_metadata_routing=True):
        network = Estimator(hidden_layer_sizes=(5,), max_iter=3, random_state=0).set_fit_request(sample_weight=True)
        routed = Pipeline([("network", network)]).fit(X, y, sample_weight=weight)
        scored = clone(network).set_score_request(sample_weight=True)
        scores = cross_val_score(scored, X, y, params={"sample_weight": weight})
    expected = Estimator(hidden_layer_sizes=(5,), max_iter=3, random_state=0).fit(X, y, sample_weight=weight)
    np.testing.assert_array_equal(routed.predict(X), expected.predict(X))
    assert len(scores) == 5


def test_validation_rows_go_through_a_pipeline(Estimator):
    X, y, X_val, y_val = halves(Estimator)
    with sklearn.config_context(enable_metadata_routing=True):
        network = Estimator(hidden_layer_sizes=(5,), max_iter=3, random_state=0).set_fit_request(X_val=True, y_val=True)
        steps = [("scale", StandardScaler()), ("network", network)]
        pipeline = Pipeline(steps, transform_input=["X_val"]).fit(X, y, X_val=X_val, y_val=y_val)
    assert pipeline[-1].validation_scores_[-1] == pytest.approx(pipeline.score(X_val, y_val))


def test_search_in_a_pipeline(Estimator):
    X, y = SETS[Estimator]
    pipeline = make_pipeline(StandardScaler(), Estimator(max_iter=5, random_state=0))
    name = Estimator.__name__.lower()
    grid = {f"{name}__hidden_layer_sizes": [(5,), (10, 5)], f"{name}__dropout": [0.0, 0.2]}
    serial, parallel = (GridSearchCV(pipeline, grid, cv=2, n_jobs=n_jobs).fit(X, y) for n_jobs in (1, 2))
    np.testing.assert_array_equal(serial.cv_results_["mean_test_score"], parallel.cv_results_["mean_test_score"])


def test_pickles_predict_alike(Estimator, tmp_path):
    X, y = SETS[Estimator]
    network = Estimator(hidden_layer_sizes=(10,), dropout=0.2, batch_norm=True, max_iter=2, random_state=0).fit(X, y)
    joblib.dump(network, tmp_path / "network.joblib")
    for loaded in (
        pickle.loads(pickle.dumps(network)),
        joblib.load(tmp_path / "network.joblib"),
        joblib.load(tmp_path / "network.joblib", mmap_mode="r"),
        copy.deepcopy(network),
    ):
        np.testing.assert_array_equal(loaded.predict(X), network.predict(X))
        assert not loaded.module_.training


def test_a_pickle_from_a_missing_device_loads_on_the_cpu(Estimator):
    X, y = SETS[Estimator]
    network = Estimator(hidden_layer_sizes=(10,), max_iter=2, device="cpu", random_state=0).fit(X, y)
    elsewhere = Estimator()
    elsewhere.__setstate__({**network.__getstate__(), "device_": torch.device("cuda:97")})
    assert elsewhere.device_.type == "cpu"
    np.testing.assert_array_equal(elsewhere.predict(X), network.predict(X))


@pytest.mark.parametrize("solver", ["adam", "sgd", "adamw", "nadam", "rmsprop", "adagrad"])
def test_a_stream_goes_on_bit_for_bit_after_a_pickle(Estimator, solver):
    X, y = SETS[Estimator]
    first = {"classes": np.unique(y)} if Estimator is MLPTorchClassifier else {}
    network = Estimator(
        hidden_layer_sizes=(10,), solver=solver, learning_rate="invscaling", learning_rate_init=0.01, random_state=0
    )
    network.partial_fit(X[:100], y[:100], **first)
    loaded = pickle.loads(pickle.dumps(network))
    for part in (slice(100, 150), slice(150, 151), slice(151, 300)):
        for stream in (network, loaded):
            stream.partial_fit(X[part], y[part])
    np.testing.assert_array_equal(loaded.predict(X), network.predict(X))
    assert loaded.t_ == network.t_ == 300
    assert loaded.loss_curve_ == network.loss_curve_
    assert len(loaded.loss_curve_) == 4


def test_fit_leaves_no_solver_behind(Estimator):
    X, y = SETS[Estimator]
    network = Estimator(hidden_layer_sizes=(100,), max_iter=2, random_state=0).fit(X, y)
    n_bytes = sum(parameter.nbytes for parameter in network.module_.parameters())
    assert len(pickle.dumps(network)) <= n_bytes + 50_000
    streamed = len(pickle.dumps(network.partial_fit(X, y)))
    assert n_bytes * 3 < streamed < n_bytes * 3 + 50_000  # Adam's two moments
    assert len(pickle.dumps(network.fit(X, y))) <= n_bytes + 50_000


def test_fitted_model_shares_no_memory_with_a_later_fit(Estimator):
    X, y = SETS[Estimator]
    network = Estimator(hidden_layer_sizes=(10,), max_iter=2, warm_start=True, random_state=0).fit(X, y)
    module, coefs, curve = network.module_, network.coefs_, network.loss_curve_
    before = [coef.copy() for coef in coefs]
    network.fit(X, y)
    assert network.module_ is not module
    assert len(curve) == 2 < len(network.loss_curve_)
    for coef, copied in zip(coefs, before, strict=True):
        np.testing.assert_array_equal(coef, copied)


def test_repr_html_and_clone(Estimator):
    X, y = SETS[Estimator]
    network = Estimator(hidden_layer_sizes=(10,), max_iter=1, random_state=0)
    assert Estimator.__name__ in network._repr_html_()
    assert Estimator.__name__ in network.fit(X, y)._repr_html_()
    assert vars(clone(network)) == {**clone(network).get_params()}
    assert repr(Estimator()) == f"{Estimator.__name__}()"
    simple = (str, int, float, bool, tuple, type(None))
    assert all(isinstance(value, simple) for value in Estimator().get_params().values())
