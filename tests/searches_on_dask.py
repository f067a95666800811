"""Search on a cluster of dask with two workers and print what comes of it.

This needs a process of its own: where `distributed` is imported, exceptions are pickled in another way from then on.
"""

import json

import joblib
import sklearn.model_selection
from distributed import Client, LocalCluster
from test_backends import GRID, NETWORK, X, Y, scores_of, threads

import sknn.model_selection


def main():
    told = {}
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster,
        Client(cluster),
        joblib.parallel_config("dask"),
    ):
        for module in (sknn.model_selection, sklearn.model_selection):
            search = module.GridSearchCV(NETWORK, GRID, cv=2, n_jobs=2).fit(X, Y)
            told[module.__name__] = scores_of(search)
        scores = sklearn.model_selection.cross_val_score(NETWORK, X, Y, cv=4, scoring=threads, n_jobs=2)
        told["threads"] = float(scores.max())
    print(json.dumps(told))


if __name__ == "__main__":  # the workers import this file too
    main()
