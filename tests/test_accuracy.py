"""Default fits predict no worse than scikit-learn's MLP on the data sets that it ships, in either precision."""

import numpy as np
import pytest
from sklearn.datasets import (
    load_breast_cancer,
    load_diabetes,
    load_digits,
    load_iris,
    load_wine,
    make_friedman1,
    make_friedman2,
)
from sklearn.model_selection import KFold, StratifiedKFold
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.preprocessing import StandardScaler

from sknn import MLPTorchClassifier, MLPTorchRegressor

OURS = {MLPClassifier: MLPTorchClassifier, MLPRegressor: MLPTorchRegressor}
SETS = {
    "iris": (MLPClassifier, lambda: load_iris(return_X_y=True)),
    "wine": (MLPClassifier, lambda: load_wine(return_X_y=True)),
    "breast cancer": (MLPClassifier, lambda: load_breast_cancer(return_X_y=True)),
    "digits": (MLPClassifier, lambda: load_digits(return_X_y=True)),
    "diabetes": (MLPRegressor, lambda: load_diabetes(return_X_y=True)),
    # The prices of Californian houses are a download; these are as nonlinear and as noisy.
    "friedman 1": (MLPRegressor, lambda: make_friedman1(600, noise=1.0, random_state=0)),
    "friedman 2": (MLPRegressor, lambda: make_friedman2(600, noise=100.0, random_state=0)),
}
# float64 follows scikit-learn step by step; float32 ends elsewhere, but must not end worse.
DTYPES = {"float64": np.float64, "float32": np.float32}


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("name", SETS)
def test_accuracy_is_not_below_scikit_learns(name):
    theirs, load = SETS[name]
    X, y = load()
    max_iter = 15 if len(X) > 1000 else 40  # of the default 200, for speed
    folds = (StratifiedKFold if theirs is MLPClassifier else KFold)(5, shuffle=True, random_state=0)
    scores = {key: [] for key in ("theirs", *DTYPES)}
    for seed in range(3):
        for training, test in folds.split(X, y):
            scaler = StandardScaler().fit(X[training])
            target = y if theirs is MLPClassifier else (y - y[training].mean()) / y[training].std()
            rows = scaler.transform(X)
            networks = {"theirs": theirs(max_iter=max_iter, random_state=seed)}
            networks |= {dtype: OURS[theirs](max_iter=max_iter, dtype=dtype, random_state=seed) for dtype in DTYPES}
            for key, network in networks.items():
                network.fit(rows[training], target[training])
                scores[key].append(network.score(rows[test], target[test]))
    for dtype in DTYPES:
        assert np.mean(scores[dtype]) - np.mean(scores["theirs"]) >= -0.005, scores
