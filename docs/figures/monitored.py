from sklearn.callback import ScoringMonitor
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from sknn import MLPTorchClassifier
from sknn.inspection import LossCurveDisplay

X, y = load_digits(return_X_y=True)
X, X_val, y, y_val = train_test_split(X / 16, y, train_size=300, random_state=0)
monitor = ScoringMonitor(scoring="accuracy")
network = MLPTorchClassifier(learning_rate="cosine", max_iter=40, random_state=0)
network.set_params(learning_rate_init=0.01)
network.set_callbacks(monitor).fit(X, y, X_val=X_val, y_val=y_val)

tasks = [task for task in monitor.get_logs().data if task["task_name"] == "epoch"]
accuracy = [task["accuracy"] for task in tasks]
LossCurveDisplay.from_estimator(network, training_scores=accuracy)
