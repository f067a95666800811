from sklearn.datasets import load_digits

from sknn import MLPTorchClassifier
from sknn.inspection import FilterDisplay

X, y = load_digits(return_X_y=True)
network = MLPTorchClassifier((16,), alpha=10, learning_rate="onecycle", random_state=0)
network.set_params(learning_rate_init=0.01, max_iter=60)
FilterDisplay.from_estimator(network.fit(X / 16, y))
