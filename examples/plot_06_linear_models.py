"""
Lesson 6: a single layer
========================

Without hidden layers a network is a linear model. A softmax layer alone tells three kinds of iris apart by four
lengths, and a linear layer finds the numbers that made its data.
"""

import warnings

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_iris
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sknn import MLPTorchClassifier, MLPTorchRegressor

# The number of epochs is a choice here, not a limit that the fit ran into.
warnings.filterwarnings("ignore", category=ConvergenceWarning)

# %%
# A softmax layer
# ---------------
# Four features and three classes: 12 weights and 3 biases.

iris = load_iris()
y = iris.target_names[iris.target]
X_train, X_test, y_train, y_test = train_test_split(iris.data, y, stratify=y, random_state=0)

plain = {"solver": "sgd", "momentum": 0, "learning_rate_init": 0.1, "max_iter": 70, "random_state": 0}
classifier = MLPTorchClassifier(hidden_layer_sizes=(), batch_size=16, **plain)
model = make_pipeline(StandardScaler(), classifier).fit(X_train, y_train)

print(f"a softmax layer of shape {classifier.coefs_[0].shape}, {classifier.n_iter_} epochs")
print(f"loss: {classifier.loss_curve_[0]:.4f} in the first epoch, {classifier.loss_:.4f} in the last")
print(f"test accuracy: {model.score(X_test, y_test):.4f}")

# %%
# In each row the probabilities of the classes sum to one. Here is a row of each kind.

kinds, rows = np.unique(y_test, return_index=True)
for kind, row in zip(kinds, model.predict_proba(X_test[rows]), strict=True):
    probabilities = ", ".join(f"{name} {p:.2f}" for name, p in zip(model.classes_, row, strict=True))
    print(f"a {kind}: {probabilities}")

# %%
# A linear layer
# --------------
# Three inputs and two outputs, made by known weights and biases with a little noise. The squared error leads back
# to them.

rng = np.random.default_rng(0)
weights, biases = np.array([[2.0, -1.0], [-3.4, 0.5], [0.0, 1.5]]), np.array([4.2, -0.7])
X = rng.normal(size=(1000, 3))
y = X @ weights + biases + rng.normal(scale=0.01, size=(1000, 2))

regressor = MLPTorchRegressor(hidden_layer_sizes=(), batch_size=50, alpha=0, **plain).fit(X, y)
found = np.vstack([*regressor.coefs_, *regressor.intercepts_])
print(f"weights and, in the last row, biases found:\n{np.array_str(found, precision=3, suppress_small=True)}")
error = np.abs(found - np.vstack([weights, biases])).max()
print(f"largest difference from the true ones: {error:.4f}")

# %%
figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.5), layout="constrained")
left.plot(range(1, classifier.n_iter_ + 1), classifier.loss_curve_)
left.set(title="softmax layer on iris", xlabel="epoch", ylabel="loss")
right.semilogy(range(1, regressor.n_iter_ + 1), regressor.loss_curve_)
right.set(title="linear layer", xlabel="epoch", ylabel="half the squared error")
plt.show()
