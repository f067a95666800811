"""Grid searches beside scikit-learn's over scikit-learn's network, over ours, and over skorch's.

In every round each side searches once, so that all meet the same machine. MNIST is read from SKNN_DATA_HOME,
scikit-learn's data folder, or the network.
"""

import argparse
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import skorch
import torch
from mlp import perceptron, small
from report import machine, publish, spread, table
from sklearn import model_selection
from sklearn.datasets import load_breast_cancer, load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier
from torch import nn

import sknn.model_selection
from sknn import MLPTorchClassifier
from sknn.datasets import fetch_mnist

N_PROCESSES = 7
N_SLOW = 3  # rounds of the slowest side, which takes minutes
PENALTIES, RATES = [1e-5, 1e-4, 1e-3], [0.0003, 0.001, 0.003, 0.01]


@dataclass(frozen=True)
class Search:
    """A grid of learning rates and penalties, and what is fitted to each fold."""

    load: Callable[[], tuple[np.ndarray, np.ndarray]]
    rates: list[float]
    penalties: list[float]
    n_folds: int
    n_epochs: int


def mnist() -> tuple[np.ndarray, np.ndarray]:
    images = fetch_mnist(subset="train")
    return images.data[:10_000].astype(np.float32) / 255, images.target[:10_000]


SEARCHES = {
    "digits": Search(small(load_digits), RATES, PENALTIES, 5, 50),
    "breast_cancer": Search(small(load_breast_cancer), RATES, PENALTIES, 5, 50),
    "MNIST, 10,000 rows": Search(mnist, RATES[1:3], PENALTIES[:2], 3, 10),
}
SIDES = ("together, 1 job", "one by one, 2 jobs", "one by one, 1 job", "scikit-learn, 2 jobs", "skorch, 1 job")


def sides(search: Search) -> dict[str, Callable[[], Any]]:
    """Return a function of each side that does the search."""
    X, y = search.load()
    y = y.astype(np.int64)
    same = {
        "hidden_layer_sizes": (100,), "batch_size": 200, "max_iter": search.n_epochs, "random_state": 0,
        "n_iter_no_change": search.n_epochs, "tol": 0.0,
    }  # fmt: skip
    ours, theirs = MLPTorchClassifier(**same, device="cpu"), MLPClassifier(**same)
    others = skorch.NeuralNetClassifier(
        perceptron((100,), X.shape[1], len(np.unique(y))), criterion=nn.CrossEntropyLoss, train_split=None,
        optimizer=torch.optim.Adam, batch_size=200, max_epochs=search.n_epochs, iterator_train__shuffle=True,
        verbose=0, device="cpu",
    )  # fmt: skip
    grid = {"learning_rate_init": search.rates, "alpha": search.penalties}
    for_skorch = {"lr": search.rates, "optimizer__weight_decay": search.penalties}

    def run(module: Any, estimator: Any, grid: dict[str, Any], n_jobs: int) -> Callable[[], Any]:
        found = module.GridSearchCV(estimator, grid, cv=search.n_folds, n_jobs=n_jobs, refit=False)
        return lambda: found.fit(X, y)

    return {
        "together, 2 jobs": run(sknn.model_selection, ours, grid, 2),
        "together, 1 job": run(sknn.model_selection, ours, grid, 1),
        "one by one, 2 jobs": run(model_selection, ours, grid, 2),
        "one by one, 1 job": run(model_selection, ours, grid, 1),
        "scikit-learn, 2 jobs": run(model_selection, theirs, grid, 2),
        "skorch, 1 job": run(model_selection, others, for_skorch, 1),
    }


def measure(name: str, n_rounds: int) -> list[str]:
    """Return a row of the table: our time, and how many times as long each of the other sides takes."""
    runs = sides(SEARCHES[name])
    times: dict[str, list[float]] = {side: [] for side in runs}
    for i in range(n_rounds):
        for side, run in runs.items():
            if side == SIDES[-1] and i >= N_SLOW:
                continue
            start = time.perf_counter()
            run()
            times[side].append(time.perf_counter() - start)
    taken = {side: np.array(values) for side, values in times.items()}
    best = np.minimum(taken["together, 2 jobs"], taken["together, 1 job"])
    work = SEARCHES[name]
    what = f"{name}: {len(work.rates) * len(work.penalties)} candidates x {work.n_folds} folds, {work.n_epochs} epochs"
    return [
        what,
        spread(taken["together, 2 jobs"], 2),
        *(spread(taken[side] / best[: len(taken[side])], 1) for side in SIDES),
    ]


FIRST_SEARCH = """
import time, warnings
warnings.simplefilter("ignore")
from sklearn.datasets import load_breast_cancer
from {module}.model_selection import GridSearchCV
from sknn import MLPTorchClassifier
X, y = load_breast_cancer(return_X_y=True)
grid = {{"learning_rate_init": {rates}, "alpha": {penalties}}}
network = MLPTorchClassifier(max_iter=50, n_iter_no_change=50, tol=0.0, random_state=0)
start = time.perf_counter()
GridSearchCV(network, grid, cv=5, n_jobs=2, refit=False).fit(X, y)
print(time.perf_counter() - start)
"""


def first_searches() -> str:
    """Return what the first search of a process takes, in processes of their own."""
    times: dict[str, list[float]] = {"sknn": [], "sklearn": []}
    for _ in range(N_PROCESSES):
        for module, taken in times.items():
            code = FIRST_SEARCH.format(module=module, rates=RATES, penalties=PENALTIES)
            run = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
            taken.append(float(run.stdout))
    together, alone = (spread(np.array(taken), 2) for taken in times.values())
    return (
        f"The first search of a process, that of breast_cancer with 2 jobs, takes {together} s together, and {alone} s"
        f" one by one, whose processes have to start: medians (smallest to largest) of n = {N_PROCESSES}."
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("searches", nargs="*", default=list(SEARCHES), help=f"of {list(SEARCHES)}; all by default")
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    warnings.simplefilter("ignore", ConvergenceWarning)
    rows = []
    for name in options.searches:
        rows.append(measure(name, options.rounds))
        print(rows[-1], flush=True)
    header = ["search", "together, 2 jobs, seconds", *(f"times as long: {side}" for side in SIDES)]
    text = (
        "Networks have one hidden layer of 100; batches are of 200 rows. Times as long are those of the faster of 1 and"
        f" 2 jobs. Medians (smallest to largest) of n = {options.rounds} rounds, of skorch {N_SLOW}; {machine()},"
        f" skorch {skorch.__version__}."
    )
    publish("model_selection", f"{table(header, rows)}\n\n{first_searches()}\n\n{text}")


if __name__ == "__main__":
    main()
