"""Raw scores of so many rows as one pass reads, by numpy: there torch's modules are mostly calls."""

from collections.abc import Callable
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import numpy as np
import torch
from scipy.special import expit
from torch import nn

from sknn._activations import ACTIVATIONS
from sknn._samples import pass_size
from sknn.modules import MLP, Dropout, Linear

_DTYPES = (torch.float32, torch.float64)

# Those of scikit-learn's kind, which write to their argument; the others are left to torch.
_FUNCTIONS: dict[type[nn.Module], Callable[[np.ndarray], np.ndarray] | None] = {
    **{activation.module: None for activation in ACTIVATIONS.values()},
    nn.Identity: lambda z: z,
    nn.ReLU: lambda z: np.maximum(z, 0, out=z),
    nn.Sigmoid: lambda z: expit(z, out=z),
    nn.Tanh: lambda z: np.tanh(z, out=z),
}


class _Arrays(NamedTuple):
    """Weights (n_in, n_out) and biases of a layer, in its own memory."""

    weight: np.ndarray
    bias: np.ndarray
    memory: tuple[Any, ...]
    """Where it is and what it is like: users may give a layer another one."""


# To make them takes longer than the products of a row. They go with their layer, and are in no pickle.
_known: "WeakKeyDictionary[Linear, _Arrays]" = WeakKeyDictionary()


def _arrays_of(layer: Linear) -> _Arrays | None:
    weight, bias = layer._parameters.get("weight"), layer._parameters.get("bias")
    if weight is None or bias is None or weight.dtype not in _DTYPES:
        return None
    memory = weight.data_ptr(), bias.data_ptr(), weight.shape, weight.stride(), weight.dtype
    arrays = _known.get(layer)
    if arrays is None or arrays.memory != memory:
        arrays = _known[layer] = _Arrays(weight.data.numpy().T, bias.data.numpy(), memory)
    return arrays


@np.errstate(all="ignore")  # as torch does
def few_scores(module: Any, X: Any, device: torch.device) -> np.ndarray | None:
    """Return the raw scores (n, c) of rows X, or None for more rows and for all but plain networks."""
    if type(module) is not MLP or device.type != "cpu" or X.shape[0] > pass_size(X.shape[0], X.shape[1]):
        return None
    layers = module._modules.get("layers")  # nn.Module.__getattr__ would take as long as a product
    if type(layers) is not nn.Sequential or module.training:
        return None
    if any(part._forward_hooks or part._forward_pre_hooks for part in (module, layers)):
        return None
    values = None
    parts: Any = layers._modules.values()
    for part in parts:
        kind = type(part)
        if part._forward_hooks or part._forward_pre_hooks:
            return None
        if kind is Linear:
            arrays = _arrays_of(part)
            if arrays is None:
                return None
            values = _values(X, arrays.weight.dtype) if values is None else values
            if values is None or arrays.weight.dtype != values.dtype:
                return None
            values = values @ arrays.weight
            values += arrays.bias
        elif kind in _FUNCTIONS and values is not None:
            function = _FUNCTIONS[kind]
            values = function(values) if function else part(torch.from_numpy(values)).numpy()
        elif kind is not Dropout or part.training:
            return None
    return values


def _values(X: Any, dtype: np.dtype) -> np.ndarray | None:
    """Return rows X as products of that dtype read them, or None where their numbers may not fit in it."""
    if X.dtype != dtype and not np.can_cast(X.dtype, dtype):
        return None
    return np.asarray(X if isinstance(X, np.ndarray) else X.toarray(), dtype=dtype, order="C")
