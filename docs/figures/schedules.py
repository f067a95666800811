import warnings

from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning

from sknn import MLPTorchClassifier
from sknn.inspection import LossCurveDisplay

warnings.simplefilter("ignore", ConvergenceWarning)  # 40 epochs are a choice
X, y = load_digits(return_X_y=True)
network = MLPTorchClassifier(solver="sgd", learning_rate_init=0.2, random_state=0)
network.set_params(max_iter=40, n_iter_no_change=2)
networks = {}
for name in ("constant", "invscaling", "adaptive", "cosine", "onecycle"):
    networks[name] = clone(network).set_params(learning_rate=name).fit(X / 16, y)

display = LossCurveDisplay.from_estimator(networks)
display.ax_.set(yscale="log")
