"""
Lesson 13: a search over a grid
===============================

How strongly to penalise weights, and how large a step to take, is not learned but tried. A search fits a network for
each pair of values and each fold. Imported from ``sknn.model_selection``, it trains all of them together; candidates,
folds and scores are those of scikit-learn's own search.
"""

import time
import warnings

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV as OneByOne
from sklearn.model_selection import train_test_split
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from sknn import MLPTorchClassifier
from sknn.model_selection import GridSearchCV as Together

# The number of epochs is a choice here, not a limit that the fit ran into.
warnings.filterwarnings("ignore", category=ConvergenceWarning)

# %%
# A pipeline and a grid
# ---------------------
# The scaler is part of what is searched, so that each fold is scaled by its own training rows. Parameters of a step are
# named after it.

X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X, y, stratify=y, random_state=0)

network = MLPTorchClassifier((32,), batch_size=64, max_iter=10, random_state=0)
model = Pipeline([("scaler", StandardScaler()), ("network", network)])
alphas, rates = [1e-3, 1e-1, 1e1, 1e3], [1e-4, 1e-3, 1e-2, 1e-1]
grid = {"network__alpha": alphas, "network__learning_rate_init": rates}

# %%
# Both searches
# -------------

searches = {}
for name, Search in {"together": Together, "one by one": OneByOne}.items():
    started = time.perf_counter()
    searches[name] = Search(model, grid, cv=3).fit(X_train, y_train)
    n_fits = 3 * len(searches[name].cv_results_["params"])
    print(f"{n_fits} networks {name}: {time.perf_counter() - started:.2f} s")

results, expected = (search.cv_results_ for search in searches.values())
n_same = int((results["mean_test_score"] == expected["mean_test_score"]).sum())
print(f"the same score for {n_same} of {len(expected['params'])} candidates")

# %%
# What it chose
# -------------
# The best pair, fitted to all training rows. Where the best lies at the edge of the grid, better values might lie
# beyond; the rate does not. Of the penalty, too much does harm, and a little less than the best hardly any.

search = searches["together"]
print(f"best: {search.best_params_}, {search.best_score_:.4f} in cross-validation")
print(f"test accuracy: {search.score(X_test, y_test):.4f}")
row, column = (values.index(value) for values, value in zip((alphas, rates), search.best_params_.values(), strict=True))
print(f"steps of the best rate from the nearest edge of the grid: {min(column, len(rates) - 1 - column)}")

# %%
scores = results["mean_test_score"].reshape(len(alphas), len(rates))
figure, ax = plt.subplots(figsize=(6.4, 4.6), layout="constrained")
image = ax.imshow(scores, cmap="viridis", vmin=0, vmax=1)
for (i, j), score in np.ndenumerate(scores):
    best = " *" if (i, j) == (row, column) else ""
    ax.text(j, i, f"{score:.3f}{best}", ha="center", va="center", color="black" if score > 0.6 else "white")
ax.set(title="accuracy in cross-validation, * the best", xlabel="learning_rate_init", ylabel="alpha")
ax.set_xticks(range(len(rates)), [f"{rate:g}" for rate in rates])
ax.set_yticks(range(len(alphas)), [f"{alpha:g}" for alpha in alphas])
figure.colorbar(image, ax=ax)
plt.show()
