"""The activation functions of hidden layers, by name: forward beside backward."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

_aten = torch.ops.aten


class Activation(NamedTuple):
    """A function as a module for autograd, and as two calls that write to memory that is there.

    `forward_(z, out)` writes f(z) to `out`. `backward_(grad, kept)` multiplies `grad` by f'(z) in place, where `kept`
    is z, or f(z) if `from_output`: then `out` may be z itself.
    """

    module: type[nn.Module]
    forward_: Callable[[Tensor, Tensor], object]
    backward_: Callable[[Tensor, Tensor], object]
    from_output: bool = True


def _same(z: Tensor, out: Tensor) -> None:
    if out is not z:
        out.copy_(z)


def _sigmoid_backward(grad: Tensor, out: Tensor) -> Tensor:
    return _aten.sigmoid_backward.grad_input(grad, out, grad_input=grad)


def _tanh_backward(grad: Tensor, out: Tensor) -> Tensor:
    return _aten.tanh_backward.grad_input(grad, out, grad_input=grad)


def _relu_backward(grad: Tensor, out: Tensor) -> Tensor:
    return _aten.threshold_backward.grad_input(grad, out, 0, grad_input=grad)


def _leaky_relu(slope: float) -> Activation:
    return Activation(
        nn.LeakyReLU,
        lambda z, out: _aten.leaky_relu.out(z, slope, out=out),
        lambda grad, out: _aten.leaky_relu_backward.grad_input(grad, out, slope, True, grad_input=grad),
    )


def _elu(module: type[nn.Module], alpha: float, scale: float) -> Activation:
    return Activation(
        module,
        lambda z, out: _aten.elu.out(z, alpha, scale, 1, out=out),
        lambda grad, out: _aten.elu_backward.grad_input(grad, alpha, scale, 1, True, out, grad_input=grad),
    )


def _by_model(function: Callable[..., object]) -> Callable[[Tensor, Tensor], None]:
    """Compute each model by itself: gelu rounds otherwise where the memory of all is not one piece."""

    def computed(*tensors: Tensor) -> None:
        for of_model in zip(*tensors, strict=True):
            function(*of_model)

    return computed


ACTIVATIONS: dict[str, Activation] = {
    "identity": Activation(nn.Identity, _same, lambda grad, out: grad),
    "logistic": Activation(nn.Sigmoid, lambda z, out: torch.sigmoid(z, out=out), _sigmoid_backward),
    "tanh": Activation(nn.Tanh, lambda z, out: torch.tanh(z, out=out), _tanh_backward),
    "relu": Activation(nn.ReLU, lambda z, out: torch.clamp_min(z, 0, out=out), _relu_backward),
    "leaky_relu": _leaky_relu(0.01),
    "elu": _elu(nn.ELU, 1.0, 1.0),
    "selu": _elu(nn.SELU, 1.6732632423543772, 1.0507009873554805),
    "softplus": Activation(
        nn.Softplus,
        lambda z, out: _aten.softplus.out(z, 1, 20, out=out),
        lambda grad, z: _aten.softplus_backward.grad_input(grad, z, 1, 20, grad_input=grad),
        from_output=False,
    ),
    "silu": Activation(
        nn.SiLU,
        lambda z, out: _aten.silu.out(z, out=out),
        lambda grad, z: _aten.silu_backward.grad_input(grad, z, grad_input=grad),
        from_output=False,
    ),
    "gelu": Activation(
        nn.GELU,
        _by_model(lambda z, out: _aten.gelu.out(z, out=out)),
        _by_model(lambda grad, z: _aten.gelu_backward.grad_input(grad, z, grad_input=grad)),
        from_output=False,
    ),
}

NEVER_DECREASING = ACTIVATIONS.keys() - {"silu", "gelu"}
