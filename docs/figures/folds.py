from sklearn.datasets import load_digits

from sknn import MLPTorchClassifier
from sknn.inspection import LossCurveDisplay
from sknn.model_selection import cross_validate

X, y = load_digits(return_X_y=True)
network = MLPTorchClassifier((30,), learning_rate="onecycle", random_state=0)
network.set_params(learning_rate_init=0.02, max_iter=30)
folds = cross_validate(network, X / 16, y, return_estimator=True)

names = [f"fold {i}: {score:.3f}" for i, score in enumerate(folds["test_score"], 1)]
LossCurveDisplay.from_estimator(dict(zip(names, folds["estimator"], strict=True)))
