"""The table of wrong calls that tests/test_bad_input.py makes: each with its error and what the message says."""

import re
from collections.abc import Callable
from math import inf, nan
from operator import methodcaller
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import scipy.sparse
import torch
from sklearn.exceptions import NotFittedError

from sknn import MLPTorchClassifier, MLPTorchRegressor

X = np.random.RandomState(0).standard_normal((30, 3))
Y = np.arange(30) % 3
TARGET = X[:, 0] + X[:, 1]
GOOD = {"hidden_layer_sizes": (4,), "max_iter": 2, "random_state": 0}
NAMED = pd.DataFrame(X, columns=["a", "b", "c"])
WITH_NAN, WITH_INF, HUGE = (np.where(np.arange(90).reshape(30, 3) == 7, value, X) for value in (np.nan, np.inf, 1e300))
COLUMNS = np.stack([Y, Y[::-1]], axis=1)
INDICATOR = np.stack([Y > 0, Y > 1], axis=1).astype(int)
ONES = np.ones(30)
# No machine has both.
MISSING_DEVICE = "mps" if torch.cuda.is_available() else "cuda"


class Wrong(NamedTuple):
    """One wrong call and what has to come of it."""

    name: str
    call: Callable[[Any], object]
    message: str
    error: type[Exception]
    Estimator: type
    before: Callable[[Any], object] | None
    """A right call, with right parameters, that the wrong one follows."""
    alike: bool
    """Whether scikit-learn's MLP raises for the same mistake, and not by accident."""
    fresh: bool
    """Whether the call is wrong only where nothing was fitted before."""
    parameters: dict[str, Any]


def wrong(name, call, message, error=ValueError, *, before=None, alike=True, fresh=False, **parameters):
    return Wrong(name, call, message, error, MLPTorchClassifier, before, alike, fresh, parameters)


def regression(*args, **kwargs):
    return wrong(*args, **kwargs)._replace(Estimator=MLPTorchRegressor)


def fit(*args, **kwargs):
    return methodcaller("fit", *args, **kwargs)


def stream(*args, **kwargs):
    return methodcaller("partial_fit", *args, **kwargs)


def fit_weighted(weight):
    return fit(X, Y, sample_weight=weight)


def fit_scored(X_val, y_val, weight=None):
    return fit(X, Y, X_val=X_val, y_val=y_val, sample_weight_val=weight)


first = stream(X, Y, classes=[0, 1, 2])

OF_X = [
    wrong("NaN in X", fit(WITH_NAN, Y), "Input X contains NaN"),
    wrong("NaN in sparse X", fit(scipy.sparse.csr_array(WITH_NAN), Y), "Input X contains NaN"),
    wrong("NaN in float32 X", fit(WITH_NAN.astype(np.float32), Y), "Input X contains NaN"),
    wrong("NA in X", fit(NAMED.astype("Float64").mask(NAMED > 1), Y), "Input X contains NaN"),
    wrong("infinity in X", fit(WITH_INF, Y), r"Input X contains infinity or a value too large for dtype\('float64'\)"),
    wrong("strings in X", fit(np.full((30, 3), "word"), Y), "could not convert string to float: .*'word'"),
    wrong("a column of strings", fit(NAMED.assign(b="word"), Y), "could not convert string to float: 'word'"),
    wrong("complex X", fit(X + 1j, Y), "Complex data not supported"),
    wrong("no rows", fit(X[:0], Y[:0]), r"0 sample\(s\) \(shape=\(0, 3\)\) while a minimum of 1 is required"),
    wrong("no columns", fit(X[:, :0], Y), r"0 feature\(s\) \(shape=\(30, 0\)\) while a minimum of 1 is required"),
    wrong("1-D X", fit(X[:, 0], Y), "Expected 2D array, got 1D array instead"),
    wrong("a number for X", fit(3.0, Y), "Expected 2D array, got scalar array instead"),
    wrong("None for X", fit(None, Y), "Expected 2D array, got scalar array instead"),
    wrong("3-D X", fit(X.reshape(10, 3, 3), Y[:10]), "Found array with dim 3, while dim <= 2 is required"),
    wrong("ragged X", fit([[1.0, 2.0], [1.0]] * 15, Y), "inhomogeneous shape"),
    wrong("rows of dicts", fit([{"a": 1}] * 30, Y), "must be a string or a real number, not 'dict'", TypeError),
    wrong("a generator", fit((row for row in X), Y), "real number, not 'generator'", TypeError),
    wrong("a sparse tensor", fit(torch.eye(30).to_sparse(), Y), "Sparse layout tensor", TypeError),
    wrong("names of two types", fit(NAMED.set_axis(["a", "b", 3], axis=1), Y), "all input features.*str", TypeError),
    wrong("values beyond float32", fit(HUGE, Y), r"X .*float32.*1e\+300.*3.4.*e\+38", alike=False, dtype="float32"),
    regression("overflow", fit(X * 1e200, TARGET), "non-finite parameter weights.*preprocessed"),
    # scikit-learn's MLP returns its initial weights, as if they had been the best.
    regression("overflow, stopped", fit(X * 1e200, TARGET), "non-finite", alike=False, early_stopping=True),
    regression("overflow, stream", stream(X * 1e200, TARGET), "non-finite", alike=False, solver="sgd"),
]

OF_Y = [
    wrong("no y", fit(X, None), "requires y to be passed, but the target y is None"),
    wrong("y too short", fit(X, Y[:-1]), r"inconsistent numbers of samples: \[30, 29\]"),
    wrong("3-D y", fit(X, np.ones((30, 2, 2), int)), "Found array with dim 3, while dim <= 2 is required"),
    wrong("complex y", fit(X, Y + 1j), "Complex data not supported"),
    wrong("ragged y", fit(X, [[1], [1, 2]] * 15), "inhomogeneous shape"),
    wrong("continuous labels", fit(X, TARGET), "Unknown label type: .*"),
    wrong("NaN among labels", fit(X, np.where(Y == 1, np.nan, Y)), "Input y contains NaN"),
    wrong("NaN among strings", fit(X, np.array(["a", np.nan] * 15, dtype=object)), "contains NaN"),
    wrong("NA among labels", fit(X, pd.Series(Y, dtype="Int64").mask(Y == 1)), "Input y contains NaN"),
    # scikit-learn's MLP fails at sorting them, with a TypeError.
    wrong("labels of two types", fit(X, np.array([1, "a"] * 15, dtype=object)), "label type: unknown", alike=False),
    wrong("numbers as objects", fit(X, Y.astype(object)), "Unknown label type"),
    wrong("bytes for labels", fit(X, np.array([b"a", b"b"] * 15)), "bytes is not supported. Convert", TypeError),
    wrong("sparse classes", fit(X, scipy.sparse.csr_array(COLUMNS + 1)), r"zeros and ones, got \[1 2 3\]", alike=False),
    regression("strings for numbers", fit(X, np.array(["low", "high"] * 15)), "to float: .*'low'", alike=False),
    regression("objects for numbers", fit(X, np.array(["low", "high"] * 15, dtype=object)), "to float: 'low'"),
    regression("NaN in y", fit(X, np.where(Y == 1, np.nan, TARGET)), "Input y contains NaN"),
    regression("infinity in y", fit(X, np.where(Y == 1, np.inf, TARGET)), "Input y contains infinity"),
    regression("3-D targets", fit(X, np.ones((30, 2, 2))), "Found array with dim 3, while dim <= 2 is required"),
    regression("negative counts", fit(X, TARGET), "poisson.*needs y >= 0, got.*-", alike=False, loss="poisson"),
    regression("targets beyond float32", fit(X, TARGET * 1e300), "y contains values too large", alike=False,
               dtype="float32"),
]  # fmt: skip

OF_WEIGHTS = [
    wrong("too few weights", fit_weighted(ONES[:-1]), r"sample_weight.shape == \(29,\), expected \(30,\)"),
    wrong("2-D weights", fit_weighted(ONES[:, None]), "must be 1D array or scalar, got 2D array"),
    wrong("NaN among weights", fit_weighted(WITH_NAN[:, 1]), "Input sample_weight contains NaN"),
    wrong("infinite weight", fit_weighted(WITH_INF[:, 1]), "Input sample_weight contains infinity"),
    wrong("strings for weights", fit_weighted(["heavy"] * 30), "could not convert string to float: 'heavy'"),
    wrong("weights all zero", fit_weighted(ONES * 0), "must contain at least one non-zero number"),
    # scikit-learn's MLP divides by the sum of all (ZeroDivisionError), or trains towards the worst.
    wrong("weights that cancel out", fit_weighted(np.tile([1.0, -1.0], 15)), "positive .*sum, got .*of 0", alike=False),
    wrong("weights all negative", fit_weighted(-ONES), "positive .*sum, got .*of -30", alike=False),
    regression("overflowing weights", fit(X, TARGET, ONES * 1e308), "finite sum, got a sum of inf", alike=False),
    wrong("weights beyond float32", fit_weighted(ONES * 2e37), "sample_weight .*too large.*6e", alike=False,
          dtype="float32"),
    wrong("weights in a stream", stream(X, Y, ONES[:5], classes=[0, 1, 2]), r"\(5,\), expected \(30,\)", fresh=True),
    wrong("other keywords", fit(X, Y, groups=Y), "unexpected keyword argument 'groups'", TypeError),
    wrong("four arguments", fit(X, Y, ONES, X), "positional arguments but 5 were given", TypeError),
]  # fmt: skip

OF_PREDICT = [
    *(
        wrong(f"{name} before fit", methodcaller(name, X), "not fitted yet. Call 'fit'", NotFittedError, fresh=True,
              alike=name != "decision_function")
        for name in ("predict", "predict_proba", "predict_log_proba", "decision_function")
    ),
    wrong("score before fit", methodcaller("score", X, Y), "not fitted yet. Call 'fit'", NotFittedError, fresh=True),
    wrong("classes_ before fit", lambda network: network.classes_, "no attribute 'classes_'", AttributeError,
          fresh=True),
    wrong("coefs_ before fit", lambda network: network.coefs_, "no attribute 'coefs_'", AttributeError, fresh=True),
    wrong("other width", methodcaller("predict", X[:, :2]), "X has 2 features, but .* expecting 3", before=fit(X, Y)),
    wrong("NaN in predict", methodcaller("predict", WITH_NAN), "Input X contains NaN", before=fit(X, Y)),
    wrong("one row as a vector", methodcaller("predict", X[0]), "Expected 2D array, got 1D", before=fit(X, Y)),
    wrong("nothing to predict", methodcaller("predict", X[:0]), r"0 sample\(s\)", before=fit(X, Y)),
    wrong("names in other order", methodcaller("predict", NAMED[["b", "a", "c"]]), "must be in the same order",
          before=fit(NAMED, Y)),
    wrong("other names", methodcaller("predict", NAMED.rename(columns={"a": "z"})), "Feature names unseen.*\n- z",
          before=fit(NAMED, Y)),
    wrong("beyond float32", methodcaller("predict", HUGE), r"X .*float32.*1e\+300", alike=False,
          before=lambda network: network.set_params(dtype="float32").fit(X, Y)),
    wrong("score of other rows", methodcaller("score", X, COLUMNS[:1]), r"of shape \(30, 2\).*got \(1, 2\)",
          alike=False, before=fit(X, COLUMNS)),
    wrong("score of one column", methodcaller("score", X, Y), r"of shape \(30, 2\).*got \(30,\)", alike=False,
          before=fit(X, COLUMNS)),
    wrong("score with too few weights", methodcaller("score", X, COLUMNS, ONES[:5]), "inconsistent numbers of samples",
          alike=False, before=fit(X, COLUMNS)),
    wrong("other number of layers", lambda network: setattr(network, "coefs_", [X]),
          r"coefs_ must have the shapes \[\(3, 4\), \(4, 3\)\], got \[\(30, 3\)\]", before=fit(X, Y), alike=False),
    wrong("other shape of biases", lambda network: setattr(network, "intercepts_", [ONES, ONES]),
          r"intercepts_ must have the shapes \[\(4,\), \(3,\)\], got \[\(30,\), \(30,\)\]", before=fit(X, Y),
          alike=False),
]  # fmt: skip

OF_STREAMS = [
    wrong("no classes", stream(X, Y), "classes must be passed on the first call to partial_fit", fresh=True),
    wrong("a class not announced", stream(X, Y, classes=[0, 1]), r"not in `self.classes_`.*\[0 1\].*\[0 1 2\]",
          fresh=True),
    wrong("NaN announced", stream(X, Y, classes=[0, 1, 2, np.nan]), "contains NaN", fresh=True),
    wrong("a number of classes", stream(X, Y, classes=3), "Expected array-like.*got 3", fresh=True),
    wrong("announced as strings", stream(X, Y, classes=["0", "1", "2"]), r"\['0' '1' '2'\].*\[0 1 2\]", fresh=True),
    wrong("a new class", stream(X, Y + 1), r"not in `self.classes_`.*\[0 1 2\].*\[1 2 3\]", before=first),
    wrong("a new indicator", stream(X, scipy.sparse.csr_array(COLUMNS)), r"\[0 1\].*\[1 2\]", alike=False,
          before=fit(X, scipy.sparse.csr_array(INDICATOR))),
    wrong("labels as strings", stream(X, Y.astype(str)), r"not in `self.classes_`.*\['0' '1' '2'\]", before=first),
    wrong("other classes", stream(X, Y, classes=[0, 1]), "is not the same as on last call to partial_fit, was: .*2",
          before=first),
    wrong("y of two columns", stream(X, COLUMNS), r"y has 2 column\(s\) .*learned 1 column", before=first),
    wrong("fewer features", stream(X[:, :2], Y), "X has 2 features, but .* is expecting 3", before=first),
    wrong("features reordered", stream(NAMED[["b", "a", "c"]], Y), "must be in the same order",
          before=stream(NAMED, Y, classes=[0, 1, 2])),
    wrong("NaN in a stream", stream(WITH_NAN, Y), "Input X contains NaN", before=first),
    wrong("continuous stream", stream(X, TARGET), "Unknown label type: ", before=first),
    wrong("no stream of lbfgs", first, "has no attribute 'partial_fit'", AttributeError, solver="lbfgs"),
    wrong("stream that stops early", first, "does not support early_stopping=True", early_stopping=True),
    wrong("balanced stream", first, "'balanced' is not supported by partial_fit", alike=False, class_weight="balanced"),
    wrong("other network", stream(X, Y), "(?s)network of the fit before.*5", before=first, alike=False,
          hidden_layer_sizes=(5,)),
    regression("no classes of numbers", stream(X, TARGET, classes=[0]), "unexpected keyword.*'classes'", TypeError),
    regression("other number of targets", stream(X, X), r"y has 3 column\(s\), but .* learned 1",
               before=stream(X, TARGET)),
    # scikit-learn's MLPRegressor begins a new fit.
    regression("lbfgs stream", stream(X, TARGET), "has no attribute 'partial_fit'", AttributeError, alike=False,
               solver="lbfgs"),
    regression("other link", stream(X, Y), "'identity'.*'poisson' predicts.*'exp'", before=stream(X, TARGET),
               alike=False, loss="poisson"),
]  # fmt: skip

OF_WARM_STARTS = [
    wrong("warm start, other classes", fit(X, Y + 1), r"same classes as .*\[0 1 2\], `y` has \[1 2 3\]",
          before=fit(X, Y), warm_start=True),
    wrong("warm start, fewer classes", fit(X, Y % 2), r"same classes as .*\[0 1 2\], `y` has \[0 1\]",
          before=fit(X, Y), warm_start=True),
    wrong("warm start, other width", fit(X[:, :2], Y), "X has 2 features, but .* is expecting 3", before=fit(X, Y),
          warm_start=True),
    # scikit-learn's MLP goes on with the old layers, or fails with an AttributeError of None.
    wrong("warm start, other layers", fit(X, Y), "(?s)network of the fit before.*7", before=fit(X, Y), alike=False,
          warm_start=True, hidden_layer_sizes=(7,)),
    wrong("warm start, more layers", fit(X, Y), r"network of the fit before.*described are.*\(4, 4\)",
          before=fit(X, Y), alike=False, warm_start=True, hidden_layer_sizes=(4, 4)),
    regression("warm start, other targets", fit(X, X), r"y has 3 column\(s\), but .* learned 1",
               before=fit(X, TARGET), warm_start=True),
    regression("warm start, other link", fit(X, Y), "'exp'.*'huber' predicts.*'identity'", alike=False,
               before=lambda network: network.set_params(loss="poisson").fit(X, Y), warm_start=True, loss="huber"),
]  # fmt: skip

OF_VALIDATION = [
    wrong("X_val alone", fit(X, Y, X_val=X), "both X_val and y_val, but y_val was not given", alike=False),
    wrong("y_val alone", fit(X, Y, y_val=Y), "both X_val and y_val, but X_val was not given", alike=False),
    wrong("their weights alone", fit(X, Y, sample_weight_val=ONES), "both X_val and y_val", alike=False),
    wrong("X_val of other width", fit_scored(X[:, :2], Y), "X has 2 features, .* expecting 3", alike=False),
    wrong("NaN in X_val", fit_scored(WITH_NAN, Y), "Input X contains NaN", alike=False),
    wrong("y_val too short", fit_scored(X, Y[:9]), r"inconsistent numbers of samples: \[30, 9\]", alike=False),
    wrong("y_val of a new class", fit_scored(X, Y + 1), r"not in `self.classes_`.*\[1 2 3\]", alike=False),
    wrong("y_val of two columns", fit_scored(X, COLUMNS), r"y has 2 column\(s\) .*learned 1", alike=False),
    wrong("their weights all zero", fit_scored(X, Y, ONES * 0), "at least one non-zero", alike=False),
    wrong("their weights cancel", fit_scored(X, Y, np.tile([1.0, -1.0], 15)), "sample_weight_val .*of 0", alike=False),
    regression("one row to validate", fit_scored(X[:1], TARGET[:1]), "2 rows for R2 .*got 1", alike=False),
    wrong("one row", fit(X[:1], Y[:1]), "n_samples=1, test_size=0.1.*train set will be empty", early_stopping=True),
    wrong("a fraction below 2 rows", fit(X, Y), "set is too small. Increase 'validation_fraction'",
          early_stopping=True, validation_fraction=0.01),
    wrong("a fraction of 0", fit(X, Y), r"test_size=0.0 should be .* \(0, 1\) range", early_stopping=True,
          validation_fraction=0.0),
    wrong("a fraction of all", fit(X, Y), "train set will be empty", early_stopping=True, validation_fraction=0.99),
    wrong("one row of a class to split", fit(X, np.arange(30) < 1), "least populated class.* 1", early_stopping=True),
]  # fmt: skip

OF_COMBINATIONS = [
    wrong("no neurons", fit(X, Y), r"must be > 0, got \[0\]", hidden_layer_sizes=(0,)),
    wrong("fewer than no neurons", fit(X, Y), r"must be > 0, got \[5, -3\]", hidden_layer_sizes=(5, -3)),
    wrong("parts of neurons", fit(X, Y), r"must be integers, got \(2.5,\)", TypeError, hidden_layer_sizes=(2.5,)),
    wrong("bools for neurons", fit(X, Y), r"must be integers, got \(True,\)", TypeError, hidden_layer_sizes=(True,)),
    wrong("layers in layers", fit(X, Y), r"must be integers, got \[\[5\]\]", TypeError, hidden_layer_sizes=[[5]]),
    wrong("lbfgs with dropout", fit(X, Y), "lbfgs.*got dropout=0.5", alike=False, solver="lbfgs", dropout=0.5),
    wrong("lbfgs with batch norm", fit(X, Y), "lbfgs.*batch_norm=True", alike=False, solver="lbfgs", batch_norm=True),
    wrong("batch norm of one", fit(X, Y), "at least 2 rows, got batch_size=1", alike=False, batch_norm=True,
          batch_size=1),
    wrong("batch norm of one row", fit(X[:1], Y[:1]), "n_samples=1", alike=False, batch_norm=True),
    wrong("device unknown", fit(X, Y), "device must be 'auto', 'cpu', .* got 'gpu'", alike=False, device="gpu"),
    wrong("device missing", fit(X, Y), f"'{MISSING_DEVICE}' was asked for, but .*only.*cpu", alike=False,
          device=MISSING_DEVICE),
    wrong("device not there", fit(X, Y), r"'cuda:97' was asked for, but .*only", alike=False, device="cuda:97"),
    wrong("class_weight of other classes", fit(X, Y), r"classes, \[0, 1, 2\], are not in class_weight", alike=False,
          class_weight={7: 2.0}),
    wrong("class_weight NaN", fit(X, Y), "times class weights, .*sum of nan", alike=False, class_weight={0: np.nan}),
    wrong("class_weight zero", fit(X, Y), "times class weights, .*sum of 0", alike=False,
          class_weight={0: 0, 1: 0, 2: 0}),
    wrong("class_weight for one of two columns", fit(X, COLUMNS), "should match number of outputs", alike=False,
          class_weight=[{0: 1.0}]),
    wrong("one class_weight for two columns", fit(X, COLUMNS), "should be a list of dicts", alike=False,
          class_weight={0: 1.0}),
    wrong("unknown parameter", methodcaller("set_params", depth=3), "(?s)Invalid parameter 'depth'.*Valid parameters"),
]  # fmt: skip

# Parameter -> values that are just right, and values that are wrong.
RANGES = {
    "hidden_layer_sizes": ([(), 1, [1], np.array([2, 1])], [0, -1, 2.0, "4", None]),
    "activation": (["relu", "gelu"], ["swish", None]),
    "solver": (["lbfgs", "adagrad"], ["adamax", None]),
    "alpha": ([0, 1e3], [-1e-9, inf, nan, "0.1"]),
    "batch_size": (["auto", 1, 30], [0, -5, 2.5, "all", None]),
    "learning_rate": (["constant", "onecycle"], ["linear", None]),
    "learning_rate_init": ([1e-300, 1.0], [0.0, -0.1, inf, nan]),
    "power_t": ([0, 3.0], [-0.1, inf, nan]),
    "max_iter": ([1], [0, -1, 2.5, inf]),
    "shuffle": ([True, False], ["yes", None]),
    "random_state": ([0, 2**32 - 1, np.random.RandomState(0)], [-1, 2**32, 0.5, "x"]),
    "tol": ([0], [-1e-9, inf, nan]),
    "verbose": ([0, False], [-1, "loud"]),
    "warm_start": ([True, False], ["yes", None]),
    "momentum": ([0, 1], [-0.1, 1.1, nan]),
    "nesterovs_momentum": ([True, False], ["yes", None]),
    "early_stopping": ([True, False], ["yes", None]),
    "validation_fraction": ([0, 0.99], [-0.1, 1.0, nan]),
    "beta_1": ([0, 0.99], [-0.1, 1.0, nan]),
    "beta_2": ([0, 0.99], [-0.1, 1.0, nan]),
    "epsilon": ([1e-300, 1.0], [0.0, -1e-9, inf, nan]),
    "n_iter_no_change": ([1, inf], [0, 1.5, nan]),
    "max_fun": ([1], [0, 1.5]),
    "loss": ([], ["hinge", None]),
    "label_smoothing": ([0, 0.99], [-0.1, 1.0, nan]),
    "focal_gamma": ([0, 9.0], [-0.1, inf, nan]),
    "class_weight": (["balanced", {0: 1, 1: 2, 2: 3}, None], ["auto", 2.0]),
    "huber_delta": ([1e-9, 1e9], [0.0, -1.0, inf, nan]),
    "quantile": ([1e-9, 1 - 1e-9], [0.0, 1.0, nan]),
    "dropout": ([0, 0.99], [-0.1, 1.0, nan]),
    "batch_norm": ([True, False], ["yes", None]),
    "weight_init": (["normal", "lecun_normal"], ["zeros", None]),
    "n_ensemble": ([1, 3], [0, -1, 1.5, None]),
    "max_grad_norm": ([1e-9, 1e9, None], [0.0, -1.0, inf, nan]),
    "device": (["cpu"], [None, 0]),
    "dtype": (["float32", "float64", "bfloat16"], ["float16", np.float32, None]),
}


def out_of_range(name, value):
    message = rf"The '{name}' parameter of .* must be .*\. Got {re.escape(repr(value))} instead"
    for make, Estimator, y in ((wrong, MLPTorchClassifier, Y), (regression, MLPTorchRegressor, TARGET)):
        if name in Estimator().get_params():
            yield make(f"{name}={value!r}", fit(X, y), message, **{name: value})


CALLS = [
    *OF_X, *OF_Y, *OF_WEIGHTS, *OF_PREDICT, *OF_STREAMS, *OF_WARM_STARTS, *OF_VALIDATION, *OF_COMBINATIONS,
    *(call for name, (_, values) in RANGES.items() for value in values for call in out_of_range(name, value)),
]  # fmt: skip
