from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from sknn import MLPTorchClassifier
from sknn.inspection import LossCurveDisplay

X, y = load_digits(return_X_y=True)
X, X_val, y, y_val = train_test_split(X / 16, y, train_size=200, random_state=0)
network = MLPTorchClassifier((256, 256), learning_rate="onecycle", random_state=0)
network.set_params(learning_rate_init=0.005, n_iter_no_change=100)
networks = {}
for dropout in (0.0, 0.5):
    fitted = clone(network).set_params(dropout=dropout, max_iter=60)
    networks[f"{dropout=}"] = fitted.fit(X, y, X_val=X_val, y_val=y_val)

display = LossCurveDisplay.from_estimator(networks)
display.score_ax_.set(ylim=(0.5, 1))
