"""The step of any module, differentiated by autograd; what a row costs; copies of a trained module."""

import copy
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple, Self

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from sknn._losses import Loss, joint_loss
from sknn._parameters import FlatParameters
from sknn._samples import Batch, pass_size


class Shares(NamedTuple):
    """What the terms of the objective are multiplied by: tensors, or arrays where the step computes by numpy."""

    rows: Any
    """Of the loss of each row (K, 1, b)."""
    decay: Any
    """Of the parameters in the gradient (K, P): alpha divided by the sum of the rows' weights, for those that decay."""


class AutogradStep:
    """The step of any `nn.Module`, differentiated by autograd; the reference for faster ones.

    The objective is the weighted mean of the loss plus `alpha` / 2 times the squared norm of the weights, divided by
    the batch's weight sum as in scikit-learn.
    """

    _JOINED = False

    def __init__(
        self,
        modules: Sequence[nn.Module],
        loss: Loss | Sequence[Loss],
        *,
        alpha: float | Sequence[float] = 0.0,
        autocast: bool = False,
    ) -> None:
        self.parameters = FlatParameters(modules, joined=self._JOINED)
        self.modules, self._autocast = modules, autocast
        self.losses = [loss] * len(modules) if isinstance(loss, Loss) else list(loss)
        self._loss = joint_loss(self.losses)
        of_models = [alpha] * len(modules) if isinstance(alpha, float | int) else list(alpha)
        self.alpha, self._penalizes = self.parameters.data.new_tensor(of_models).unsqueeze(1), any(of_models)  # (K, 1)
        self._penalty = torch.empty_like(self.parameters.data)
        self._shares: dict[int, Shares] = {}  # of rows that weigh the same, by their number

    def __call__(self, X: Tensor, y: Tensor, weight: Tensor | None) -> Tensor:
        """Set the gradient of the objective over a batch (K, b, ...) and return the objective (K,)."""
        n_rows = y.shape[1]
        if weight is not None:
            shares = self.shares(weight, weight.sum(1, keepdim=True))
        elif n_rows in self._shares:
            shares = self._shares[n_rows]
        else:
            ones = self.parameters.data.new_ones(len(y), n_rows)
            shares = self._shares[n_rows] = self.shares(ones, ones.sum(1, keepdim=True))
        return self.add_penalty(self.add_data_term(X, y, shares, first=True), shares)

    def keep(self, models: Sequence[int]) -> Self:
        """Return the step of some of the models, whose parameters move to memory of its own."""
        options = {"autocast": True} if self._autocast else {}
        alpha = self.alpha[list(models), 0].tolist()
        losses = [self.losses[k] for k in models]
        return type(self)([self.modules[k] for k in models], losses, alpha=alpha, **options)

    def prepared(self, X: Tensor, y: Tensor, weight: Tensor | None) -> Batch:
        """Return rows of one or more batches as the step reads them."""
        return X, y, weight

    def shares(self, weight: Tensor, total: Tensor) -> Shares:
        """Return the shares of rows of that weight (K, b), and of the penalty where all rows weigh `total` (K, 1)."""
        return Shares((weight / total).unsqueeze(1), self.alpha / total * self.parameters.decayed)

    def add_data_term(self, X: Tensor, y: Tensor, shares: Shares, *, first: bool = False) -> Tensor:
        """Add the gradient of the loss over a batch and return that part of the loss (K,).

        The first term of a gradient replaces the one that is there.
        """
        if first:
            self.parameters.grad.zero_()
        values = []
        for k, (module, loss) in enumerate(zip(self.modules, self.losses, strict=True)):
            if not module.training:
                module.train()
            # A copy, as a module may write to it; and products round by how their operands lie in memory, which must
            # not depend on a batch's neighbours.
            rows = X[k].clone()
            with torch.enable_grad(), self._precision(X):
                raw = module(rows)  # (b, n_outputs)
            _check_scores(raw, rows)
            share = shares.rows[k, 0]
            scores = raw.detach().to(share.dtype)
            with torch.no_grad():
                values.append((loss.value(scores, y[k]) * share).sum())
                gradient = loss.gradient(scores, y[k]) * share.unsqueeze(-1)
            raw.backward(gradient.to(raw.dtype))
        return torch.stack(values)

    def add_penalty(self, loss: Tensor, shares: Shares) -> Tensor:
        """Add the gradient of the penalty, and return the loss (K,) with the penalty."""
        if not self._penalizes:
            return loss
        penalty = torch.mul(self.parameters.data, shares.decay, out=self._penalty)
        self.parameters.grad.add_(penalty)
        return loss.add(torch.linalg.vecdot(self.parameters.data, penalty), alpha=0.5)

    def _precision(self, X: Tensor) -> AbstractContextManager[None]:
        return _precision(X, self._autocast)


def _check_scores(raw: Any, X: Tensor) -> None:
    """Raise ValueError where a module returned no rows of scores, as some do in training only."""
    if not isinstance(raw, Tensor) or raw.ndim != 2 or len(raw) != len(X):
        got = f"shape {tuple(raw.shape)}" if isinstance(raw, Tensor) else type(raw).__name__
        raise ValueError(
            f"The module must return raw scores of shape (n, n_outputs) for n rows, got {got} for X of shape"
            f" {tuple(X.shape)} in training."
        )


def _precision(X: Tensor, autocast: bool) -> AbstractContextManager[None]:
    return torch.autocast(X.device.type, torch.bfloat16) if autocast else nullcontext()


@torch.no_grad()
def raw_scores(module: nn.Module, X: Tensor, *, autocast: bool = False) -> Tensor:
    """Return the raw scores (n, n_outputs) of rows X (n, ...)."""
    with _precision(X, autocast):
        return module.eval()(X).to(X.dtype)


class RowCost(NamedTuple):
    """What a forward pass of one row takes: multiply-adds, and the most values that exist at a time."""

    multiply_adds: int
    values: int

    def of_pass(self, n_rows: int) -> int:
        """Return the multiply-adds of a batch in a pass over that many rows."""
        return pass_size(n_rows, self.values) * self.multiply_adds


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
            module.eval()(X.clone())  # a module may write to it
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


def released(module: nn.Module) -> nn.Module:
    """Make a module that is trained no more such a module for prediction itself, and return it."""
    for parameter in module.parameters():
        parameter.data, parameter.grad = parameter.detach().clone(), None
    for part in module.modules():
        if getattr(part, "generator", None) is not None:
            part.generator = None  # type: ignore[assignment]
    return module.eval()
