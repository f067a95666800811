import matplotlib.pyplot as plt
from sklearn.datasets import make_moons
from sklearn.inspection import DecisionBoundaryDisplay
from sklearn.model_selection import train_test_split

from sknn import MLPTorchClassifier

X, y = make_moons(400, noise=0.35, random_state=0)
X, X_new, y, y_new = train_test_split(X, y, test_size=300, random_state=0)
network = MLPTorchClassifier((100, 100), solver="lbfgs", max_iter=5000, random_state=0)
shown = {"response_method": "predict_proba", "cmap": "RdBu_r", "vmin": 0, "vmax": 1}

_, axes = plt.subplots(1, 3, figsize=(9, 3.2))
for ax, alpha in zip(axes, [0.0001, 1, 100], strict=True):
    network.set_params(alpha=alpha).fit(X, y)
    DecisionBoundaryDisplay.from_estimator(network, X, **shown, ax=ax)
    ax.scatter(*X.T, c=y, cmap="RdBu_r", edgecolors="white", s=20)
    scores = f"{network.score(X, y):.2f}, others {network.score(X_new, y_new):.2f}"
    ax.set(title=f"alpha={alpha:g}: {scores}", xticks=[], yticks=[])
