"""
Lesson 17: more than one answer
===============================

What is in the picture? Where several things can be, y has a column of zeros and ones for each of them, and the network
an output with a probability of its own. The pictures here hold two digits side by side, made of those that scikit-learn
ships; the network is told which digits are there, but neither how many nor where.
"""

import warnings

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import hamming_loss
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import MultiLabelBinarizer

from sknn import LeNetClassifier, MLPTorchClassifier

# The number of epochs is a choice here, not a limit that the fit ran into.
warnings.filterwarnings("ignore", category=ConvergenceWarning)

# %%
# Pictures of two digits
# ----------------------
# Test pictures are made of digits that are in no training picture. ``MultiLabelBinarizer`` makes columns of sets.

images, digits = load_digits().images.astype(np.uint8), load_digits().target
rng = np.random.default_rng(0)


def pairs(rows, n):
    chosen = rng.choice(rows, (n, 2))
    pictures = np.concatenate([images[chosen[:, 0]], images[chosen[:, 1]]], axis=2)  # (n, 8, 16)
    return pictures, [set(pair) for pair in digits[chosen].tolist()]


train, test = train_test_split(np.arange(len(images)), stratify=digits, random_state=0)
X_train, sets_train = pairs(train, 3000)
X_test, sets_test = pairs(test, 1000)
binarizer = MultiLabelBinarizer().fit(sets_train)
Y_train, Y_test = binarizer.transform(sets_train), binarizer.transform(sets_test)
print(f"the first picture has {sorted(sets_train[0])}: {Y_train[0]}")

# %%
# Two networks
# ------------
# The dense one takes rows of pixels. The convolutions of LeNet see a digit on the left as they see it on the right.

recipe = {"learning_rate": "onecycle", "batch_size": 64, "random_state": 0}
dense = MLPTorchClassifier((100,), learning_rate_init=0.01, max_iter=30, **recipe)
dense.fit(X_train.reshape(len(X_train), -1) / np.float32(16), Y_train)
lenet = LeNetClassifier(learning_rate_init=0.005, max_iter=8, **recipe).fit(X_train, Y_train)

# %%
# Two ways to count
# -----------------
# Of single answers most are right when nothing is said at all, as eight of ten digits are missing in each picture. So
# ``score`` counts the pictures for which all ten are right.

predicted = {
    "nothing": np.zeros_like(Y_test),
    "dense layers": dense.predict(X_test.reshape(len(X_test), -1) / np.float32(16)),
    "LeNet": lenet.predict(X_test),
}
for name, Y in predicted.items():
    whole = (Y_test == Y).all(axis=1).mean()
    print(f"{name}: single answers {1 - hamming_loss(Y_test, Y):.4f}, whole pictures {whole:.4f}")
print(f"score of LeNet: {lenet.score(X_test, Y_test):.4f}")

# %%
# Back to sets
# ------------
# The probabilities of the ten digits need not sum to one. Those above 1/2 are what is predicted.

probabilities = lenet.predict_proba(X_test)
sets = binarizer.inverse_transform(predicted["LeNet"])
print(f"digits in a picture, on average: {Y_test.sum(axis=1).mean():.2f}")
print(f"digits that LeNet expects in it: {probabilities.sum(axis=1).mean():.2f}")

# %%
# Three pictures, and the first that it is wrong about.

shown = [0, 1, 2, np.argmax((predicted["LeNet"] != Y_test).any(axis=1))]

figure, axes = plt.subplots(2, 4, figsize=(10, 4), layout="constrained", height_ratios=[1, 1.4])
for picture, bars, i in zip(*axes, shown, strict=True):
    picture.imshow(X_test[i], cmap="gray_r")
    picture.set(title=f"seen: {', '.join(map(str, sets[i])) or 'nothing'}", xticks=[], yticks=[])
    bars.bar(range(10), probabilities[i], color=["C1" if digit in sets_test[i] else "C0" for digit in range(10)])
    bars.axhline(0.5, color="black", linewidth=0.5)
    bars.set(ylim=(0, 1), xticks=range(10), xlabel="digit")
axes[1, 0].set_ylabel("probability\n(orange: is there)")
plt.show()
