from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from sknn import MLPTorchClassifier
from sknn.inspection import LossCurveDisplay

X, y = load_digits(return_X_y=True)
X, X_val, y, y_val = train_test_split(X / 16, y, train_size=200, random_state=0)
networks = {}
for dropout in (0.0, 0.5):
    network = MLPTorchClassifier((256, 256), dropout=dropout, learning_rate="cosine", max_iter=100, random_state=0)
    networks[f"dropout={dropout}"] = network.fit(X, y, X_val=X_val, y_val=y_val)

display = LossCurveDisplay.from_estimator(networks)
display.score_ax_.set(ylim=(0.8, 1))
