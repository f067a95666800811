"""
Lesson 22: two words of a program
=================================

A program that uses scikit-learn's ``MLPClassifier`` becomes one that uses PyTorch by two words, the module and the
class::

    -from sklearn.neural_network import MLPClassifier
    -network = MLPClassifier((100,), random_state=0)
    +from sknn import MLPTorchClassifier
    +network = MLPTorchClassifier((100,), random_state=0)

With the same ``random_state`` it draws the same numbers in the same order, so it comes to the same weights up to
rounding. From there on there is more to choose from.
"""

import warnings

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sknn import MLPTorchClassifier

# The number of epochs is a choice here, not a limit that the fit ran into.
warnings.filterwarnings("ignore", category=ConvergenceWarning)
plt.style.use("petroff10")  # colours that the colour-blind can tell apart

# %%
# The program
# -----------
# It is given the class, so that both can run here. One training label in five is drawn by lot.

X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X, y, train_size=900, stratify=y, random_state=0)
rng = np.random.default_rng(0)
y_train = np.where(rng.uniform(size=len(y_train)) < 0.2, rng.integers(10, size=len(y_train)), y_train)


def program(MLP, **more):
    network = MLP((100,), batch_size=32, learning_rate_init=0.005, max_iter=60, random_state=0, **more)
    return make_pipeline(StandardScaler(), network).fit(X_train, y_train)


# %%
# Before and after
# ----------------

theirs, ours = program(MLPClassifier), program(MLPTorchClassifier)
n_same = (theirs.predict(X_test) == ours.predict(X_test)).sum()
difference = np.abs(theirs.predict_proba(X_test) - ours.predict_proba(X_test)).max()
print(f"scikit-learn: {theirs[-1].n_iter_} epochs, test accuracy {theirs.score(X_test, y_test):.4f}")
print(f"sknn: {ours[-1].n_iter_} epochs, test accuracy {ours.score(X_test, y_test):.4f}")
print(f"the same digit for {n_same} of {len(X_test)} test images")
print(f"largest difference of a probability: {difference:.1e}")

# %%
# One thing more
# --------------
# Neurons that are dropped at random in training cannot rely on one another (Srivastava et al., 2014), which makes it
# harder to learn the wrong labels by heart. It is a word more in the program.

dropped = program(MLPTorchClassifier, dropout=0.5)
print(f"test accuracy with dropout: {dropped.score(X_test, y_test):.4f}")
gain = dropped.score(X_test, y_test) - ours.score(X_test, y_test)
print(f"gained by dropout: {gain:.4f}")

# %%
# Where one curve covers the other, they are the same. With dropout, the loss is that of networks with half of their
# neurons.

figure, ax = plt.subplots(layout="constrained")
for model, style, label in [
    (theirs, {"linewidth": 6, "alpha": 0.4}, "MLPClassifier"),
    (ours, {"linestyle": "--", "color": "black"}, "MLPTorchClassifier"),
    (dropped, {"linestyle": "-."}, "MLPTorchClassifier, dropout=0.5"),
]:
    ax.semilogy(range(1, model[-1].n_iter_ + 1), model[-1].loss_curve_, label=label, **style)
ax.set(xlabel="epoch", ylabel="training loss")
ax.legend()
plt.show()
