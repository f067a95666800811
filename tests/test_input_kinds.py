"""Whatever X, y and weights come in, fits and predictions equal those of plain arrays bit for bit."""

import subprocess
import sys
import textwrap

import numpy as np
import pandas as pd
import polars as pl
import pytest
import scipy.sparse
import torch

from sknn import MLPTorchClassifier, MLPTorchRegressor

# Small integers, with zeros, are the same numbers in every dtype.
X = np.random.RandomState(0).randint(0, 4, (90, 40)).astype(float)
BITS = X % 2
Y = np.arange(90) % 3
COUNTS = X[:, 0] + X[:, 1]
FORMATS = ["bsr", "coo", "csc", "csr", "dia", "dok", "lil"]
pytestmark = [
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
    pytest.mark.filterwarnings("ignore:X does not have valid feature names:UserWarning"),
    pytest.mark.filterwarnings("ignore:Constructing a DIA matrix"),
    pytest.mark.filterwarnings("ignore:X has feature names:UserWarning"),
]


def memory_map(array, folder):
    np.save(folder / "array.npy", array)
    return np.load(folder / "array.npy", mmap_mode="r")


def read_only(array):
    array = array.copy()
    array.flags.writeable = False
    return array


def every_second(array):
    return np.repeat(array, 2, axis=0)[::2]


def in_reverse(array):
    return np.ascontiguousarray(array[::-1, ::-1])[::-1, ::-1]


def mixed_columns(array):
    return pd.DataFrame(array).astype({0: "int8", 1: "float32", 2: "Int64", 3: "Float64", 4: "object"})


# Kind -> function of a float64 array; float64 is computed with.
WIDE = {
    "list": np.ndarray.tolist,
    "tuples": lambda array: tuple(map(tuple, array.tolist())),
    "rows": list,
    **{f"{dtype}": lambda array, dtype=dtype: array.astype(dtype) for dtype in (
        "int8", "int16", "int32", "int64", "uint16", "uint32", "uint64", "float16", "longdouble", "object",
        ">f8", ">f4", ">i4", ">u2")},
    "Fortran order": np.asfortranarray,
    "every second row": every_second,
    "negative strides": in_reverse,
    "read-only": read_only,
    "read-only, negative strides": lambda array: read_only(array)[::-1][::-1],
    "DataFrame": pd.DataFrame,
    "DataFrame with names": lambda array: pd.DataFrame(array).add_prefix("column "),
    "DataFrame of all dtypes": mixed_columns,
    "nullable Float64": lambda array: pd.DataFrame(array).astype("Float64"),
    "nullable Int32": lambda array: pd.DataFrame(array).astype("Int32"),
    "sparse DataFrame": lambda array: pd.DataFrame(array).astype(pd.SparseDtype(float, 0.0)),
    "polars": lambda array: pl.DataFrame(array),
    # scikit-learn asks such a frame for float64, whatever it holds.
    **{f"polars {dtype}": lambda array, dtype=dtype: pl.DataFrame(array.astype(dtype)) for dtype in (
        "int16", "uint8", "float32")},
    "tensor": torch.tensor,
    "tensor with gradient": lambda array: torch.tensor(array, requires_grad=True) * 1,
    "tensor, transposed": lambda array: torch.tensor(array.T.copy()).T,
    "tensor int64": lambda array: torch.tensor(array).long(),
    "tensor float16": lambda array: torch.tensor(array).half(),
    **{f"{kind} {dtype}": lambda array, kind=kind, dtype=dtype: getattr(scipy.sparse, kind)(array.astype(dtype))
       for kind in [f"{name}_{container}" for name in FORMATS for container in ("matrix", "array")]
       for dtype in ("float64", "int64")},
}  # fmt: skip
# Kind -> function of a float64 array; float32 is computed with.
NARROW = {
    **{dtype: lambda array, dtype=dtype: array.astype(dtype) for dtype in ("float32", "uint8")},
    "Fortran order float32": lambda array: np.asfortranarray(array, dtype=np.float32),
    "DataFrame float32": lambda array: pd.DataFrame(array).astype(np.float32),
    "tensor float32": lambda array: torch.tensor(array).float(),
    "tensor bfloat16": lambda array: torch.tensor(array).bfloat16(),
    "tensor uint8": lambda array: torch.tensor(array).byte(),
    **{f"{name}_array {dtype}": lambda array, name=name, dtype=dtype: getattr(scipy.sparse, f"{name}_array")(
        array.astype(dtype)) for name in FORMATS for dtype in ("float32", "uint8")},
}  # fmt: skip
BOOLS = {
    "bool": lambda array: array.astype(bool),
    "list of bools": lambda array: array.astype(bool).tolist(),
    "DataFrame of bools": lambda array: pd.DataFrame(array).astype(bool),
    "nullable boolean": lambda array: pd.DataFrame(array).astype("boolean"),
    "polars Boolean": lambda array: pl.DataFrame(array.astype(bool)),
    "tensor of bools": lambda array: torch.tensor(array).bool(),
    "csr_array of bools": lambda array: scipy.sparse.csr_array(array.astype(bool)),
}


def network(Estimator=MLPTorchClassifier, **parameters):
    parameters = {"hidden_layer_sizes": (20,), "max_iter": 3, "batch_size": 32, "device": "cpu", **parameters}
    return Estimator(**parameters, random_state=0)


def outcomes(rows, plain, y=Y):
    """Return what comes of those rows in fit, partial_fit and predict, and of all three with plain ones."""
    fitted = network().fit(rows, y)
    streamed = network().partial_fit(rows, y, classes=[0, 1, 2]).partial_fit(rows, y)
    return [
        fitted.predict_proba(plain),
        streamed.predict_proba(plain),
        fitted.predict_proba(rows),
        network().fit(plain, y).predict_proba(rows),
    ]


@pytest.mark.parametrize(
    ("kind", "plain"),
    [
        *(pytest.param(kind, X, id=name) for name, kind in WIDE.items()),
        *(pytest.param(kind, X.astype(np.float32), id=name) for name, kind in NARROW.items()),
        *(pytest.param(kind, BITS, id=name) for name, kind in BOOLS.items()),
    ],
)
def test_rows_of_every_kind_are_the_same_rows(kind, plain):
    rows = kind(plain.astype(float))
    for got, expected in zip(outcomes(rows, plain), outcomes(plain, plain), strict=True):
        assert got.dtype == plain.dtype
        np.testing.assert_array_equal(got, expected)


def test_mapped_rows_are_the_same_rows(tmp_path):
    for plain in (X, X.astype(np.float32), X.astype(np.uint8), np.asfortranarray(X)):
        rows = memory_map(plain, tmp_path)
        for got, expected in zip(outcomes(rows, plain), outcomes(plain, plain), strict=True):
            np.testing.assert_array_equal(got, expected)


LABELS = {
    "list": np.ndarray.tolist,
    "tuple": lambda labels: tuple(labels.tolist()),
    **{f"{dtype}": lambda labels, dtype=dtype: labels.astype(dtype) for dtype in (
        "int8", "int32", "uint8", "uint64", "float64", "float32", "float16", ">i4", ">f8")},
    "negative strides": lambda labels: labels[::-1].copy()[::-1],
    "every second": every_second,
    "read-only": read_only,
    "Series": pd.Series,
    "Series with an index": lambda labels: pd.Series(labels, index=np.arange(len(labels))[::-1] + 7),
    "nullable Int64": lambda labels: pd.Series(labels, dtype="Int64"),
    "categories": lambda labels: pd.Series(labels, dtype="category"),
    "polars Series": pl.Series,
    "polars UInt8": lambda labels: pl.Series(labels.astype(np.uint8)),
    "tensor": torch.tensor,
    "tensor int8": lambda labels: torch.tensor(labels).char(),
    "tensor bfloat16": lambda labels: torch.tensor(labels).bfloat16(),
}  # fmt: skip
STRINGS = {
    "array": lambda names: names,
    "list": np.ndarray.tolist,
    "object": lambda names: names.astype(object),
    "Series": pd.Series,
    "nullable string": lambda names: pd.Series(names, dtype="string"),
    "categories": lambda names: pd.Series(names, dtype="category"),
    "categories, reordered": lambda names: pd.Series(pd.Categorical(names, ["ccc", "a", "bb"])),
    "polars Series": lambda names: pl.Series(names.tolist()),
    "polars Categorical": lambda names: pl.Series(names.tolist(), dtype=pl.Categorical),
}


@pytest.mark.parametrize(
    ("kind", "plain"),
    [
        *(pytest.param(kind, Y, id=name) for name, kind in LABELS.items()),
        *(pytest.param(kind, np.array(["a", "bb", "ccc"])[Y], id=f"strings, {name}") for name, kind in STRINGS.items()),
    ],
)
def test_labels_of_every_kind_are_the_same_labels(kind, plain):
    labels = kind(plain)
    fitted, expected = network().fit(X, labels), network().fit(X, plain)
    np.testing.assert_array_equal(fitted.classes_, expected.classes_)
    np.testing.assert_array_equal(fitted.predict_proba(X), expected.predict_proba(X))
    np.testing.assert_array_equal(fitted.predict(X), expected.predict(X))
    assert fitted.score(X, labels) == expected.score(X, plain)
    streamed = network().partial_fit(X, labels, classes=np.unique(plain)).partial_fit(X, labels)
    again = network().partial_fit(X, plain, classes=np.unique(plain)).partial_fit(X, plain)
    np.testing.assert_array_equal(streamed.predict_proba(X), again.predict_proba(X))


@pytest.mark.parametrize("classes", [[0, 1, 2], (2, 1, 0), pd.Series([0, 1, 2]), pl.Series([0, 1, 2]), torch.arange(3)])
def test_classes_of_every_kind_are_the_same_classes(classes):
    expected = network().partial_fit(X[:40], Y[:40], classes=np.arange(3)).partial_fit(X, Y)
    got = network().partial_fit(X[:40], Y[:40], classes=classes).partial_fit(X, Y, classes=classes)
    np.testing.assert_array_equal(got.predict_proba(X), expected.predict_proba(X))


TARGETS = {
    **{kind: LABELS[kind] for kind in LABELS if "categories" not in kind},
    "object": lambda counts: counts.astype(object),
    "strings of digits": lambda counts: counts.astype(str),
    "tensor with gradient": lambda counts: torch.tensor(counts.astype(float), requires_grad=True),
    "longdouble": lambda counts: counts.astype("longdouble"),
}


@pytest.mark.parametrize("loss", ["squared_error", "poisson"])
@pytest.mark.parametrize("kind", TARGETS.values(), ids=TARGETS)
def test_targets_of_every_kind_are_the_same_targets(kind, loss):
    targets = kind(COUNTS.astype(int))
    fitted, expected = (network(MLPTorchRegressor, loss=loss).fit(X, y) for y in (targets, COUNTS))
    np.testing.assert_array_equal(fitted.predict(X), expected.predict(X))
    assert fitted.loss_curve_ == expected.loss_curve_
    streamed, again = (network(MLPTorchRegressor, loss=loss).partial_fit(X, y) for y in (targets, COUNTS))
    np.testing.assert_array_equal(streamed.predict(X), again.predict(X))


def test_bools_are_targets_of_zero_and_one():
    bits = COUNTS > 3
    fitted, expected = (network(MLPTorchRegressor).fit(X, y) for y in (bits, bits.astype(float)))
    np.testing.assert_array_equal(fitted.predict(X), expected.predict(X))


COLUMNS = {
    "list": np.ndarray.tolist,
    "DataFrame": pd.DataFrame,
    "polars": lambda columns: pl.DataFrame(columns),
    "tensor": torch.tensor,
    "Fortran order": np.asfortranarray,
    "uint8": lambda columns: columns.astype(np.uint8),
    **{f"{name}_{container}": getattr(scipy.sparse, f"{name}_{container}") for name in FORMATS for container in (
        "matrix", "array")},
}  # fmt: skip


@pytest.mark.parametrize("kind", COLUMNS.values(), ids=COLUMNS)
def test_several_columns_of_every_kind_are_the_same_columns(kind):
    columns = (X[:, :3] > 1).astype(int)
    fitted, expected = network().fit(X, kind(columns)), network().fit(X, columns)
    np.testing.assert_array_equal(fitted.predict_proba(X), expected.predict_proba(X))
    fitted, expected = (network(MLPTorchRegressor).fit(X, y) for y in (kind(columns), columns))
    np.testing.assert_array_equal(fitted.predict(X), expected.predict(X))


WEIGHTS = {
    "list": np.ndarray.tolist,
    "int8": lambda weight: weight.astype(np.int8),
    "float32": lambda weight: weight.astype(np.float32),
    ">f8": lambda weight: weight.astype(">f8"),
    "negative strides": lambda weight: weight[::-1].copy()[::-1],
    "read-only": read_only,
    "Series": pd.Series,
    "nullable Int64": lambda weight: pd.Series(weight).astype("Int64"),
    "polars Series": lambda weight: pl.Series(weight),
    "tensor": torch.tensor,
    "tensor bfloat16": lambda weight: torch.tensor(weight).bfloat16(),
}


@pytest.mark.parametrize("kind", WEIGHTS.values(), ids=WEIGHTS)
def test_weights_of_every_kind_are_the_same_weights(kind):
    weight = COUNTS % 3
    fitted, expected = (network().fit(X, Y, w, X_val=X, y_val=Y, sample_weight_val=w) for w in (kind(weight), weight))
    np.testing.assert_array_equal(fitted.predict_proba(X), expected.predict_proba(X))
    assert fitted.validation_scores_ == expected.validation_scores_


@pytest.mark.parametrize("kind", [*WIDE.values(), *NARROW.values()], ids=[*WIDE, *NARROW])
def test_validation_rows_may_be_of_another_kind(kind):
    fitted = network(early_stopping=True).fit(X, Y, X_val=kind(X), y_val=Y)
    expected = network(early_stopping=True).fit(X, Y, X_val=X, y_val=Y)
    assert fitted.validation_scores_ == expected.validation_scores_
    np.testing.assert_array_equal(fitted.predict_proba(X), expected.predict_proba(X))


def test_no_input_is_written_to():
    weight, labels = COUNTS + 1, Y.copy()
    copies = X.copy(), labels.copy(), weight.copy()
    network(dropout=0.5, batch_norm=True).fit(X, labels, weight).predict(X)
    network(MLPTorchRegressor, max_grad_norm=0.1).fit(X, COUNTS, weight).predict(X)
    for array, copy in zip((X, labels, weight), copies, strict=True):
        np.testing.assert_array_equal(array, copy)


WIDE_FIT = """
    import resource
    import numpy as np
    import scipy.sparse
    from sknn import MLPTorchClassifier

    n, n_features, per_row = 3_000, 200_000, 2
    rng = np.random.default_rng(0)
    indices = rng.integers(n_features, size=n * per_row)
    X = scipy.sparse.csr_array((np.ones(n * per_row, np.float32), indices, np.arange(n + 1) * per_row), (n, n_features))
    y = indices[::per_row] % 2
    gigabyte = 2**30 if __import__("sys").platform == "darwin" else 2**20
    network = MLPTorchClassifier((2,), max_iter=1, batch_size=64, device="cpu", random_state=0)
    network.fit(X[:64], y[:64])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    network.fit(X, y)
    network.predict(X)
    print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / gigabyte)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="resource is for POSIX")
def test_sparse_rows_are_never_dense_all_at_once():
    """Dense in float32, as it is computed with, these rows take 2.4 GB."""
    command = [sys.executable, "-W", "ignore", "-c", textwrap.dedent(WIDE_FIT)]
    grown = float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert grown < 0.5
