import warnings

from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning

from sknn import MLPTorchClassifier
from sknn.inspection import LossCurveDisplay

warnings.simplefilter("ignore", ConvergenceWarning)  # 30 epochs are a choice
X, y = load_digits(return_X_y=True)
network = MLPTorchClassifier(learning_rate="cosine", max_iter=30, random_state=0)
networks = {}
for name in ("adam", "adamw", "nadam", "sgd", "rmsprop", "adagrad", "lbfgs"):
    networks[name] = clone(network).set_params(solver=name).fit(X / 16, y)

display = LossCurveDisplay.from_estimator(networks)
display.ax_.set(yscale="log")
