"""Images: shapes read from arrays, the frame around them, what is learned of their channels, and random changes."""

import itertools
import math
import re
import warnings

import numpy as np
import pytest
import scipy.ndimage
import torch
import torch.nn.functional as F
from scipy.optimize import minimize_scalar
from sklearn.datasets import load_digits

from sknn._images import Augment, ImageInput, full_shape, rows_of_images, shape_of_images, shape_of_rows

DIGITS = load_digits().images[:20]


def noise(*shape, seed=0):
    return np.random.default_rng(seed).uniform(size=shape)


# --- shapes ---


@pytest.mark.parametrize("given", [(8, 9), [8, 9], (1, 8, 9), np.array([1, 8, 9]), (np.int64(8), np.uint8(9))])
def test_the_users_shape_gets_its_channels(given):
    assert full_shape(None) is None
    shape = full_shape(given)
    assert shape == (1, 8, 9)
    assert {type(n) for n in shape} == {int}


@pytest.mark.parametrize("given", [(), (64,), (1, 1, 8, 8), (8.0, 8.0), (0, 8), (3, -8, 8), ("8", "8"), [[8, 8]]])
def test_a_shape_that_is_none_is_refused(given):
    message = "image_shape must be (height, width) or (channels, height, width), all integers > 0, got "
    with pytest.raises(ValueError, match=re.escape(f"{message}{given!r}.")):
        full_shape(given)


@pytest.mark.parametrize(
    ("array_shape", "image_shape", "expected"),
    [
        ((5, 8, 9), None, ((1, 8, 9), False)),
        ((5, 8, 9), (1, 8, 9), ((1, 8, 9), False)),
        *(((5, channels, 8, 9), None, ((channels, 8, 9), False)) for channels in (1, 3, 4)),
        *(((5, 8, 9, channels), None, ((channels, 8, 9), True)) for channels in (1, 3, 4)),
        # What is set decides where the array does not tell.
        ((5, 3, 8, 3), (3, 8, 3), ((3, 8, 3), False)),
        ((5, 3, 8, 3), (3, 3, 8), ((3, 3, 8), True)),
        ((5, 8, 9, 2), (2, 8, 9), ((2, 8, 9), True)),
        ((5, 2, 8, 9), (2, 8, 9), ((2, 8, 9), False)),
        ((5, 8, 8, 8), (8, 8, 8), ((8, 8, 8), False)),
    ],
)
def test_arrays_tell_the_shape_of_their_images(array_shape, image_shape, expected):
    assert shape_of_images(array_shape, image_shape) == expected


@pytest.mark.parametrize(
    ("first", "last"),
    [((3, 8, 3), (3, 3, 8)), ((1, 8, 4), (4, 1, 8)), ((2, 8, 9), (9, 2, 8)), ((8, 9, 2), (2, 8, 9))],
)
def test_ambiguous_arrays_ask_for_one_of_two_shapes(first, last):
    array_shape = (5, *first)
    message = (
        f"X of shape {array_shape} does not tell which axis holds the channels: set image_shape=(channels, height,"
        f" width), to {first} or to {last}."
    )
    with pytest.raises(ValueError, match=re.escape(message)):
        shape_of_images(array_shape, None)
    for shape in (first, last):  # the advice is sound
        assert shape_of_images(array_shape, shape) == (shape, shape == last)


@pytest.mark.parametrize(
    ("array_shape", "image_shape", "rest"),
    [
        ((5, 9, 8), (1, 8, 9), "."),
        ((5, 8, 9), (3, 8, 9), "."),
        ((5, 3, 9, 8), (3, 8, 9), " or channels last."),
        ((5, 9, 8, 3), (3, 8, 9), " or channels last."),
    ],
)
def test_other_images_than_expected_are_told_with_both_shapes(array_shape, image_shape, rest):
    message = f"X of shape {array_shape} has images of shape {array_shape[1:]}, expected {image_shape}{rest}"
    with pytest.raises(ValueError, match=re.escape(message)):
        shape_of_images(array_shape, image_shape)


@pytest.mark.parametrize(
    "image_shape", [(1, 8, 8), (1, 28, 28), (3, 32, 32), (3, 1, 1), (1, 1, 1), (4, 3, 3), (1, 8, 9), (1, 4, 16)]
)
def test_rows_are_taken_for_square_images_unless_another_shape_is_set(image_shape):
    channels, height, width = image_shape
    n_features = channels * height * width
    assert shape_of_rows(n_features, image_shape) == image_shape
    if channels in (1, 3) and height == width:
        assert shape_of_rows(n_features, None) == image_shape


def test_only_rows_of_no_square_image_are_padded():
    squares = {channels * side**2 for channels in (1, 3) for side in range(1, 24)}
    for n_features in range(1, 500):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            channels, height, width = shape_of_rows(n_features, None)
        assert len(caught) == (n_features not in squares)
        assert channels * height * width >= n_features > channels * (height - 1) * (width - 1)
        assert height == width


def test_the_warning_of_padded_rows_says_what_to_set():
    message = (
        "X has 65 features, which are no square image: rows are padded with zeros to 9 x 9 pixels. Set"
        " image_shape=(height, width) or (channels, height, width) if they are images of another shape."
    )
    with pytest.warns(UserWarning, match=re.escape(message)):
        assert shape_of_rows(65, None) == (1, 9, 9)


def test_rows_that_do_not_fill_the_shape_are_refused():
    with pytest.raises(ValueError, match=re.escape("X has 65 features, but image_shape=(1, 8, 8) needs 64.")):
        shape_of_rows(65, (1, 8, 8))


def test_rows_hold_pixels_channel_by_channel():
    images = noise(5, 3, 4, 6)
    expected = [[image[c, i, j] for c in range(3) for i in range(4) for j in range(6)] for image in images]
    np.testing.assert_array_equal(rows_of_images(images, False), expected)
    np.testing.assert_array_equal(rows_of_images(np.moveaxis(images, 1, -1), True), expected)
    np.testing.assert_array_equal(rows_of_images(images[:, 0], False), np.array(expected)[:, :24])
    assert rows_of_images(images[:0], False).shape == (0, 72)


# --- frame, mean and scale ---


@pytest.mark.parametrize(
    ("shape", "frame"),
    [
        ((1, 8, 8), [(12, 12), (12, 12)]),
        ((1, 28, 28), [(2, 2), (2, 2)]),
        ((3, 27, 31), [(2, 3), (0, 1)]),
        ((1, 1, 40), [(15, 16), (0, 0)]),
        ((2, 33, 20), [(0, 0), (6, 6)]),
        ((1, 32, 32), [(0, 0), (0, 0)]),
        ((3, 37, 51), [(0, 0), (0, 0)]),
    ],
)
def test_small_sides_get_a_frame_of_zeros_and_large_ones_stay(shape, frame):
    images = noise(4, *shape)
    module = ImageInput(math.prod(shape), shape)
    out = module(torch.from_numpy(images.reshape(4, -1)))
    np.testing.assert_array_equal(out, np.pad(images, [(0, 0), (0, 0), *frame]))
    assert module.output_shape == tuple(out.shape[1:])
    assert repr(module) == f"ImageInput({math.prod(shape)} features -> {tuple(out.shape[1:])})"


def test_short_rows_are_followed_by_zeros():
    rows = noise(4, 60)
    out = ImageInput(60, (1, 8, 8))(torch.from_numpy(rows))
    expected = np.pad(np.pad(rows, [(0, 0), (0, 4)]).reshape(4, 1, 8, 8), [(0, 0), (0, 0), (12, 12), (12, 12)])
    np.testing.assert_array_equal(out, expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(("n_features", "shape"), [(3 * 35, (3, 5, 7)), (60, (1, 8, 8))])
def test_mean_and_scale_are_those_of_each_channel(dtype, weighted, n_features, shape):
    rows = noise(50, n_features) * 3 + 100
    weight = noise(50, seed=1) if weighted else np.ones(50)
    module = ImageInput(n_features, shape).to(dtype)
    X, w = torch.from_numpy(rows).to(dtype), torch.from_numpy(weight).to(dtype) if weighted else None

    def batches():
        for part in (slice(0, 7), slice(7, 50)):
            yield X[part], None if w is None else w[part]

    module.learn_scale(batches)
    images = np.pad(rows, [(0, 0), (0, math.prod(shape) - n_features)]).reshape(-1, *shape)
    mean = np.average(images.mean((2, 3)), axis=0, weights=weight)
    variance = np.average(((images - mean[:, None, None]) ** 2).mean((2, 3)), axis=0, weights=weight)
    tolerance = {"rtol": 1e-12 if dtype == torch.float64 else 1e-5}
    np.testing.assert_allclose(module.mean, mean, **tolerance)
    np.testing.assert_allclose(module.scale, np.sqrt(variance), **tolerance)

    out = module(X)
    assert out.dtype == module.mean.dtype == module.scale.dtype == dtype
    left, right, top, bottom = module.padding
    framed = np.pad(images, [(0, 0), (0, 0), (top, bottom), (left, right)])
    expected = (framed - mean[:, None, None]) / np.sqrt(variance)[:, None, None]
    np.testing.assert_allclose(out, expected, rtol=0, atol=1e-10 if dtype == torch.float64 else 1e-3)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("value", [0.0, 0.1, -0.7, 255.0, 1e-30, 12345.678])
def test_a_channel_of_one_value_keeps_its_scale(dtype, weighted, value):
    """Rounding makes such a channel deviate from its mean a little, which must not be enlarged to one."""
    images = noise(3000, 2, 3, 5)
    images[:, 0] = value
    rows = torch.from_numpy(images.reshape(3000, -1)).to(dtype)
    weight = torch.from_numpy(noise(3000, seed=1)).to(dtype) if weighted else None
    module = ImageInput(30, (2, 3, 5)).to(dtype)
    module.learn_scale(lambda: [(rows, weight)])
    assert module.scale[0] == 1
    assert abs(module.scale[1] - math.sqrt(1 / 12)) < 0.01


def test_little_contrast_far_from_zero_is_learned_exactly():
    rows = torch.from_numpy(1e4 + noise(50, 64)).float()
    module = ImageInput(64, (1, 8, 8)).float()
    module.learn_scale(lambda: [(rows, None)])
    np.testing.assert_allclose(module.scale, rows.double().std(correction=0), rtol=1e-4)


# --- random changes ---


def augment(seed=0, **changes):
    module = Augment(**changes)
    module.generator = torch.Generator().manual_seed(seed)
    return module


def changed(images, seed=0, **changes):
    """Return a changed copy of an array (n, C, H, W)."""
    return augment(seed, **changes)(torch.from_numpy(images)).numpy()


def ramps(n, height, width):
    """Return n images whose two channels tell the row and the column of a pixel."""
    return np.tile(np.indices((height, width), dtype=float), (n, 1, 1, 1))


def rotated(image, angle):
    return scipy.ndimage.rotate(image, angle, axes=(-2, -1), reshape=False, order=1, mode="grid-constant")


def shifted(image, down, right):
    """Return the image moved by up to two whole pixels."""
    height, width = image.shape[-2:]
    framed = np.pad(image, [(0, 0)] * (image.ndim - 2) + [(2, 2)] * 2)
    return framed[..., 2 - down :, 2 - right :][..., :height, :width]


def assert_uniform(values, choices):
    """Check that each choice occurs, and about as often as the others."""
    found, counts = np.unique(values, axis=0, return_counts=True)
    np.testing.assert_array_equal(found, choices)
    expected = len(values) / len(choices)
    assert abs(counts - expected).max() < 5 * math.sqrt(expected)


@pytest.mark.parametrize("size", [(9, 9), (7, 12), (12, 7)])
@pytest.mark.parametrize("seed", range(3))
def test_shift_moves_by_whole_pixels_and_fills_with_zeros(size, seed):
    images = noise(15, 2, *size)
    for image, out in zip(images, changed(images, seed, shift=2), strict=True):
        moves = itertools.product(range(-2, 3), repeat=2)
        assert sum(np.allclose(out, shifted(image, *move), atol=1e-12) for move in moves) == 1


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("size", [(14, 14), (11, 16)])
def test_shifts_cover_their_range_in_both_directions(size, seed):
    images = ramps(2000, *size)
    out = changed(images, seed, shift=2)
    moves = np.round((images - out)[:, :, 5, 6]).astype(int)  # what a pixel away from the border tells
    assert_uniform(moves, list(itertools.product(range(-2, 3), repeat=2)))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("size", [(8, 8), (7, 12)])
def test_flip_mirrors_every_second_image(size, seed):
    images = noise(400, 2, *size)
    out = changed(images, seed, flip=True)
    same, mirrored = (np.isclose(out, of, atol=1e-12).all((1, 2, 3)) for of in (images, images[..., ::-1]))
    assert (same ^ mirrored).all()
    assert abs(mirrored.mean() - 0.5) < 0.125


@pytest.mark.parametrize("size", [(16, 16), (12, 20), (21, 13)])
def test_rotation_is_scipys(size):
    """Bilinear resampling with zeros around is the same in both, so that one angle explains an image exactly."""
    images = noise(4, 2, *size)
    for image, out in zip(images, changed(images, rotation=30.0), strict=True):

        def error(angle, image=image, out=out):
            return abs(rotated(image, angle) - out).max()

        near = min(np.linspace(-30, 30, 121), key=error)
        angle = minimize_scalar(error, bounds=(near - 0.5, near + 0.5), options={"xatol": 1e-10}).x
        assert error(angle) < 1e-6
        assert 0.1 < abs(angle) <= 30


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("rotation", [5.0, 90.0, 180.0])
def test_angles_cover_their_range_both_ways(rotation, seed):
    height, width = 31, 41
    down, right = np.indices((height, width)) - np.array([15, 20])[:, None, None]
    spot = np.exp(-((down**2 + (right - 10) ** 2) / 8))  # on the right of the centre
    out = changed(np.tile(spot, (1000, 1, 1, 1)), seed, rotation=rotation)[:, 0]
    angles = np.degrees(np.arctan2(*((axis * out).sum((1, 2)) for axis in (down, right))))
    assert rotation * 0.98 < angles.max() < rotation + 0.1
    assert rotation * 0.98 < -angles.min() < rotation + 0.1
    np.testing.assert_allclose(np.quantile(angles, [0.25, 0.5, 0.75]) / rotation, [-0.5, 0, 0.5], atol=0.12)


@pytest.mark.parametrize("size", [(12, 12), (10, 17)])
def test_crop_enlarges_what_is_left(size):
    images = noise(6, 1, *size)
    for image, out in zip(images[:, 0], changed(images, crop=2)[:, 0], strict=True):
        matches = 0
        for top, bottom, left, right in itertools.product(range(3), repeat=4):
            cut = image[top : size[0] - bottom, left : size[1] - right]
            zoom = np.divide(cut.shape, size)
            enlarged = scipy.ndimage.affine_transform(
                image, zoom, offset=(top, left) + zoom / 2 - 0.5, order=1, mode="grid-constant"
            )
            matches += np.allclose(out, enlarged, atol=1e-12)
            # Away from the border, where pixels that were cut off still blend in, that is what torch makes of the rest.
            resized = F.interpolate(torch.from_numpy(cut)[None, None], size, mode="bilinear")[0, 0]
            np.testing.assert_allclose(enlarged[1:-1, 1:-1], resized[1:-1, 1:-1], atol=1e-12)
        assert matches == 1


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("size", [(16, 16), (12, 20)])
def test_crops_cover_their_range_at_each_side(size, seed):
    out = changed(ramps(2000, *size), seed, crop=2)
    sides = []
    for axis, n in enumerate(size):
        line = np.moveaxis(out[:, axis], 1 + axis, 1)[:, :, 5]
        step = line[:, n // 2] - line[:, n // 2 - 1]  # what is left, as a share
        first = line[:, n // 2] - step * (n // 2 + 0.5) + 0.5
        sides += [first, n * (1 - step) - first]
    np.testing.assert_allclose(sides, np.round(sides), atol=1e-9)
    assert_uniform(np.round(np.transpose(sides)).astype(int), list(itertools.product(range(3), repeat=4)))


def test_all_changes_make_one():
    """Moved, then turned, then mirrored; nothing is lost between them, since the border is empty."""
    images = np.pad(DIGITS[:4, None] / 16, [(0, 0), (0, 0), (4, 4), (4, 7)])
    for image, out in zip(images[:, 0], changed(images, 3, shift=1, rotation=20.0, flip=True)[:, 0], strict=True):
        best = np.inf
        for move, mirror in itertools.product(itertools.product(range(-1, 2), repeat=2), (1, -1)):
            moved, target = shifted(image, *move), out[:, ::mirror]

            def error(angle, moved=moved, target=target):
                return abs(rotated(moved, angle) - target).max()

            near = min(np.linspace(-20, 20, 21), key=error)
            best = min(best, minimize_scalar(error, bounds=(near - 2, near + 2), options={"xatol": 1e-9}).fun)
        assert best < 1e-6


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_no_change_leaves_the_pixels(dtype):
    images = torch.from_numpy(noise(5, 3, 9, 14)).to(dtype)
    out = augment()(images)
    assert out.dtype == dtype
    torch.testing.assert_close(out, images, rtol=0, atol=1e-5 if dtype == torch.float32 else 1e-12)


ALL = {"shift": 2, "rotation": 10.0, "flip": True, "crop": 2}


def test_each_image_of_each_batch_is_changed_anew():
    module, image = augment(**ALL), torch.from_numpy(noise(1, 1, 16, 16)).expand(10, 1, 16, 16)
    outs = torch.cat([module(image), module(image)])
    distances = torch.cdist(outs.flatten(1), outs.flatten(1)) + torch.eye(20)
    assert distances.min() > 0.01


@pytest.mark.parametrize("change", [{name: value} for name, value in ALL.items()])
def test_the_generator_repeats_every_change(change):
    images = noise(30, 1, 12, 12)
    np.testing.assert_array_equal(changed(images, 0, **change), changed(images, 0, **change))
    assert not np.array_equal(changed(images, 0, **change), changed(images, 1, **change))
    with torch.random.fork_rng():  # without one of its own, torch's global generator decides
        torch.manual_seed(1)
        np.testing.assert_array_equal(Augment(**change)(torch.from_numpy(images)), changed(images, 1, **change))


def test_images_are_changed_in_training_only_and_before_they_are_normalised():
    rows = torch.from_numpy(DIGITS.reshape(20, -1))
    module, plain = ImageInput(64, (1, 8, 8), augment(**ALL)), ImageInput(64, (1, 8, 8))
    for images in (module, plain):
        images.learn_scale(lambda: [(rows, None)])
    assert torch.equal(module.eval()(rows), plain(rows))
    framed = F.pad(rows.view(20, 1, 8, 8), (12, 12, 12, 12))
    expected = (augment(**ALL)(framed) - plain.mean.view(1, 1, 1)) / plain.scale.view(1, 1, 1)
    torch.testing.assert_close(module.train()(rows), expected)
    assert repr(module.augment) == "Augment(shift=2, rotation=10.0, flip=True, crop=2)"
