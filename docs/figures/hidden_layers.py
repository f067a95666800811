import matplotlib.pyplot as plt
from sklearn.datasets import make_moons
from sklearn.inspection import DecisionBoundaryDisplay

from sknn import MLPTorchClassifier

X, y = make_moons(200, noise=0.2, random_state=0)
_, axes = plt.subplots(1, 4, figsize=(10, 2.8))
for ax, sizes in zip(axes, [(), (3,), (100,), (20, 20)], strict=True):
    network = MLPTorchClassifier(sizes, "tanh", solver="lbfgs", alpha=0.1, max_iter=1000, random_state=0).fit(X, y)
    DecisionBoundaryDisplay.from_estimator(network, X, cmap="RdBu_r", alpha=0.6, ax=ax)
    ax.scatter(*X.T, c=y, cmap="RdBu_r", s=8)
    ax.set(title=f"{sizes}: {network.score(X, y):.2f}", xticks=[], yticks=[])
