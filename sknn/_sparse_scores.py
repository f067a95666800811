"""Raw scores of many rows that are mostly zeros, in C."""

import ctypes
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from sknn import _library, _sparse
from sknn._devices import product_limit
from sknn._fused import activation_of, is_plain
from sknn._library import ACTIVATIONS_IN_C, Layer, Library, Model, rows_of, up_to_lanes
from sknn._samples import DenseRows, HostRows
from sknn._sparse import SparseMemory, is_mostly_zeros, sparse_memory
from sknn.modules import MLP

# Rows of a batch: enough to fill the products, little enough to stay in the cache of a core.
_BATCH = 256

# Multiply-adds of all rows from which on this is sooner there than torch, for all that has to be set up.
_MANY = 1e8


@torch.no_grad()
def sparse_scores(module: Any, X: DenseRows | HostRows, rows: np.ndarray | None = None) -> Tensor | None:
    """Return the raw scores (n, c) of X, or of some of its rows, or None for all but plain networks on such X."""
    n_rows = len(X) if rows is None else len(rows)
    # Epochs that end with a score ask this, so the first look is a short one.
    if (
        n_rows < _sparse.ENOUGH_ROWS
        or X.device.type != "cpu"
        or not isinstance(module, nn.Module)
        or not is_plain(module)
    ):
        return None
    parameters = list(module.parameters())
    if n_rows * sum(parameter.numel() for parameter in parameters) < _MANY or not _is_as_fitted(module, parameters, X):
        return None
    library, places = _library.library(X.dtype), np.arange(n_rows) if rows is None else rows
    if library is None or not is_mostly_zeros(X.source, places, len(parameters[0]), _BATCH):
        return None
    weight, bias = parameters[:2]
    # Of each feature its weights, then the biases, and room to read a whole vector from the last of them on.
    turned = torch.cat([weight.T, bias[None], weight.new_empty(1, len(bias))])
    networks = [_network(library, module, X.source, turned) for _ in range(torch.get_num_threads())]
    models = (Model * len(networks))(*(network.model for network in networks))
    scores = weight.new_empty(n_rows, len(parameters[-1]))
    # BLAS needs no threads beside these: those that it has wait for work by keeping the cores busy.
    with product_limit(1):
        library.score_rows(models, len(models), places.ctypes.data, n_rows, _BATCH, scores.data_ptr())
    return scores


def _is_as_fitted(module: MLP, parameters: list[nn.Parameter], X: DenseRows | HostRows) -> bool:
    """Return whether C can read a network and X; users may have changed the one that was fitted."""
    source: Any = X.source
    return (
        len(parameters) >= 4
        and rows_of(source) is not None
        and source.shape[1] == parameters[0].shape[1]
        and activation_of(module) in ACTIVATIONS_IN_C
        and not any(part.training for part in module.modules())
        and all(p.dtype == X.dtype and p.device.type == "cpu" and p.is_contiguous() for p in parameters)
    )


class _Network(NamedTuple):
    """A network in C with memory of its own, which has to stay while that is in use."""

    model: Model
    outs: list[Tensor]
    memory: SparseMemory


def _network(library: Library, module: MLP, X: Any, turned: Tensor) -> _Network:
    linear: list[Any] = module.linear_layers()
    outs = [turned.new_empty(up_to_lanes(layer.out_features) * _BATCH) for layer in linear]
    layers = (Layer * len(linear))(*(_layer(layer, out) for layer, out in zip(linear, outs, strict=True)))
    layers[0].weight = turned.data_ptr()
    memory = sparse_memory([X], _BATCH, linear[0].out_features, turned.dtype, 1)
    model = Model(
        product=library.product, n_threads=1, n_layers=len(linear), layers=layers, X=rows_of(X),
        activation=ACTIVATIONS_IN_C.index(activation_of(module)), sparse=ctypes.pointer(memory.struct),
    )  # fmt: skip
    return _Network(model, outs, memory)


def _layer(layer: nn.Linear, out: Tensor) -> Layer:
    return Layer(
        n_in=layer.in_features, n_out=layer.out_features, stride=layer.in_features, bias_stride=1,
        weight=layer.weight.data_ptr(), bias=layer.bias.data_ptr(), out=out.data_ptr(), dropped=out.data_ptr(),
    )  # fmt: skip
