"""The LeNet estimators on images of every layout and kind, and as scikit-learn's tools use them."""

import functools
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
    if isinstance(images, list) and isinstance(images[0], list):
        rows = np.float64(rows)  # as numbers of Python are
    expected, validated, streamed = references(rows.dtype)
    fitted = lenet().fit(images, Y)
    assert_same_model(fitted, expected, rows)
    assert_same_model(lenet().partial_fit(images, Y, classes=range(10)), streamed, rows)
    assert lenet().fit(rows, Y, X_val=images, y_val=Y).validation_scores_ == validated.validation_scores_
    scores = expected.predict_proba(images)
    np.testing.assert_array_equal(scores, expected.predict_proba(rows))
    assert scores.dtype == (np.float64 if rows.dtype == np.float64 else np.float32)
    assert (fitted.image_shape_, fitted.n_features_in_) == ((1, 8, 8), 64)


@functools.cache
def references(dtype):
    """Return a fit, one with validation and one by partial_fit, of rows as they are."""
    rows = X.astype(dtype)
    validated = lenet().fit(rows, Y, X_val=rows, y_val=Y)
    return lenet().fit(rows, Y), validated, lenet().partial_fit(rows, Y, classes=range(10))


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
    # First what a fit takes for itself; weights of zero keep most of the time away after that.
    network.fit(images[:5000], y[:5000]).fit(images[:5000], y[:5000])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    network.fit(images, y, sample_weight=np.arange(len(images)) < 5000)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    print(grown / (2**20 if sys.platform == "darwin" else 2**10))
"""


def test_bytes_stay_bytes_in_memory():
    """As floats, these images take 94 MB."""
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
    with pytest.warns(UserWarning, match="60 features, which are no square image.*8 x 8 pixels"):
        fitted = lenet().fit(X[:, :60], Y)
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
    assert fitted.score(X, Y) > 0.7
    assert_same_model(fitted, lenet(solver="lbfgs", max_iter=15).fit(X.reshape(-1, 8, 8), Y), X)


@pytest.mark.parametrize("wrong", [{"random_shift": 32}, {"random_crop": 16}], ids=["shift", "crop"])
def test_changes_that_leave_nothing_of_an_image_are_refused(wrong):
    with pytest.raises(ValueError, match=r"random_shift must be less than a side .* has 32 pixels with its frame, got"):
        lenet(**wrong).fit(X, Y)


def test_arrays_of_five_dimensions_are_refused():
    with pytest.raises(ValueError, match=r"two to four dimensions, got the shape \(2, 1, 1, 8, 8\)"):
        lenet().fit(np.zeros((2, 1, 1, 8, 8)), [0, 1])


def test_weights_of_classes_are_those_of_rows_for_mean_and_scale_too():
    of_class = {label: 1.0 + 9.0 * (label == 0) for label in np.unique(Y)}
    by_class = lenet(class_weight=of_class).fit(X, Y)
    by_row = lenet().fit(X, Y, sample_weight=[of_class[label] for label in Y])
    np.testing.assert_array_equal(by_class.mean_, by_row.mean_)
    assert_same_model(by_class, by_row, X)


def test_batch_norm_survives_a_last_batch_of_one_row():
    fitted = lenet(batch_norm=True, batch_size=50).fit(X[:101], Y[:101])
    assert np.isfinite(fitted.predict_proba(X)).all()
    with pytest.raises(ValueError, match="batches of at least 2 rows"):
        lenet(batch_norm=True, batch_size=1).fit(X, Y)


@pytest.mark.parametrize("n_rows", [150, 30])
def test_automatic_batches_have_64_images_or_all(n_rows):
    automatic, given = (lenet(batch_size=size).fit(X[:n_rows], Y[:n_rows]) for size in ("auto", min(64, n_rows)))
    assert_same_model(automatic, given, X)


@pytest.mark.parametrize(("n_batches", "n_epochs"), [(1, 50), (20, 50), (21, 48), (300, 4), (334, 3), (9000, 3)])
def test_automatic_epochs_make_a_thousand_updates_from_3_to_50(n_batches, n_epochs):
    assert LeNetClassifier()._n_epochs(n_batches) == n_epochs
    assert LeNetClassifier(max_iter=7)._n_epochs(n_batches) == 7
    assert LeNetClassifier(solver="lbfgs")._n_epochs(n_batches) == 50  # all rows are one update


@pytest.mark.parametrize(("batch_size", "n_epochs"), [(4, 27), ("auto", 50)])
def test_automatic_epochs_are_run(batch_size, n_epochs):
    fitted = lenet(max_iter="auto", batch_size=batch_size, n_iter_no_change=np.inf).fit(X, Y)
    assert (fitted.n_iter_, fitted.t_) == (n_epochs, 150 * n_epochs)


def test_a_stream_of_all_images_is_a_fit():
    fitted, streamed = lenet(max_iter=3, shuffle=False).fit(X, Y), lenet(max_iter=3, shuffle=False)
    for images in (X, X.reshape(-1, 8, 8), X.reshape(-1, 8, 8, 1)):
        streamed.partial_fit(images, Y, classes=range(10))
    assert_same_model(streamed, fitted, X)


def test_warm_start_goes_on_with_the_same_images_only():
    fitted = lenet(warm_start=True, random_shift=1).fit(X, Y)
    first = fitted.predict_proba(X)
    message = "images of the shape of the fit before, (1, 8, 8), got image_shape=(4, 16)."
    for call in (fitted.fit, fitted.partial_fit):
        fitted.set_params(image_shape=(4, 16))
        with pytest.raises(ValueError, match=re.escape(message)):
            call(X, Y)
    np.testing.assert_array_equal(fitted.predict_proba(X), first)
    fitted.set_params(image_shape=(8, 8)).fit(X.reshape(-1, 8, 8), Y)
    assert (len(fitted.loss_curve_), fitted.t_) == (4, 600)
    fitted.set_params(warm_start=False, image_shape=(4, 16)).fit(X, Y)
    assert (len(fitted.loss_curve_), fitted.image_shape_) == (2, (1, 4, 16))


def test_early_stopping_holds_images_out_and_keeps_the_best():
    fitted = lenet(early_stopping=True, max_iter=40, batch_size=16, n_iter_no_change=3).fit(X.reshape(-1, 8, 8), Y)
    assert fitted.n_iter_ < 40
    assert fitted.best_validation_score_ == max(fitted.validation_scores_) > 0.5
    assert fitted.t_ == fitted.n_iter_ * 135


def test_twenty_epochs_read_digits():
    X_train, X_test, y_train, y_test = train_test_split(DIGITS, NUMBERS, random_state=0, stratify=NUMBERS)
    fitted = LeNetClassifier(dtype="float32", max_iter=20, random_state=0).fit(X_train, y_train)
    assert fitted.score(X_test, y_test) >= 0.97


@pytest.mark.parametrize("columns", [1, 2])
def test_regressor_measures_ink(columns):
    images, ink = DIGITS[:400].astype(np.float32).reshape(-1, 8, 8), DIGITS[:400].sum(1) / 100
    target = ink if columns == 1 else np.stack([ink, 1 - ink], 1)
    fitted = lenet(LeNetRegressor, pooling="average", batch_size=16, max_iter=12).fit(images, target)
    assert fitted.predict(images).shape == target.shape
    assert fitted.score(images, target) > 0.9


# --- what a fitted network tells, and scikit-learn's tools ---


def test_feature_maps_are_those_of_the_network():
    fitted = lenet().fit(X, Y)
    framed = np.pad(X.reshape(-1, 1, 8, 8), [(0, 0), (0, 0), (12, 12), (12, 12)])
    normalised = torch.from_numpy((framed - fitted.mean_) / fitted.scale_)
    for layer, shape in {"c1": (6, 28, 28), "s2": (6, 14, 14), "c3": (16, 10, 10), "s4": (16, 5, 5)}.items():
        got = fitted.feature_maps(X.reshape(-1, 8, 8), layer)
        assert (got.shape, got.dtype, type(got)) == ((150, *shape), np.float32, np.ndarray)
        maps = fitted.module_.network.feature_maps(normalised, layer).detach()
        np.testing.assert_allclose(got, maps, rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(fitted.feature_maps(X), fitted.feature_maps(X, "c3"))


def test_filters_are_a_copy_of_the_weights():
    fitted = lenet(image_shape=(3, 8, 6)).fit(COLOURS, Y)
    for layer, shape in {"c1": (6, 3, 5, 5), "c3": (16, 6, 5, 5)}.items():
        filters = fitted.filters(layer)
        assert filters.shape == shape
        np.testing.assert_array_equal(filters, getattr(fitted.module_.network, layer).weight.detach())
        filters[:] = 0
        assert fitted.filters(layer).any()
    np.testing.assert_array_equal(fitted.filters(), fitted.filters("c1"))


@pytest.mark.parametrize(("method", "valid"), [("feature_maps", ["c1", "s2", "c3", "s4"]), ("filters", ["c1", "c3"])])
def test_unknown_layers_list_the_known_ones(method, valid):
    arguments = [X] if method == "feature_maps" else []
    with pytest.raises(NotFittedError):
        getattr(lenet(), method)(*arguments)
    with pytest.raises(ValueError, match=re.escape(f"layer must be one of {valid}, got 'c5'.")):
        getattr(lenet().fit(X, Y), method)(*arguments, layer="c5")


def test_a_clone_has_the_parameters_alone():
    fitted = lenet(**RANDOM, image_shape=(8, 8)).fit(X, Y)
    copied = clone(fitted)
    assert copied.get_params() == fitted.get_params()
    assert not [name for name in vars(copied) if name.endswith("_")]
    assert_same_model(copied.fit(X, Y), fitted, X)


@pytest.mark.parametrize("parameters", [{}, {**RANDOM, "batch_norm": True}])
def test_a_pickle_holds_little_but_the_weights(parameters):
    """No images, no solver, no generator."""
    fitted = lenet(**parameters).fit(X, Y)
    n_bytes = sum(value.nbytes for value in fitted.module_.state_dict().values())
    assert len(pickle.dumps(fitted)) < n_bytes + 25_000
    assert_same_model(pickle.loads(pickle.dumps(fitted)), fitted, X)


def test_another_process_predicts_the_same(tmp_path):
    fitted = lenet(**RANDOM, batch_norm=True).fit(X, Y)
    joblib.dump(fitted, tmp_path / "lenet.joblib")
    np.save(tmp_path / "images.npy", X.reshape(-1, 8, 8))
    program = """
        import sys, joblib, numpy as np
        folder = sys.argv[1]
        fitted = joblib.load(f"{folder}/lenet.joblib")
        np.save(f"{folder}/scores.npy", fitted.predict_proba(np.load(f"{folder}/images.npy")))
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(program), str(tmp_path)], check=True)
    np.testing.assert_array_equal(np.load(tmp_path / "scores.npy"), fitted.predict_proba(X))


@pytest.mark.parametrize("shape", [(-1, 64), (-1, 8, 8), (-1, 8, 8, 1)])
def test_grids_and_cross_validation_take_images(shape):
    images = X.reshape(shape)
    scores = cross_val_score(lenet(), images, Y, cv=3)
    np.testing.assert_array_equal(scores, cross_val_score(lenet(), X, Y, cv=3))
    grid = {"pooling": ["max", "average"], "random_shift": [0, 1]}
    search = GridSearchCV(lenet(), grid, cv=2, error_score="raise").fit(images, Y)
    assert search.best_estimator_.image_shape_ == (1, 8, 8)
    assert search.best_score_ == max(search.cv_results_["mean_test_score"])


def test_a_pipeline_scales_rows_for_it():
    pipeline = make_pipeline(MinMaxScaler(clip=True), lenet(max_iter=10)).fit(X, Y)
    assert pipeline.score(X, Y) > 0.8
    search = GridSearchCV(pipeline, {"lenetclassifier__activation": ["relu", "tanh"]}, cv=2, error_score="raise")
    assert search.fit(X, Y).best_estimator_[-1].image_shape_ == (1, 8, 8)
