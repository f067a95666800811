"""
Lesson 19: to a file and back
=============================

A fitted network is an object like any other: ``joblib.dump`` writes it, ``joblib.load`` brings it back, in another
process too, and it predicts the same. But a pickle is a program. It runs while it is loaded, before anybody can look at
what comes out, so load none from a stranger.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

import joblib
import matplotlib.pyplot as plt
import numpy as np
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sknn import MLPTorchClassifier
from sknn.modules import MLP

folder = tempfile.TemporaryDirectory()
here = Path(folder.name)

# %%
# The model, and its file
# -----------------------
# The scaler belongs to the model: without it the network would see other numbers than it has learned from.

X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X, y, stratify=y, random_state=0)
network = MLPTorchClassifier((50,), learning_rate="onecycle", learning_rate_init=0.01, max_iter=15, random_state=0)
model = make_pipeline(StandardScaler(), network).fit(X_train, y_train)

joblib.dump(model, here / "model.joblib")
print(f"test accuracy: {model.score(X_test, y_test):.4f}, size of the file: {(here / 'model.joblib').stat().st_size} B")

# %%
# A second process
# ----------------
# It knows the file and the images, and nothing else. What it needs is the same libraries, in the same versions:
# scikit-learn warns where its own is another.

SECOND_PROCESS = """
import sys, joblib, numpy as np
model, images, answers = sys.argv[1:]
np.save(answers, joblib.load(model).predict_proba(np.load(images)))
"""
np.save(here / "images.npy", X_test)
files = [here / "model.joblib", here / "images.npy", here / "answers.npy"]
subprocess.run([sys.executable, "-c", SECOND_PROCESS, *files], check=True)
theirs, ours = np.load(here / "answers.npy"), model.predict_proba(X_test)
n_same = (theirs.argmax(axis=1) == ours.argmax(axis=1)).sum()
print(f"the second process: the same digit for {n_same} of {len(X_test)} test images")
print(f"largest difference of a probability: {np.abs(theirs - ours).max():.1e}")

# %%
# A pickle from a stranger
# ------------------------
# An object says itself how it is to be made again, and may name any function and any arguments. This one only makes
# a file.


class Stranger:
    def __reduce__(self):
        return Path.touch, (here / "was here",)


joblib.dump(Stranger(), here / "stranger.joblib")
print(f"before loading, the stranger was here: {int((here / 'was here').exists())}")
joblib.load(here / "stranger.joblib")
print(f"after loading, the stranger was here: {int((here / 'was here').exists())}")

# %%
# Weights alone
# -------------
# For strangers, send numbers: ``torch.load`` with ``weights_only=True`` makes tensors and refuses everything else. Who
# gets them has to know the network, and the mean and scale of each pixel.

torch.save(network.module_.state_dict(), here / "weights.pt")
again = MLP(64, 10, (50,), random_state=0, dtype=torch.float64).eval()
again.load_state_dict(torch.load(here / "weights.pt", weights_only=True))
with torch.no_grad():
    scores = again(torch.from_numpy(model[0].transform(X_test))).numpy()
print(f"from weights alone: the same digit for {(scores.argmax(axis=1) == ours.argmax(axis=1)).sum()} test images")

(here / "was here").unlink()
torch.save(Stranger(), here / "stranger.pt")
try:
    torch.load(here / "stranger.pt", weights_only=True)
except Exception as error:
    print(f"refused with {type(error).__name__}")
print(f"after refusing, the stranger was here: {int((here / 'was here').exists())}")

# %%
figure, axes = plt.subplots(2, 5, figsize=(8, 3.8), layout="constrained")
for ax, image, proba in zip(axes.flat, X_test, theirs, strict=False):
    ax.imshow(image.reshape(8, 8), cmap="gray_r")
    ax.set(title=f"read as {proba.argmax()}", xticks=[], yticks=[])
figure.suptitle("what the second process read")
folder.cleanup()
plt.show()
