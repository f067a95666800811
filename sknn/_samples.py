"""Rows of X, y and weights placed once for training or prediction, and read in batches."""

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse
import torch
from torch import Tensor

# Rows and values of one batch in a pass over all rows: enough to fill the cores, little enough to bound memory.
_PASS_ROWS, _PASS_VALUES = 4096, 2**21

# Values of X that are gathered at once for several batches: they stay in the cache of a core until they are read.
_GATHERED_VALUES = 2**17


class HostRows:
    """Rows that stay on the host, sparse or mapped from disk, and are made dense a batch at a time."""

    def __init__(
        self, X: Any, device: torch.device, dtype: torch.dtype, row_shape: Sequence[int] | None = None
    ) -> None:
        self._X, self.device, self.dtype, self._row_shape = X, device, dtype, row_shape

    def __getitem__(self, rows: "slice | Tensor") -> Tensor:
        batch = self._X[rows if isinstance(rows, slice) else rows.cpu().numpy()]
        batch = batch.toarray() if scipy.sparse.issparse(batch) else np.array(batch)
        placed = torch.from_numpy(batch).to(self.device, self.dtype).contiguous()
        return placed if self._row_shape is None else placed.view(len(batch), *self._row_shape)

    def __len__(self) -> int:
        return self._X.shape[0]

    @property
    def source(self) -> Any:
        """All rows as they came."""
        return self._X

    @property
    def row_size(self) -> int:
        """Number of values in a row."""
        return math.prod(self._X.shape[1:])


class DenseRows:
    """Rows on the device in the dtype they came in, so that bytes of images stay bytes."""

    def __init__(
        self, X: np.ndarray, device: torch.device, dtype: torch.dtype, row_shape: Sequence[int] | None = None
    ) -> None:
        # Batches are widened as they are read; to widen all of them would take a second X.
        narrower = X.dtype.kind == "f" and X.dtype.itemsize > dtype.itemsize
        placed = to_tensor(X).to(device, dtype if narrower else None)
        self._X = placed if row_shape is None else placed.reshape(len(X), *row_shape)
        self.device, self.dtype = device, dtype

    def __getitem__(self, rows: "slice | Tensor") -> Tensor:
        batch = self._X[rows] if isinstance(rows, slice) else self._X.index_select(0, rows)
        return batch.to(self.dtype).contiguous()  # products of another layout round otherwise

    def is_same(self, other: "DenseRows") -> bool:
        """Return whether these rows are equal to the other ones, and read in the same dtype."""
        kinds = [(rows._X.dtype, rows._X.device, rows.dtype) for rows in (self, other)]
        return kinds[0] == kinds[1] and torch.equal(self._X, other._X)

    def __len__(self) -> int:
        return len(self._X)

    @property
    def source(self) -> np.ndarray | None:
        """All rows in the dtype they came in, where they are in memory of the host."""
        return self._X.numpy() if self.device.type == "cpu" else None

    @property
    def row_size(self) -> int:
        """Number of values in a row."""
        return math.prod(self._X.shape[1:])


def place(
    X: Any, device: torch.device, dtype: torch.dtype, row_shape: Sequence[int] | None = None
) -> DenseRows | HostRows:
    """Return rows of X that batches can be read from, as tensors of that dtype on that device, each of that shape."""
    kind = HostRows if scipy.sparse.issparse(X) or _is_mapped(X) else DenseRows
    return kind(X, device, dtype, row_shape)


def to_tensor(array: np.ndarray) -> Tensor:
    """Return a tensor of that array, sharing memory where strides and byte order allow it."""
    if not array.dtype.isnative or any(step < 0 or step % array.itemsize for step in array.strides):
        array = np.array(array, dtype=array.dtype.newbyteorder("="))
    # torch.from_numpy warns of read-only memory, which nothing here writes to.
    return torch.from_numpy(array) if array.flags.writeable else torch.from_dlpack(array)


def _is_mapped(array: Any) -> bool:
    while array is not None:
        if isinstance(array, np.memmap):
            return True
        array = getattr(array, "base", None)
    return False


# X (K, b, ...), y (K, b, ...) and weights (K, b), or None; X and y may be arrays, where a step has prepared them so.
Batch = tuple[Any, Any, Tensor | None]


class Samples(NamedTuple):
    """Rows of X with their encoded targets (n, ...) and weights (n,), on one device."""

    X: DenseRows | HostRows
    y: Tensor
    weight: Tensor | None = None
    may_cancel: bool = False
    """Whether some weights are negative, so that the weights of a batch may sum to zero."""

    def is_same(self, other: "Samples") -> bool:
        """Return whether dense X, targets and weights are equal."""
        if not (isinstance(self.X, DenseRows) and isinstance(other.X, DenseRows) and self.X.is_same(other.X)):
            return False
        if self.weight is None or other.weight is None:
            return self.weight is other.weight and torch.equal(self.y, other.y)
        return torch.equal(self.y, other.y) and torch.equal(self.weight, other.weight)

    def batch(self, rows: Tensor) -> Batch:
        """Return X (K, b, ...), y (K, b, ...) and weights (K, b) of those rows (K, b)."""
        flat = rows.flatten()
        X, y = self.X[flat], self.y.index_select(0, flat)
        weight = None if self.weight is None else self.weight[rows]
        return X.view(*rows.shape, *X.shape[1:]), y.view(*rows.shape, *y.shape[1:]), weight


def stacked(batches: Sequence[Batch]) -> Batch:
    """Return batches of as many rows as one, the models of each behind those of the one before."""
    if len(batches) == 1:
        return batches[0]

    def joined(parts: Sequence[Any]) -> Any:
        if parts[0] is None:
            return None
        return torch.cat(parts) if isinstance(parts[0], Tensor) else np.concatenate(parts)  # type: ignore[arg-type]

    X, y, weight = map(joined, zip(*batches, strict=True))
    return X, y, weight


class KeptRows:
    """Sets of rows that a step has prepared, each (1, n, ...), to gather batches from; a copy of them takes little."""

    def __init__(self, prepared: Sequence[Batch], row_size: int) -> None:
        self.row_size = row_size
        self._parts = [None if part is None else part.reshape(-1, *part.shape[2:]) for part in stacked(prepared)]

    def batch(self, places: Tensor) -> Batch:
        """Return X, y and weights at those places (K, b) among the rows."""
        X, y, weight = (None if part is None else _take(part, places) for part in self._parts)
        return X, y, weight


def _take(values: Any, places: Tensor) -> Any:
    if isinstance(values, Tensor):
        return values.index_select(0, places.flatten()).view(*places.shape, *values.shape[1:])
    return values.take(places.numpy(), axis=0)


def gather(
    read: Callable[[Tensor], Batch], order: Tensor, bounds: list[tuple[int, int]], row_size: int
) -> Iterator[Batch]:
    """Yield what `read` returns for batches with those bounds in rows (K, n); of small ones it reads some at once."""
    rows_at_once = _GATHERED_VALUES // max(row_size * len(order), 1)
    n_batches = max(1, rows_at_once // max(bounds[0][1], 1))
    for group in (bounds[i : i + n_batches] for i in range(0, len(bounds), n_batches)):
        first = group[0][0]
        X, y, weight = read(order[:, first : group[-1][1]])
        for start, stop in group:
            rows = slice(start - first, stop - first)
            yield X[:, rows], y[:, rows], None if weight is None else weight[:, rows]


def batch_bounds(n_rows: int, batch_size: int, *, at_least_two: bool = False) -> list[tuple[int, int]]:
    """Return the start and stop of consecutive batches; a last one of one row joins its neighbour if asked to."""
    starts = list(range(0, n_rows, batch_size))
    if at_least_two and len(starts) > 1 and n_rows - starts[-1] == 1:
        starts.pop()
    return list(zip(starts, [*starts[1:], n_rows], strict=True))


class Order:
    """The places (n,) of rows in an order that is shuffled anew by a generator.

    Shuffling composes with the order before, as scikit-learn's MLP does it.
    """

    def __init__(self, n_rows: int, rng: np.random.RandomState) -> None:
        self.places, self._rng = np.arange(n_rows), rng

    def shuffle(self) -> None:
        """Shuffle once more."""
        permutation = np.arange(len(self.places))
        self._rng.shuffle(permutation)
        self.places = self.places[permutation]


def pass_size(n_rows: int, row_size: int) -> int:
    """Return how many rows at a time a pass over all of them reads."""
    return max(1, min(_PASS_ROWS, _PASS_VALUES // max(row_size, 1), n_rows))


def pass_slices(n_rows: int, row_size: int) -> Iterator[slice]:
    """Yield the slices in which a pass over all rows reads them."""
    for start, stop in batch_bounds(n_rows, pass_size(n_rows, row_size)):
        yield slice(start, stop)
