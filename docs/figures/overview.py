"""The picture of the README: `python docs/figures/overview.py docs/overview.png`."""

import sys

import matplotlib.pyplot as plt
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from sknn import LeNetClassifier, MLPTorchClassifier
from sknn.inspection import LossCurveDisplay, PredictionDisplay
from sknn.model_selection import GridSearchCV

digits = load_digits()
X_train, X_test, y_train, y_test = train_test_split(
    digits.images.astype("float32"), digits.target, random_state=0
)
network = MLPTorchClassifier(
    (30,), learning_rate="cosine", batch_size=64, max_iter=20, random_state=0
)
grid = {"learning_rate_init": [0.0003, 0.003, 0.01]}
search = GridSearchCV(network, grid, cv=3).fit(X_train.reshape(-1, 64) / 16, y_train)
lenet = LeNetClassifier(random_state=0).fit(X_train, y_train)

figure = plt.figure(figsize=(8, 5.6), layout="constrained")
above, below = figure.add_gridspec(2, 1, height_ratios=[1.6, 1])
ax = figure.add_subplot(above)
ax.set_title("a search: 9 networks that train together")
LossCurveDisplay.from_search(search, ax=ax)
ax.get_legend().set_loc("right")
ax = figure.add_subplot(below)
ax.set_title(
    f"LeNet, {lenet.score(X_test, y_test):.1%} right, and what it is most wrong about"
)
options = {"most_wrong_first": True, "probabilities": True, "n_images": 5, "ax": ax}
PredictionDisplay.from_estimator(lenet, X_test, y_test, **options)
for path in sys.argv[1:]:
    figure.savefig(path, dpi=100)
