"""
Lesson 4: what hidden neurons look at
=====================================

Fifty logistic neurons between pixels and digits, ten thousand steps of gradient descent on a hundred images each.
Then the weights of each neuron are shown as an image: the pattern that it answers to. Without the files of MNIST
(``sknn.datasets.fetch_mnist()`` brings them once) the lesson takes the 8 x 8 digits that scikit-learn ships.
"""

import warnings

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split

from sknn import MLPTorchClassifier
from sknn.datasets import fetch_mnist

# %%
# The images
# ----------

try:
    X_train, y_train = fetch_mnist(subset="train", return_X_y=True, download_if_missing=False)
    X_test, y_test = fetch_mnist(subset="test", return_X_y=True, download_if_missing=False)
    data, white, n_updates = "MNIST", 255, 10_000
except FileNotFoundError:
    X, y = load_digits(return_X_y=True)
    X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=0)
    data, white, n_updates = "scikit-learn's digits", 16, 2_000
print(f"{data}: {len(X_train)} training and {len(X_test)} test images of {X_train.shape[1]} pixels")


def scale(images):
    return images.astype(np.float32) / (white / 2) - 1


# %%
# Training
# --------
# An epoch has as many updates as there are batches, so the number of updates gives the number of epochs.

# The number of epochs is a choice here, not a limit that the fit ran into.
warnings.filterwarnings("ignore", category=ConvergenceWarning)

n_batches = -(-len(X_train) // 100)
network = MLPTorchClassifier(
    (50,),
    "logistic",
    solver="sgd",
    momentum=0,
    learning_rate_init=0.1,
    batch_size=100,
    max_iter=-(-n_updates // n_batches),
    random_state=0,
)
network.fit(scale(X_train), y_train, X_val=scale(X_test), y_val=y_test)

# %%
# Training and test accuracy are close together: fifty neurons do not learn the images by heart.

print(f"updates: {network.n_iter_ * n_batches} in {network.n_iter_} epochs")
print(f"train accuracy: {network.score(scale(X_train), y_train):.4f}")
print(f"test accuracy: {network.score(scale(X_test), y_test):.4f}")

# %%
# The neurons
# -----------
# ``coefs_[0]`` is of shape (pixels, neurons), as in scikit-learn's MLPClassifier: a column is a neuron.

weights = network.coefs_[0]
side = int(len(weights) ** 0.5)
limit = np.quantile(np.abs(weights), 0.99)
figure, axes = plt.subplots(5, 10, figsize=(9, 4.8), layout="constrained")
for ax, neuron in zip(axes.flat, weights.T, strict=True):
    ax.imshow(neuron.reshape(side, side), cmap="RdBu_r", vmin=-limit, vmax=limit)
    ax.set(xticks=[], yticks=[])
figure.suptitle("a neuron is switched on by red pixels and off by blue ones")
plt.show()
