"""Which networks in C read X entry by entry, as it is mostly zeros, and the memory that this takes."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse
import torch

from sknn._library import LANES, Sparse

# It is faster with enough rows to make up for turning the first layer, enough features, units that fill vectors, and no
# more scores of a batch than stay in the cache of a core. With fewer units C would read past the end of the parameters.
ENOUGH_ROWS, _ENOUGH_FEATURES, _ENOUGH_UNITS, _CACHED_SCORES = 1024, 128, LANES, 2**17

# The share of X that is not zero has to be below the first number, or below the second where units are few.
MOSTLY, _MANY_UNITS, _MOSTLY_FOR_FEW = 0.22, 64, 0.05

# As in C: parameters that a thread updates at once.
_BLOCK = 2048

# Rows that are looked at.
_SAMPLE = 256


class SparseMemory(NamedTuple):
    """The memory, and the addresses of it."""

    struct: Sparse
    arrays: dict[str, np.ndarray]


def is_mostly_zeros(X: Any, rows: np.ndarray, n_units: int, batch_size: int) -> bool:
    """Return whether to read those rows of X entry by entry, into so many units; the rows alone decide."""
    enough = len(rows) >= ENOUGH_ROWS and X.shape[1] >= _ENOUGH_FEATURES and n_units >= _ENOUGH_UNITS
    if not enough or batch_size * n_units > _CACHED_SCORES:
        return False
    sample = np.random.default_rng(0).choice(rows, _SAMPLE)  # at steps they may be all alike
    found = np.diff(X.indptr)[sample].sum() if scipy.sparse.issparse(X) else np.count_nonzero(X[sample])
    share = found / (len(sample) * X.shape[1])
    return bool(share < (MOSTLY if n_units >= _MANY_UNITS else _MOSTLY_FOR_FEW))


def sparse_memory(X: Sequence[Any], batch_size: int, n_units: int, dtype: torch.dtype, n_threads: int) -> SparseMemory:
    """Return the memory for batches of any of those X and a first layer of so many units."""
    n_features, value = X[0].shape[1], np.dtype(str(dtype).removeprefix("torch."))
    widest = 1 + max(int(np.diff(each.indptr).max()) if scipy.sparse.issparse(each) else n_features for each in X)
    entry = np.dtype([("place", np.int32), ("value", value)], align=True)
    flags_stride = -(-n_features // 8) * 8
    arrays = {
        "row_starts": np.empty(batch_size, np.int64),
        "row_stops": np.empty(batch_size, np.int64),
        "column_starts": np.empty(n_features + 3, np.int64),
        "by_row": np.empty(batch_size * widest, entry),
        "by_column": np.empty(batch_size * widest, entry),
        "flags": np.zeros(n_threads * flags_stride, np.uint8),
        "places": np.empty(n_threads * flags_stride, np.int32),
        "penalties": np.empty(n_features),
        "blocks": np.empty(n_threads * max(_BLOCK, n_units), value),
        "memory": np.empty(n_units * (n_features + 1), value),
    }
    addresses = {name: array.ctypes.data for name, array in arrays.items()}
    return SparseMemory(Sparse(widest=widest, flags_stride=flags_stride, **addresses), arrays)
