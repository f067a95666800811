"""One forward and backward pass of K models over a batch: the gradient that solvers then follow."""

import copy
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from sknn._losses import Loss
from sknn._parameters import FlatParameters


class Step(Protocol):
    """What training needs to know of K models."""

    parameters: FlatParameters

    def __call__(self, X: Tensor, y: Tensor, weight: Tensor | None) -> Tensor:
        """Set the gradient of the mean loss over a batch (K, b, ...) and return that loss (K,)."""

    def raw_scores(self, X: Tensor) -> Tensor:
        """Return the raw scores (K, n, n_outputs) of rows X (n, ...), without gradients."""

    def to_module(self, k: int = 0) -> nn.Module:
        """Return model k as a module with its own storage, in eval mode."""


class AutogradStep:
    """The step of any `nn.Module`, differentiated by autograd; the reference for faster ones.

    The objective is the weighted mean of the loss plus `alpha` / 2 times the squared norm of the weights, divided by
    the batch's weight sum as in scikit-learn.
    """

    def __init__(self, modules: Sequence[nn.Module], loss: Loss, *, alpha: float = 0.0, autocast: bool = False) -> None:
        self.parameters = FlatParameters(modules)
        self.modules, self._loss, self._alpha, self._autocast = modules, loss, alpha, autocast

    def __call__(self, X: Tensor, y: Tensor, weight: Tensor | None) -> Tensor:
        """Set the gradient of the objective over a batch (K, b, ...) and return the objective (K,)."""
        total = y.new_full((len(X), 1), y.shape[1], dtype=X.dtype) if weight is None else weight.sum(1, keepdim=True)
        self.parameters.grad.zero_()
        return self.add_data_term(X, y, weight, total) + self.add_penalty(total)

    def add_data_term(self, X: Tensor, y: Tensor, weight: Tensor | None, total: Tensor) -> Tensor:
        """Add the gradient of the loss over a batch divided by `total` (K, 1), and return that part of it (K,)."""
        values = []
        for k, module in enumerate(self.modules):
            if not module.training:
                module.train()
            with self._precision(X):
                raw = module(X[k])  # (b, n_outputs)
            scores = raw.detach().to(total.dtype)
            with torch.no_grad():
                share = 1 / total[k] if weight is None else weight[k] / total[k]  # (1,) or (b,)
                gradient = self._loss.gradient(scores, y[k]) * share.unsqueeze(-1)
                values.append((self._loss.value(scores, y[k]) * share).sum())
            raw.backward(gradient.to(raw.dtype))
        return torch.stack(values)

    def add_penalty(self, total: Tensor) -> Tensor:
        """Add the gradient of the penalty divided by `total` (K, 1), and return the penalty (K,)."""
        if self._alpha == 0:
            return total.new_zeros(len(total))
        weights = self.parameters.weights
        self.parameters.weights_grad.addcmul_(weights, self._alpha / total)
        return (0.5 * self._alpha) * torch.linalg.vecdot(weights, weights) / total.squeeze(1)

    @torch.no_grad()
    def raw_scores(self, X: Tensor) -> Tensor:
        """Return the raw scores (K, n, n_outputs) of rows X (n, ...)."""
        with self._precision(X):
            return torch.stack([module.eval()(X) for module in self.modules]).to(X.dtype)

    def to_module(self, k: int = 0) -> nn.Module:
        """Return model k as a module with its own storage, in eval mode."""
        return detached_copy(self.modules[k])

    def _precision(self, X: Tensor) -> AbstractContextManager[None]:
        return torch.autocast(X.device.type, torch.bfloat16) if self._autocast else nullcontext()


class RowCost(NamedTuple):
    """What a forward pass of one row takes: multiply-adds, and the most values that exist at a time."""

    multiply_adds: int
    values: int


@torch.no_grad()
def row_cost(module: nn.Module, X: Tensor) -> RowCost:
    """Return what one row X (1, ...) costs: a product for each weight, or one for each weight and place of a map."""
    products, values = sum(parameter.numel() for parameter in module.parameters()), X.numel()

    def count(convolution: Any, _: Any, maps: Tensor) -> None:
        nonlocal products, values
        products += convolution.weight.numel() * (maps[0, 0].numel() - 1)
        values = max(values, maps.numel())

    hooks = [part.register_forward_hook(count) for part in module.modules() if isinstance(part, _ConvNd)]
    try:
        if hooks:
            module.eval()(X)
    finally:
        for hook in hooks:
            hook.remove()
    return RowCost(products, values)


def detached_copy(module: nn.Module) -> nn.Module:
    """Copy a module for prediction: own storage for each parameter, no gradients kept, no generators, eval mode."""
    memo: dict[int, object] = {}
    for parameter in module.parameters():
        memo[id(parameter)] = nn.Parameter(parameter.detach().clone(), requires_grad=parameter.requires_grad)
    parts: list[Any] = [part for part in module.modules() if getattr(part, "generator", None) is not None]
    generators = {part: part.generator for part in parts}
    try:
        for part in generators:
            part.generator = None
        return copy.deepcopy(module, memo).eval()
    finally:
        for part, generator in generators.items():
            part.generator = generator
