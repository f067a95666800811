"""With the same random_state and float64, fits equal those of scikit-learn's MLP: weights, curves, counts, warnings."""

import inspect
import warnings

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
from sklearn.base import is_classifier
from sklearn.datasets import load_iris, make_multilabel_classification, make_regression
from sklearn.linear_model import Ridge
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.utils._param_validation import StrOptions

from sknn import MLPTorchClassifier, MLPTorchRegressor

OURS = {MLPClassifier: MLPTorchClassifier, MLPRegressor: MLPTorchRegressor}
IRIS, LABELS = (part[::2] for part in load_iris(return_X_y=True))
# Labels that no network separates: scikit-learn clips probabilities in its loss at 2e-16, and reports and follows
# another one beyond.
LABELS = np.where(np.arange(75) % 7 == 0, (LABELS + 1) % 3, LABELS)
IRIS = (IRIS - IRIS.mean(axis=0)) / IRIS.std(axis=0)
MANY, INDICATOR = make_multilabel_classification(60, n_features=5, n_classes=3, random_state=0)
MANY = MANY / 20
REAL, TARGET = make_regression(60, 5, n_targets=3, noise=5.0, random_state=0)
TARGET = TARGET / 100
SETS = {
    "binary": (MLPClassifier, {}, IRIS, np.array(["no", "yes"])[(LABELS > 0).astype(int)]),
    "multiclass": (MLPClassifier, {}, IRIS, LABELS + 5),
    "multilabel": (MLPClassifier, {}, MANY, INDICATOR),
    "one class": (MLPClassifier, {}, IRIS, np.zeros(len(IRIS), dtype=int)),
    "regression": (MLPRegressor, {}, REAL, TARGET[:, 0]),
    "poisson": (MLPRegressor, {"loss": "poisson"}, REAL, np.abs(TARGET[:, 0])),
    "poisson of several": (MLPRegressor, {"loss": "poisson"}, REAL, np.abs(TARGET)),
    "several outputs": (MLPRegressor, {}, REAL, TARGET),
}
KINDS = pytest.mark.parametrize("kind", ["binary", "multiclass", "multilabel", "regression", "poisson"])
SOLVERS = {
    "adam": {},
    "adam, other moments": {"beta_1": 0.5, "beta_2": 0.8, "epsilon": 0.1},
    "sgd": {"solver": "sgd"},
    "sgd, invscaling": {"solver": "sgd", "learning_rate": "invscaling", "power_t": 0.2},
    "sgd, adaptive": {
        "solver": "sgd", "learning_rate": "adaptive", "learning_rate_init": 0.1, "tol": 0.05, "n_iter_no_change": 2,
    },
    "sgd, plain momentum": {"solver": "sgd", "nesterovs_momentum": False},
    "sgd, no momentum": {"solver": "sgd", "momentum": 0},
    "lbfgs": {"solver": "lbfgs", "max_iter": 15, "activation": "tanh", "alpha": 1.0},  # no long steps, which saturate
}  # fmt: skip
OPTIONS = {
    "unshuffled": {"shuffle": False},
    "small batches": {"batch_size": 7},
    "one batch": {"batch_size": 60},
    "stopped by loss": {"tol": 0.02, "n_iter_no_change": 2},
    "never stopped": {"tol": 1e9, "n_iter_no_change": np.inf},
    "stopped by score": {"early_stopping": True, "n_iter_no_change": 3},
    "a third held out": {"early_stopping": True, "validation_fraction": 0.3, "solver": "sgd"},
    "strong penalty": {"alpha": 3.0},
    "no penalty": {"alpha": 0.0},
    "no hidden layer": {"hidden_layer_sizes": ()},
    "one number of neurons": {"hidden_layer_sizes": 6},
    "logistic": {"activation": "logistic"},
    "tanh": {"activation": "tanh"},
    "identity": {"activation": "identity", "hidden_layer_sizes": [4]},
}
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def pair(kind, **options):
    """Return scikit-learn's estimator and ours with the same parameters, and data."""
    theirs, fixed, X, y = SETS[kind]
    options = {"hidden_layer_sizes": (5, 4), "max_iter": 30, "learning_rate_init": 0.01, "random_state": 0, **options}
    if kind == "several outputs":
        # scikit-learn reports the mean of the squared errors over outputs, but follows the gradient of the sum, which
        # is what we report: plateaus of the two differ.
        options["tol"] = 0.0
    return *(cls(**{**options, **fixed}) for cls in (theirs, OURS[theirs])), X, y


def assert_same(theirs, ours, X, tolerance=1e-7):
    for name in ("coefs_", "intercepts_"):
        for computed, expected in zip(getattr(ours, name), getattr(theirs, name), strict=True):
            np.testing.assert_allclose(computed, expected, atol=tolerance)
            assert computed.dtype == expected.dtype
    for name in ("n_iter_", "t_", "n_layers_", "n_outputs_", "out_activation_", "n_features_in_"):
        assert getattr(ours, name) == getattr(theirs, name), name
    assert_same_predictions(theirs, ours, X, tolerance)
    if ours.n_outputs_ > 1 and ours.out_activation_ == "identity":
        return  # the loss; see `pair`
    for name in ("loss_", "best_loss_", "loss_curve_", "validation_scores_", "best_validation_score_"):
        expected = getattr(theirs, name, None)  # most are missing with L-BFGS
        if expected is not None:
            np.testing.assert_allclose(getattr(ours, name), expected, rtol=1e-7, atol=tolerance)
        elif hasattr(theirs, name):
            assert getattr(ours, name) is None


def assert_same_predictions(theirs, ours, X, tolerance=1e-7):
    if not is_classifier(theirs):
        np.testing.assert_allclose(ours.predict(X), theirs.predict(X), rtol=tolerance, atol=tolerance)
        return
    np.testing.assert_array_equal(ours.classes_, theirs.classes_)
    np.testing.assert_array_equal(ours.predict(X), theirs.predict(X))
    if len(theirs.classes_) > 1:  # scikit-learn gives the probability of a second class that there is not
        np.testing.assert_allclose(ours.predict_proba(X), theirs.predict_proba(X), atol=tolerance)
        np.testing.assert_allclose(ours.predict_log_proba(X), theirs.predict_log_proba(X), rtol=1e-5, atol=tolerance)


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("kind", SETS)
def test_solver(kind, solver):
    if (kind, solver) == ("several outputs", "lbfgs"):  # its line search meets a gradient of another function
        X, y = REAL, TARGET
        ours = MLPTorchRegressor(hidden_layer_sizes=(), solver="lbfgs", alpha=2.0, max_iter=1000, tol=1e-8)
        ours.set_params(random_state=0).fit(X, y)
        np.testing.assert_allclose(ours.predict(X), Ridge(alpha=2.0).fit(X, y).predict(X), atol=1e-5)
        return
    theirs, ours, X, y = pair(kind, **SOLVERS[solver])
    assert_same(theirs.fit(X, y), ours.fit(X, y), X)


@pytest.mark.parametrize("option", OPTIONS)
@pytest.mark.parametrize("kind", SETS)
def test_option(kind, option):
    theirs, ours, X, y = pair(kind, **OPTIONS[option])
    assert_same(theirs.fit(X, y), ours.fit(X, y), X)


@pytest.mark.parametrize("option", ["adam", "sgd, adaptive", "lbfgs", "stopped by score"])
@KINDS
def test_sample_weight(kind, option):
    theirs, ours, X, y = pair(kind, **{**SOLVERS, **OPTIONS}[option])
    weight = np.linspace(0.2, 3.0, len(X))
    assert_same(theirs.fit(X, y, weight), ours.fit(X, y, weight), X)


def test_loss_of_several_outputs_is_the_sum():
    theirs, ours, X, y = pair("several outputs", alpha=0.0)
    theirs.fit(X, y)
    np.testing.assert_allclose(ours.fit(X, y).loss_curve_, 3 * np.array(theirs.loss_curve_), rtol=1e-9)


@pytest.mark.parametrize("options", [{}, SOLVERS["sgd, invscaling"], {"tol": 0.05}, SOLVERS["lbfgs"]], ids=str)
@KINDS
def test_warm_start(kind, options):
    theirs, ours, X, y = pair(kind, **options, warm_start=True)
    for max_iter in (5, 5, 30):
        for network in (theirs, ours):
            network.set_params(max_iter=max_iter).fit(X, y)
        assert_same(theirs, ours, X)


@KINDS
def test_warm_start_with_early_stopping(kind):
    theirs, ours, X, y = pair(kind, warm_start=True, early_stopping=True, max_iter=10)
    for _ in range(2):
        theirs.fit(X, y)
        ours.fit(X, y)
        for name in ("loss_curve_", "validation_scores_", "n_iter_"):
            np.testing.assert_allclose(getattr(ours, name), getattr(theirs, name), rtol=1e-7)
    # Neither the weights nor the best score are compared: in a second fit scikit-learn overwrites the best weights with
    # the last, and keeps the best score of the fit before, whose validation rows were others.


@pytest.mark.parametrize("solver", [name for name in SOLVERS if name != "lbfgs"])
@KINDS
def test_partial_fit(kind, solver):
    theirs, ours, X, y = pair(kind, **SOLVERS[solver], batch_size=8)
    first = {"classes": np.unique(y) if y.ndim == 1 else np.arange(3)} if is_classifier(ours) else {}
    parts = [slice(0, 20), slice(20, 50), slice(50, 60), slice(0, 20), slice(0, 60)] * 3
    for i, part in enumerate(parts):
        for network in (theirs, ours):
            network.partial_fit(X[part], y[part], None if i % 2 else np.linspace(1, 2, len(X[part])), **first)
    assert_same(theirs, ours, X)


@KINDS
def test_partial_fit_goes_on_from_fit(kind):
    # Without momentum: our fit leaves no solver behind, for pickles to be small.
    theirs, ours, X, y = pair(kind, solver="sgd", momentum=0)
    for network in (theirs, ours):
        network.fit(X, y).partial_fit(X, y)
    assert_same(theirs, ours, X)


def test_fit_after_partial_fit_starts_anew():
    theirs, ours, X, y = pair("multiclass")
    for network in (theirs, ours):
        network.partial_fit(X[:20], y[:20], classes=np.unique(y)).fit(X, y)
    assert_same(theirs, ours, X)


@pytest.mark.parametrize("container", [scipy.sparse.csr_matrix, scipy.sparse.csc_array, scipy.sparse.coo_array])
@pytest.mark.parametrize("kind", ["multiclass", "regression"])
def test_sparse_input(kind, container):
    theirs, ours, X, y = pair(kind)
    X = container(np.where(X > 0, X, 0))
    assert_same(theirs.fit(X, y), ours.fit(X, y), X)


@pytest.mark.parametrize("dtype", [np.int8, np.int64, bool, np.float16])
def test_other_dtypes_are_float64(dtype):
    theirs, ours, X, y = pair("multiclass")
    X = (X * 2).astype(dtype)
    assert_same(theirs.fit(X, y), ours.fit(X, y), X)


@pytest.mark.parametrize("solver", ["adam", "sgd", "sgd, adaptive"])
@KINDS
def test_float32(kind, solver):
    """Rounding sets the two apart slowly: few epochs, and a tolerance of float32."""
    theirs, ours, X, y = pair(kind, **{**SOLVERS[solver], "max_iter": 5})
    X = X.astype(np.float32)
    assert_same(theirs.fit(X, y), ours.fit(X, y), X, tolerance=2e-5)


@KINDS
@pytest.mark.parametrize("in_place", [False, True])
def test_weights_copied_in_predict_alike(kind, in_place):
    theirs, ours, X, y = pair(kind)
    theirs.fit(X, y)
    ours.set_params(random_state=1, max_iter=1).fit(X, y)
    if in_place:
        for name in ("coefs_", "intercepts_"):
            for target, source in zip(getattr(ours, name), getattr(theirs, name), strict=True):
                target[:] = source
    else:
        ours.coefs_, ours.intercepts_ = theirs.coefs_, theirs.intercepts_
    assert_same_predictions(theirs, ours, X, tolerance=1e-12)


@pytest.mark.parametrize("seed", [np.random.RandomState, lambda seed: seed])
def test_random_state_of_each_kind(seed):
    theirs, ours, X, y = pair("multiclass")
    for network in (theirs, ours):
        network.set_params(random_state=seed(5)).fit(X, y)
    assert_same(theirs, ours, X)


@pytest.mark.global_rng
def test_without_random_state_numpys_global_generator_decides():
    theirs, ours, X, y = pair("multiclass", random_state=None, early_stopping=True)
    for network in (theirs, ours):
        np.random.seed(3)  # noqa: NPY002
        network.fit(X, y)
    assert_same(theirs, ours, X)


# --- what they say ---


def warnings_of(network, X, y):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        network.fit(X, y)
    return [(warning.category, str(warning.message)) for warning in caught]


@pytest.mark.parametrize(
    ("options", "n_warnings"),
    [
        ({}, 1),
        ({"batch_size": 1000}, 2),
        ({"batch_size": 1000, "tol": 1.0, "n_iter_no_change": 2}, 1),
        ({"tol": 1.0, "n_iter_no_change": 2}, 0),
        ({"solver": "lbfgs", "max_iter": 3}, 1),
        ({"solver": "lbfgs", "max_fun": 3}, 1),
        ({"solver": "lbfgs", "max_iter": 3, "batch_size": 1000}, 1),
        ({"solver": "lbfgs", "tol": 0.1}, 0),
    ],
    ids=str,
)
def test_warnings(options, n_warnings):
    theirs, ours, X, y = pair("multiclass", **options)
    expected, told = warnings_of(theirs, X, y), warnings_of(ours, X, y)
    assert len(told) == len(expected) == n_warnings
    for (category, message), (their_category, their_message) in zip(told, expected, strict=True):
        assert category is their_category
        # L-BFGS ends with a reason of scipy's, on a line of its own, and with advice.
        beginning = their_message.split("\n")[0].rstrip(":. ")
        assert message.startswith(beginning)
    if "solver" in options and n_warnings:
        assert their_message.split("\n")[1].strip() in message


@pytest.mark.parametrize(
    "options",
    [
        {"tol": 0.1, "n_iter_no_change": 2},
        {"early_stopping": True, "n_iter_no_change": 3},
        SOLVERS["sgd, adaptive"],
    ],
    ids=["loss", "score", "adaptive"],
)
def test_verbose_tells_what_scikit_learns_does(options, capsys):
    theirs, ours, X, y = pair("multiclass", **options, verbose=True)
    theirs.fit(X, y)
    expected = capsys.readouterr().out.splitlines()
    ours.fit(X, y)
    told = capsys.readouterr().out.splitlines()
    epochs = [line for line in expected if line.startswith("Iteration")]
    assert len(epochs) == ours.n_iter_
    assert [line for line in told if not line.startswith("Iteration")] == [
        line for line in expected if "did not improve" in line
    ]
    for line, number in zip([line for line in told if line.startswith("Iteration")], range(1, 31), strict=False):
        assert line.startswith(f"Iteration {number}/30, loss = {theirs.loss_curve_[number - 1]:.4f}")
        assert ("validation score" in line) == ("early_stopping" in options)


# --- what they take and keep ---


@pytest.mark.parametrize("theirs", OURS)
def test_constructor_takes_scikit_learns_parameters(theirs):
    expected, ours = (inspect.signature(cls).parameters for cls in (theirs, OURS[theirs]))
    shared = [name for name in ours if name in expected]
    assert shared == list(expected) == list(ours)[: len(expected)]
    for name, parameter in expected.items():
        assert ours[name].kind == parameter.kind, name
        assert ours[name].default == parameter.default, name
    assert all(ours[name].kind == inspect.Parameter.KEYWORD_ONLY for name in ours if name not in expected)
    for name, constraints in theirs._parameter_constraints.items():
        for options in (constraint for constraint in constraints if isinstance(constraint, StrOptions)):
            taken = [c.options for c in OURS[theirs]._parameter_constraints[name] if isinstance(c, StrOptions)]
            assert options.options <= taken[0], name


@pytest.mark.parametrize("theirs", OURS)
def test_methods_take_scikit_learns_arguments(theirs):
    for name in ("fit", "partial_fit", "predict", "predict_proba", "predict_log_proba", "score"):
        if hasattr(theirs, name):
            expected, ours = (inspect.signature(getattr(cls, name)).parameters for cls in (theirs, OURS[theirs]))
            assert list(ours)[: len(expected)] == list(expected), name
            for argument, parameter in expected.items():
                assert (ours[argument].kind, ours[argument].default) == (parameter.kind, parameter.default)


@pytest.mark.parametrize("option", ["adam", "stopped by score", "lbfgs", "no hidden layer"])
@pytest.mark.parametrize("kind", [kind for kind in SETS if kind != "several outputs"])
def test_fitted_attributes(kind, option):
    theirs, ours, X, y = pair(kind, **{**SOLVERS, **OPTIONS}[option])
    X = pd.DataFrame(X, columns=[f"column {j}" for j in range(X.shape[1])])
    theirs.fit(X, y)
    ours.fit(X, y)
    public = [name for name in vars(theirs) if name.endswith("_") and not name.startswith("_")]
    assert {"coefs_", "n_iter_", "loss_", "feature_names_in_"} <= set(public)
    for name in public:
        expected, value = getattr(theirs, name), getattr(ours, name)
        assert isinstance(expected, type(value)), name
        if isinstance(expected, list):
            assert [np.shape(item) for item in value] == [np.shape(item) for item in expected], name
        else:
            assert np.shape(value) == np.shape(expected), name
        if isinstance(expected, np.ndarray):
            assert value.dtype == expected.dtype, name
