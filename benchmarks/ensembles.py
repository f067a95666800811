"""An ensemble of 8 networks beside its members: how much more accurate it is, and what it takes to train them together.

The small sets ship with scikit-learn. Fashion-MNIST is read from SKNN_DATA_HOME, scikit-learn's data folder, or the
network.
"""

import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from report import machine, publish, spread, table
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits, load_wine
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler

from sknn import MLPTorchClassifier, MLPTorchRegressor
from sknn.datasets import fetch_fashion_mnist

N_SEEDS, N_MEMBERS = 10, 8


def fashion_mnist() -> tuple[np.ndarray, np.ndarray]:
    images = fetch_fashion_mnist(subset="train")
    return images.data[:4000].astype(np.float32), images.target[:4000]


SETS: dict[str, Callable[[], Any]] = {
    "wine": lambda: load_wine(return_X_y=True),
    "breast_cancer": lambda: load_breast_cancer(return_X_y=True),
    "digits": lambda: load_digits(return_X_y=True),
    "diabetes, R2": lambda: load_diabetes(return_X_y=True, scaled=False),
    "Fashion-MNIST, 4,000 images": fashion_mnist,
}


def round_of(name: str, seed: int) -> tuple[float, float, float, float]:
    """Return the score of the ensemble, the mean one of its members, and the seconds together and one by one."""
    X, y = SETS[name]()
    regression = "R2" in name
    y = y / 100 if regression else y
    X_train, X_test, y_train, y_test = train_test_split(X, y, train_size=0.1, random_state=seed)
    scaler = StandardScaler().fit(X_train)
    X_train, X_test = scaler.transform(X_train), scaler.transform(X_test)
    kind = MLPTorchRegressor if regression else MLPTorchClassifier
    network = kind(learning_rate_init=0.01, max_iter=60, n_ensemble=N_MEMBERS, random_state=seed)
    started = time.perf_counter()
    network.fit(X_train, y_train)
    together = time.perf_counter() - started
    started = time.perf_counter()
    for i in range(N_MEMBERS):
        clone(network).set_params(n_ensemble=1, random_state=seed + 1000 * i).fit(X_train, y_train)
    one_by_one = time.perf_counter() - started
    score, of_members = network.score(X_test, y_test), []
    for member in network.module_.members:
        network.module_ = member
        of_members.append(network.score(X_test, y_test))
    return score, float(np.mean(of_members)), together, one_by_one


def main() -> None:
    warnings.simplefilter("ignore", ConvergenceWarning)
    rows = []
    for name in SETS:
        scores, of_members, together, one_by_one = np.transpose([round_of(name, seed) for seed in range(N_SEEDS)])
        gains = scores - of_members
        error = gains.std(ddof=1) / np.sqrt(N_SEEDS)
        rows.append([
            name, f"{of_members.mean():.4f}", f"{scores.mean():.4f}", f"{gains.mean():+.4f} ± {error:.4f}",
            spread(together, 3), spread(one_by_one / together),
        ])  # fmt: skip
        print(rows[-1], flush=True)
    header = [
        "a tenth of the rows", "one network", f"{N_MEMBERS} together", "gain", "seconds together",
        "times as long one by one",
    ]  # fmt: skip
    publish(
        "ensembles",
        table(header, rows)
        + "\n\nAccuracy, or R2, on the other rows: means, and of the gain its standard error; times are medians"
        f" (smallest to largest). n = {N_SEEDS} seeds, 60 epochs; {machine()}.",
    )


if __name__ == "__main__":
    main()
