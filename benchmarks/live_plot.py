"""Fits that LivePlot draws in a window that nobody sees, in turns with fits that it does not."""

import sys
import time
import warnings
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from report import machine, publish, spread
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning

from sknn import MLPTorchClassifier
from sknn.callbacks import LivePlot

sys.path.append(str(Path(__file__).resolve().parents[1] / "tests"))  # for its backend
N_ROUNDS, N_EPOCHS = 21, 1500


class Timed(LivePlot):
    """LivePlot that sums up how long its hook takes."""

    seconds = 0.0

    def on_fit_task_end(self, *args: Any, **named: Any) -> None:
        start = time.perf_counter()
        super().on_fit_task_end(*args, **named)
        self.seconds += time.perf_counter() - start


def main() -> None:
    warnings.simplefilter("ignore", ConvergenceWarning)
    matplotlib.use("module://window_backend")
    X, y = load_digits(return_X_y=True)

    def seconds(*callbacks: Any) -> float:
        network = MLPTorchClassifier(max_iter=N_EPOCHS, n_iter_no_change=np.inf, random_state=0, device="cpu")
        start = time.perf_counter()
        network.set_callbacks(*callbacks).fit(X[:1500] / 16, y[:1500], X_val=X[1500:] / 16, y_val=y[1500:])
        return time.perf_counter() - start

    ratios, shares, drawings, alone = [], [], [], []
    for _ in range(N_ROUNDS):
        plot = Timed()
        alone.append(seconds())
        drawn = seconds(plot)
        ratios.append(drawn / alone[-1])
        shares.append(100 * plot.seconds / drawn)
        drawings.append(len(plot.display_.figure_.canvas.drawings) if plot.display_ else 0)
        matplotlib.pyplot.close("all")
    publish(
        "live_plot",
        f"A fit of {N_EPOCHS:,} epochs of digits with validation rows takes {spread(alone, 1)} s. With `LivePlot()`,"
        f" which draws {spread(drawings, 0)} times, it takes {spread(ratios)} times as long; {spread(shares, 1)} % of"
        f" the time is spent in the callback. Medians (smallest to largest) of n = {N_ROUNDS} rounds;"
        f" {machine()}, matplotlib {matplotlib.__version__}.",
    )


if __name__ == "__main__":
    main()
