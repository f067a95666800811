from sklearn.datasets import load_digits

from sknn import MLPTorchClassifier
from sknn.inspection import LossCurveDisplay

X, y = load_digits(return_X_y=True)
solvers = ["adam", "adamw", "nadam", "sgd", "rmsprop", "adagrad"]
common = {"learning_rate": "cosine", "max_iter": 30, "random_state": 0}  # a schedule for all, so that all end alike
networks = {solver: MLPTorchClassifier(solver=solver, **common).fit(X / 16, y) for solver in solvers}
networks["lbfgs"] = MLPTorchClassifier(solver="lbfgs", max_iter=30, tol=0.01, random_state=0).fit(X / 16, y)

display = LossCurveDisplay.from_estimator(networks)
display.ax_.set(yscale="log")
