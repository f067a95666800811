"""Independent fits in one process after the other, and in two at once."""

import time
import warnings

import numpy as np
from report import machine, publish, spread
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import KFold, cross_val_score

from sknn import MLPTorchClassifier

N_ROUNDS, N_FITS = 7, 8


def main() -> None:
    warnings.simplefilter("ignore", ConvergenceWarning)
    X, y = load_digits(return_X_y=True)
    network = MLPTorchClassifier(batch_size=200, max_iter=200, n_iter_no_change=200, random_state=0, device="cpu")

    def seconds(n_jobs: int) -> float:
        start = time.perf_counter()
        cross_val_score(network, X, y, cv=KFold(N_FITS), n_jobs=n_jobs)
        return time.perf_counter() - start

    seconds(2)  # starts the workers
    times = np.array([[seconds(1), seconds(2)] for _ in range(N_ROUNDS)])
    publish(
        "jobs",
        f"`cross_val_score` with {N_FITS} folds of digits takes {spread(times[:, 0])} s with `n_jobs=1` and"
        f" {spread(times[:, 1])} s with `n_jobs=2`: {spread(times[:, 1] / times[:, 0])} of the time. Medians"
        f" (smallest to largest) of n = {N_ROUNDS} rounds; {machine()}.",
    )


if __name__ == "__main__":
    main()
