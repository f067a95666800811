"""The step of plain multi-layer perceptrons: forward and backward by hand, into memory that is there."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeGuard

import torch
from torch import Tensor, nn

from sknn._activations import ACTIVATIONS, Activation
from sknn._autograd import AutogradStep, Shares
from sknn._losses import Loss
from sknn.modules import MLP, Linear

# The print of a module tells its parameters too, such as the slope of a LeakyReLU.
_BY_PRINT = {repr(activation.module()): activation for activation in ACTIVATIONS.values()}


@dataclass(frozen=True)
class _Layer:
    """A layer's parameters and their gradients, as views of those of all K models."""

    weight: Tensor  # (K, n_out, n_in)
    transposed: Tensor  # (K, n_in, n_out), the same memory
    bias: Tensor  # (K, n_out, 1)
    weight_grad: Tensor
    bias_grad: Tensor


@dataclass(frozen=True)
class _Memory:
    """What a batch of b rows is computed in; of hidden layers, one tensor (K, n, b) each."""

    before: list[Tensor]
    after: list[Tensor]
    grad: list[Tensor]
    scores: Tensor  # (K, c, b)


class FusedMLPStep(AutogradStep):
    """The step of K multi-layer perceptrons without dropout and batch normalisation.

    In the layers rows are columns, (K, n, b): so all products are fast, with few inputs and with few outputs.
    """

    def __init__(self, modules: Sequence[MLP], loss: Loss, *, alpha: float | Sequence[float] = 0.0) -> None:
        super().__init__(modules, loss, alpha=alpha)
        self._activation = activation_of(modules[0])
        data, grad = (self.parameters.views(of) for of in (self.parameters.data, self.parameters.grad))
        self._layers = [
            _Layer(weight, weight.mT, bias.unsqueeze(2), weight_grad, bias_grad.unsqueeze(2))
            for weight, bias, weight_grad, bias_grad in zip(data[::2], data[1::2], grad[::2], grad[1::2], strict=True)
        ]
        self._memories: dict[int, _Memory] = {}

    def add_data_term(self, X: Tensor, y: Tensor, shares: Shares, *, first: bool = False) -> Tensor:
        """Add the gradient of the loss over a batch and return that part of the loss (K,)."""
        memory = self._memory(X.shape[1])
        raw = self._forward(X.mT, memory).mT  # (K, b, c)
        grad = self._loss.gradient(raw, y).mT * shares.rows
        self._backward(X.mT, grad, memory, first=first)
        return (self._loss.value(raw, y) * shares.rows.squeeze(1)).sum(1)

    def _forward(self, X: Tensor, memory: _Memory) -> Tensor:
        for layer, before, after in zip(self._layers[:-1], memory.before, memory.after, strict=True):
            torch.baddbmm(layer.bias, layer.weight, X, out=before)
            self._activation.forward_(before, after)
            X = after
        return torch.baddbmm(self._layers[-1].bias, self._layers[-1].weight, X, out=memory.scores)

    def _backward(self, X: Tensor, grad: Tensor, memory: _Memory, *, first: bool) -> None:
        inputs = [X, *memory.after]
        kept = memory.after if self._activation.from_output else memory.before
        for i in reversed(range(len(self._layers))):
            layer = self._layers[i]
            if first:
                torch.bmm(grad, inputs[i].mT, out=layer.weight_grad)
                torch.sum(grad, 2, keepdim=True, out=layer.bias_grad)
            else:
                layer.weight_grad.baddbmm_(grad, inputs[i].mT)
                layer.bias_grad.add_(grad.sum(2, keepdim=True))
            if i:
                grad = torch.bmm(layer.transposed, grad, out=memory.grad[i - 1])
                self._activation.backward_(grad, kept[i - 1])

    def _memory(self, n_rows: int) -> _Memory:
        """Return the memory for batches of that many rows: a fit has two kinds at most, full ones and the last."""
        if n_rows not in self._memories:
            new, sizes = self.parameters.data.new_empty, [layer.weight.shape[1] for layer in self._layers]

            def tensors() -> list[Tensor]:
                # A row is left out so that loops end at every model: their last numbers are rounded unlike others.
                return [new(len(self.modules), n + 1, n_rows)[:, :-1] for n in sizes[:-1]]

            before = tensors()
            after = before if self._activation.from_output else tensors()
            scores = new(len(self.modules), sizes[-1], n_rows)
            self._memories[n_rows] = _Memory(before, after, tensors(), scores)
        return self._memories[n_rows]


def is_plain(module: nn.Module) -> TypeGuard[MLP]:
    """Return whether a module computes what the hand-written step does, and nothing else."""
    if type(module) is not MLP or type(module.layers) is not nn.Sequential:
        return False
    parts, parameters = list(module.layers), list(module.parameters())
    return (
        all(type(layer) is Linear and layer.bias is not None for layer in parts[::2])
        and len(parts) % 2 == 1
        and len({repr(part) for part in parts[1::2]}) <= 1
        and (len(parts) == 1 or repr(parts[1]) in _BY_PRINT)
        and len(parameters) == len(parts) + 1
        and all(parameter.requires_grad for parameter in parameters)
        and not any(vars(part)[name] for part in module.modules() for name in _HOOKS)
    )


_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


def activation_of(module: MLP) -> Activation:
    """Return the function of a plain network's hidden layers."""
    return _BY_PRINT[repr(module.layers[1])] if len(module.layers) > 1 else ACTIVATIONS["identity"]
