from sklearn.datasets import load_digits

from sknn import MLPTorchClassifier
from sknn.inspection import LossCurveDisplay
from sknn.model_selection import GridSearchCV

X, y = load_digits(return_X_y=True)
network = MLPTorchClassifier((30,), batch_size=64, max_iter=20, random_state=0)
grid = {"learning_rate_init": [0.0001, 0.001, 0.01, 0.1]}
search = GridSearchCV(network, grid, cv=3).fit(X / 16, y)

LossCurveDisplay.from_search(search)
