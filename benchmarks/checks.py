"""Count scikit-learn's checks of an estimator that networks pass: ours, scikit-learn's own and skorch's."""

import warnings
from collections import Counter
from typing import Any

import numpy as np
import skorch
import torch
from report import machine, publish, table
from sklearn.neural_network import MLPClassifier
from sklearn.utils.estimator_checks import check_estimator
from torch import nn

from sknn import MLPTorchClassifier


class Perceptron(nn.Module):
    """As general as a module of skorch's can be: sizes of the input and the dtype are found out at the first batch."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.LazyLinear(100), nn.ReLU(), nn.Linear(100, 3))

    def forward(self, X: torch.Tensor) -> torch.Tensor:
        return self.layers(X.float())


ESTIMATORS: dict[str, Any] = {
    "`sknn.MLPTorchClassifier()`": MLPTorchClassifier(),
    "`sklearn.neural_network.MLPClassifier()`": MLPClassifier(),
    "`skorch.NeuralNetClassifier(module)`": skorch.NeuralNetClassifier(
        Perceptron, criterion=nn.CrossEntropyLoss, verbose=0
    ),
}


def main() -> None:
    rows = []
    for name, estimator in ESTIMATORS.items():
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            results = check_estimator(estimator, on_fail=None, on_skip=None)
        counts = Counter(result["status"] for result in results)
        rows.append([name, *(str(counts[status]) for status in ("passed", "failed", "skipped"))])
    publish(
        "checks",
        table(["`check_estimator`", "passed", "failed", "skipped"], rows)
        + f"\n\nskorch {skorch.__version__} with a module of lazy layers that casts its input; {machine()}.",
    )


if __name__ == "__main__":
    main()
