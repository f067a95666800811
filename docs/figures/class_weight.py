import matplotlib.pyplot as plt
from sklearn.datasets import make_blobs
from sklearn.inspection import DecisionBoundaryDisplay
from sklearn.metrics import precision_score, recall_score

from sknn import MLPTorchClassifier

centers, spread = [[0, 0], [2, 1.5]], [1.2, 0.8]
X, y = make_blobs([570, 30], centers=centers, cluster_std=spread, random_state=0)
network = MLPTorchClassifier((20,), "tanh", solver="lbfgs", alpha=1, random_state=0)
shown = {"response_method": "predict_proba", "cmap": "RdBu_r", "vmin": 0, "vmax": 1}

_, axes = plt.subplots(1, 2, figsize=(9, 3.6))
for ax, class_weight in zip(axes, [None, "balanced"], strict=True):
    predicted = network.set_params(class_weight=class_weight).fit(X, y).predict(X)
    DecisionBoundaryDisplay.from_estimator(network, X, **shown, ax=ax)
    ax.scatter(*X.T, c=y, cmap="RdBu_r", edgecolors="white", linewidths=0.4, s=16)
    recall, precision = recall_score(y, predicted), precision_score(y, predicted)
    ax.set(title=f"{class_weight}: recall {recall:.2f}, precision {precision:.2f}")
