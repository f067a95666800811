"""What users pass as X, y and sample_weight, validated and put where the engine reads it."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse
import torch
from sklearn.base import BaseEstimator
from sklearn.utils import column_or_1d
from sklearn.utils.validation import _check_sample_weight, validate_data
from torch import Tensor

from sknn._samples import DenseRows, HostRows, place, to_tensor

# uint8 stays as it is until a batch is read; every other dtype becomes float64, as in scikit-learn's MLP.
_INPUT_DTYPES = (np.float64, np.float32, np.uint8)


class Validated(NamedTuple):
    """X and y as checked arrays, X perhaps CSR, and float64 weights or None."""

    X: Any
    y: Any
    sample_weight: np.ndarray | None


def validate_rows(estimator: BaseEstimator, X: Any) -> Any:
    """Check X against the estimator's features, for prediction."""
    return validate_data(estimator, X, accept_sparse="csr", dtype=_INPUT_DTYPES, reset=False)


def validate_training(
    estimator: BaseEstimator, X: Any, y: Any, sample_weight: Any, *, y_numeric: bool, reset: bool
) -> Validated:
    """Check X, y and sample_weight; a column vector y becomes one-dimensional, with scikit-learn's warning."""
    X, y = validate_data(
        estimator,
        X,
        to_host(y),
        accept_sparse="csr",
        dtype=_INPUT_DTYPES,
        multi_output=True,
        y_numeric=y_numeric,
        reset=reset,
    )
    if scipy.sparse.issparse(y) and (y_numeric or y.shape[1] == 1):
        y = y.toarray()
    if y_numeric and y.dtype not in (np.float64, np.float32):
        y = y.astype(np.float64)  # or says which value is no number
    if y.ndim == 2 and y.shape[1] == 1:
        y = column_or_1d(y, warn=True)
    if sample_weight is not None:
        sample_weight = _check_sample_weight(to_host(sample_weight), X, dtype=np.float64)
    return Validated(X, y, sample_weight)


def to_host(value: Any) -> Any:
    """Return a torch tensor as an array on the host, and everything else as it is."""
    if not isinstance(value, Tensor):
        return value
    value = value.detach().cpu()
    return value.float().numpy() if value.dtype == torch.bfloat16 else value.numpy()


def used_rows(weight: np.ndarray | None, n_rows: int) -> np.ndarray:
    """Return the rows that take part in a fit: a zero weight is an absent row."""
    if weight is None:
        return np.arange(n_rows)
    check_weight_sum(weight, "Sample weights, times class weights,")
    return np.flatnonzero(weight)


def check_weight_sum(weight: np.ndarray, name: str) -> None:
    """Raise ValueError where there is nothing to divide by: weights that are all zero, cancel out or overflow."""
    with np.errstate(over="ignore"):
        total = weight.sum()
    if not 0 < total < np.inf:
        raise ValueError(f"{name} must have a positive and finite sum, got a sum of {total:g}.")


def place_rows(
    X: Any, device: torch.device, dtype: torch.dtype, row_shape: Sequence[int] | None = None
) -> DenseRows | HostRows:
    """Put validated X where batches are read from it."""
    values = X.data if scipy.sparse.issparse(X) else X
    _check_range(values, dtype, "X")
    return place(X, device, dtype, row_shape)


def place_targets(encoded: np.ndarray, device: torch.device, dtype: torch.dtype) -> Tensor:
    """Put encoded targets on the device: indices as int64, everything else in that dtype."""
    if encoded.dtype.kind == "i":
        return to_tensor(encoded).to(device)
    _check_range(encoded, dtype, "y")
    return to_tensor(encoded).to(device, dtype)


def place_weights(weight: np.ndarray, device: torch.device, dtype: torch.dtype) -> Tensor:
    """Put weights on the device in a dtype that their sum fits in."""
    _check_range(np.append(weight, weight.sum()), dtype, "sample_weight")
    return to_tensor(weight).to(device, dtype)


def _check_range(values: np.ndarray, dtype: torch.dtype, name: str) -> None:
    limit = torch.finfo(dtype).max
    if values.dtype == np.float64 and dtype == torch.float32 and values.size:
        largest = max(values.max(), -values.min())
        if largest > limit:
            raise ValueError(
                f"Input {name} contains values too large for dtype('float32'): the largest is {largest:g}, the limit"
                f" {limit:g}. Rescale {name} or set dtype='float64'."
            )
