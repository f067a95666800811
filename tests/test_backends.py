"""Searches over joblib's backends, a cluster of dask among them, against the same searches in one process."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import joblib
import pytest
import sklearn.model_selection
import torch
from sklearn.datasets import load_iris
from threadpoolctl import threadpool_info

import sknn.model_selection
from sknn import MLPTorchClassifier

X, Y = load_iris(return_X_y=True)
GRID = {"alpha": [0.01, 1.0], "batch_norm": [False, True]}  # fits that train together and fits that do not
NETWORK = MLPTorchClassifier((5,), max_iter=5, batch_size=40, random_state=0)
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def scores_of(search):
    return [search.cv_results_[f"split{fold}_test_score"].tolist() for fold in range(2)]


def threads(estimator, X, y):
    """Score an estimator by the threads that its process would compute with."""
    pools = [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] in ("blas", "openmp")]
    return max(torch.get_num_threads(), *pools)


@pytest.fixture(scope="module")
def expected():
    return scores_of(sklearn.model_selection.GridSearchCV(NETWORK, GRID, cv=2).fit(X, Y))


@pytest.fixture
def cores(monkeypatch):
    """Let every process count its threads by itself."""
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    return max(joblib.cpu_count(), 2)


@pytest.mark.parametrize("module", [sknn.model_selection, sklearn.model_selection])
@pytest.mark.parametrize("backend", ["loky", "threading"])
def test_a_search_comes_to_the_same(module, backend, expected):
    with joblib.parallel_config(backend):
        found = module.GridSearchCV(NETWORK, GRID, cv=2, n_jobs=2).fit(X, Y)
    assert scores_of(found) == expected


def test_processes_together_have_no_more_threads_than_the_machine_has_cores(cores):
    with joblib.parallel_config("loky"):
        found = sklearn.model_selection.cross_val_score(NETWORK, X, Y, cv=4, scoring=threads, n_jobs=2)
    assert 2 * found.max() <= cores


@pytest.mark.skipif(not importlib.util.find_spec("distributed"), reason="needs dask.distributed")
def test_a_cluster_of_dask_comes_to_the_same_with_no_more_threads_than_cores(expected, cores):
    script = Path(__file__).with_name("searches_on_dask.py")
    command = [sys.executable, "-W", "ignore", str(script)]
    told = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1])
    assert told["sknn.model_selection"] == told["sklearn.model_selection"] == expected
    assert 2 * told["threads"] <= cores
