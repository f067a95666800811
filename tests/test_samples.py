"""Rows placed once and read in batches: kinds of arrays, orders of rows, bounds of batches."""

import numpy as np
import pytest
import scipy.sparse
import sklearn.utils
import torch

from sknn._samples import (
    DenseRows,
    HostRows,
    KeptRows,
    Order,
    Samples,
    batch_bounds,
    gather,
    pass_slices,
    place,
    to_tensor,
)

CPU = torch.device("cpu")
X = np.random.default_rng(0).normal(size=(10, 4))


def on_disk(array, folder):
    mapped = np.memmap(folder / "rows.dat", array.dtype, "w+", shape=array.shape)
    mapped[:] = array
    mapped.flush()
    return np.memmap(folder / "rows.dat", array.dtype, "r", shape=array.shape)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("kind", ["dense", "sparse", "sparse array", "mapped", "view of mapped", "bytes"])
def test_rows_of_any_kind_read_alike(kind, dtype, tmp_path):
    data = (X * 10).astype(np.uint8) if kind == "bytes" else X
    makers = {
        "sparse": scipy.sparse.csr_matrix,
        "sparse array": scipy.sparse.csr_array,
        "mapped": lambda array: on_disk(array, tmp_path),
        "view of mapped": lambda array: np.asarray(on_disk(array, tmp_path))[:],
    }
    rows = place(makers.get(kind, np.array)(data), CPU, dtype)
    assert type(rows) is (DenseRows if kind in ("dense", "bytes") else HostRows)
    assert len(rows) == 10
    assert rows.row_size == 4
    expected = torch.from_numpy(data).to(dtype)
    order = torch.tensor([7, 0, 0, 3])
    for chosen in (slice(2, 5), slice(0, 0), order):
        assert torch.equal(rows[chosen], expected[chosen])
        assert rows[chosen].dtype == dtype


def test_a_batch_may_be_written_to():
    for source in (X.copy(), scipy.sparse.csr_array(X)):
        rows = place(source, CPU, torch.float64)
        rows[torch.tensor([0, 1])].zero_()
        assert torch.equal(rows[0:2], torch.from_numpy(X[:2]))


def test_bytes_stay_bytes_until_they_are_read():
    images = np.zeros((6, 1, 8, 8), dtype=np.uint8)
    rows = place(images, CPU, torch.float32)
    assert rows._X.dtype == torch.uint8
    assert rows._X.data_ptr() == images.ctypes.data  # not copied either
    assert rows[0:2].shape == (2, 1, 8, 8)
    assert rows.row_size == 64


def test_narrow_floats_stay_narrow_until_they_are_read():
    rows = place(X.astype(np.float32), CPU, torch.float64)
    assert rows._X.dtype == torch.float32
    assert rows[0:2].dtype == torch.float64
    assert place(X, CPU, torch.float32)._X.dtype == torch.float32


@pytest.mark.parametrize(
    "array",
    [
        X[::-1],
        X[:, ::-1],
        X[::2],
        X.T,
        X.astype(">f8"),
        X.astype(">f4")[::-1],
        np.asfortranarray(X),
        X[:0],
        X[0, 0:1],
        np.zeros(9, dtype=[("label", "u1"), ("row", "f8", 4)])["row"],
    ],
    ids=[
        "rows back",
        "columns back",
        "strides",
        "transposed",
        "big endian",
        "both",
        "fortran",
        "empty",
        "vector",
        "field",
    ],
)
@pytest.mark.parametrize("writeable", [True, False])
def test_tensor_of_any_array(array, writeable):
    array = array.view()
    array.flags.writeable = writeable
    tensor = to_tensor(array)
    np.testing.assert_array_equal(tensor.numpy(), array)
    assert tensor.numpy().dtype == array.dtype.newbyteorder("=")


@pytest.mark.parametrize("writeable", [True, False])
def test_plain_arrays_share_their_memory(writeable):
    array = X.copy()
    array.flags.writeable = writeable
    assert to_tensor(array).data_ptr() == array.ctypes.data


@pytest.mark.parametrize("weighted", [False, True])
def test_batch_of_several_models(weighted):
    y, weight = torch.arange(20.0).reshape(10, 2), torch.arange(10.0)
    samples = Samples(place(X, CPU, torch.float64), y, weight if weighted else None)
    rows = torch.tensor([[1, 2, 3], [9, 2, 0]])
    batch, targets, weights = samples.batch(rows)
    assert batch.shape == (2, 3, 4)
    assert targets.shape == (2, 3, 2)
    for k in range(2):
        assert torch.equal(batch[k], torch.from_numpy(X)[rows[k]])
        assert torch.equal(targets[k], y[rows[k]])
    if weighted:
        assert torch.equal(weights, weight[rows])
    else:
        assert weights is None


@pytest.mark.parametrize("as_arrays", [False, True])
@pytest.mark.parametrize("weighted", [False, True])
def test_kept_rows_are_the_rows(weighted, as_arrays):
    y, weight = torch.arange(20.0).reshape(10, 2), torch.arange(10.0)
    samples = Samples(place(X, CPU, torch.float64), y, weight if weighted else None)
    rows, places = torch.tensor([7, 1, 2, 9]), torch.tensor([[0, 3], [2, 2]])
    prepared = samples.batch(rows[None])
    prepared = (prepared[0].numpy(), prepared[1].numpy(), prepared[2]) if as_arrays else prepared
    kept = KeptRows([prepared], 1)
    for part, expected in zip(kept.batch(places), samples.batch(rows[places]), strict=True):
        assert (part is None) == (expected is None)
        assert part is None or torch.equal(torch.as_tensor(part), expected)


@pytest.mark.parametrize("row_size", [0, 4, 10**4, 10**9])  # several at once, or one at a time
def test_gathered_batches_are_those_of_the_bounds(row_size):
    y = torch.arange(20.0).reshape(10, 2)
    samples = Samples(place(X, CPU, torch.float64), y, torch.arange(10.0))
    order, bounds = torch.tensor([[3, 1, 4, 5, 9, 2, 6], [6, 5, 4, 3, 2, 1, 0]]), [(0, 3), (3, 6), (6, 7)]
    read = []

    def reading(rows):
        read.append(rows.shape[1])
        return samples.batch(rows)

    for batch, (start, stop) in zip(gather(reading, order, bounds, row_size), bounds, strict=True):
        for part, expected in zip(batch, samples.batch(order[:, start:stop]), strict=True):
            assert torch.equal(part, expected)
    assert read == ([7] if row_size < 10**4 else [6, 1] if row_size == 10**4 else [3, 3, 1])


@pytest.mark.parametrize("n_rows", [1, 2, 5, 9, 10, 11])
@pytest.mark.parametrize("batch_size", [1, 2, 5, 10])
def test_batches_are_scikit_learns(n_rows, batch_size):
    expected = [(part.start, part.stop) for part in sklearn.utils.gen_batches(n_rows, batch_size)]
    assert batch_bounds(n_rows, batch_size) == expected


@pytest.mark.parametrize(
    ("n_rows", "batch_size", "expected"),
    [
        (11, 5, [(0, 5), (5, 11)]),  # the eleventh row joins
        (12, 5, [(0, 5), (5, 10), (10, 12)]),
        (10, 5, [(0, 5), (5, 10)]),
        (6, 5, [(0, 6)]),
        (1, 5, [(0, 1)]),  # no neighbour to join
    ],
)
def test_no_batch_of_one_row_where_two_are_needed(n_rows, batch_size, expected):
    assert batch_bounds(n_rows, batch_size, at_least_two=True) == expected


def test_orders_compose_as_scikit_learns_shuffle():
    order, expected, rng = Order(7, np.random.RandomState(3)), np.arange(7), np.random.RandomState(3)
    np.testing.assert_array_equal(order.places, expected)
    for _ in range(4):
        expected = sklearn.utils.shuffle(expected, random_state=rng)
        order.shuffle()
        np.testing.assert_array_equal(order.places, expected)


@pytest.mark.parametrize("row_size", [0, 1, 4096, 10_000, 10**9])
def test_a_pass_reads_every_row_once_in_bounded_parts(row_size):
    parts = list(pass_slices(10_000, row_size))
    assert np.array_equal(np.concatenate([np.arange(part.start, part.stop) for part in parts]), np.arange(10_000))
    largest = max(part.stop - part.start for part in parts)
    assert largest <= 4096
    assert largest == 1 or largest * row_size <= 2**21


def test_samples_are_the_same_where_rows_targets_and_weights_are():
    X, y, weight = np.ones((4, 2)), torch.ones(4, 1), torch.ones(4)
    cpu = torch.device("cpu")
    first = Samples(place(X, cpu, torch.float64), y, weight)
    assert first.is_same(Samples(place(X, cpu, torch.float64), y.clone(), weight.clone()))
    assert first.is_same(Samples(place(X.copy(), cpu, torch.float64), y, weight))
    assert Samples(first.X, y).is_same(Samples(first.X, y.clone()))
    others = [
        Samples(place(2 * X, cpu, torch.float64), y, weight),
        Samples(place(X[:, :1], cpu, torch.float64), y, weight),
        Samples(place(X, cpu, torch.float32), y, weight),
        Samples(first.X, 2 * y, weight),
        Samples(first.X, y, 2 * weight),
        Samples(first.X, y),
        Samples(place(scipy.sparse.csr_matrix(X), cpu, torch.float64), y, weight),
    ]
    assert not any(first.is_same(other) or other.is_same(first) for other in others)
