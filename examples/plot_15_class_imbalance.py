"""
Lesson 15: what is rare
=======================

One machine in twenty is about to fail. A network that is right as often as possible misses many of them, since it is
rarely wrong to say that all is well. There are two ways to make it say so less: weights of the classes in training, or
another threshold afterwards, which scikit-learn's ``TunedThresholdClassifierCV`` finds. The data are made here.
"""

import warnings

import matplotlib.pyplot as plt
import numpy as np
from sklearn.base import clone
from sklearn.datasets import make_classification
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import PrecisionRecallDisplay, accuracy_score, confusion_matrix, make_scorer
from sklearn.model_selection import TunedThresholdClassifierCV, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sknn import MLPTorchClassifier

# The number of epochs is a choice here, not a limit that the fit ran into.
warnings.filterwarnings("ignore", category=ConvergenceWarning)
plt.style.use("petroff10")  # colours that the colour-blind can tell apart

# %%
# The data, and what mistakes cost
# --------------------------------
# A failure that was missed costs ten times as much as a look at a machine that is well.

X, y = make_classification(
    8000, n_features=10, n_informative=6, weights=[0.95], class_sep=0.8, flip_y=0.01, random_state=0
)
X_train, X_test, y_train, y_test = train_test_split(X, y, stratify=y, random_state=0)


def cost(y_true, y_pred):
    (_, false_alarms), (missed, _) = confusion_matrix(y_true, y_pred)
    return (10 * missed + false_alarms) / len(y_true)


print(f"{y_test.sum()} of {len(y_test)} test machines fail; cost of never looking: {cost(y_test, 0 * y_test):.3f}")

# %%
# Three ways to decide
# --------------------
# ``class_weight="balanced"`` gives both classes the same weight in the loss. The tuned threshold is the one of least
# cost in cross-validation; the network behind it is the plain one.

network = MLPTorchClassifier(
    (50,), learning_rate="onecycle", learning_rate_init=0.01, batch_size=64, max_iter=15, random_state=0
)
plain = make_pipeline(StandardScaler(), network)
models = {
    "plain": plain,
    "class_weight": clone(plain).set_params(mlptorchclassifier__class_weight="balanced"),
    "threshold": TunedThresholdClassifierCV(
        plain, scoring=make_scorer(cost, greater_is_better=False), cv=3, store_cv_results=True
    ),
}
decisions = {name: model.fit(X_train, y_train).predict(X_test) for name, model in models.items()}
for name, decided in decisions.items():
    found, alarms = (decided & y_test).sum(), decided.sum()
    print(f"{name}: accuracy {accuracy_score(y_test, decided):.4f}, cost {cost(y_test, decided):.3f}")
    print(f"   recall of {name}: {found / y_test.sum():.3f}, precision {found / alarms:.3f}")
threshold = models["threshold"].best_threshold_
print(f"the threshold: {threshold:.2f}")

# %%
# A threshold moves along the curve of one network; class weights make another network, with a curve of its own.

figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4.2), layout="constrained")
for name, style in {"plain": "-", "class_weight": "--"}.items():
    PrecisionRecallDisplay.from_estimator(
        models[name], X_test, y_test, ax=left, name=name, curve_kwargs={"linestyle": style}
    )
for (name, decided), marker in zip(decisions.items(), "os^", strict=True):
    found = (decided & y_test).sum()
    left.plot(found / y_test.sum(), found / decided.sum(), marker, color="black", label=f"decisions: {name}")
left.set(title="what is found, and how much of it is true", xlabel="recall", ylabel="precision")
left.legend(loc="lower left")
results = models["threshold"].cv_results_
right.plot(results["thresholds"], -np.asarray(results["scores"]))
right.axvline(threshold, color="black", linestyle="--", label=f"chosen: {threshold:.2f}")
right.axvline(0.5, color="black", linestyle=":", label="of predict: 0.5")
right.set(title="cost in cross-validation", xlabel="threshold", ylabel="cost of a machine")
right.legend()
plt.show()
