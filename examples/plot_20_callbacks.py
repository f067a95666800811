"""
Lesson 20: when to stop, and how to go on
=========================================

Callbacks look in after each epoch of a fit. They tell how it goes, end it when it no longer helps, and write down where
it stands, so that a fit that was cut off goes on when the program is run again. ``set_callbacks`` takes those of
``sknn.callbacks``, those of scikit-learn and your own.
"""

import tempfile
import warnings

import matplotlib.pyplot as plt
import numpy as np
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import log_loss
from sklearn.model_selection import train_test_split

from sknn import MLPTorchClassifier
from sknn.callbacks import Checkpoint, EarlyStoppingOnMetric, EpochLog
from sknn.inspection import LossCurveDisplay

# The number of epochs is a choice here, not a limit that the fit ran into.
warnings.filterwarnings("ignore", category=ConvergenceWarning)

# %%
# Labels that are not always right
# --------------------------------
# One training label in three is drawn by lot. A network of this size can learn the wrong ones by heart, if it has time.

X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X / 8 - 1, y, test_size=0.4, stratify=y, random_state=0)
rng = np.random.default_rng(0)
y_train = np.where(rng.uniform(size=len(y_train)) < 1 / 3, rng.integers(10, size=len(y_train)), y_train)
X_train, X_val, y_train, y_val = train_test_split(X_train, y_train, random_state=0)
given = {"X": X_train, "y": y_train, "X_val": X_val, "y_val": y_val}

network = MLPTorchClassifier((100,), learning_rate_init=0.003, batch_size=32, max_iter=100, random_state=0)

# %%
# Three ends of a fit
# -------------------
# ``early_stopping=True`` goes by the accuracy of the validation rows, ``EarlyStoppingOnMetric`` by any score, here by
# what their probabilities are worth. Both keep the weights of the best epoch.

stopping = EarlyStoppingOnMetric("neg_log_loss", n_iter_no_change=5)
fits = {
    "all epochs": clone(network),
    "accuracy": clone(network).set_params(early_stopping=True),
    "log loss": clone(network).set_callbacks(stopping),
}
for name, fit in fits.items():
    fit.fit(**given)
    print(f"stopped by {name}: {fit.n_iter_} epochs, test accuracy {fit.score(X_test, y_test):.4f}")
    print(f"   test log loss, {name}: {log_loss(y_test, fit.predict_proba(X_test)):.3f}")
print(f"best epoch by log loss: {stopping.best_epoch_}")

# %%
# The training loss falls all the time; what falls with it, from some epoch on, is the worth of the network.

display = LossCurveDisplay.from_estimator(fits["all epochs"])
display.ax_.axvline(stopping.best_epoch_, color="gray", linestyle=":")
display.ax_.annotate(
    " best log loss\n of validation rows", (stopping.best_epoch_, 0.02), xycoords=("data", "axes fraction")
)
display.ax_.set_title("learned by heart")
display.score_ax_.get_legend().set_loc("upper right")

# %%
# Cut off in the middle
# ---------------------
# A callback of your own has four methods. This one is a power cut: it ends the fit by an error after so many epochs.


class PowerCut:
    def __init__(self, n_epochs):
        self.n_left = n_epochs

    def setup(self, estimator, context): ...
    def teardown(self, estimator, context): ...
    def on_fit_task_begin(self, estimator, context): ...

    def on_fit_task_end(self, estimator, context):
        self.n_left -= context.task_name == "epoch"
        if self.n_left == 0:
            raise OSError("power cut")


# %%
# ``Checkpoint`` writes where the fit stands before each epoch. The second run does not begin anew, and what it comes to
# is what the fit would have come to at once.

short = clone(network).set_params(max_iter=8)
with tempfile.TemporaryDirectory() as folder:
    checkpoint = Checkpoint(folder)
    try:
        clone(short).set_callbacks(checkpoint, EpochLog(training_score=False), PowerCut(6)).fit(**given)
    except OSError as error:
        print(f"the first run ended with: {error}")
    again = clone(short).set_callbacks(checkpoint, EpochLog(training_score=False)).fit(**given)
at_once = clone(short).fit(**given)
difference = max(np.abs(a - b).max() for a, b in zip(again.coefs_, at_once.coefs_, strict=True))
print(f"epochs that the second run had behind it: {checkpoint.n_epochs_before_}")
print(f"largest difference from a fit at once: {difference:.1e}")
plt.show()
