"""
Lesson 1: a network that reads digits
=====================================

Two hidden layers of 100 neurons learn to read handwritten digits in five passes over MNIST. Without its files
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
# A row is an image, its pixels one after the other. Few images need more passes.

try:
    X_train, y_train = fetch_mnist(subset="train", return_X_y=True, download_if_missing=False)
    X_test, y_test = fetch_mnist(subset="test", return_X_y=True, download_if_missing=False)
    data, white, n_epochs = "MNIST", 255, 5
except FileNotFoundError:
    X, y = load_digits(return_X_y=True)
    X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=0)
    data, white, n_epochs = "scikit-learn's digits", 16, 20
print(f"{data}: {len(X_train)} training and {len(X_test)} test images of {X_train.shape[1]} pixels")


# %%
# Pixels are scaled to [-1, 1]: inputs around zero let the first steps go in every direction.


def scale(images):
    return images.astype(np.float32) / (white / 2) - 1


# %%
# Training
# --------
# ``verbose=True`` prints a line for each pass over the images, an epoch.

# The number of epochs is a choice here, not a limit that the fit ran into.
warnings.filterwarnings("ignore", category=ConvergenceWarning)

network = MLPTorchClassifier((100, 100), batch_size=64, max_iter=n_epochs, random_state=0, verbose=True)
network.fit(scale(X_train), y_train)

# %%
# The test
# --------
# What counts are images that the network has never seen.

print(f"test accuracy: {network.score(scale(X_test), y_test):.4f}")
predicted = network.predict(scale(X_test[:10]))
print(f"the first ten: {predicted}, and what they are: {y_test[:10]}")

# %%
side = int(X_test.shape[1] ** 0.5)
figure, axes = plt.subplots(2, 5, figsize=(7, 3.4), layout="constrained")
for ax, image, label in zip(axes.flat, X_test, predicted, strict=False):
    ax.imshow(image.reshape(side, side), cmap="gray_r")
    ax.set(title=f"read as {label}", xticks=[], yticks=[])
plt.show()
