"""The step of plain multi-layer perceptrons: forward and backward by hand, into memory that is there."""

from collections.abc import Hashable, Iterable, Sequence
from typing import NamedTuple, TypeGuard

import torch
from torch import Tensor, nn

from sknn._activations import ACTIVATIONS, Activation
from sknn._autograd import AutogradStep, Shares
from sknn._dropout import dropout_factors
from sknn._losses import Loss
from sknn.modules import MLP, Dropout, Linear

# The print of a module tells its parameters too, such as the slope of a LeakyReLU.
_BY_PRINT = {repr(activation.module()): activation for activation in ACTIVATIONS.values()}


class _Layer(NamedTuple):
    """A layer's parameters and their gradients, as views of those of all K models."""

    weight: Tensor  # (K, n_out, n_in)
    transposed: Tensor  # (K, n_in, n_out), the same memory
    bias: Tensor  # (K, n_out, 1)
    weight_grad: Tensor
    bias_grad: Tensor


class _Memory(NamedTuple):
    """What a batch of b rows is computed in; of hidden layers, one tensor (K, n, b) each."""

    before: list[Tensor]
    after: list[Tensor]
    masks: list[Tensor]
    """Of dropout, if any of the models has it; else the `inputs` of the next layers are those in `after`."""
    inputs: list[Tensor]
    grad: list[Tensor]
    scores: Tensor  # (K, c, b)


class FusedMLPStep(AutogradStep):
    """The step of K multi-layer perceptrons without batch normalisation.

    In the layers rows are columns, (K, n, b): so all products are fast, with few inputs and with few outputs.
    """

    def __init__(
        self, modules: Sequence[MLP], loss: Loss | Sequence[Loss], *, alpha: float | Sequence[float] = 0.0
    ) -> None:
        super().__init__(modules, loss, alpha=alpha)
        self.activation, self.masks = activation_of(modules[0]), Masks(modules)
        data, grad = self.parameters.data_views, self.parameters.grad_views
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
        for i, layer in enumerate(self._layers[:-1]):
            torch.baddbmm(layer.bias, layer.weight, X, out=memory.before[i])
            self.activation.forward_(memory.before[i], memory.after[i])
            if memory.masks:
                self.masks.draw_(i, memory.masks[i])
                torch.mul(memory.after[i], memory.masks[i], out=memory.inputs[i])
            X = memory.inputs[i]
        return torch.baddbmm(self._layers[-1].bias, self._layers[-1].weight, X, out=memory.scores)

    def _backward(self, X: Tensor, grad: Tensor, memory: _Memory, *, first: bool) -> None:
        inputs = [X, *memory.inputs]
        kept = memory.after if self.activation.from_output else memory.before
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
                if memory.masks:
                    grad.mul_(memory.masks[i - 1])
                self.activation.backward_(grad, kept[i - 1])

    def _memory(self, n_rows: int) -> _Memory:
        """Return the memory for batches of that many rows: a fit has two kinds at most, full ones and the last."""
        if n_rows not in self._memories:
            new, sizes = self.parameters.data.new_empty, [layer.weight.shape[1] for layer in self._layers]

            def tensors() -> list[Tensor]:
                # A row is left out so that loops end at every model: their last numbers are rounded unlike others.
                return [new(len(self.modules), n + 1, n_rows)[:, :-1] for n in sizes[:-1]]

            before = tensors()
            after = before if self.activation.from_output else tensors()
            masks = tensors() if self.masks else []
            inputs = tensors() if self.masks else after
            scores = new(len(self.modules), sizes[-1], n_rows)
            self._memories[n_rows] = _Memory(before, after, masks, inputs, tensors(), scores)
        return self._memories[n_rows]


class Masks:
    """What dropout multiplies the hidden layers of K networks with: true if any of them has dropout."""

    def __init__(self, modules: Iterable[MLP]) -> None:
        each = [[hidden.dropout for hidden in _hidden_layers(module)] for module in modules]
        self._layers = list(zip(*each, strict=True))

    def __bool__(self) -> bool:
        return any(dropout is not None for layer in self._layers for dropout in layer)

    def of_model(self, k: int) -> list[Dropout | None]:
        """Return the dropout of each hidden layer of a network, None where nothing is dropped."""
        return [of_layer[k] if of_layer[k] is not None and of_layer[k].p > 0 else None for of_layer in self._layers]

    def draw_(self, layer: int, out: Tensor) -> None:
        """Write new masks of a hidden layer to `out` (K, n, b); each network draws what its own `Dropout` would."""
        for dropout, mask in zip(self._layers[layer], out, strict=True):
            if dropout is None or dropout.p == 0:
                mask.fill_(1)
            else:
                mask.copy_(dropout_factors(dropout.p, mask.new_empty(mask.shape[::-1]), dropout.generator).mT)


def is_plain(module: nn.Module) -> TypeGuard[MLP]:
    """Return whether a module computes what the hand-written step does, and nothing else."""
    if type(module) is not MLP or type(module.layers) is not nn.Sequential:
        return False
    hidden, parameters = _hidden_layers(module), list(module.parameters())
    linear = [*(layer.linear for layer in hidden), module.layers[-1]]
    activations = {repr(layer.activation) for layer in hidden}
    parts = [part for layer in hidden for part in layer if part is not None]
    return (
        parts == list(module.layers)[:-1]
        and all(type(layer) is Linear and layer.bias is not None for layer in linear)
        and len(activations) <= 1
        and activations <= _BY_PRINT.keys()
        and len(parameters) == 2 * len(linear)
        and all(parameter.requires_grad for parameter in parameters)
        and not any(vars(part)[name] for part in module.modules() for name in _HOOKS)
    )


_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


class _Hidden(NamedTuple):
    """A hidden layer of a plain network."""

    linear: nn.Module
    activation: nn.Module
    dropout: Dropout | None


def _hidden_layers(module: MLP) -> list[_Hidden]:
    """Return the layers before the last one, as far as they are those of a plain network."""
    parts, hidden = list(module.layers)[:-1], list[_Hidden]()
    while len(parts) >= 2:
        linear, activation, *parts = parts
        dropout = parts[0] if parts and type(parts[0]) is Dropout else None
        hidden.append(_Hidden(linear, activation, dropout))
        parts = parts if dropout is None else parts[1:]
    return hidden


def activation_of(module: MLP) -> Activation:
    """Return the function of a plain network's hidden layers."""
    hidden = _hidden_layers(module)
    return _BY_PRINT[repr(hidden[0].activation)] if hidden else ACTIVATIONS["identity"]


def shape_of(module: nn.Module) -> Hashable:
    """Return what plain networks have to have in common for one step to compute them; None for other modules."""
    if not is_plain(module):
        return None
    activations = frozenset(repr(layer.activation) for layer in _hidden_layers(module))
    return tuple(layer.weight.shape for layer in module.linear_layers()), activations
