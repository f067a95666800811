"""Links: what raw scores (n, c) become as predictions, by name."""

from collections.abc import Callable

import numpy as np
from scipy.special import expit, log_expit

_silent = np.errstate(all="ignore")  # scores that are not finite stay so


@_silent
def _exp(raw: np.ndarray) -> np.ndarray:
    # Half of the largest number: its own logarithm, rounded to float32, is past it.
    return np.exp(np.minimum(raw, np.log(np.finfo(raw.dtype).max / 2)))


@_silent
def _softmax(raw: np.ndarray) -> np.ndarray:
    powers = np.exp(raw - raw.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


@_silent
def _log_softmax(raw: np.ndarray) -> np.ndarray:
    shifted = raw - raw.max(axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))


LINKS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "identity": lambda raw: raw,
    "exp": _exp,
    "logistic": expit,
    "softmax": _softmax,
}

LOG_LINKS: dict[str, Callable[[np.ndarray], np.ndarray]] = {"logistic": log_expit, "softmax": _log_softmax}
