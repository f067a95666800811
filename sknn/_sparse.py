"""Which fits in C read X entry by entry, as it is mostly zeros, and the memory that this takes."""

import ctypes
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse
import torch
from torch import Tensor

from sknn._learner import Learner
from sknn._parameters import FlatParameters

# It is faster with enough rows to make up for turning the first layer, enough features, units that fill vectors, and no
# more scores of a batch than stay in the cache of a core.
_ENOUGH_ROWS, _ENOUGH_FEATURES, _ENOUGH_UNITS, _CACHED_SCORES = 1024, 128, 16, 2**17

# The share of X that is not zero has to be below the first number, or below the second where units are few.
MOSTLY, _MANY_UNITS, _MOSTLY_FOR_FEW = 0.22, 64, 0.05

# Rows that are looked at.
_SAMPLE = 256


class Sparse(ctypes.Structure):
    """What `_c/sparse.h` works in."""

    _fields_ = [
        ("widest", ctypes.c_int64),
        *((name, ctypes.c_void_p) for name in ("row_starts", "row_stops", "column_starts", "by_row", "by_column")),
        *((name, ctypes.c_void_p) for name in ("flags", "places")),
        ("flags_stride", ctypes.c_int64),
        *((name, ctypes.c_void_p) for name in ("penalties", "memory")),
    ]


class SparseMemory(NamedTuple):
    """The memory, and the addresses of it."""

    struct: Sparse
    arrays: dict[str, np.ndarray]
    decayed: Tensor
    """As in `FlatParameters`, with the first layer turned."""


def is_mostly_zeros(learner: Learner, n_units: int) -> bool:
    """Return whether to read X of that learner entry by entry, into so many units: its own rows decide."""
    X: Any = learner.samples.X.source
    rows, recipe = learner.rows, learner.recipe
    enough = len(rows) >= _ENOUGH_ROWS and X.shape[1] >= _ENOUGH_FEATURES and n_units >= _ENOUGH_UNITS
    if not enough or min(recipe.batch_size, len(rows)) * n_units > _CACHED_SCORES:
        return False
    sample = np.random.default_rng(0).choice(rows, _SAMPLE)  # at steps they may be all alike
    found = np.diff(X.indptr)[sample].sum() if scipy.sparse.issparse(X) else np.count_nonzero(X[sample])
    share = found / (len(sample) * X.shape[1])
    return bool(share < (MOSTLY if n_units >= _MANY_UNITS else _MOSTLY_FOR_FEW))


def sparse_memory(learners: Sequence[Learner], parameters: FlatParameters, n_rows: int) -> SparseMemory:
    """Return the memory for batches of that many rows, of any of the learners."""
    weight = parameters.views(parameters.data)[0]
    n_out, n_in, dtype = weight.shape[1], weight.shape[2], parameters.data.numpy().dtype
    widest = 1 + max(_most_entries(learner.samples.X.source) for learner in learners)
    entry = np.dtype([("place", np.int32), ("value", dtype)], align=True)
    n_threads, flags_stride = torch.get_num_threads(), -(-n_in // 8) * 8
    arrays = {
        "row_starts": np.empty(n_rows, np.int64),
        "row_stops": np.empty(n_rows, np.int64),
        "column_starts": np.empty(n_in + 3, np.int64),
        "by_row": np.empty(n_rows * widest, entry),
        "by_column": np.empty(n_rows * widest, entry),
        "flags": np.zeros(n_threads * flags_stride, np.uint8),
        "places": np.empty(n_threads * flags_stride + 8, np.int32),
        "penalties": np.empty(n_in + 1),
        "memory": np.empty(n_out * weight.stride(1), dtype),
    }
    addresses = {name: array.ctypes.data for name, array in arrays.items()}
    n_first = n_out * (n_in + 1)
    decayed = torch.cat([parameters.decayed[:n_first].sort(descending=True).values, parameters.decayed[n_first:]])
    return SparseMemory(Sparse(widest=widest, flags_stride=flags_stride, **addresses), arrays, decayed)


def _most_entries(X: Any) -> int:
    return int(np.diff(X.indptr).max()) if scipy.sparse.issparse(X) else X.shape[1]
