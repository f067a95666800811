import matplotlib.pyplot as plt
from sklearn.datasets import make_moons
from sklearn.inspection import DecisionBoundaryDisplay

from sknn import MLPTorchClassifier

X, y = make_moons(200, noise=0.2, random_state=0)
network = MLPTorchClassifier(
    activation="tanh", solver="lbfgs", alpha=0.1, random_state=0
)
shown = {"response_method": "predict_proba", "cmap": "RdBu_r", "vmin": 0, "vmax": 1}

_, axes = plt.subplots(1, 4, figsize=(10, 2.8))
for ax, sizes in zip(axes, [(), (3,), (100,), (20, 20)], strict=True):
    network.set_params(hidden_layer_sizes=sizes, max_iter=1000).fit(X, y)
    DecisionBoundaryDisplay.from_estimator(network, X, **shown, ax=ax)
    ax.scatter(*X.T, c=y, cmap="RdBu_r", edgecolors="white", linewidths=0.4, s=16)
    ax.set(title=f"{sizes}: {network.score(X, y):.2f}", xticks=[], yticks=[])
