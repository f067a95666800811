"""What the multi-layer perceptrons share: their module, checks of their parameters, and scikit-learn's weight lists."""

from collections.abc import Iterable, Sequence
from numbers import Integral, Real
from typing import Any

import numpy as np
import torch
from sklearn.utils._param_validation import Interval, InvalidParameterError, StrOptions
from torch import nn

from sknn._activations import ACTIVATIONS
from sknn._initializers import INITIALIZERS
from sknn.modules import MLP


class MLPEstimatorMixin:
    """The network of an estimator that trains a multi-layer perceptron."""

    _mlp_constraints: dict[str, list[Any]] = {
        "hidden_layer_sizes": ["array-like", Interval(Integral, 1, None, closed="left")],
        "activation": [StrOptions(set(ACTIVATIONS))],
        "dropout": [Interval(Real, 0, 1, closed="left")],
        "batch_norm": ["boolean"],
        "weight_init": [StrOptions(set(INITIALIZERS))],
        "n_ensemble": [Interval(Integral, 1, None, closed="left")],
    }

    hidden_layer_sizes: Any
    activation: str
    dropout: float
    batch_norm: bool
    weight_init: str
    n_ensemble: int
    solver: str
    n_features_in_: int
    module_: Any

    @property
    def coefs_(self) -> list[np.ndarray]:
        """Weights of each layer, of shape (n_in, n_out): the memory of `module_` itself where that is on the CPU."""
        return [layer.weight.detach().cpu().numpy().T for layer in self._layers("coefs_")]

    @coefs_.setter
    def coefs_(self, values: Sequence[np.ndarray]) -> None:
        _copy_into([layer.weight.T for layer in self._layers("coefs_")], values, "coefs_")

    @property
    def intercepts_(self) -> list[np.ndarray]:
        """Biases of each layer, of shape (n_out,): the memory of `module_` itself where that is on the CPU."""
        return [layer.bias.detach().cpu().numpy() for layer in self._layers("intercepts_")]

    @intercepts_.setter
    def intercepts_(self, values: Sequence[np.ndarray]) -> None:
        _copy_into([layer.bias for layer in self._layers("intercepts_")], values, "intercepts_")

    @property
    def n_layers_(self) -> int:
        """Number of layers, the input and the output counted."""
        return len(self._layers("n_layers_")) + 1

    def _layers(self, attribute: str) -> list[nn.Linear]:
        if "module_" not in vars(self):
            raise AttributeError(f"This {type(self).__name__} has no attribute {attribute!r} before it is fitted.")
        return self.module_.linear_layers()

    def _make_module(self, n_outputs: int, rng: np.random.RandomState) -> MLP:
        return MLP(
            self.n_features_in_,
            n_outputs,
            self._hidden_layer_sizes(),
            self.activation,
            dropout=self.dropout,
            batch_norm=self.batch_norm,
            weight_init=self.weight_init,
            random_state=rng,
            dtype=torch.float64,  # as drawn, so that nothing is lost before the dtype of the fit is known
        )

    def _check_combinations(self) -> None:
        sizes = self._hidden_layer_sizes()
        if any(size <= 0 for size in sizes):
            raise ValueError(f"hidden_layer_sizes must be > 0, got {sizes}.")
        if self.solver == "lbfgs" and (self.dropout or self.batch_norm):
            raise ValueError(
                "solver='lbfgs' needs a loss that is the same at every evaluation: it goes with dropout=0 and"
                f" batch_norm=False only, got dropout={self.dropout} and batch_norm={self.batch_norm}."
            )

    def _hidden_layer_sizes(self) -> list[int]:
        sizes = self.hidden_layer_sizes
        sizes = list(sizes) if isinstance(sizes, Iterable) else [sizes]
        if not all(isinstance(size, Integral) and not isinstance(size, bool) for size in sizes):
            # A ValueError and a TypeError in one: scikit-learn raises either.
            raise InvalidParameterError(f"hidden_layer_sizes must be integers, got {self.hidden_layer_sizes!r}.")
        return [int(size) for size in sizes]


@torch.no_grad()
def _copy_into(tensors: list[torch.Tensor], values: Sequence[np.ndarray], name: str) -> None:
    shapes, given = [tuple(tensor.shape) for tensor in tensors], [np.shape(value) for value in values]
    if shapes != given:
        raise ValueError(f"{name} must have the shapes {shapes}, got {given}.")
    for tensor, value in zip(tensors, values, strict=True):
        tensor.copy_(torch.as_tensor(np.asarray(value)))
