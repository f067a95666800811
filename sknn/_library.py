"""The functions in C, `_c/epoch.c`, where they were compiled when sknn was installed, and the structures they read.

The structures have the fields of those in `_c/model.h`, which says what they are.
"""

import ctypes
import functools
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse
import torch
from scipy.linalg import cython_blas

from sknn._activations import ACTIVATIONS

# The places of these are their numbers in C.
ACTIVATIONS_IN_C = [ACTIVATIONS[name] for name in ("identity", "relu", "logistic", "tanh")]
_KINDS_OF_X = [np.dtype(kind) for kind in ("uint8", "float32", "float64")]

# Kinds of indices that CSR matrices have.
_INDICES = [np.dtype(kind) for kind in ("int32", "int64")]

# Of each dtype the library and BLAS's product.
_NAMES = {torch.float32: ("float", "sgemm"), torch.float64: ("double", "dgemm")}

# As in C: numbers that a row of whole vectors is a multiple of.
LANES = 16


def _fields(of: Any, names: str) -> list[tuple[str, Any]]:
    return [(name, of) for name in names.split()]


class Layer(ctypes.Structure):
    """A layer, and what a batch comes to in it."""

    _fields_ = [
        *_fields(ctypes.c_int64, "n_in n_out stride bias_stride"),
        *_fields(ctypes.c_void_p, "weight bias weight_grad bias_grad out grad mask dropped"),
        ("factor", ctypes.c_double),
        ("lowest_kept", ctypes.c_int64),
    ]


class Rows(ctypes.Structure):
    """X, dense or CSR."""

    _fields_ = [
        *_fields(ctypes.c_void_p, "values indices starts"),
        *_fields(ctypes.c_int64, "kind row_stride stride wide_indices"),
    ]


class Sparse(ctypes.Structure):
    """The memory in which entries of a batch are found and sorted."""

    _fields_ = [
        ("widest", ctypes.c_int64),
        *_fields(ctypes.c_void_p, "row_starts row_stops column_starts by_row by_column flags places"),
        ("flags_stride", ctypes.c_int64),
        *_fields(ctypes.c_void_p, "penalties blocks memory"),
    ]


class Model(ctypes.Structure):
    """A network with all that its training reads; prediction leaves most of it zero."""

    _fields_ = [
        ("product", ctypes.c_void_p),
        *_fields(ctypes.c_int64, "n_threads n_layers activation loss solver n_parameters nesterov"),
        *_fields(ctypes.c_double, "label_smoothing alpha momentum beta_1 beta_2 epsilon weight_decay"),
        ("layers", ctypes.POINTER(Layer)),
        ("X", Rows),
        *_fields(ctypes.c_void_p, "y weight inputs shares highest sums data grad first_slot second_slot"),
        *_fields(ctypes.c_void_p, "decayed random"),
        ("sparse", ctypes.POINTER(Sparse)),
    ]


class Library(NamedTuple):
    """What there is for one dtype: the functions of `_c/epoch.c` and the address of BLAS's product."""

    run_batches: Callable[..., float]
    score_rows: Callable[..., None]
    product: int


@functools.cache
def library(dtype: torch.dtype) -> Library | None:
    """Return what computes in that dtype, or None where nothing was compiled for it or for these sources."""
    if dtype not in _NAMES:
        return None
    folder, (name, product) = Path(__file__).with_name("_c"), _NAMES[dtype]
    try:
        loaded = ctypes.CDLL(str(folder / f"epoch_{name}.so"))
        loaded.source.restype = ctypes.c_uint32
    except (OSError, AttributeError):
        return None
    capsule, python = cython_blas.__pyx_capi__[product], ctypes.pythonapi
    name_of = ctypes.PYFUNCTYPE(ctypes.c_char_p, ctypes.py_object)(("PyCapsule_GetName", python))
    address_of = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.py_object, ctypes.c_char_p)(("PyCapsule_GetPointer", python))
    signature = name_of(capsule)
    # Some builds of scipy count in integers of 64 bits.
    sources = b"".join(path.read_bytes() for path in sorted(folder.glob("*.[ch]")))
    if loaded.source() != zlib.crc32(sources) or not signature.startswith(b"void (char *, char *, int *"):
        return None
    model, address, number = ctypes.POINTER(Model), ctypes.c_void_p, ctypes.c_int64
    loaded.run_batches.argtypes = [model, address, number, number, address, number]
    loaded.run_batches.restype = ctypes.c_double
    loaded.score_rows.argtypes = [model, number, address, number, number, address]
    loaded.score_rows.restype = None
    return Library(loaded.run_batches, loaded.score_rows, address_of(capsule, signature))


def up_to_lanes(n: int) -> int:
    """Return how many numbers a row of n takes where it ends with a whole vector."""
    return -(-n // LANES) * LANES


def is_compiled() -> bool:
    """Return whether the functions in C are there."""
    return library(torch.float32) is not None and library(torch.float64) is not None


def rows_of(X: Any) -> Rows | None:
    """Return X, an array or CSR matrix, as C reads it, or None where it cannot."""
    sparse = scipy.sparse.issparse(X)
    values = X.data if sparse else X
    if values is None or values.dtype not in _KINDS_OF_X or not values.flags.aligned:
        return None
    if any(step % values.itemsize for step in values.strides):
        return None
    if sparse and not _is_simple(X):
        return None
    rows = Rows(values=values.ctypes.data, kind=_KINDS_OF_X.index(values.dtype))
    if sparse:
        rows.indices, rows.starts = X.indices.ctypes.data, X.indptr.ctypes.data
        rows.wide_indices = X.indices.itemsize == 8
    else:
        rows.row_stride, rows.stride = (step // values.itemsize for step in values.strides)
    return rows


def _is_simple(X: Any) -> bool:
    """Return whether the arrays of a CSR matrix lie as those that scipy makes."""
    arrays = X.data, X.indices, X.indptr
    return all(array.flags.c_contiguous for array in arrays) and X.indices.dtype == X.indptr.dtype in _INDICES
