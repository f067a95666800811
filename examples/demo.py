"""
The main job
============

Real images and a real table, from scikit-learn's tools to a file and back: a pipeline with a network is searched over
a grid, saved, and loaded by a second process, which has to predict the same. Where the files of MNIST are (see
``sknn.datasets.fetch_mnist``), a network also learns to read its 60,000 images. ``make demo`` runs it.
"""

import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

import joblib
import numpy as np
from sklearn.compose import TransformedTargetRegressor
from sklearn.datasets import load_diabetes, load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import GridSearchCV, RepeatedKFold, cross_val_score, train_test_split
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from sknn import MLPTorchClassifier, MLPTorchRegressor
from sknn.datasets import fetch_mnist

started = time.perf_counter()

# %%
# Images: a grid search over a pipeline
# -------------------------------------

X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X, y, stratify=y, random_state=0)
print(f"1. digits: {len(X_train)} training and {len(X_test)} test images of 8 x 8 pixels")

network = MLPTorchClassifier(learning_rate="onecycle", learning_rate_init=0.01, max_iter=15, random_state=0)
grid = {"network__hidden_layer_sizes": [(50,), (100,), (100, 50)], "network__alpha": [1e-4, 1.0]}
search = GridSearchCV(Pipeline([("scaler", StandardScaler()), ("network", network)]), grid, cv=3)
search.fit(X_train, y_train)
print(f"   search: {len(search.cv_results_['params'])} candidates x 3 folds in {time.perf_counter() - started:.1f} s")
print(f"   best: {search.best_params_}")
print(
    f"   accuracy: {search.best_score_:.4f} in cross-validation, {search.score(X_test, y_test):.4f} on the test images"
)

# %%
# To a file, and back in a second process
# ---------------------------------------

saved = Path("demo.joblib").resolve()
joblib.dump(search, saved)
print(f"2. saved: {saved} ({saved.stat().st_size / 1000:.0f} kB)")

SECOND_PROCESS = """
import sys, joblib, numpy as np
model, rows, answers = sys.argv[1:]
np.save(answers, joblib.load(model).predict_proba(np.load(rows)))
"""
with tempfile.TemporaryDirectory() as folder:
    rows, answers = Path(folder, "rows.npy"), Path(folder, "answers.npy")
    np.save(rows, X_test)
    subprocess.run([sys.executable, "-c", SECOND_PROCESS, saved, rows, answers], check=True)
    theirs = np.load(answers)
ours = search.predict_proba(X_test)
if not np.array_equal(theirs.argmax(axis=1), ours.argmax(axis=1)) or not np.allclose(theirs, ours, rtol=0, atol=1e-12):
    sys.exit(f"   The second process predicts otherwise: by up to {np.abs(theirs - ours).max():.1e}.")
print(f"   a second process loaded it and gives the same predictions for all {len(X_test)} test images")

# %%
# A table: a regressor beside a linear model
# ------------------------------------------

X, y = load_diabetes(return_X_y=True)
network = MLPTorchRegressor(
    hidden_layer_sizes=(50,),
    alpha=1.0,
    batch_size=50,
    learning_rate="cosine",
    learning_rate_init=0.01,
    max_iter=30,
    random_state=0,
)
scaled = TransformedTargetRegressor(make_pipeline(StandardScaler(), network), transformer=StandardScaler())
folds = RepeatedKFold(n_splits=5, n_repeats=2, random_state=0)
print(f"3. diabetes: a table of {X.shape[0]} rows and {X.shape[1]} columns; R2 in cross-validation, mean of 10 folds")
for name, model in {"network": scaled, "linear model": LinearRegression()}.items():
    print(f"   {name}: {cross_val_score(model, X, y, cv=folds).mean():.3f}")

# %%
# MNIST, where it is
# ------------------

try:
    X_train, y_train = fetch_mnist(subset="train", return_X_y=True, download_if_missing=False)
    X_test, y_test = fetch_mnist(subset="test", return_X_y=True, download_if_missing=False)
except FileNotFoundError:
    print(
        "4. MNIST: left out, as its files are not there; `from sknn import datasets; datasets.fetch_mnist()` gets them"
    )
else:
    print(f"4. MNIST: {len(X_train)} training and {len(X_test)} test images of 28 x 28 pixels")
    X_train, X_test = (images.astype(np.float32) / 127.5 - 1 for images in (X_train, X_test))
    network = MLPTorchClassifier((100, 100), batch_size=64, max_iter=5, random_state=0, verbose=True)
    with warnings.catch_warnings():
        # Five epochs are a choice here, not a limit that the fit ran into.
        warnings.simplefilter("ignore", ConvergenceWarning)
        network.fit(X_train, y_train)
    print(f"   test accuracy: {network.score(X_test, y_test):.4f}")
    print(f"   the first ten: {network.predict(X_test[:10])}, and what they are: {y_test[:10]}")

print(f"done in {time.perf_counter() - started:.0f} s")
