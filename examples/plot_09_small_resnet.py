"""
Lesson 9: a small ResNet
========================

Blocks of convolutions that add to their input made very deep networks of images trainable (He et al., 2016). A small
one, with batch normalisation, reads the 8 x 8 digits that scikit-learn ships. X has the shape that a convolution wants:
images, channels, height, width.
"""

import warnings

import matplotlib.pyplot as plt
import numpy as np
import torch
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split
from torch import nn

from sknn import TorchClassifier

# The number of epochs is a choice here, not a limit that the fit ran into.
warnings.filterwarnings("ignore", category=ConvergenceWarning)

# %%
# The network
# -----------
# Three blocks; the second and third halve the images and double the number of maps. Where the shape changes, a 1 x 1
# convolution brings the input to that of the sum.


def convolution(n_in, n_out, size, stride=1):
    return nn.Sequential(nn.Conv2d(n_in, n_out, size, stride, padding=size // 2, bias=False), nn.BatchNorm2d(n_out))


class Block(nn.Module):
    def __init__(self, n_in, n_out, stride):
        super().__init__()
        self.change = nn.Sequential(convolution(n_in, n_out, 3, stride), nn.ReLU(), convolution(n_out, n_out, 3))
        self.shortcut = nn.Identity() if n_in == n_out else convolution(n_in, n_out, 1, stride)

    def forward(self, X):
        return (self.shortcut(X) + self.change(X)).relu()


class ResNet(nn.Module):
    def __init__(self, n_outputs, n_maps=16):
        super().__init__()
        self.enter = nn.Sequential(convolution(1, n_maps, 3), nn.ReLU())
        self.blocks = nn.Sequential(
            Block(n_maps, n_maps, 1), Block(n_maps, 2 * n_maps, 2), Block(2 * n_maps, 4 * n_maps, 2)
        )
        self.leave = nn.Linear(4 * n_maps, n_outputs)

    def forward(self, X):  # (n, 1, 8, 8)
        maps = self.blocks(self.enter(X / 16))  # (n, 64, 2, 2)
        return self.leave(maps.mean((2, 3)))


# %%
# Training
# --------
# The pixels are bytes, and stay bytes until a batch of them is read. After each epoch the test images are scored.

images, y = load_digits().images.astype(np.uint8)[:, None], load_digits().target
X_train, X_test, y_train, y_test = train_test_split(images, y, stratify=y, random_state=0)
print(f"{len(X_train)} training images of shape {X_train.shape[1:]}, {X_train.dtype}")

network = TorchClassifier(
    ResNet, learning_rate="onecycle", learning_rate_init=0.005, batch_size=64, max_iter=10, random_state=0
)
network.fit(X_train, y_train, X_val=X_test, y_val=y_test)
n_numbers = sum(parameter.numel() for parameter in network.module_.parameters())
print(f"{n_numbers} weights, {network.n_iter_} epochs, loss {network.loss_:.4f}")
print(f"test accuracy: {network.score(X_test, y_test):.4f}")

# %%
# The same pixels as rows
# -----------------------
# Rows of 64 pixels, as tools for tables have them, need the shape of an image. The model is the same.

of_rows = TorchClassifier(**network.get_params(deep=False)).set_params(input_shape=(1, 8, 8))
of_rows.fit(X_train.reshape(-1, 64), y_train)
n_same = (of_rows.predict(X_test.reshape(-1, 64)) == network.predict(X_test)).sum()
print(f"of rows: the same digit for {n_same} of {len(X_test)} test images")

# %%
# What the first layer sees in a digit.

with torch.no_grad():
    maps = network.module_.enter(torch.from_numpy(X_test[:1]).float() / 16)[0].numpy()

figure, axes = plt.subplots(2, 5, figsize=(9, 4), layout="constrained")
axes = axes.ravel()
axes[0].plot(network.validation_scores_)
axes[0].set(title="test accuracy", xlabel="epoch")
for axis, image in zip(axes[1:], [X_test[0, 0], *maps[:8]], strict=True):
    axis.imshow(image, cmap="gray")
    axis.axis("off")
axes[1].set_title(f"a {y_test[0]}, and eight maps of it")
plt.show()
