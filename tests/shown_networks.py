"""Small fitted networks and images for the tests of displays, and what can be seen of a figure."""

import functools

import numpy as np
from matplotlib.colors import to_rgb
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler

from sknn import LeNetClassifier, MLPTorchClassifier

DIGITS, Y = load_digits(return_X_y=True)
X = DIGITS.astype(np.float32)
GRAY = X.reshape(-1, 8, 8)
# Three channels that differ, of images that are not square, from 0 to 1.
COLOURS = np.stack([GRAY, GRAY[::-1], 16 - GRAY], axis=1)[..., :6] / 16


@functools.cache
def mlp(Estimator=MLPTorchClassifier):
    network = Estimator(hidden_layer_sizes=(12,), max_iter=4, device="cpu", random_state=0)
    return network.fit(X[:500], Y[:500], X_val=X[500:700], y_val=Y[500:700])


@functools.cache
def lenet(colours=False):
    images = COLOURS if colours else GRAY
    return LeNetClassifier(max_iter=2, device="cpu", random_state=0).fit(images[:300], Y[:300])


def holders(network):
    """Return a pipeline that ends in the network, and a search over it, both fitted."""
    pipeline = make_pipeline(MinMaxScaler(), clone(network)).fit(X[:300], Y[:300])
    return pipeline, GridSearchCV(pipeline, {"minmaxscaler__clip": [False]}, cv=2).fit(X[:300], Y[:300])


def rendered(figure):
    """Return the pixels of a figure (height, width, 3), from 0 to 1."""
    figure.canvas.draw()
    return np.asarray(figure.canvas.buffer_rgba())[..., :3] / 255


def share_of(figure, colour):
    """Return the share of pixels of a colour."""
    return (np.abs(rendered(figure) - to_rgb(colour)).max(axis=-1) < 0.02).mean()
