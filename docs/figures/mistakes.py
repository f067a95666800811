from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from sknn import MLPTorchClassifier
from sknn.inspection import PredictionDisplay

X, y = load_digits(return_X_y=True)
X, X_test, y, y_test = train_test_split(X, y, random_state=0)
network = MLPTorchClassifier(learning_rate="onecycle", max_iter=20, random_state=0)
network.fit(X, y)

options = {"most_wrong_first": True, "probabilities": True, "n_images": 10}
PredictionDisplay.from_estimator(network, X_test, y_test, **options)
