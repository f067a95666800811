"""
Lesson 16: how sure is sure
===========================

Of a hundred rows that a network calls 80 % sure, eighty should be right. A network that has learned its training rows
by heart is far too sure of everything else. Two remedies, beside stopping early: ``label_smoothing`` in training, or
scikit-learn's ``CalibratedClassifierCV``, which learns from rows that were held out how much to believe.
"""

import warnings

import matplotlib.pyplot as plt
import numpy as np
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV, CalibrationDisplay, calibration_curve
from sklearn.datasets import make_classification
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import brier_score_loss, log_loss
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sknn import MLPTorchClassifier

# The number of epochs is a choice here, not a limit that the fit ran into.
warnings.filterwarnings("ignore", category=ConvergenceWarning)
plt.style.use("petroff10")  # colours that the colour-blind can tell apart

# %%
# Data that cannot be learned in full
# -----------------------------------
# One label in ten is another than it should be, so that nobody can be sure. There are more test rows than training
# rows, as shares need many rows to be seen.

X, y = make_classification(6000, n_features=10, n_informative=5, flip_y=0.2, class_sep=0.8, random_state=0)
X_train, X_test, y_train, y_test = train_test_split(X, y, train_size=1500, random_state=0)

# %%
# Four networks
# -------------
# Sixty epochs of a network with many more weights than rows, which are too many, are the same in three of them.

network = MLPTorchClassifier((100, 50), learning_rate_init=0.003, batch_size=64, max_iter=60, random_state=0)
plain = make_pipeline(StandardScaler(), network)
models = {
    "plain": plain,
    "label_smoothing": clone(plain).set_params(mlptorchclassifier__label_smoothing=0.2),
    "early_stopping": clone(plain).set_params(mlptorchclassifier__early_stopping=True),
    "calibrated": CalibratedClassifierCV(plain, method="temperature", cv=5, ensemble=False),
}
for name, model in models.items():
    model.fit(X_train, y_train)
    p = model.predict_proba(X_test)[:, 1]
    print(f"{name}: accuracy {model.score(X_test, y_test):.3f}, Brier score {brier_score_loss(y_test, p):.3f}")
    print(f"   log loss of {name}: {log_loss(y_test, p):.3f}")

# %%
# Who says 95 %
# -------------
# As one label in ten is not what it should be, nobody can be right more often than nine times in ten, and a model that
# knew it would never say 95 %. The distance is that between what is said and what is so, on average over ten groups of
# rows.

for name, model in models.items():
    p = model.predict_proba(X_test)[:, 1]
    surer = np.maximum(p, 1 - p) > 0.95
    share, said = calibration_curve(y_test, p, n_bins=10, strategy="quantile")
    print(
        f"{name}: over 95 % sure of {100 * surer.mean():.1f} % of the rows, distance {np.abs(share - said).mean():.3f}"
    )
    if surer.any():
        print(f"   {name}, right there: {100 * ((p > 0.5) == y_test)[surer].mean():.1f} %")

# %%
figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4.4), layout="constrained")
for (name, model), style in zip(models.items(), ("o-", "s--", "^:", "d-."), strict=True):
    CalibrationDisplay.from_estimator(
        model, X_test, y_test, n_bins=10, strategy="quantile", name=name, ax=left, linestyle=style[1:], marker=style[0]
    )
    p = model.predict_proba(X_test)[:, 1]
    right.hist(p, bins=20, range=(0, 1), histtype="step", linestyle=style[1:], linewidth=1.5, label=name)
left.set(title="what is said and what is so", xlabel="predicted probability", ylabel="share of rows")
right.set(title="what is said", xlabel="predicted probability", ylabel="test rows")
right.legend()
plt.show()
