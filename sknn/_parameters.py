"""All parameters of K equally shaped models in one contiguous buffer."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from sknn._library import up_to_lanes


class Snapshot(NamedTuple):
    """Copies of the parameters (K, P) and of each model's buffers, such as running means."""

    data: Tensor
    buffers: list[list[Tensor]]

    def keep(self, models: Sequence[int]) -> "Snapshot":
        """Return the copies of some models."""
        return Snapshot(self.data[list(models)], [self.buffers[k] for k in models])


class _Place(NamedTuple):
    """Where the numbers of a parameter are in each row."""

    start: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    def of(self, flat: Tensor) -> Tensor:
        """Return the view (K, ...) of rows (K, P), whose numbers lie one behind the other."""
        strides, start = (flat.stride(0), *self.strides), flat.storage_offset() + self.start
        return flat.as_strided((len(flat), *self.shape), strides, start)


def _places(parameters: Sequence[Tensor]) -> list[_Place]:
    """Return the places of parameters one behind the other."""
    places, start = list[_Place](), 0
    for shape in (parameter.shape for parameter in parameters):
        places.append(_Place(start, shape, tuple(math.prod(shape[i + 1 :]) for i in range(len(shape)))))
        start += math.prod(shape)
    return places


def _joined_places(parameters: Sequence[Tensor]) -> list[_Place]:
    """Return the places of weights and biases where each bias is behind its weights."""
    places, start = list[_Place](), 0
    for n_out, n_in in (weight.shape for weight in parameters[::2]):
        weights, biases = (n_out, n_in), (n_out,)
        places += [_Place(start, weights, (n_in + 1, 1)), _Place(start + n_in, biases, (n_in + 1,))]
        start += n_out * (n_in + 1)
    return places


class FlatParameters:
    """The parameters of K modules and their gradients as two tensors of shape (K, P).

    The modules' own parameters become views of them, in their order. With `joined`, for modules that have nothing but
    linear layers, each layer is one matrix (n_out, n_in + 1), whose last column is its bias. Rows end in zeros up to
    whole vectors of the CPU, which no module sees. `data_views` and `grad_views` are what `views` returns of them.
    `decayed` (P,) is 1 for parameters of two or more dimensions, which are what the penalty applies to, and 0 for the
    others.
    """

    def __init__(self, modules: Sequence[nn.Module], *, joined: bool = False) -> None:
        self._modules = modules
        trained = [[p for p in module.parameters() if p.requires_grad] for module in modules]
        self._first = trained[0]
        self._places = _joined_places(self._first) if joined else _places(self._first)
        # The fused update rules round a tensor's last numbers, those that fill no vector, unlike the others: with rows
        # of whole vectors no model's result depends on its neighbours.
        shape = (len(modules), up_to_lanes(sum(p.numel() for p in self._first)))
        device, dtype = (self._first[0].device, self._first[0].dtype) if self._first else (None, None)
        self.data = torch.zeros(shape, device=device, dtype=dtype)
        self.grad = torch.zeros_like(self.data)
        self.data_views, self.grad_views = self.views(self.data), self.views(self.grad)
        for k, parameters in enumerate(trained):
            self._adopt(k, parameters)
        self.decayed = torch.zeros_like(self.data[0])
        for parameter, view in zip(self._first, self.views(self.decayed[None]), strict=True):
            view.fill_(parameter.ndim >= 2)

    @torch.no_grad()
    def _adopt(self, k: int, parameters: list[nn.Parameter]) -> None:
        for parameter, data, grad in zip(parameters, self.data_views, self.grad_views, strict=True):
            data[k].copy_(parameter)
            parameter.data, parameter.grad = data[k], grad[k]

    def views(self, flat: Tensor) -> list[Tensor]:
        """Return views (K, ...) of `data` or `grad`, one for each parameter in their order."""
        return [place.of(flat) for place in self._places]

    def layers(self, flat: Tensor) -> list[Tensor]:
        """Return views (K, n_out, n_in + 1) of `data` or `grad`, one for each of joined layers."""
        of_weights = self._places[::2]
        layers = [_Place(start, (shape[0], strides[0]), strides) for start, shape, strides in of_weights]
        return [layer.of(flat) for layer in layers]

    def names(self) -> list[str]:
        """Return the name of the tensor that each column belongs to, those of the zeros at the end left out."""
        of_tensor = {id(parameter): name for name, parameter in self._modules[0].named_parameters()}
        places = torch.zeros(self.data.shape[1], dtype=torch.int64)
        for place, view in enumerate(self.views(places[None])):
            view.fill_(place)
        n_parameters = sum(parameter.numel() for parameter in self._first)
        return [of_tensor[id(self._first[place])] for place in places[:n_parameters].tolist()]

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
