"""scikit-learn's own checks, on every public estimator with default arguments."""

import inspect
import os
from unittest import SkipTest

import pytest
from sklearn.base import is_classifier
from sklearn.utils.estimator_checks import (
    check_dataframe_column_names_consistency,
    check_estimator,
    check_inplace_ensure_writeable,
    check_param_validation,
    estimator_checks_generator,
)

import sknn

ESTIMATORS = [
    obj
    for name, obj in vars(sknn).items()
    if name in sknn.__all__ and inspect.isclass(obj) and issubclass(obj, sknn.base.BaseTorchEstimator)
]
BEYOND = [check_param_validation, check_dataframe_column_names_consistency, check_inplace_ensure_writeable]

pytestmark = [
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
    pytest.mark.filterwarnings("ignore:.*which are no square image:UserWarning"),
    pytest.mark.global_rng,
]


def name_of(check):
    name = getattr(check, "__name__", None) or check.func.__name__
    options = getattr(check, "keywords", {})
    return name + "".join(f"-{key}={value}" for key, value in options.items())


CHECKS = {
    estimator: [check for _, check in estimator_checks_generator(estimator())] + BEYOND for estimator in ESTIMATORS
}


@pytest.mark.parametrize(
    ("estimator", "check"),
    [
        pytest.param(estimator, check, id=f"{estimator.__name__}-{name_of(check)}")
        for estimator, checks in CHECKS.items()
        for check in checks
    ],
)
def test_check_passes(estimator, check):
    try:
        if check in BEYOND:
            check(estimator.__name__, estimator())
        else:
            check(estimator())
    except SkipTest as reason:
        pytest.fail(f"skipped: {reason}")


@pytest.mark.parametrize("estimator", [sknn.MLPTorchClassifier, sknn.MLPTorchRegressor])
def test_ensembles_pass_as_well(estimator):
    results = check_estimator(estimator(n_ensemble=2), on_fail=None, on_skip=None)
    assert len(results) >= len(CHECKS[estimator]) - len(BEYOND)
    assert {result["status"] for result in results} == {"passed"}


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_every_check_is_yielded(estimator):
    """Tags that promise less make checks disappear; these are the numbers of scikit-learn 1.9 for honest tags."""
    assert os.environ["SCIPY_ARRAY_API"] == "1", "scikit-learn skips its array API check without"
    n_checks = len(CHECKS[estimator]) - len(BEYOND)
    assert n_checks == (69 if is_classifier(estimator()) else 61)


def test_estimators_are_found():
    assert {estimator.__name__ for estimator in ESTIMATORS} == {
        "LeNetClassifier", "LeNetRegressor", "MLPTorchClassifier", "MLPTorchRegressor", "TorchClassifier",
        "TorchRegressor",
    }  # fmt: skip
