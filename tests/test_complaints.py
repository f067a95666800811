"""What users of other libraries complain about most: a test for each complaint, named after it."""

import inspect
import os
import pickle
import subprocess
import sys
import textwrap

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone
from sklearn.datasets import load_diabetes, load_iris
from sklearn.exceptions import DataConversionWarning
from sklearn.model_selection import GridSearchCV, KFold
from sklearn.utils.class_weight import compute_sample_weight
from torch.utils._python_dispatch import TorchDispatchMode
from wrong_calls import RANGES

from sknn import MLPTorchClassifier, MLPTorchRegressor

IRIS, SPECIES = load_iris(return_X_y=True)
DIABETES, PROGRESSION = load_diabetes(return_X_y=True)
DIABETES, PROGRESSION = DIABETES[:150] * 20, PROGRESSION[:150] / 100
SETS = {MLPTorchClassifier: (IRIS, SPECIES), MLPTorchRegressor: (DIABETES, PROGRESSION)}
STREAMED = {MLPTorchClassifier: {"classes": [0, 1, 2]}, MLPTorchRegressor: {}}
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
each = pytest.mark.parametrize
both = each("Estimator", SETS)


def network(Estimator=MLPTorchClassifier, **parameters):
    defaults = {"hidden_layer_sizes": (10,), "learning_rate_init": 0.02, "max_iter": 60, "random_state": 0}
    return Estimator(**{**defaults, **parameters})


@each("X_dtype", [np.float64, np.float32, np.float16, np.int64, np.int8, np.uint8, object])
@each("y_dtype", [np.int64, np.int8, np.uint8, np.float32, np.float64, str])
def test_no_casting_of_X_and_y_by_hand(X_dtype, y_dtype):
    X, y = IRIS.round().astype(X_dtype), SPECIES.astype(y_dtype)
    assert network().fit(X, y).score(X, y) > 0.9
    assert network(MLPTorchRegressor, solver="lbfgs").fit(X, y).score(X, SPECIES) > 0.8


@both
def test_no_giving_of_the_input_size(Estimator):
    X, y = SETS[Estimator]
    one = network(Estimator, max_iter=1)
    for width in (1, 2, 4):
        assert one.fit(X[:, :width], y).coefs_[0].shape == (width, 10)
        assert one.predict(X[:, :width]).shape == (len(X),)


@each(
    "names",
    [
        [1, 2, 3],
        [-7, 0, 2**40],
        ["one", "three", "two"],
        [1.0, 2.0, 3.0],
        np.array(["x", "yy", "zzz"], dtype=object),
        [False, True, True],
        np.array([5, 6, 7], dtype=np.uint8),
        np.array(["2020", "2021", "2022"], dtype="datetime64[Y]"),
    ],
    ids=lambda names: f"{np.asarray(names).dtype} {names[0]}",
)
def test_labels_need_not_be_0_to_k(names):
    labels = np.asarray(names)[SPECIES]
    fitted = network().fit(IRIS, labels)
    predicted = fitted.predict(IRIS)
    assert predicted.dtype == labels.dtype
    assert (predicted == labels).mean() > 0.95
    np.testing.assert_array_equal(fitted.classes_, np.unique(labels))
    np.testing.assert_array_equal(fitted.classes_[fitted.predict_proba(IRIS).argmax(axis=1)], predicted)


@both
@each("parameters", [{}, {"hidden_layer_sizes": ()}, {"batch_norm": True}, {"solver": "lbfgs"}, {"dtype": "float32"}])
def test_predictions_of_a_1d_y_are_1d(Estimator, parameters):
    X, y = SETS[Estimator]
    fitted = network(Estimator, max_iter=2, **parameters).fit(X, y)
    assert fitted.predict(X).shape == (y - fitted.predict(X)).shape == (150,)
    assert fitted.predict(X[:1]).shape == (1,)
    with pytest.warns(DataConversionWarning, match="column-vector y was passed"):
        of_column = clone(fitted).fit(X, y[:, None])
    np.testing.assert_array_equal(of_column.predict(X), fitted.predict(X))


@both
@each("names", [["sample_weight", "X", "y", "classes"], ["self", "estimator", "X_val", "y_val"]])
def test_pandas_columns_are_no_keyword_arguments(Estimator, names):
    X, y = SETS[Estimator][0][:, :4], SETS[Estimator][1]
    named = pd.DataFrame(X, columns=names)
    fitted, plain = network(Estimator, max_iter=3).fit(named, y), network(Estimator, max_iter=3).fit(X, y)
    np.testing.assert_array_equal(fitted.predict(named), plain.predict(X))
    np.testing.assert_array_equal(fitted.feature_names_in_, names)
    streamed, plain = (network(Estimator).partial_fit(rows, y, **STREAMED[Estimator]) for rows in (named, X))
    np.testing.assert_array_equal(streamed.predict(named), plain.predict(X))


@both
@each("early_stopping", [False, True])
@each("solver", ["sgd", "adam", "adamw", "nadam", "rmsprop", "adagrad"])
def test_nan_is_never_trained_silently(Estimator, solver, early_stopping):
    X, y = SETS[Estimator]
    start = network(Estimator, max_iter=3).fit(X, y)
    before = start.predict(X)
    start.set_params(solver=solver, early_stopping=early_stopping, learning_rate_init=1e308, max_iter=20)
    with pytest.raises(ValueError, match="non-finite parameter weights"):
        start.fit(X, y)
    np.testing.assert_array_equal(start.predict(X), before)


def test_a_model_that_turns_nan_is_not_taken_for_the_best():
    """All NaN, the classifier predicts class 0, which is right for nearly all rows that it is validated on."""
    rare = SPECIES == 2
    parameters = {"solver": "sgd", "early_stopping": True, "batch_size": 150, "momentum": 0.0}
    fitted = network(**parameters, learning_rate_init=1e-300, max_iter=3).fit(IRIS, ~rare, X_val=IRIS, y_val=rare)
    assert np.isfinite(fitted.validation_scores_).all()
    fitted = network(**parameters, learning_rate="invscaling", power_t=9.0, learning_rate_init=1e300)
    with pytest.raises(ValueError, match="non-finite parameter weights"):
        fitted.fit(IRIS, rare, X_val=IRIS, y_val=rare)


def fits_alike(left, right):
    for a, b in zip(left.coefs_ + left.intercepts_, right.coefs_ + right.intercepts_, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(left.loss_curve_, right.loss_curve_, rtol=1e-10)


WEIGHT = np.arange(150) % 3 + 1
KINDS_OF_Y = {
    "classes": SPECIES,
    "two classes": SPECIES > 0,
    "labels": np.stack([SPECIES > 0, SPECIES > 1], axis=1).astype(int),
    "columns": np.stack([SPECIES, SPECIES[::-1]], axis=1),
}
LOSSES = ["squared_error", "absolute_error", "huber", "quantile", "poisson"]


@each("solver", ["lbfgs", "sgd", "adam", "adamw", "nadam", "rmsprop", "adagrad"])
@each(
    ("Estimator", "y", "loss"),
    [
        *(pytest.param(MLPTorchClassifier, y, loss, id=f"{name}-{loss}") for name, y in KINDS_OF_Y.items() for loss in
          ("log_loss", "focal")),
        *(pytest.param(MLPTorchRegressor, PROGRESSION, loss, id=loss) for loss in LOSSES),
    ],
)  # fmt: skip
def test_sample_weight_of_two_is_a_row_given_twice(Estimator, y, loss, solver):
    X = SETS[Estimator][0]
    parameters = {"loss": loss, "solver": solver, "max_iter": 10, "activation": "tanh"}
    # One batch of all rows, or an epoch would deal them out differently.
    weighted = network(Estimator, **parameters, batch_size=150).fit(X, y, sample_weight=WEIGHT)
    X, y = X.repeat(WEIGHT, axis=0), y.repeat(WEIGHT, axis=0)
    repeated = network(Estimator, **parameters, batch_size=300).fit(X, y)
    fits_alike(weighted, repeated)


@each("class_weight", [{0: 1, 1: 2, 2: 3}, "balanced"])
def test_class_weight_is_the_sample_weight_of_its_rows(class_weight):
    X, y = IRIS[:120], SPECIES[:120]  # of the last class only 20 rows
    named = network(class_weight=class_weight, max_iter=10).fit(X, y)
    weighted = network(max_iter=10).fit(X, y, sample_weight=compute_sample_weight(class_weight, y))
    fits_alike(named, weighted)


@both
def test_pickles_hold_the_parameters_and_no_data(Estimator):
    X, y = SETS[Estimator]
    few = network(Estimator, max_iter=2, early_stopping=True).fit(X, y)
    many = network(Estimator, max_iter=2, early_stopping=True).fit(np.tile(X, (50, 1)), np.tile(y, 50))
    assert abs(len(pickle.dumps(many)) - len(pickle.dumps(few))) < 100
    parameters = sum(array.nbytes for array in many.coefs_ + many.intercepts_)
    assert len(pickle.dumps(many)) < parameters + 50_000


@both
def test_fit_takes_no_hyperparameters(Estimator):
    """What only fit takes is data; the rest is for set_params, clones and grids."""
    data = {"self", "X", "y", "sample_weight", "X_val", "y_val", "sample_weight_val"}
    assert inspect.signature(Estimator.fit).parameters.keys() == data


@both
def test_nothing_is_written_and_nothing_is_said(Estimator, tmp_path):
    """In a process of its own, whose folder, home and streams can be looked at."""
    program = f"""
        from sklearn.datasets import load_iris
        from sknn import {Estimator.__name__}
        X, y = load_iris(return_X_y=True)
        network = {Estimator.__name__}(hidden_layer_sizes=(5,), max_iter=1000, tol=0.1).fit(X, y)
        network.predict(X), network.score(X, y)
    """
    places = {"HOME": str(tmp_path), "TMPDIR": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path)}
    said = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        cwd=tmp_path, env={**os.environ, **places}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert (said.stdout, said.stderr) == ("", "")
    assert list(tmp_path.iterdir()) == []


@both
def test_early_stopping_keeps_the_best_weights_not_the_last(Estimator):
    X, y = SETS[Estimator]
    # A rate that soon leads away from what was best.
    parameters = {"early_stopping": True, "learning_rate_init": 0.3, "n_iter_no_change": 5, "max_iter": 200}
    stopped = network(Estimator, **parameters).fit(X, y, X_val=X, y_val=y)
    assert stopped.validation_scores_[-1] < stopped.best_validation_score_ == max(stopped.validation_scores_)
    assert stopped.score(X, y) == pytest.approx(stopped.best_validation_score_, abs=1e-12)


@both
def test_a_grid_search_can_change_a_default_estimator(Estimator):
    """Every parameter of it, to each value in range."""
    X, y = SETS[Estimator]
    for name in Estimator().get_params():
        for value in RANGES[name][0]:
            changed = clone(Estimator()).set_params(**{name: value})
            assert str(changed.get_params()[name]) == str(value)
    grid = {"hidden_layer_sizes": [(3,), (5, 4)], "activation": ["tanh", "gelu"], "solver": ["adam", "lbfgs"]}
    folds = KFold(2, shuffle=True, random_state=0)
    search = GridSearchCV(Estimator(max_iter=20, random_state=0), grid, cv=folds).fit(X, y)
    assert search.best_estimator_.coefs_[0].shape[1] == search.best_params_["hidden_layer_sizes"][0]
    assert len(set(search.cv_results_["mean_test_score"])) > 4


class Operations(TorchDispatchMode):
    """Counts what is asked of torch."""

    count = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.count += 1
        return function(*args, **(kwargs or {}))


def operations_of_a_plain_loop(epochs):
    X, y = torch.tensor(IRIS), torch.tensor(SPECIES)
    module = torch.nn.Sequential(torch.nn.Linear(4, 10), torch.nn.ReLU(), torch.nn.Linear(10, 3)).double()
    optimizer = torch.optim.Adam(module.parameters(), foreach=False)
    with Operations() as operations:
        for _ in range(epochs):
            for rows in torch.randperm(len(X)).split(50):
                optimizer.zero_grad()
                torch.nn.functional.cross_entropy(module(X[rows]), y[rows]).backward()
                optimizer.step()
    return operations.count


@pytest.mark.global_rng  # the plain loop draws from torch's generator
def test_small_fits_are_not_slower_than_a_plain_loop():
    """On small data each call of torch costs the same, whatever it computes; times are for the benchmarks."""
    counts = []
    for epochs in (5, 15):
        with Operations() as operations:
            network(max_iter=epochs, batch_size=50, alpha=0).fit(IRIS, SPECIES)
        counts.append(operations.count)
    ours = counts[1] - counts[0]  # of ten epochs, without what a fit does once
    assert ours <= operations_of_a_plain_loop(15) - operations_of_a_plain_loop(5)
