"""Searches over joblib's backends, a cluster of dask among them, against the same searches in one process."""

import joblib
import numpy as np
import pytest
import sklearn.model_selection
import torch
from sklearn.datasets import load_iris
from threadpoolctl import threadpool_info

import sknn.model_selection
from sknn import MLPTorchClassifier

X, Y = load_iris(return_X_y=True)
GRID = {"alpha": [0.01, 1.0], "dropout": [0.0, 0.3]}  # fits that train together and fits that do not
NETWORK = MLPTorchClassifier((5,), max_iter=5, batch_size=40, random_state=0)
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@pytest.fixture(scope="module")
def cluster():
    distributed = pytest.importorskip("distributed")
    with (
        distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster,
        distributed.Client(cluster),
    ):
        yield


@pytest.fixture(params=["loky", "threading", "dask"])
def backend(request):
    if request.param == "dask":
        request.getfixturevalue("cluster")
    with joblib.parallel_config(request.param):
        yield request.param


@pytest.mark.parametrize("module", [sknn.model_selection, sklearn.model_selection])
def test_a_search_comes_to_the_same(module, backend):
    with joblib.parallel_config("sequential"):
        expected = sklearn.model_selection.GridSearchCV(NETWORK, GRID, cv=2).fit(X, Y)
    found = module.GridSearchCV(NETWORK, GRID, cv=2, n_jobs=2).fit(X, Y)
    for fold in range(2):
        name = f"split{fold}_test_score"
        np.testing.assert_array_equal(found.cv_results_[name], expected.cv_results_[name])
    np.testing.assert_array_equal(found.predict_proba(X), expected.predict_proba(X))


def threads(estimator, X, y):
    """Score an estimator by the threads that its process would compute with."""
    pools = [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] in ("blas", "openmp")]
    return max(torch.get_num_threads(), *pools)


@pytest.mark.parametrize("backend", ["loky", "dask"], indirect=True)
def test_workers_together_have_no_more_threads_than_the_machine_has_cores(backend, monkeypatch):
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    found = sklearn.model_selection.cross_val_score(NETWORK, X, Y, cv=4, scoring=threads, n_jobs=2)
    assert 2 * found.max() <= max(joblib.cpu_count(), 2)
