from sklearn.datasets import load_digits

from sknn import MLPTorchClassifier
from sknn.inspection import LossCurveDisplay

X, y = load_digits(return_X_y=True)
schedules = ["constant", "invscaling", "adaptive", "cosine", "onecycle"]
common = {"solver": "sgd", "learning_rate_init": 0.2, "n_iter_no_change": 2, "max_iter": 40, "random_state": 0}
networks = {name: MLPTorchClassifier(learning_rate=name, **common).fit(X / 16, y) for name in schedules}

display = LossCurveDisplay.from_estimator(networks)
display.ax_.set(yscale="log")
