from sklearn.callback import ScoringMonitor
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from sknn import MLPTorchClassifier
from sknn.inspection import LossCurveDisplay

X, y = load_digits(return_X_y=True)
X, X_val, y, y_val = train_test_split(X / 16, y, train_size=300, random_state=0)
monitor = ScoringMonitor(scoring="accuracy")
network = MLPTorchClassifier(learning_rate="cosine", max_iter=40, random_state=0).set_callbacks(monitor)
network.fit(X, y, X_val=X_val, y_val=y_val)

accuracy = [task["accuracy"] for task in monitor.get_logs().data if task["task_name"] == "epoch"]
LossCurveDisplay.from_estimator(network, training_scores=accuracy)
