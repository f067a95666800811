"""Whole fits of multi-layer perceptrons beside scikit-learn, skorch and a plain loop of PyTorch.

In every round each side fits once, so that all meet the same machine; each has the better of 1 and 2 threads, found in
trial rounds. MNIST is read from SKNN_DATA_HOME, scikit-learn's data folder, or the network.
"""

import argparse
import itertools
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

import numpy as np
import skorch
import torch
from report import machine, publish, spread, table
from sklearn.datasets import load_breast_cancer, load_digits, load_iris
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier
from sklearn.preprocessing import scale
from threadpoolctl import threadpool_limits
from torch import nn

from sknn import MLPTorchClassifier, _library
from sknn.datasets import fetch_mnist

THREADS, N_TRIALS = (1, 2), 2
SIDES = ("sknn", "sknn, float64", "scikit-learn", "scikit-learn, float64", "skorch", "plain loop", "sknn, not compiled")


@dataclass(frozen=True)
class Workload:
    """What to fit, and how: the same for all sides."""

    load: Callable[[], tuple[np.ndarray, np.ndarray]]
    hidden: tuple[int, ...]
    batch_size: int
    n_epochs: int
    solver: str = "adam"
    rate: float = 0.001
    n_fits: int = 1
    """Whose median is the time of a round, where fits are short."""

    @property
    def name(self) -> str:
        X, y = self.load()
        sizes = [X.shape[1], *self.hidden, len(np.unique(y))]
        return f"{'-'.join(map(str, sizes))}, {self.solver}, batch {self.batch_size}, {self.n_epochs} epochs"


def small(load: Callable) -> Callable[[], tuple[np.ndarray, np.ndarray]]:
    def loaded() -> tuple[np.ndarray, np.ndarray]:
        X, y = load(return_X_y=True)
        return scale(X).astype(np.float32), y

    return loaded


def mnist_bytes() -> tuple[np.ndarray, np.ndarray]:
    mnist = fetch_mnist(subset="train")
    return mnist.data, mnist.target


def mnist() -> tuple[np.ndarray, np.ndarray]:
    X, y = mnist_bytes()
    return X.astype(np.float32) / 255, y


WORKLOADS = {
    "iris": Workload(small(load_iris), (100,), 150, 200, n_fits=9),
    "breast_cancer": Workload(small(load_breast_cancer), (100,), 200, 200, n_fits=3),
    "digits": Workload(small(load_digits), (100,), 200, 200),
    "MNIST, bytes": Workload(mnist_bytes, (100, 100), 64, 1),
    "MNIST": Workload(mnist, (256,), 256, 2, "sgd", 0.1),
}


class PlainLoop:
    """The loop of tutorials over tensors, without a DataLoader."""

    def __init__(self, workload: Workload) -> None:
        self.workload = workload

    def fit(self, X: np.ndarray, y: np.ndarray) -> "PlainLoop":
        work, rows, labels = self.workload, torch.from_numpy(X), torch.from_numpy(y)
        self.module = perceptron(work.hidden, X.shape[1], len(np.unique(y)))
        optimizer = OPTIMIZERS[work.solver](self.module.parameters(), lr=work.rate)
        for _ in range(work.n_epochs):
            for batch in torch.randperm(len(rows)).split(work.batch_size):
                optimizer.zero_grad()
                nn.functional.cross_entropy(self.module(rows[batch]), labels[batch]).backward()
                optimizer.step()
        return self

    @torch.inference_mode()
    def score(self, X: np.ndarray, y: np.ndarray) -> float:
        return float((self.module(torch.from_numpy(X)).argmax(1).numpy() == y).mean())


class NotCompiled:
    """Our estimator as it is where there is no C compiler."""

    def __init__(self, estimator: MLPTorchClassifier) -> None:
        self.estimator, self.score = estimator, estimator.score

    def fit(self, X: np.ndarray, y: np.ndarray) -> "NotCompiled":
        with patch.object(_library, "library", lambda dtype: None):
            self.estimator.fit(X, y)
        return self


OPTIMIZERS = {"adam": torch.optim.Adam, "sgd": torch.optim.SGD}


def perceptron(hidden: tuple[int, ...], n_in: int, n_out: int) -> nn.Sequential:
    sizes = [n_in, *hidden, n_out]
    layers = [part for pair in itertools.pairwise(sizes) for part in (nn.Linear(*pair), nn.ReLU())]
    return nn.Sequential(*layers[:-1])


def sides(work: Workload) -> dict[str, tuple[Any, np.ndarray, np.ndarray]]:
    """Return an estimator of each side with the X and y that it is given; casting is not part of the time."""
    X, y = work.load()
    y = y.astype(np.int64)
    same = {
        "hidden_layer_sizes": work.hidden, "batch_size": work.batch_size, "max_iter": work.n_epochs, "random_state": 0,
        "n_iter_no_change": work.n_epochs, "tol": 0.0, "solver": work.solver, "learning_rate_init": work.rate,
        "momentum": 0.0,
    }  # fmt: skip
    single, double = (X.astype(dtype) for dtype in (np.float32, np.float64))
    others = skorch.NeuralNetClassifier(
        perceptron(work.hidden, X.shape[1], len(np.unique(y))), criterion=nn.CrossEntropyLoss, train_split=None,
        optimizer=OPTIMIZERS[work.solver], lr=work.rate, batch_size=work.batch_size, max_epochs=work.n_epochs,
        iterator_train__shuffle=True, verbose=0, device="cpu",
    )  # fmt: skip
    return {
        "sknn": (MLPTorchClassifier(**same, device="cpu"), X, y),
        "sknn, float64": (MLPTorchClassifier(**same, device="cpu"), double, y),
        "scikit-learn": (MLPClassifier(**same), single, y),
        "scikit-learn, float64": (MLPClassifier(**same), double, y),
        "skorch": (others, single, y),
        "plain loop": (PlainLoop(work), single, y),
        "sknn, not compiled": (NotCompiled(MLPTorchClassifier(**same, device="cpu")), X, y),
    }


@contextmanager
def threads(n: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(n)
    try:
        with threadpool_limits(n):
            yield
    finally:
        torch.set_num_threads(before)


def seconds(side: tuple[Any, np.ndarray, np.ndarray], n_threads: int) -> float:
    estimator, X, y = side
    with threads(n_threads):
        start = time.perf_counter()
        estimator.fit(X, y)
        return time.perf_counter() - start


def best_threads(fitted: dict[str, tuple[Any, np.ndarray, np.ndarray]], n_fits: int) -> dict[str, int]:
    """Return the number of threads with which each side is faster."""
    trials = {
        name: [min(seconds(side, n) for _ in range(N_TRIALS * n_fits)) for n in THREADS]
        for name, side in fitted.items()
    }
    return {name: THREADS[int(np.argmin(times))] for name, times in trials.items()}


def measure(work: Workload, n_rounds: int) -> tuple[list[str], dict[str, np.ndarray]]:
    """Return a row of the table, and the ratios of each round by peer."""
    fitted = sides(work)
    for side in fitted.values():
        seconds(side, 1)  # what only the first fit of a process does
    best = best_threads(fitted, work.n_fits)
    rounds = [
        [[seconds(side, best[name]) for name, side in fitted.items()] for _ in range(work.n_fits)]
        for _ in range(n_rounds)
    ]
    taken = dict(zip(fitted, np.median(rounds, axis=1).T, strict=True))
    ratios = {
        name: taken[name] / taken["sknn, float64" if name == "scikit-learn, float64" else "sknn"] for name in SIDES[2:]
    }
    accuracy = {name: side[0].score(*side[1:]) for name, side in fitted.items()}
    cells = [f"{np.median(taken['sknn']):.3g} s ({accuracy['sknn']:.3f})"]
    cells += [f"{spread(ratios[name], 1)}, {accuracy[name]:.3f}" for name in ratios]
    return cells, ratios


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("workloads", nargs="*", default=list(WORKLOADS), help=f"of {list(WORKLOADS)}; all by default")
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    warnings.simplefilter("ignore", ConvergenceWarning)
    rows, ratios = [], []
    for name in options.workloads:
        cells, of_peers = measure(WORKLOADS[name], options.rounds)
        rows.append([f"{name}: {WORKLOADS[name].name}", *cells])
        ratios.append(of_peers)
        print(rows[-1], flush=True)
    means = [spread(np.exp(np.mean([np.log(of_peers[name]) for of_peers in ratios], axis=0)), 1) for name in ratios[0]]
    header = ["fit", "sknn", *(f"times as long: {name}" for name in SIDES[2:])]
    text = (
        "Beside each ratio is the accuracy on the rows that were fitted. scikit-learn in float64 is compared with sknn"
        f" in float64. Medians (smallest to largest) of n = {options.rounds} rounds, in each of which every side fits"
        f" iris nine times and breast_cancer three times; {machine()}, skorch {skorch.__version__}."
    )
    publish("mlp", table(header, [*rows, ["geometric mean", "", *means]]) + "\n\n" + text)


if __name__ == "__main__":
    main()
