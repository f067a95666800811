"""
Lesson 11: neurons that know what a neighbour is
================================================

LeNet-5 looks at images through filters of 5 x 5 pixels, which are the same all over the image. A network of dense
layers with as many weights has to learn anew at each pixel. What the filters are worth is seen when the pixels of all
images change places: dense layers would not notice, LeNet does. Without the files of MNIST
(``sknn.datasets.fetch_mnist()`` brings them once) the lesson takes the 8 x 8 digits that scikit-learn ships, each of
them somewhere in an image of 12 x 12.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from sknn import LeNetClassifier, MLPTorchClassifier
from sknn.datasets import fetch_mnist
from sknn.inspection import FeatureMapDisplay

plt.style.use("petroff10")  # colours that the colour-blind can tell apart

# %%
# The images
# ----------
# Bytes, which LeNet takes as they are: it learns their mean and scale, and smaller images get a frame of zeros.

rng = np.random.default_rng(0)


def somewhere(digit):
    image = np.zeros((12, 12), np.uint8)
    top, left = rng.integers(5, size=2)
    image[top : top + 8, left : left + 8] = digit.reshape(8, 8) * 15  # black is 16
    return image.ravel()


try:
    X_train, y_train = fetch_mnist(subset="train", return_X_y=True, download_if_missing=False)
    X_test, y_test = fetch_mnist(subset="test", return_X_y=True, download_if_missing=False)
    data, n_epochs = "MNIST", 3
except FileNotFoundError:
    X, y = load_digits(return_X_y=True)
    X = np.array([somewhere(digit) for digit in X])
    X_train, X_test, y_train, y_test = train_test_split(X, y, stratify=y, random_state=0)
    data, n_epochs = "scikit-learn's digits", 15
print(f"{data}: {len(X_train)} training and {len(X_test)} test images of {X_train.shape[1]} pixels")

# %%
# Three fits
# ----------
# The same recipe for all: what differs is the network, or the order of the pixels.

recipe = {
    "learning_rate": "onecycle",
    "learning_rate_init": 0.003,
    "batch_size": 64,
    "max_iter": n_epochs,
    "random_state": 0,
}
lenet = LeNetClassifier(**recipe).fit(X_train, y_train, X_val=X_test, y_val=y_test)
n_weights = sum(parameter.numel() for parameter in lenet.module_.parameters())

n_neurons = n_weights // (X_train.shape[1] + 10 + 1)
dense = MLPTorchClassifier((n_neurons,), **recipe)
scaled_train, scaled_test = (X.astype(np.float32) / 255 for X in (X_train, X_test))
dense.fit(scaled_train, y_train, X_val=scaled_test, y_val=y_test)

mixed = rng.permutation(X_train.shape[1])
lenet_mixed = LeNetClassifier(**recipe).fit(X_train[:, mixed], y_train, X_val=X_test[:, mixed], y_val=y_test)

networks = {"LeNet": lenet, "dense layers": dense, "LeNet, pixels mixed": lenet_mixed}
print(f"{n_weights} weights: those of LeNet, or of {n_neurons} neurons in a hidden layer")
for name, network in networks.items():
    print(f"test accuracy of {name}: {network.validation_scores_[-1]:.4f}")

# %%
epochs = range(1, n_epochs + 1)
figure, ax = plt.subplots(figsize=(6.4, 4), layout="constrained")
for (name, network), style in zip(networks.items(), ("-", "--", ":"), strict=True):
    ax.plot(epochs, network.validation_scores_, style, marker=".", label=name)
ax.set(xlabel="epoch", ylabel="test accuracy", title=data)
ax.set_xticks(epochs)
ax.legend(loc="lower right")

# %%
# What the filters find
# ---------------------
# The six maps of the first convolution answer to edges of different directions, the sixteen of the second to how these
# lie together. The sum of the maps of a layer is shown before them.

display = FeatureMapDisplay.from_estimator(lenet, X_test[:2], layers=("c1", "c3"))
print(f"maps of the second convolution: {display.maps['c3'].shape}")
plt.show()
