"""How much faster than scikit-learn a fit with its products can be at most: these alone, in the same BLAS, beside both.

The operands are made once and stay in the cache, so that nobody's products take less. Of searches, two threads do half
of the products each.
"""

import itertools
import time
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import model_selection
import numpy as np
from mlp import WORKLOADS, best_threads, seconds, sides
from report import machine, publish, spread, table
from sklearn.exceptions import ConvergenceWarning
from threadpoolctl import threadpool_limits

N_ROUNDS = 7


class Products:
    """The products of batches forward and backward, through dense layers of those sizes."""

    def __init__(self, sizes: list[int], batch_size: int, n_batches: int) -> None:
        self.n_batches = n_batches
        rng, layers = np.random.default_rng(0), list(itertools.pairwise(sizes))
        new = lambda *shape: rng.normal(size=shape).astype(np.float32)  # noqa: E731
        weights, inputs = [new(n_out, n_in) for n_in, n_out in layers], [new(n_in, batch_size) for n_in, _ in layers]
        inputs[0], grads = new(batch_size, sizes[0]).T, [new(n_out, batch_size) for _, n_out in layers]
        self.pairs = [(W, X) for W, X in zip(weights, inputs, strict=True)]
        self.pairs += [(G, X.T) for G, X in zip(grads, inputs, strict=True)]
        self.pairs += [(W.T, G) for W, G in zip(weights[1:], grads[1:], strict=True)]
        self.out = [new(A.shape[0], B.shape[1]) for A, B in self.pairs]

    def fit(self, X: object = None, y: object = None) -> None:
        for _ in range(self.n_batches):
            for (A, B), C in zip(self.pairs, self.out, strict=True):
                np.matmul(A, B, out=C)


def of_fits() -> list[list[str]]:
    rows = []
    for name, work in WORKLOADS.items():
        peers = sides(work)
        fitted = {side: peers[side] for side in ("sknn", "scikit-learn")}
        X, y = fitted["sknn"][1:]
        sizes = [X.shape[1], *work.hidden, len(np.unique(y))]
        n_batches = work.n_epochs * -(-len(X) // work.batch_size)
        fitted["products"] = (Products(sizes, min(work.batch_size, len(X)), n_batches), X, y)
        best = best_threads(fitted, work.n_fits)
        rows.append(row(name, {side: (lambda of=of, n=best[side]: seconds(of, n)) for side, of in fitted.items()}))
    return rows


def of_searches() -> list[list[str]]:
    rows = []
    for name, search in model_selection.SEARCHES.items():
        runs, (X, y) = model_selection.sides(search), search.load()
        n_rows = len(X) * (search.n_folds - 1) // search.n_folds
        n_fits = len(search.rates) * len(search.penalties) * search.n_folds
        halves = [
            Products([X.shape[1], 100, len(np.unique(y))], 200, search.n_epochs * n_rows // 200 * n_fits // 2)
            for _ in range(2)
        ]

        def products(halves: list[Products] = halves) -> None:
            with threadpool_limits(1), ThreadPoolExecutor(2) as pool:
                list(pool.map(Products.fit, halves))

        timed = {"sknn": runs["together, 2 jobs"], "scikit-learn": runs["scikit-learn, 2 jobs"], "products": products}
        rows.append(row(f"search: {name}", {side: (lambda run=run: taken(run)) for side, run in timed.items()}))
    return rows


def taken(run: Callable[[], object]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def row(name: str, timed: dict[str, Callable[[], float]]) -> list[str]:
    """Return a row of the table from functions that do what a side does and return its seconds."""
    for side in timed.values():
        side()
    times = {side: [] for side in timed}
    for _ in range(N_ROUNDS):
        for side, run in timed.items():
            times[side].append(run())
    ours, theirs, products = (np.array(times[side]) for side in ("sknn", "scikit-learn", "products"))
    print(name, np.median(products), np.median(ours), np.median(theirs), flush=True)
    return [name, f"{np.median(products):.3g} s", spread(theirs / products, 1), spread(theirs / ours, 1)]


def main() -> None:
    warnings.simplefilter("ignore", ConvergenceWarning)
    rows = [*of_fits(), *of_searches()]
    header = ["", "products alone", "scikit-learn, times the products", "scikit-learn, times sknn"]
    text = f"Fits are those of the tables above. Medians (smallest to largest) of n = {N_ROUNDS} rounds; {machine()}."
    publish("bound", table(header, rows) + "\n\n" + text)


if __name__ == "__main__":
    main()
