"""
Lesson 21: images that move
===========================

An eight stays an eight when it stands a little to the left or leans. A network does not know that, unless its training
images do so too. ``random_shift`` and ``random_rotation`` change them anew in each epoch, so that no image is ever seen
twice in the same way.
"""

import matplotlib.pyplot as plt
import numpy as np
import torch
from scipy.ndimage import rotate
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from sknn import LeNetClassifier

plt.style.use("petroff10")  # colours that the colour-blind can tell apart

# %%
# Digits with room around them
# ----------------------------
# Four pixels of background on each side let a digit move without leaving the image.

digits = load_digits()
images = np.pad(digits.images.astype(np.uint8), ((0, 0), (4, 4), (4, 4)))
X_train, X_test, y_train, y_test = train_test_split(images, digits.target, stratify=digits.target, random_state=0)
print(f"{len(X_train)} training and {len(X_test)} test images of {X_train.shape[1]} x {X_train.shape[2]} pixels")

# %%
# Two fits
# --------
# They differ in the random changes only. Changes are for training; predictions are of images as they are.

recipe = {"learning_rate_init": 0.005, "max_iter": 15, "random_state": 0}
networks = {
    "as they are": LeNetClassifier(**recipe).fit(X_train, y_train),
    "moved": LeNetClassifier(random_shift=3, random_rotation=20, **recipe).fit(X_train, y_train),
}

# %%
# What the second one was shown
# -----------------------------
# ``module_.images`` makes what the convolutions see of rows of pixels, and changes them in training mode. Here it is
# one image, ten times, with less of the frame of zeros around it.

torch.manual_seed(0)
shown = networks["moved"].module_.images.train()
rows = torch.from_numpy(X_train[:1].reshape(1, -1)).float().repeat(10, 1)
figure, axes = plt.subplots(2, 5, figsize=(8, 3.8), layout="constrained")
for ax, image in zip(axes.flat, shown(rows)[:, 0, 6:26, 6:26].numpy(), strict=True):
    ax.imshow(image, cmap="gray_r")
    ax.set(xticks=[], yticks=[])
figure.suptitle(f"one training image, a {y_train[0]}, as it is in ten epochs")
shown.eval()

# %%
# Test images that move
# ---------------------
# By so many pixels in each of the four directions, and by so many degrees either way. What moved in training costs a
# little where nothing moves, and gains much where something does.


def accuracy(network, changed):
    return np.mean([network.score(X, y_test) for X in changed])


def shifted(n):
    return [np.roll(X_test, step, axis=axis) for axis in (1, 2) for step in (-n, n)]


def rotated(degrees):
    return [rotate(X_test, angle, axes=(1, 2), reshape=False, order=1) for angle in (-degrees, degrees)]


shifts, angles = range(5), range(0, 41, 10)
by_shift = {name: [accuracy(network, shifted(n)) for n in shifts] for name, network in networks.items()}
by_angle = {name: [accuracy(network, rotated(n)) for n in angles] for name, network in networks.items()}
for name in networks:
    print(f"trained on images {name}: test accuracy {by_shift[name][0]:.4f}")
    print(f"   {name}, test images shifted by 3: {by_shift[name][3]:.4f}")
    print(f"   {name}, test images turned by 20 degrees: {by_angle[name][2]:.4f}")

# %%
# Beyond what was practised, accuracy falls again.

figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.8), sharey=True, layout="constrained")
for name, style in zip(networks, ("--", "-"), strict=True):
    left.plot(shifts, by_shift[name], style, marker="o", label=f"trained on images {name}")
    right.plot(angles, by_angle[name], style, marker="o")
left.axvline(3, color="gray", linestyle=":")
right.axvline(20, color="gray", linestyle=":", label="practised up to here")
left.set(title="shifted", xlabel="pixels", ylabel="test accuracy", xticks=shifts)
right.set(title="turned", xlabel="degrees", xticks=angles)
left.legend(loc="lower left")
right.legend(loc="lower left")
plt.show()
