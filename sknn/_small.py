"""The step of small plain multi-layer perceptrons on the CPU: by hand in numpy, whose calls take less time."""

import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from sknn._autograd import AutogradStep, Shares
from sknn._fused import Masks, activation_of
from sknn._losses import Loss, host_loss
from sknn._samples import Batch
from sknn.modules import MLP


class _Layer(NamedTuple):
    """A layer's parameters and their gradients, as views of those of all K models; the last column is the bias."""

    data: np.ndarray  # (K, n_out, n_in + 1)
    transposed: np.ndarray  # (K, n_in, n_out), without the bias
    grad: np.ndarray  # (K, n_out, n_in + 1)


class _Hidden(NamedTuple):
    """What a batch of b rows comes to in a hidden layer: each thing as a tensor, and the same memory as an array."""

    before: Tensor  # (K, n_out, b)
    after: Tensor
    mask: Tensor | None
    """Of dropout, if any of the models has it; else `dropped` is `after`."""
    dropped: Tensor
    grad: Tensor
    before_array: np.ndarray
    inputs: np.ndarray  # (K, n_out + 1, b), of the next layer: `dropped` with a row of ones
    grad_array: np.ndarray


class _Memory(NamedTuple):
    hidden: list[_Hidden]
    scores: Tensor  # (K, c, b)
    scores_array: np.ndarray


class SmallMLPStep(AutogradStep):
    """The step of K multi-layer perceptrons without batch normalisation, in memory of the CPU.

    At these sizes a call takes longer than what it computes, so there are as few as can be. The rows of a batch have
    a column of ones, which multiplies the biases. In the layers rows are columns: (K, n, b).
    """

    _JOINED = True

    def __init__(
        self, modules: Sequence[MLP], loss: Loss | Sequence[Loss], *, alpha: float | Sequence[float] = 0.0
    ) -> None:
        super().__init__(modules, loss, alpha=alpha)
        self.activation, self.masks = activation_of(modules[0]), Masks(modules)
        self._host_loss = host_loss(self._loss)
        self._data, self._grad = self.parameters.data.numpy(), self.parameters.grad.numpy()
        self._penalized = self._penalty.numpy()
        self._memories: dict[int, _Memory] = {}

    @functools.cached_property  # compiled epochs go without
    def _layers(self) -> list[_Layer]:
        layers = (self.parameters.layers(flat) for flat in (self.parameters.data, self.parameters.grad))
        return [
            _Layer(data, data[..., :-1].mT, grad)
            for data, grad in zip(*([layer.numpy() for layer in of] for of in layers), strict=True)
        ]

    def prepared(self, X: Tensor, y: Tensor, weight: Tensor | None) -> Batch:
        """Return rows of one or more batches as the step reads them: X with ones, y as the loss wants it, as arrays."""
        inputs = np.empty((*X.shape[:2], X.shape[2] + 1), self._data.dtype)
        inputs[..., :-1], inputs[..., -1] = X.numpy(), 1
        zeros = np.zeros((*X.shape[:2], self._layers[-1].data.shape[1]), self._data.dtype)
        return inputs, self._host_loss.targets(y.numpy(), zeros), weight

    def shares(self, weight: Tensor, total: Tensor) -> Shares:
        """Return the shares of rows of that weight (K, b), and of the penalty where all rows weigh `total` (K, 1)."""
        rows, decay = super().shares(weight, total)
        return Shares(rows.numpy(), decay.numpy())

    def add_data_term(self, X: Any, y: Any, shares: Shares, *, first: bool = False) -> Any:
        """Add the gradient of the loss over a batch and return that part of the loss (K,)."""
        memory = self._memory(X.shape[1])
        self._forward(X.mT, memory)
        loss, grad = self._host_loss.sums(memory.scores, y, shares.rows)
        self._backward(X.mT, grad, memory, first=first)
        return loss

    def add_penalty(self, loss: Any, shares: Shares) -> Any:
        """Add the gradient of the penalty, and return the loss (K,) with the penalty."""
        if not self._penalizes:
            return loss
        penalty = np.multiply(self._data, shares.decay, out=self._penalized)
        np.add(self._grad, penalty, out=self._grad)
        return loss + 0.5 * np.vecdot(self._data, penalty)

    def _forward(self, X: np.ndarray, memory: _Memory) -> None:
        for i, (layer, hidden) in enumerate(zip(self._layers[:-1], memory.hidden, strict=True)):
            np.matmul(layer.data, X, out=hidden.before_array)
            self.activation.forward_(hidden.before, hidden.after)
            if hidden.mask is not None:
                self.masks.draw_(i, hidden.mask)
                torch.mul(hidden.after, hidden.mask, out=hidden.dropped)
            X = hidden.inputs
        np.matmul(self._layers[-1].data, X, out=memory.scores_array)

    def _backward(self, X: np.ndarray, grad: np.ndarray, memory: _Memory, *, first: bool) -> None:
        for i in reversed(range(len(self._layers))):
            layer, inputs = self._layers[i], memory.hidden[i - 1].inputs if i else X
            if first:
                np.matmul(grad, inputs.mT, out=layer.grad)
            else:
                np.add(layer.grad, np.matmul(grad, inputs.mT), out=layer.grad)
            if i:
                hidden = memory.hidden[i - 1]
                # With one output the sum has one term, for which there is a faster way.
                product = np.matmul if grad.shape[1] > 1 else np.multiply
                grad = product(layer.transposed, grad, out=hidden.grad_array)
                if hidden.mask is not None:
                    hidden.grad.mul_(hidden.mask)
                self.activation.backward_(hidden.grad, hidden.after if self.activation.from_output else hidden.before)

    def _memory(self, n_rows: int) -> _Memory:
        """Return the memory for batches of that many rows: a fit has two kinds at most, full ones and the last."""
        if n_rows not in self._memories:
            new, sizes = self.parameters.data.new_ones, [layer.data.shape[1] for layer in self._layers]
            hidden = [self._hidden(new(len(self.modules), size + 1, n_rows)) for size in sizes[:-1]]
            scores = new(len(self.modules), sizes[-1], n_rows)
            self._memories[n_rows] = _Memory(hidden, scores, scores.numpy())
        return self._memories[n_rows]

    def _hidden(self, inputs: Tensor) -> _Hidden:
        # A row is left out of each so that loops end at every model: their last numbers are rounded unlike others.
        def new() -> Tensor:
            return torch.empty_like(inputs)[:, :-1]

        dropped, grad, mask = inputs[:, :-1], new(), new() if self.masks else None
        after = dropped if mask is None else new()
        before = after if self.activation.from_output else new()
        return _Hidden(before, after, mask, dropped, grad, before.numpy(), inputs.numpy(), grad.numpy())
