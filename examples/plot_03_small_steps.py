"""
Lesson 3: many small steps
==========================

Images with a border of zeros, one hidden layer of 300 neurons, and the plainest way to train there is: small steps
downhill, always of the same rate, without momentum. Without the files of MNIST (``sknn.datasets.fetch_mnist()``
brings them once) the lesson takes the 8 x 8 digits that scikit-learn ships.
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
# Images with a border
# --------------------
# Two pixels on each side make 28 x 28 images 32 x 32: 1024 inputs.

try:
    X_train, y_train = fetch_mnist(subset="train", return_X_y=True, download_if_missing=False)
    X_test, y_test = fetch_mnist(subset="test", return_X_y=True, download_if_missing=False)
    data, white, batch_size = "MNIST", 255, 128
except FileNotFoundError:
    X, y = load_digits(return_X_y=True)
    X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=0)
    data, white, batch_size = "scikit-learn's digits", 16, 16


def pad_and_scale(X):
    side = int(X.shape[1] ** 0.5)
    images = np.pad(X.reshape(-1, side, side), ((0, 0), (2, 2), (2, 2)))
    return images.reshape(len(X), -1).astype(np.float32) / (white / 2) - 1


X_train, X_test = pad_and_scale(X_train), pad_and_scale(X_test)
side = int(X_train.shape[1] ** 0.5)
print(f"{data}, padded to {side} x {side}: {len(X_train)} training and {len(X_test)} test images")

# %%
# Thirty epochs
# -------------

# The number of epochs is a choice here, not a limit that the fit ran into.
warnings.filterwarnings("ignore", category=ConvergenceWarning)

network = MLPTorchClassifier(
    (300,),
    solver="sgd",
    momentum=0,
    learning_rate_init=0.01,
    batch_size=batch_size,
    max_iter=30,
    random_state=0,
)
network.fit(X_train, y_train, X_val=X_test, y_val=y_test)
for epoch in (1, 2, 5, 10, 20, 30):
    loss, accuracy = network.loss_curve_[epoch - 1], network.validation_scores_[epoch - 1]
    print(f"epoch {epoch}: train loss {loss:.4f}, test accuracy {accuracy:.4f}")

# %%
# The first epochs do most of the work; the later ones still gain.

epochs = range(1, network.n_iter_ + 1)
figure, (left, middle, right) = plt.subplots(1, 3, figsize=(11, 3.5), layout="constrained")
left.imshow(X_test[0].reshape(side, side), cmap="gray_r")
left.set(title=f"a {network.predict(X_test[:1])[0]}, with its border", xticks=[], yticks=[])
middle.plot(epochs, network.loss_curve_)
middle.set(title="train loss", xlabel="epoch")
right.plot(epochs, network.validation_scores_)
right.set(title="test accuracy", xlabel="epoch")
plt.show()
