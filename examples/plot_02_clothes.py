"""
Lesson 2: curves of learning
============================

One hidden layer learns to tell clothes apart by plain stochastic gradient descent, and three curves say how: the
training loss, and the accuracy on images that were trained on and on images that were not. Without the files of
Fashion-MNIST (``sknn.datasets.fetch_fashion_mnist()`` brings them once) the lesson takes scikit-learn's digits.
"""

import warnings

import matplotlib.pyplot as plt
import numpy as np
from sklearn.callback import ScoringMonitor
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split

from sknn import MLPTorchClassifier
from sknn.datasets import fetch_fashion_mnist

# %%
# The images and their names
# --------------------------
# Labels can be words. The network counts classes from zero inside and gives the words back.

try:
    train = fetch_fashion_mnist(subset="train", download_if_missing=False)
    test = fetch_fashion_mnist(subset="test", download_if_missing=False)
    X_train, X_test = train.data, test.data
    names = train.target_names
    y_train, y_test = names[train.target], names[test.target]
    data, white, rate, batch_size, n_epochs = "Fashion-MNIST", 255, 0.1, 256, 10
except FileNotFoundError:
    X, y = load_digits(return_X_y=True)
    names = np.array(["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"])
    X_train, X_test, y_train, y_test = train_test_split(X, names[y], random_state=0)
    data, white, rate, batch_size, n_epochs = "scikit-learn's digits", 16, 0.05, 16, 20
print(f"{data}: {len(X_train)} training and {len(X_test)} test images of {', '.join(names)}")


def scale(images):
    return images.astype(np.float32) / (white / 2) - 1


# %%
# Training
# --------
# Given ``X_val`` and ``y_val``, the network is scored on them after each epoch. For the accuracy on the training
# images a callback of scikit-learn's looks over the network's shoulder.

# The number of epochs is a choice here, not a limit that the fit ran into.
warnings.filterwarnings("ignore", category=ConvergenceWarning)

network = MLPTorchClassifier(
    (256,),
    solver="sgd",
    momentum=0,
    learning_rate_init=rate,
    batch_size=batch_size,
    max_iter=n_epochs,
    alpha=0,
    weight_init="normal",
    random_state=0,
)
monitor = ScoringMonitor(scoring="accuracy")
network.set_callbacks(monitor)
network.fit(scale(X_train), y_train, X_val=scale(X_test), y_val=y_test)
train_accuracy = [task["accuracy"] for task in monitor.get_logs().data if task["task_name"] == "epoch"]

for epoch in range(n_epochs):
    print(
        f"epoch {epoch + 1}: train loss {network.loss_curve_[epoch]:.4f}, train accuracy {train_accuracy[epoch]:.4f},"
        f" test accuracy {network.validation_scores_[epoch]:.4f}"
    )

# %%
epochs = range(1, n_epochs + 1)
figure, ax = plt.subplots(layout="constrained")
ax.plot(epochs, network.loss_curve_, label="train loss")
ax.plot(epochs, train_accuracy, "--", label="train accuracy")
ax.plot(epochs, network.validation_scores_, "-.", label="test accuracy")
ax.set(xlabel="epoch", title=data)
ax.legend()

# %%
side = int(X_test.shape[1] ** 0.5)
figure, axes = plt.subplots(2, 5, figsize=(8, 4), layout="constrained")
for ax, image, true, predicted in zip(axes.flat, X_test, y_test, network.predict(scale(X_test[:10])), strict=False):
    ax.imshow(image.reshape(side, side), cmap="gray_r")
    ax.set(title=f"{true}\nseen as {predicted}", xticks=[], yticks=[])
plt.show()
