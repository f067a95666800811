"""LeNet against its plain version, and its estimators on images of every layout and kind."""

import pickle
import re
import subprocess
import sys
import textwrap

import joblib
import numpy as np
import pandas as pd
import pytest
import scipy.sparse
import torch
import torch.nn.functional as F
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_score, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler

from sknn import LeNetClassifier, LeNetRegressor
from sknn.modules import LeNet5

DIGITS, NUMBERS = load_digits(return_X_y=True)
X, Y = DIGITS[:150].astype(np.float32), NUMBERS[:150]
BYTES = (X * 255 / 16).astype(np.uint8)
# Three channels that differ, on images that are not square.
COLOURS = np.stack([X, X[::-1], 16 - X], 1).reshape(150, 3, 8, 8)[..., :6]
INK = X.sum(1) / 100
RANDOM = {"random_shift": 2, "random_rotation": 10.0, "random_flip": True, "random_crop": 1, "dropout": 0.2}


def lenet(Estimator=LeNetClassifier, **parameters):
    return Estimator(**{"max_iter": 2, "device": "cpu", "random_state": 0, **parameters})


def outcome(fitted, rows):
    return fitted.predict_proba(rows) if hasattr(fitted, "predict_proba") else fitted.predict(rows)


def assert_same_model(one, other, rows):
    np.testing.assert_array_equal(outcome(one, rows), outcome(other, rows))
    assert one.loss_curve_ == other.loss_curve_


# --- the network ---

FUNCTIONS = {
    "identity": lambda X: X,
    "logistic": torch.sigmoid,
    "tanh": torch.tanh,
    "relu": F.relu,
    "leaky_relu": F.leaky_relu,
    "elu": F.elu,
    "selu": F.selu,
    "softplus": F.softplus,
    "silu": F.silu,
    "gelu": F.gelu,
}


def plain_lenet(weights, X, activation, pooling, batch_norm):
    """Return the maps of each layer and the raw scores, step by step as in the paper."""
    act, pool = FUNCTIONS[activation], {"max": F.max_pool2d, "average": F.avg_pool2d}[pooling]

    def normalised(X, name):
        if not batch_norm:
            return X
        return F.batch_norm(X, None, None, weights[f"{name}_norm.weight"], weights[f"{name}_norm.bias"], training=True)

    maps = {}
    for convolution, pooled in (("c1", "s2"), ("c3", "s4")):
        X = F.conv2d(X, weights[f"{convolution}.weight"], weights[f"{convolution}.bias"])
        X = maps[convolution] = act(normalised(X, convolution))
        X = maps[pooled] = pool(X, 2)
    X = X.reshape(len(X), -1)
    for dense in ("c5", "f6"):
        X = act(normalised(X @ weights[f"{dense}.weight"].T + weights[f"{dense}.bias"], dense))
    return maps, X @ weights["output.weight"].T + weights["output.bias"]


@pytest.mark.parametrize("batch_norm", [False, True])
@pytest.mark.parametrize("pooling", ["max", "average"])
@pytest.mark.parametrize("activation", FUNCTIONS)
def test_network_and_its_gradients_are_those_of_the_plain_version(activation, pooling, batch_norm):
    generator = torch.Generator().manual_seed(0)
    options = {"activation": activation, "pooling": pooling, "batch_norm": batch_norm}
    network = LeNet5((2, 21, 18), 3, **options, random_state=0, dtype=torch.float64)
    with torch.no_grad():
        for parameter in network.parameters():  # with negative factors of batch norm, and biases that are not zero
            parameter += 0.3 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
    images = torch.randn((6, 2, 21, 18), generator=generator, dtype=torch.float64)
    weights = {name: value.detach().clone().requires_grad_() for name, value in network.named_parameters()}
    maps, scores = plain_lenet(weights, images, **options)
    got = network(images)
    torch.testing.assert_close(got, scores, rtol=1e-10, atol=1e-10)
    for layer, expected in maps.items():
        torch.testing.assert_close(network.feature_maps(images, layer), expected, rtol=1e-10, atol=1e-10)
    for raw in (got, scores):
        (raw.softmax(1)[:, 0].log().sum() + raw.square().sum()).backward()
    for name, parameter in network.named_parameters():
        torch.testing.assert_close(parameter.grad, weights[name].grad, rtol=1e-8, atol=1e-8)


def test_network_is_that_of_the_paper():
    network = LeNet5(random_state=0)
    sizes = {name: sum(p.numel() for p in part.parameters()) for name, part in network.named_children()}
    assert {name: n for name, n in sizes.items() if n} == {
        "c1": 156, "c3": 2416, "c5": 48_120, "f6": 10_164, "output": 850,
    }  # fmt: skip
    assert sum(p.numel() for p in network.parameters()) == 61_706
    maps = [tuple(network.feature_maps(torch.zeros(2, 1, 32, 32), layer).shape) for layer in ("c1", "s2", "c3", "s4")]
    assert maps == [(2, 6, 28, 28), (2, 6, 14, 14), (2, 16, 10, 10), (2, 16, 5, 5)]


@pytest.mark.parametrize(
    ("size", "n_dense"), [((16, 16), 1), ((28, 28), 16), ((33, 40), 35), ((35, 35), 25), ((36, 36), 36)]
)
def test_dense_layers_follow_the_size_of_the_images(size, n_dense):
    network = LeNet5((3, *size), 4, random_state=0)
    assert network.c5.in_features == 16 * n_dense
    assert network(torch.zeros(2, 3, *size)).shape == (2, 4)


@pytest.mark.parametrize("shape", [(1, 15, 32), (1, 32, 15), (3, 8, 8)])
def test_too_small_images_are_refused(shape):
    message = f"LeNet5 needs images of at least 16 x 16 pixels, got image_shape={shape}."
    with pytest.raises(ValueError, match=re.escape(message)):
        LeNet5(shape, 10, random_state=0)


@pytest.mark.parametrize(
    ("name", "valid"), [("activation", "softplus"), ("pooling", "average"), ("weight_init", "he_normal")]
)
def test_unknown_names_list_the_valid_ones(name, valid):
    with pytest.raises(ValueError, match=f"{name} must be one of .*'{valid}'.*, got 'other'"):
        LeNet5(**{name: "other"})


# --- layouts and kinds of images ---

GREY = {
    "rows": lambda rows: rows,
    "images": lambda rows: rows.reshape(-1, 8, 8),
    "channels first": lambda rows: rows.reshape(-1, 1, 8, 8),
    "channels last": lambda rows: rows.reshape(-1, 8, 8, 1),
    "Fortran order": lambda rows: np.asfortranarray(rows.reshape(-1, 8, 8)),
    "negative strides": lambda rows: rows.reshape(-1, 8, 8)[:, ::-1].copy()[:, ::-1],
    "lists": lambda rows: rows.reshape(-1, 8, 8).tolist(),
    "list of images": lambda rows: list(rows.reshape(-1, 8, 8, 1)),
    "DataFrame": lambda rows: pd.DataFrame(rows).add_prefix("pixel "),
    "tensor of rows": torch.tensor,
    "tensor of images": lambda rows: torch.tensor(rows).view(-1, 8, 8),
    "tensor, channels last": lambda rows: torch.tensor(rows).view(-1, 8, 8, 1),
    "csr_array": scipy.sparse.csr_array,
    "coo_matrix": scipy.sparse.coo_matrix,
}


@pytest.mark.filterwarnings("ignore:X does not have valid feature names:UserWarning")
@pytest.mark.filterwarnings("ignore:X has feature names:UserWarning")
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.uint8])
@pytest.mark.parametrize("kind", GREY.values(), ids=GREY)
def test_images_of_every_kind_are_the_same_images(kind, dtype):
    rows = X.astype(dtype)
    images = kind(rows)
    if isinstance(images, list):  # of numbers, they are wide
        rows = np.float64(rows) if isinstance(images[0], list) else rows
    fitted, expected = (lenet().fit(of, Y, X_val=images, y_val=Y) for of in (images, rows))
    assert_same_model(fitted, expected, rows)
    np.testing.assert_array_equal(expected.predict_proba(images), expected.predict_proba(rows))
    assert expected.predict_proba(images).dtype == (np.float64 if rows.dtype == np.float64 else np.float32)
    assert fitted.validation_scores_ == lenet().fit(rows, Y, X_val=rows, y_val=Y).validation_scores_
    assert (fitted.image_shape_, fitted.n_features_in_) == ((1, 8, 8), 64)
    streamed = lenet().partial_fit(images, Y, classes=range(10))
    assert_same_model(streamed, lenet().partial_fit(rows, Y, classes=range(10)), rows)


@pytest.mark.parametrize("Estimator", [LeNetClassifier, LeNetRegressor])
def test_colours_first_and_last_and_in_rows_are_the_same_images(Estimator):
    target = Y if Estimator is LeNetClassifier else INK
    kinds = (COLOURS, np.moveaxis(COLOURS, 1, -1), COLOURS.reshape(150, -1), torch.tensor(COLOURS))
    fitted = [lenet(Estimator, image_shape=(3, 8, 6)).fit(images, target) for images in kinds]
    fitted.append(lenet(Estimator).fit(COLOURS, target))
    for one, images in zip(fitted, [*kinds, COLOURS], strict=True):
        assert_same_model(one, fitted[0], COLOURS)
        np.testing.assert_array_equal(outcome(one, images), outcome(one, COLOURS))
        assert (one.image_shape_, one.n_features_in_) == ((3, 8, 6), 144)
        np.testing.assert_allclose(one.mean_, COLOURS.mean((0, 2, 3)), rtol=1e-5)
        np.testing.assert_allclose(one.scale_, COLOURS.std((0, 2, 3)), rtol=1e-5)


@pytest.mark.parametrize("shape", [(-1, 64), (-1, 8, 8), (-1, 1, 8, 8), (-1, 8, 8, 1)])
@pytest.mark.parametrize("dtype", [np.float32, np.uint8])
def test_read_only_and_mapped_images_are_the_same_images(shape, dtype, tmp_path):
    images = X.astype(dtype).reshape(shape)
    np.save(tmp_path / "images.npy", images)
    mapped, expected = np.load(tmp_path / "images.npy", mmap_mode="r"), lenet().fit(images, Y)
    images.flags.writeable = False
    for kind in (images, mapped):
        assert_same_model(lenet().fit(kind, Y), expected, kind)


@pytest.mark.parametrize("Estimator", [LeNetClassifier, LeNetRegressor])
def test_bytes_and_shares_predict_the_same(Estimator):
    shares, target = BYTES / np.float32(255), Y if Estimator is LeNetClassifier else INK
    of_bytes, of_shares = (lenet(Estimator, max_iter=5).fit(images, target) for images in (BYTES, shares))
    np.testing.assert_allclose(outcome(of_bytes, BYTES), outcome(of_shares, shares), rtol=0, atol=1e-5)
    np.testing.assert_allclose(of_bytes.mean_ / 255, of_shares.mean_, rtol=1e-5)
    np.testing.assert_allclose(of_bytes.scale_ / 255, of_shares.scale_, rtol=1e-5)


BYTES_FIT = """
    import resource, sys
    import numpy as np
    from sknn import LeNetClassifier

    images = np.random.default_rng(0).integers(0, 256, (30_000, 28, 28), dtype=np.uint8)
    y = np.arange(len(images)) % 10
    network = LeNetClassifier(max_iter=1, device="cpu", random_state=0)
    # Once before, with all that a pass over rows takes; weights of zero keep the rest of the time away.
    network.fit(images[:5000], y[:5000])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    network.fit(images, y, sample_weight=np.arange(len(images)) < 5000)
    print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / (2**20 if sys.platform == "darwin" else 2**10))
"""


def test_bytes_stay_bytes_in_memory():
    """As floats, these images take 94 MB, and a copy of the bytes 24 MB."""
    command = [sys.executable, "-W", "ignore", "-c", textwrap.dedent(BYTES_FIT)]
    grown = float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert grown < 40


def test_weights_of_rows_count_for_mean_and_scale():
    weight = np.arange(150) % 3
    weighted, repeated = lenet().fit(X, Y, weight), lenet().fit(X.repeat(weight, axis=0), Y.repeat(weight))
    np.testing.assert_allclose(weighted.mean_, repeated.mean_, rtol=1e-5)
    np.testing.assert_allclose(weighted.scale_, repeated.scale_, rtol=1e-5)


def test_without_normalize_pixels_stay_as_they_are():
    fitted = lenet(normalize=False).fit(COLOURS, Y)
    np.testing.assert_array_equal(fitted.mean_, np.zeros(3))
    np.testing.assert_array_equal(fitted.scale_, np.ones(3))
    maps = fitted.module_.network.feature_maps(F.pad(torch.from_numpy(COLOURS), (13, 13, 12, 12)), "c1")
    np.testing.assert_allclose(fitted.feature_maps(COLOURS, "c1"), maps.detach(), atol=1e-5)


def test_mean_and_scale_are_no_attributes_before_fit():
    for name in ("mean_", "scale_"):
        with pytest.raises(AttributeError, match=f"LeNetClassifier has no attribute '{name}' before it is fitted"):
            getattr(LeNetClassifier(), name)


def test_rows_of_no_square_are_padded_with_one_warning():
    with pytest.warns(UserWarning, match="60 features, which are no square image.*8 x 8 pixels") as caught:
        fitted = lenet().fit(X[:, :60], Y)
    assert len(caught) == 1
    assert (fitted.image_shape_, fitted.n_features_in_) == ((1, 8, 8), 60)
    padded = np.pad(X[:, :60], [(0, 0), (0, 4)])
    np.testing.assert_array_equal(fitted.predict(X[:, :60]), lenet().fit(padded, Y).predict(padded))
    assert fitted.partial_fit(X[:, :60], Y).image_shape_ == (1, 8, 8)
    assert lenet(image_shape=(6, 10)).fit(X[:, :60], Y).image_shape_ == (1, 6, 10)


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((-1, 4, 16), "images of shape (4, 16), expected (1, 8, 8)"),
        ((-1, 1, 16, 4), "images of shape (1, 16, 4), expected (1, 8, 8)"),
        ((-1, 4, 4, 4), "images of shape (4, 4, 4), expected (1, 8, 8)"),
        ((-1, 32), "X has 32 features, but LeNetClassifier is expecting 64 features"),
    ],
)
def test_images_of_another_shape_are_an_error_that_says_both(shape, message):
    fitted, other = lenet().fit(X, Y), X.reshape(shape)
    target = Y.repeat(len(other) // 150)
    for call in (
        lambda: fitted.predict(other),
        lambda: fitted.feature_maps(other),
        lambda: fitted.partial_fit(other, target),
        lambda: lenet().fit(X, Y, X_val=other, y_val=target),
    ):
        with pytest.raises(ValueError, match=re.escape(message)):
            call()


@pytest.mark.parametrize("shape", [(0, 64), (0, 8, 8), (0, 1, 8, 8), (0, 8, 8, 1)])
def test_no_images_are_an_error_that_says_so(shape):
    with pytest.raises(ValueError, match="Found array with 0 sample"):
        lenet().fit(np.zeros(shape), [])


# --- training ---


@pytest.mark.parametrize("early_stopping", [False, True])
def test_random_changes_are_off_in_prediction_and_validation(early_stopping):
    fitted = lenet(**RANDOM, batch_norm=True, max_iter=3, early_stopping=early_stopping)
    fitted.fit(X[:100], Y[:100], X_val=X[100:], y_val=Y[100:])
    scores = fitted.validation_scores_
    assert fitted.score(X[100:], Y[100:]) == (max(scores) if early_stopping else scores[-1])
    np.testing.assert_array_equal(fitted.predict_proba(X), fitted.predict_proba(X))
    assert not any(part.training for part in fitted.module_.modules())


@pytest.mark.parametrize("name", RANDOM)
def test_each_random_change_is_made_in_training_and_repeats(name):
    fits = [lenet(**parameters).fit(X, Y) for parameters in ({}, {name: RANDOM[name]}, {name: RANDOM[name]})]
    assert fits[0].loss_curve_ != fits[1].loss_curve_
    assert_same_model(fits[1], fits[2], X)
    other = lenet(**{name: RANDOM[name]}, random_state=1).fit(X, Y)
    assert other.loss_curve_ != fits[1].loss_curve_


@pytest.mark.parametrize(("name", "value"), [*RANDOM.items(), ("batch_norm", True)])
def test_lbfgs_refuses_what_is_random(name, value):
    with pytest.raises(ValueError, match=re.escape(f"got {{{name!r}: {value!r}}}.")):
        lenet(solver="lbfgs", **{name: value}).fit(X, Y)


@pytest.mark.filterwarnings("ignore:lbfgs failed to converge")
def test_lbfgs_learns_images():
    fitted = lenet(solver="lbfgs", max_iter=15).fit(X, Y)
    assert fitted.score(X, Y) > 0.9
    assert_same_model(fitted, lenet(solver="lbfgs", max_iter=15).fit(X.reshape(-1, 8, 8), Y), X)


def test_batch_norm_survives_a_last_batch_of_one_row():
    fitted = lenet(batch_norm=True, batch_size=50).fit(X[:101], Y[:101])
    assert np.isfinite(fitted.predict_proba(X)).all()
    with pytest.raises(ValueError, match="batches of at least 2 rows"):
        lenet(batch_norm=True, batch_size=1).fit(X, Y)


@pytest.mark.parametrize("n_rows", [150, 30])
def test_automatic_batches_have_64_images_or_all(n_rows):
    automatic, given = (lenet(batch_size=size).fit(X[:n_rows], Y[:n_rows]) for size in ("auto", min(64, n_rows)))
    assert_same_model(automatic, given, X)
