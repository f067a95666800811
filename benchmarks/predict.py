"""Prediction, import and the first fit: what a user waits for beside training."""

import subprocess
import sys
import time
import warnings

import numpy as np
from report import machine, publish, spread, table
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier

from sknn import MLPTorchClassifier
from sknn.datasets import fetch_mnist

N_ROUNDS, N_CALLS, N_PROCESSES = 15, 200, 9


def per_call(function, *args) -> float:
    start = time.perf_counter()
    for _ in range(N_CALLS):
        function(*args)
    return (time.perf_counter() - start) / N_CALLS


def once(function, *args) -> float:
    time.sleep(0.1)  # the other side's threads go on waiting for work for a while, and keep the cores busy
    start = time.perf_counter()
    function(*args)
    return time.perf_counter() - start


def interleaved(measure, ours, theirs) -> tuple[np.ndarray, np.ndarray]:
    times = np.array([[measure(*ours), measure(*theirs)] for _ in range(N_ROUNDS)])
    return times[:, 0], times[:, 1]


def rows_of_the_table() -> list[list[str]]:
    X, y = load_digits(return_X_y=True)
    rows = []
    same = {"max_iter": 5, "random_state": 0}
    networks = [MLPTorchClassifier(**same, device="cpu").fit(X, y), MLPClassifier(**same).fit(X, y)]
    for name in ("predict", "predict_proba"):
        ours, theirs = interleaved(per_call, *((getattr(network, name), X[:1]) for network in networks))
        rows.append([f"`{name}`, one row of digits", f"{np.median(ours) * 1e6:.0f} µs",
                     f"{np.median(theirs) * 1e6:.0f} µs", spread(ours / theirs)])  # fmt: skip
    mnist = fetch_mnist(subset="train")
    same = {"hidden_layer_sizes": (256,), "max_iter": 1, "random_state": 0}
    for dtype in (np.uint8, np.float32):
        X = mnist.data.astype(dtype)
        networks = [MLPTorchClassifier(**same, device="cpu").fit(X, mnist.target), MLPClassifier(**same)]
        networks[1].fit(X, mnist.target)
        ours, theirs = interleaved(once, *((network.predict_proba, X) for network in networks))
        rows.append([f"`predict_proba`, MNIST's 60,000 rows as {np.dtype(dtype)}", f"{np.median(ours):.2f} s",
                     f"{np.median(theirs):.2f} s", spread(ours / theirs)])  # fmt: skip
    return rows


FIRST_FIT = """
import time, warnings
warnings.simplefilter("ignore")
from sklearn.datasets import load_iris
from sknn import MLPTorchClassifier
times = []
for _ in range(2):
    start = time.perf_counter()
    MLPTorchClassifier(max_iter=20, random_state=0).fit(*load_iris(return_X_y=True))
    times.append(time.perf_counter() - start)
print(times[0] - times[1])
"""
IMPORT = """
import sys, time
import torch, sklearn
sys.modules.update(dict.fromkeys({hidden}))
start = time.perf_counter()
import sknn
print(time.perf_counter() - start)
"""


def in_a_process(code: str) -> float:
    return float(subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout)


def main() -> None:
    warnings.simplefilter("ignore", ConvergenceWarning)
    text = table(["", "sknn", "scikit-learn", "ratio"], rows_of_the_table())
    hidden: tuple[list[str], ...] = ([], ["rich"])
    imports = np.array([[in_a_process(IMPORT.format(hidden=h)) for h in hidden] for _ in range(N_PROCESSES)]) * 1000
    first = [in_a_process(FIRST_FIT) * 1000 for _ in range(N_PROCESSES)]
    publish(
        "predict",
        f"{text}\n\n`import sknn` takes {spread(imports[:, 0], 0)} ms more than `import torch, sklearn`, and"
        f" {spread(imports[:, 1], 0)} ms where there is no rich, which scikit-learn's callbacks import if they can; the"
        f" first fit of a process takes {spread(first, 0)} ms longer than the second. Medians (smallest to largest) of"
        f" n = {N_ROUNDS} rounds, and of n = {N_PROCESSES} processes for the last sentence; {machine()}.",
    )


if __name__ == "__main__":
    main()
