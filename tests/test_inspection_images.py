"""Displays of images: the drawn pictures beside feature maps, weights and predictions."""

import re

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import scipy.sparse
import torch
from shown_networks import COLOURS, GRAY, X, Y, holders, lenet, mlp, rendered, share_of
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline

from sknn import LeNetClassifier, MLPTorchClassifier, TorchClassifier
from sknn.inspection import FeatureMapDisplay, FilterDisplay, PredictionDisplay

LINEAR = LogisticRegression(max_iter=2000)
NAMES = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
pytestmark = [
    pytest.mark.usefixtures("figures"),
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
]


# --- FeatureMapDisplay ---


def pictures(display):
    """Return the pixels of each picture that a display drew, and the corner where it is."""
    drawn = [np.asarray(image.get_array()) for image in display.images_]
    corners = [(image.get_extent()[0], image.get_extent()[3]) for image in display.images_]
    return drawn, corners


def test_each_layer_is_a_row_of_its_sum_and_its_maps():
    network = lenet()
    display = FeatureMapDisplay.from_estimator(network, GRAY, n_images=2)
    maps = {layer: network.feature_maps(GRAY[:2], layer) for layer in ("c1", "s2", "c3", "s4")}
    assert {layer: of_images.shape[1] for layer, of_images in maps.items()} == {"c1": 6, "s2": 6, "c3": 16, "s4": 16}
    expected = []
    for i in range(2):
        expected.append([GRAY[i] / GRAY[:2].max()])
        expected += [[of_images[i].sum(axis=0), *of_images[i]] for of_images in maps.values()]
    drawn, corners = pictures(display)
    for picture, other in zip(drawn, (picture for row in expected for picture in row), strict=True):
        np.testing.assert_allclose(picture, other, rtol=1e-6)
    # Row below row, and in each from left to right; the image stands before its first layer.
    rows = np.split(np.array(corners), np.cumsum([len(row) for row in expected]))[:-1]
    tops = [row[0, 1] for row in rows]
    assert tops == sorted(tops)
    assert tops[0] == tops[1]
    assert tops[5] == tops[6]
    for row in rows:
        assert len(set(row[:, 1])) == 1
        assert (np.diff(row[:, 0]) >= 1).all()
    assert [label.get_text() for label in display.ax_.get_yticklabels()] == ["c1", "s2", "c3", "s4"] * 2
    assert [label.get_text() for label in display.ax_.get_xticklabels()][:4] == ["image", "sum", "1", "2"]


def test_the_maps_of_a_row_share_a_scale():
    display = FeatureMapDisplay.from_estimator(lenet(), GRAY[:1], layers="c3")
    _, total, *maps = display.images_
    values = display.maps["c3"][0]
    assert {image.get_clim() for image in maps} == {(values.min(), values.max())}
    assert total.get_clim() == (values.sum(axis=0).min(), values.sum(axis=0).max())


def test_maps_of_images_inside_a_pipeline_and_a_search():
    for estimator in holders(LeNetClassifier(max_iter=1, device="cpu", random_state=0)):
        scaler, network = getattr(estimator, "best_estimator_", estimator)
        display = FeatureMapDisplay.from_estimator(estimator, X[5:8], layers=["s2"])
        np.testing.assert_array_equal(display.maps["s2"], network.feature_maps(scaler.transform(X[5:8]), "s2"))
        np.testing.assert_allclose(display.images, scaler.transform(X[5:8]).reshape(-1, 8, 8))
        alone = FeatureMapDisplay.from_estimator(make_pipeline(network), scaler.transform(X[5:8]), layers=["s2"])
        np.testing.assert_array_equal(alone.maps["s2"], display.maps["s2"])


@pytest.mark.filterwarnings("ignore:X has feature names:UserWarning")
@pytest.mark.parametrize(
    "kind",
    [
        lambda rows: rows,
        lambda rows: rows.reshape(-1, 1, 8, 8),
        lambda rows: rows.reshape(-1, 8, 8, 1),
        lambda rows: rows.reshape(-1, 8, 8).tolist(),
        torch.tensor,
        scipy.sparse.csr_array,
        scipy.sparse.coo_matrix,
        pd.DataFrame,
    ],
)
def test_gray_images_of_every_kind_are_drawn_alike(kind):
    maps = FeatureMapDisplay.from_estimator(lenet(), kind(X[:3]), layers="c1")
    np.testing.assert_allclose(maps.maps["c1"], lenet().feature_maps(X[:3], "c1"), atol=1e-5)
    found = PredictionDisplay.from_estimator(lenet(), kind(X[:3]), Y[:3])
    for display in (maps, found):
        np.testing.assert_array_equal(display.images, GRAY[:3])
        np.testing.assert_allclose(pictures(display)[0][0], GRAY[0] / GRAY[:3].max(), rtol=1e-6)


@pytest.mark.parametrize(
    "kind",
    [
        lambda images: images,
        lambda images: np.moveaxis(images, 1, -1),
        lambda images: images.reshape(len(images), -1),
        lambda images: torch.tensor(images),
    ],
)
@pytest.mark.parametrize("white", [1, 255])
def test_colours_of_every_layout_are_drawn_alike(kind, white):
    images = COLOURS[:3] / 2 if white == 1 else np.round(COLOURS[:3] * 128).astype(np.uint8)
    network = lenet(colours=True)
    maps = FeatureMapDisplay.from_estimator(network, kind(images), layers="s4")
    found = PredictionDisplay.from_estimator(network, kind(images), Y[:3])
    for display in (maps, found):
        assert display.images.shape == (3, 8, 6, 3)
        np.testing.assert_allclose(pictures(display)[0][0], np.moveaxis(images[0], 0, -1) / white, rtol=1e-6)
    # A picture keeps its proportions, in the middle of its place.
    left, right, bottom, top = found.images_[0].get_extent()
    np.testing.assert_allclose([right - left, bottom - top], [0.75, 1])


def test_standardised_colours_are_drawn_from_the_darkest_to_the_brightest():
    images = (COLOURS - 0.5) * 3
    display = PredictionDisplay.from_estimator(lenet(colours=True), images, Y[: len(images)], n_images=8)
    drawn = np.stack(pictures(display)[0])
    assert (drawn.min(), drawn.max()) == (0, 1)
    np.testing.assert_allclose(drawn, (display.images - display.images.min()) / np.ptp(display.images), rtol=1e-5)
    flat = PredictionDisplay(np.full((2, 4, 4), -3.0), Y[:2], Y[:2]).plot()
    np.testing.assert_array_equal(pictures(flat)[0], np.zeros((2, 4, 4)))


@pytest.mark.parametrize(
    ("draw", "message"),
    [
        (lambda: FeatureMapDisplay.from_estimator(lenet(), X, layers="c2"), "['c1', 's2', 'c3', 's4'], got 'c2'"),
        (lambda: FeatureMapDisplay.from_estimator(lenet(), X, layers=["c1", "f6"]), "'s4'], got 'f6'"),
        (lambda: FeatureMapDisplay.from_estimator(lenet(), X, layers=[]), "['c1', 's2', 'c3', 's4'], got none"),
        (lambda: FilterDisplay.from_estimator(lenet(), layer="s2"), "['c1', 'c3'], got 's2'"),
        (lambda: FilterDisplay.from_estimator(mlp(), layer="c1"), "must be None for the first layer of"),
    ],
)
def test_a_wrong_layer_is_told_the_right_ones(draw, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        draw()


# --- FilterDisplay ---


def test_filters_of_an_mlp_are_the_weights_of_its_neurons():
    display = FilterDisplay.from_estimator(mlp())
    drawn, corners = pictures(display)
    weights = mlp().coefs_[0]
    assert len(drawn) == weights.shape[1] == 12
    for i, picture in enumerate(drawn):
        np.testing.assert_array_equal(picture, weights[:, i].reshape(8, 8))
    assert corners == sorted(corners, key=lambda corner: corner[::-1])
    assert len(set(corners)) == 12
    assert {image.get_clim() for image in display.images_} == {(-np.abs(weights).max(), np.abs(weights).max())}
    display.filters[:] = 0
    assert np.abs(mlp().coefs_[0]).max() > 0


def test_filters_of_lenet_are_its_kernels():
    drawn, _ = pictures(FilterDisplay.from_estimator(lenet()))
    np.testing.assert_array_equal(drawn, lenet().filters("c1")[:, 0])
    display = FilterDisplay.from_estimator(lenet(), layer="c3")
    drawn, corners = pictures(display)
    np.testing.assert_array_equal(np.reshape(drawn, (16, 6, 5, 5)), lenet().filters("c3"))
    # A column of channels for each filter.
    places = np.reshape(corners, (16, 6, 2))
    assert (np.ptp(places[..., 0], axis=1) == 0).all()
    assert (np.ptp(places[..., 1], axis=0) == 0).all()
    assert (np.diff(places[0, :, 1]) >= 1).all()
    assert (np.diff(places[:, 0, 0]) >= 1).all()
    assert [label.get_text() for label in display.ax_.get_yticklabels()] == list("123456")


def test_filters_of_colours_are_colours_around_gray():
    filters = lenet(colours=True).filters("c1")
    drawn = np.stack(pictures(FilterDisplay.from_estimator(lenet(colours=True)))[0])
    np.testing.assert_allclose((drawn - 0.5) * 2 * np.abs(filters).max(), np.moveaxis(filters, 1, -1), atol=1e-6)
    assert np.abs(drawn - 0.5).max() == pytest.approx(0.5)
    zeros = FilterDisplay(np.zeros((2, 3, 4, 4))).plot()
    np.testing.assert_array_equal(np.stack(pictures(zeros)[0]), np.full((2, 4, 4, 3), 0.5))


def test_the_shape_of_an_mlps_images_can_be_told():
    rows = COLOURS[:200].reshape(200, -1)
    for Network in (MLPTorchClassifier, MLPClassifier):
        network = Network((7,), max_iter=1, random_state=0).fit(rows, Y[:200])
        display = FilterDisplay.from_estimator(network, image_shape=(3, 8, 6), max_filters=4)
        np.testing.assert_array_equal(display.filters, network.coefs_[0].T[:4].reshape(4, 3, 8, 6))
        gray = FilterDisplay.from_estimator(network, image_shape=(12, 12))
        assert gray.filters.shape == (7, 1, 12, 12)
        with pytest.raises(ValueError, match=re.escape("144 features are no image of shape (1, 8, 8)")):
            FilterDisplay.from_estimator(network, image_shape=(8, 8))
    odd = MLPTorchClassifier(max_iter=1, random_state=0).fit(X[:50, :50], Y[:50])
    with pytest.raises(ValueError, match="50 features are no square image: set image_shape"):
        FilterDisplay.from_estimator(odd)


def test_filters_inside_a_pipeline_and_a_search():
    for estimator in holders(MLPTorchClassifier((5,), max_iter=1, random_state=0)):
        network = getattr(estimator, "best_estimator_", estimator)[-1]
        display = FilterDisplay.from_estimator(estimator)
        np.testing.assert_array_equal(display.filters.reshape(5, 64), network.coefs_[0].T)


# --- PredictionDisplay ---


def test_images_come_as_they_are_and_wrong_ones_are_framed():
    display = PredictionDisplay.from_estimator(mlp(), X[700:], Y[700:], n_images=30, n_columns=7)
    predicted = mlp().predict(X[700:730])
    wrong = predicted != Y[700:730]
    assert 0 < wrong.sum() < 30
    np.testing.assert_array_equal(display.rows, np.arange(30))
    np.testing.assert_array_equal(display.images, GRAY[700:730])
    for text, was, saw in zip(display.texts_, Y[700:], predicted, strict=False):
        assert text.get_text() == (f"{saw}" if was == saw else f"{saw}\ntrue: {was}")
    framed = [frame.get_xy() for frame in display.frames_]
    corners = np.array(pictures(display)[1])
    np.testing.assert_allclose(framed, corners[wrong])
    assert len(set(corners[:, 0])) == 7
    assert corners.tolist() == sorted(corners.tolist(), key=lambda corner: corner[::-1])
    assert share_of(display.figure_, display.frames_[0].get_edgecolor()[:3]) > 1e-2


@pytest.mark.parametrize("probabilities", [False, True])
def test_the_most_wrong_come_first(probabilities):
    network, rows, labels = mlp(), X[700:900], Y[700:900]
    display = PredictionDisplay.from_estimator(
        network, rows, labels, most_wrong_first=True, n_images=190, probabilities=probabilities
    )
    predicted, proba = network.predict(rows), network.predict_proba(rows)
    of_truth, wrong = proba[np.arange(len(rows)), labels], predicted != labels
    assert of_truth[wrong].max() > of_truth[~wrong].min()

    def wrongness(i):
        return predicted[i] == labels[i], proba[i, list(network.classes_).index(labels[i])], i

    expected = sorted(range(len(rows)), key=wrongness)[:190]
    assert display.rows.tolist() == expected
    np.testing.assert_array_equal(display.y_true, labels[expected])
    np.testing.assert_array_equal(display.y_pred, predicted[expected])
    np.testing.assert_array_equal(display.images, GRAY[700:][expected])
    if probabilities:
        np.testing.assert_array_equal(display.proba_true, proba[expected, labels[expected]])
        np.testing.assert_array_equal(display.proba_pred, proba[expected].max(axis=1))


def test_names_and_probabilities_are_written():
    images = np.zeros((2, 4, 4))
    display = PredictionDisplay(
        images,
        np.array([3, 5]),
        np.array([3, 7]),
        target_names={3: "cat", 5: "dog", 7: "bird"},
        proba_true=np.array([0.8125, 0.004]),
        proba_pred=np.array([0.8125, 0.996]),
    ).plot()
    assert [text.get_text() for text in display.texts_] == ["cat 81 %", "bird 100 %\ntrue: dog 0 %"]


def test_names_are_those_of_the_classes_in_their_order():
    labels = Y[:300] * 10
    network = clone(LINEAR).fit(X[:300], labels)
    display = PredictionDisplay.from_estimator(network, X[:4], labels[:4], target_names=np.array(NAMES))
    assert [text.get_text() for text in display.texts_] == [NAMES[label // 10] for label in network.predict(X[:4])]
    with pytest.raises(ValueError, match=r"names of the 10 classes \[0, 10, .*90\], got 9"):
        PredictionDisplay.from_estimator(network, X[:4], labels[:4], target_names=NAMES[1:])


def test_labels_that_the_classifier_never_saw_are_most_wrong():
    names = np.array(NAMES)[Y]
    network = MLPTorchClassifier((12,), max_iter=4, random_state=0).fit(X[:500][Y[:500] > 0], names[:500][Y[:500] > 0])
    display = PredictionDisplay.from_estimator(
        network, X[500:600], names[500:600], most_wrong_first=True, probabilities=True, target_names=sorted(NAMES[1:])
    )
    n_zeros = (Y[500:600] == 0).sum()
    assert set(display.y_true[:n_zeros]) == {"zero"}
    assert "zero" not in display.y_true[n_zeros:]
    assert (display.proba_true[:n_zeros] == 0).all()
    assert display.texts_[0].get_text().endswith("\ntrue: zero 0 %")


@pytest.mark.parametrize("network", [MLPTorchClassifier(max_iter=1), LeNetClassifier(max_iter=1)])
def test_a_pipeline_draws_its_own_input(network):
    pipeline = make_pipeline(PCA(36), clone(network).set_params(random_state=0)).fit(X[:200], Y[:200])
    display = PredictionDisplay.from_estimator(pipeline, X[:5], Y[:5])
    np.testing.assert_array_equal(display.images, GRAY[:5])


def test_the_shape_of_images_in_rows_is_the_one_of_the_fit_or_told():
    rows = COLOURS[:100].reshape(100, -1)
    module = TorchClassifier(input_shape=(3, 8, 6), module=_Flat, max_iter=1, random_state=0).fit(rows, Y[:100])
    linear = clone(LINEAR).fit(rows, Y[:100])
    for options in ({"estimator": module}, {"estimator": linear, "image_shape": (3, 8, 6)}):
        display = PredictionDisplay.from_estimator(X=rows[:4], y=Y[:4], **options)
        np.testing.assert_array_equal(display.images, np.moveaxis(COLOURS[:4], 1, -1))
    assert PredictionDisplay.from_estimator(linear, rows[:4], Y[:4]).images.shape == (4, 12, 12)


class _Flat(torch.nn.Module):
    def __init__(self, n_outputs):
        super().__init__()
        self.linear = torch.nn.Linear(144, n_outputs)

    def forward(self, X):
        return self.linear(X.flatten(1))


@pytest.mark.parametrize("size", [None, (3, 2)])
def test_texts_do_not_overlap(size):
    names = ["a rather long name", "ankle boot", *"cdefghij"]
    ax = None if size is None else plt.figure(figsize=size).add_subplot()
    display = PredictionDisplay.from_estimator(
        mlp(), X[700:], Y[700:], target_names=names, probabilities=True, most_wrong_first=True, n_images=12, ax=ax
    )
    rendered(display.figure_)
    boxes = [artist.get_window_extent().extents for artist in (*display.texts_, *display.images_)]
    for i, (x0, y0, x1, y1) in enumerate(boxes):
        for left, bottom, right, top in boxes[:i]:
            common = min(x1, right) - max(x0, left), min(y1, top) - max(y0, bottom)
            assert min(common) < 1  # pixel


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (X[:5, :50], Y[:5], "50 features are no square image: set image_shape"),
        (X[:5], Y[:4], "inconsistent numbers of samples"),
        (X[:5], np.stack([Y[:5], Y[:5]], axis=1), "one label an image, got y of shape (5, 2)"),
    ],
)
def test_what_is_no_image_with_one_label_is_an_error(images, labels, message):
    network = clone(LINEAR).fit(X[:200, : images.shape[1]], Y[:200])
    with pytest.raises(ValueError, match=re.escape(message)):
        PredictionDisplay.from_estimator(network, images, labels)


@pytest.mark.parametrize(
    ("shape", "image_shape", "message"),
    [
        ((5, 3, 2, 3), None, "which axis holds the channels"),
        ((5, 2, 3, 4), (2, 3, 4), "Images of 2 channels cannot be drawn"),
        ((5, 1, 1, 2, 3), None, "arrays of 3 or 4 dimensions, .* got 5"),
        ((5, 24), (2, 3), r"24 features are no image of shape \(1, 2, 3\)"),
    ],
)
def test_arrays_that_are_no_images_are_an_error(shape, image_shape, message):
    indifferent = DummyClassifier().fit(X, Y)
    with pytest.raises(ValueError, match=message):
        PredictionDisplay.from_estimator(indifferent, np.zeros(shape), Y[:5], image_shape=image_shape)


@pytest.mark.parametrize(
    ("draw", "name"),
    [
        (lambda n: FeatureMapDisplay.from_estimator(lenet(), X, n_images=n), "n_images"),
        (lambda n: FilterDisplay.from_estimator(mlp(), max_filters=n), "max_filters"),
        (lambda n: PredictionDisplay.from_estimator(mlp(), X, Y, n_images=n), "n_images"),
        (lambda n: PredictionDisplay.from_estimator(mlp(), X, Y, n_columns=n), "n_columns"),
    ],
)
def test_numbers_of_pictures_are_positive(draw, name):
    for n in (0, -1, 1.5):
        with pytest.raises(ValueError, match=f"'{name}' parameter .* Got {n}"):
            draw(n)
