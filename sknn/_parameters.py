"""All parameters of K equally shaped models in one contiguous buffer."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

# Numbers in the widest vector of a CPU. The fused update rules round a tensor's last numbers, those that fill no
# vector, unlike the others: with rows of whole vectors no model's result depends on its neighbours.
_VECTOR = 16


@dataclass(frozen=True)
class Snapshot:
    """Copies of the parameters (K, P) and of each model's buffers, such as running means."""

    data: Tensor
    buffers: list[list[Tensor]]


class FlatParameters:
    """The parameters of K modules and their gradients as two tensors of shape (K, P).

    The modules' own parameters become views of them, in their order. Those of two or more dimensions are what the
    penalty applies to: `decayed` (P,) is 1 in their columns, and 0 in the others. The longer side of a matrix is the
    one whose numbers lie side by side: products with few columns are several times slower. With `inputs_first` it is
    that of the outputs, so that the biases of a layer are one more row of its weights. Rows end in zeros up to whole
    vectors of the CPU, which no module sees.
    """

    def __init__(self, modules: Sequence[nn.Module], *, inputs_first: bool = False) -> None:
        self._modules, self._inputs_first = modules, inputs_first
        trained = [[p for p in module.parameters() if p.requires_grad] for module in modules]
        first = trained[0]
        n_vectors = math.ceil(sum(p.numel() for p in first) / _VECTOR)
        shape = (len(modules), n_vectors * _VECTOR)
        device, dtype = (first[0].device, first[0].dtype) if first else (None, None)
        self.data = torch.zeros(shape, device=device, dtype=dtype)
        self.grad = torch.zeros_like(self.data)
        self._first = first
        self.decayed = torch.zeros_like(self.data[0])
        for parameter, columns in self._columns():
            self.decayed[columns] = float(parameter.ndim >= 2)
        for k, parameters in enumerate(trained):
            self._adopt(k, parameters)

    @torch.no_grad()
    def _adopt(self, k: int, parameters: list[nn.Parameter]) -> None:
        for parameter, (_, columns) in zip(parameters, self._columns(), strict=True):
            view = self._view(self.data[k : k + 1, columns], parameter.shape)[0]
            view.copy_(parameter)
            parameter.data = view
            parameter.grad = self._view(self.grad[k : k + 1, columns], parameter.shape)[0]

    def views(self, flat: Tensor) -> list[Tensor]:
        """Return views (K, ...) of `data` or `grad`, one for each tensor in their order."""
        return [self._view(flat[:, columns], parameter.shape) for parameter, columns in self._columns()]

    def _columns(self) -> Iterator[tuple[nn.Parameter, slice]]:
        start = 0
        for parameter in self._first:
            yield parameter, slice(start, start + parameter.numel())
            start += parameter.numel()

    def _view(self, flat: Tensor, shape: torch.Size) -> Tensor:
        """Return columns (K, numel) in a shape (K, ...)."""
        if len(shape) == 2 and (self._inputs_first or shape[0] >= shape[1]):
            return flat.view(len(flat), *shape[::-1]).mT
        return flat.view(len(flat), *shape)

    def names(self) -> list[str]:
        """Return the name of the tensor that each column belongs to, those of the zeros at the end left out."""
        of_tensor = {id(parameter): name for name, parameter in self._modules[0].named_parameters()}
        return [of_tensor[id(parameter)] for parameter in self._first for _ in range(parameter.numel())]

    def snapshot(self) -> Snapshot:
        """Copy the current state of all models."""
        return Snapshot(self.data.clone(), [[b.clone() for b in m.buffers()] for m in self._modules])

    def update_snapshot(self, snapshot: Snapshot, k: int) -> None:
        """Copy the current state of model k into a snapshot."""
        snapshot.data[k].copy_(self.data[k])
        for saved, buffer in zip(snapshot.buffers[k], self._modules[k].buffers(), strict=True):
            saved.copy_(buffer)

    def restore(self, snapshot: Snapshot, k: int) -> None:
        """Bring model k back to the state of a snapshot."""
        self.data[k].copy_(snapshot.data[k])
        for saved, buffer in zip(snapshot.buffers[k], self._modules[k].buffers(), strict=True):
            buffer.copy_(saved)

    def clip_gradient(self, max_norm: float) -> None:
        """Scale down each model's gradient to that Euclidean norm where it is longer."""
        norm = torch.linalg.vector_norm(self.grad, dim=1, keepdim=True)
        self.grad.mul_((max_norm / (norm + 1e-6)).clamp_max(1.0))

    def finite(self, k: int) -> bool:
        """Return whether every parameter of model k is finite."""
        return bool(self.data[k].isfinite().all())
