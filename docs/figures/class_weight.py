import matplotlib.pyplot as plt
from sklearn.datasets import make_blobs
from sklearn.inspection import DecisionBoundaryDisplay
from sklearn.metrics import precision_score, recall_score

from sknn import MLPTorchClassifier

X, y = make_blobs([570, 30], centers=[[0, 0], [2, 1.5]], cluster_std=[1.2, 0.8], random_state=0)
_, axes = plt.subplots(1, 2, figsize=(9, 3.6))
for ax, class_weight in zip(axes, [None, "balanced"], strict=True):
    network = MLPTorchClassifier((20,), "tanh", solver="lbfgs", alpha=1, class_weight=class_weight, random_state=0)
    predicted = network.fit(X, y).predict(X)
    DecisionBoundaryDisplay.from_estimator(network, X, response_method="predict_proba", cmap="RdBu_r", ax=ax)
    ax.scatter(*X.T, c=y, cmap="RdBu_r", edgecolors="white", linewidths=0.4, s=16)
    found = (
        f"finds {recall_score(y, predicted):.2f} of the rare, of its alarms {precision_score(y, predicted):.2f} right"
    )
    ax.set_title(f"class_weight={class_weight!r}\n{found}", fontsize="small")
