"""Networks as plain `torch.nn.Module`s, usable and subclassable without scikit-learn."""

from collections.abc import Callable, Collection, Sequence
from itertools import pairwise

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sknn._activations import ACTIVATIONS, NEVER_DECREASING
from sknn._dropout import dropout_factors
from sknn._ensemble import Ensemble
from sknn._initializers import INITIALIZERS

__all__ = ["MLP", "Dropout", "Ensemble", "LeNet5"]

_VECTOR = 8  # numbers of float32 in a vector of most CPUs


class MLP(nn.Module):
    """Multi-layer perceptron: dense layers with an activation between them.

    Each hidden layer is a linear map, batch normalisation if asked for, the activation and dropout if
    asked for; the output layer is linear, so that the network returns raw scores.

    Parameters
    ----------
    n_features_in : int
        Number of input features.
    n_outputs : int
        Number of raw scores per row.
    hidden_layer_sizes : sequence of int, default=(100,)
        Number of neurons of each hidden layer; an empty sequence makes a linear model.
    activation : str, default="relu"
        Activation of the hidden layers: "identity", "logistic", "tanh", "relu", "leaky_relu", "elu",
        "selu", "softplus", "silu" or "gelu".
    dropout : float, default=0.0
        Probability in [0, 1) that a hidden neuron is dropped in training.
    batch_norm : bool, default=False
        Whether hidden layers are batch-normalised before their activation.
    weight_init : str, default="glorot_uniform"
        How weights are drawn: "glorot_uniform" (biases too, as in scikit-learn), "glorot_normal",
        "he_uniform", "he_normal", "lecun_normal" or "normal", which is N(0, 0.01).
    random_state : int, RandomState or None, default=None
        Source of the initial weights; None draws a seed from torch's global generator.
    dtype : torch.dtype or None, default=None
        Floating dtype of the weights; None is torch's default dtype.

    Raises
    ------
    ValueError
        If `activation` or `weight_init` is not one of the names above.

    Examples
    --------
    >>> import torch
    >>> from sknn.modules import MLP
    >>> network = MLP(4, 3, hidden_layer_sizes=(16, 8), random_state=0)
    >>> network(torch.zeros(5, 4)).shape
    torch.Size([5, 3])
    """

    def __init__(
        self,
        n_features_in: int,
        n_outputs: int,
        hidden_layer_sizes: Sequence[int] = (100,),
        activation: str = "relu",
        *,
        dropout: float = 0.0,
        batch_norm: bool = False,
        weight_init: str = "glorot_uniform",
        random_state: int | np.random.RandomState | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        _check_names(activation=activation, weight_init=weight_init)
        layers: list[nn.Module] = []
        for n_in, n_out in pairwise([n_features_in, *hidden_layer_sizes]):
            layers += [Linear(n_in, n_out, dtype=dtype)]
            layers += [nn.BatchNorm1d(n_out, dtype=dtype)] if batch_norm else []
            layers += [ACTIVATIONS[activation].module()]
            layers += [Dropout(dropout)] if dropout else []
        n_last = hidden_layer_sizes[-1] if len(hidden_layer_sizes) else n_features_in
        self.layers = nn.Sequential(*layers, Linear(n_last, n_outputs, dtype=dtype))
        _draw_weights(self.linear_layers(), activation, weight_init, random_state)

    def forward(self, X: Tensor) -> Tensor:
        """Return the raw scores.

        Parameters
        ----------
        X : Tensor of shape (n_samples, n_features_in)
            The input rows, in the dtype of the weights.

        Returns
        -------
        Tensor of shape (n_samples, n_outputs)
            The raw scores, before softmax or any other link.
        """
        return self.layers(X)

    def linear_layers(self) -> list[nn.Linear]:
        """Return the linear layers, from input to output.

        Returns
        -------
        list of nn.Linear
            The layers whose transposed weights scikit-learn calls `coefs_`.
        """
        return [layer for layer in self.layers if isinstance(layer, nn.Linear)]


class LeNet5(nn.Module):
    """LeNet-5: two convolutions, each with a pooling after it, and three dense layers.

    The layers have the names of the paper: the convolution `c1` (6 maps, 5 x 5), pooling s2 (2 x 2), the
    convolution `c3` (16 maps, 5 x 5), pooling s4, then the dense layers `c5` (120), `f6` (84) and
    `output`. An activation follows each of them but the pooling and the output.

    Parameters
    ----------
    image_shape : tuple of int, default=(1, 32, 32)
        Channels, height and width of the images, in pixels; at least 16 x 16.
    n_outputs : int, default=10
        Number of raw scores per image.
    activation : str, default="relu"
        Activation: "identity", "logistic", "tanh", "relu", "leaky_relu", "elu", "selu", "softplus",
        "silu" or "gelu".
    pooling : {"max", "average"}, default="max"
        What stands for each 2 x 2 pixels of a map.
    dropout : float, default=0.0
        Probability in [0, 1) that an output of `c5` or `f6` is dropped in training.
    batch_norm : bool, default=False
        Whether each layer but the output is batch-normalised before its activation.
    weight_init : str, default="glorot_uniform"
        How weights are drawn: "glorot_uniform", "glorot_normal", "he_uniform", "he_normal",
        "lecun_normal" or "normal", which is N(0, 0.01).
    random_state : int, RandomState or None, default=None
        Source of the initial weights; None draws a seed from torch's global generator.
    dtype : torch.dtype or None, default=None
        Floating dtype of the weights; None is torch's default dtype.

    Raises
    ------
    ValueError
        If images are smaller than 16 x 16, or a name is not one of those above.

    References
    ----------
    LeCun, Bottou, Bengio and Haffner, "Gradient-based learning applied to document recognition",
    Proceedings of the IEEE, 1998.

    Examples
    --------
    >>> import torch
    >>> from sknn.modules import LeNet5
    >>> network = LeNet5(random_state=0)
    >>> network(torch.zeros(5, 1, 32, 32)).shape
    torch.Size([5, 10])
    >>> network.feature_maps(torch.zeros(5, 1, 32, 32), "c3").shape
    torch.Size([5, 16, 10, 10])
    """

    def __init__(
        self,
        image_shape: tuple[int, int, int] = (1, 32, 32),
        n_outputs: int = 10,
        activation: str = "relu",
        *,
        pooling: str = "max",
        dropout: float = 0.0,
        batch_norm: bool = False,
        weight_init: str = "glorot_uniform",
        random_state: int | np.random.RandomState | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        _check_names(activation=activation, weight_init=weight_init, pooling=pooling)
        channels, *size = image_shape
        if min(size) < 16:
            raise ValueError(f"LeNet5 needs images of at least 16 x 16 pixels, got image_shape={image_shape}.")
        height, width = (((side - 4) // 2 - 4) // 2 for side in size)  # of s4

        def norm(kind: type[nn.Module], n: int) -> nn.Module:
            return kind(n, dtype=dtype) if batch_norm else nn.Identity()

        self.c1 = Conv2d(channels, 6, 5, dtype=dtype)
        self.c1_norm = norm(nn.BatchNorm2d, 6)
        self.c3 = Conv2d(6, 16, 5, dtype=dtype)
        self.c3_norm = norm(nn.BatchNorm2d, 16)
        self.c5 = Linear(16 * height * width, 120, dtype=dtype)
        self.c5_norm = norm(nn.BatchNorm1d, 120)
        self.f6 = Linear(120, 84, dtype=dtype)
        self.f6_norm = norm(nn.BatchNorm1d, 84)
        self.output = Linear(84, n_outputs, dtype=dtype)
        self.activation = ACTIVATIONS[activation].module()
        self.pool = POOLINGS[pooling](2)
        self.dropout = Dropout(dropout)
        # The largest of four pixels stays the largest under a function that never decreases, so that pooling may come
        # first and leave a quarter of the work.
        self._pool_first = pooling == "max" and activation in NEVER_DECREASING
        _draw_weights([self.c1, self.c3, self.c5, self.f6, self.output], activation, weight_init, random_state)

    def forward(self, X: Tensor) -> Tensor:
        """Return the raw scores.

        Parameters
        ----------
        X : Tensor of shape (n_samples, channels, height, width)
            The images, in the dtype of the weights.

        Returns
        -------
        Tensor of shape (n_samples, n_outputs)
            The raw scores, before softmax or any other link.
        """
        for convolution, norm in zip(self._convolutions(X), (self.c1_norm, self.c3_norm), strict=True):
            X = convolution(X)
            if isinstance(norm, nn.BatchNorm2d) and X.device.type == "cpu":
                X = X.contiguous()  # few channels are normalised several times slower where they lie innermost
            X = norm(X)
            X = self.activation(self.pool(X)) if self._pool_first else self.pool(self.activation(X))
        X = X.flatten(1)
        for dense, norm in ((self.c5, self.c5_norm), (self.f6, self.f6_norm)):
            X = self.dropout(self.activation(norm(dense(X))))
        return self.output(X)

    def _convolutions(self, X: Tensor) -> tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]:
        """Return c1 and c3; training on a CPU, two maps of zeros may pass between them: eight fill its vectors."""
        plain = all(type(layer) is Conv2d and not layer._forward_hooks for layer in (self.c1, self.c3))
        filled = torch.is_grad_enabled() and X.device.type == "cpu" and isinstance(self.c1_norm, nn.Identity)
        if not (plain and filled):
            return self.c1, self.c3
        missing = -self.c1.out_channels % _VECTOR
        first = F.pad(self.c1.weight, (0, 0, 0, 0, 0, 0, 0, missing)), F.pad(self.c1.bias, (0, missing))
        second = F.pad(self.c3.weight, (0, 0, 0, 0, 0, missing)), self.c3.bias
        return (lambda X: F.conv2d(X, *first)), (lambda X: F.conv2d(X, *second))

    def feature_maps(self, X: Tensor, layer: str = "c3") -> Tensor:
        """Return what one layer makes of images.

        Parameters
        ----------
        X : Tensor of shape (n_samples, channels, height, width)
            The images.
        layer : {"c1", "s2", "c3", "s4"}, default="c3"
            The layer: a convolution with its activation, or the pooling after it.

        Returns
        -------
        Tensor of shape (n_samples, n_maps, map_height, map_width)
            The maps; 16 of 10 x 10 for "c3" of 32 x 32 pixels.

        Raises
        ------
        ValueError
            If there is no layer of that name.
        """
        if layer not in FEATURE_LAYERS:
            raise ValueError(f"layer must be one of {list(FEATURE_LAYERS)}, got {layer!r}.")
        stages: list[Callable[[Tensor], Tensor]] = [
            lambda X: self.activation(self.c1_norm(self.c1(X))),
            self.pool,
            lambda X: self.activation(self.c3_norm(self.c3(X))),
            self.pool,
        ]
        for stage in stages[: FEATURE_LAYERS.index(layer) + 1]:
            X = stage(X)
        return X


def _halves(pixels: Tensor, axis: int) -> tuple[Tensor, Tensor]:
    """Return the even and the odd rows or columns, without a last one that has no partner."""
    n = pixels.shape[axis] // 2
    pairs = pixels.narrow(axis, 0, 2 * n).unflatten(axis, (n, 2))
    even, odd = pairs.unbind(axis)
    return even, odd


class _MaxPool(nn.MaxPool2d):
    """`nn.MaxPool2d` of 2 x 2 pixels, faster to predict with on a CPU for maps too few to fill its vectors."""

    def forward(self, X: Tensor) -> Tensor:
        trained = torch.is_grad_enabled() and X.requires_grad
        if trained or X.device.type != "cpu" or X.shape[-3] >= 8:
            return super().forward(X)
        return torch.maximum(*_halves(torch.maximum(*_halves(X, -2)), -1))


FEATURE_LAYERS = ("c1", "s2", "c3", "s4")
POOLINGS: dict[str, type[nn.Module]] = {"max": _MaxPool, "average": nn.AvgPool2d}
_NAMES: dict[str, Collection[str]] = {"activation": ACTIVATIONS, "weight_init": INITIALIZERS, "pooling": POOLINGS}


def _check_names(**names: str) -> None:
    for parameter, name in names.items():
        if name not in _NAMES[parameter]:
            raise ValueError(f"{parameter} must be one of {sorted(_NAMES[parameter])}, got {name!r}.")


@torch.no_grad()
def _draw_weights(
    layers: "Sequence[nn.Linear | nn.Conv2d]",
    activation: str,
    weight_init: str,
    random_state: int | np.random.RandomState | None,
) -> None:
    if random_state is None:
        random_state = int(torch.randint(2**31 - 1, ()).item())
    rng = random_state if isinstance(random_state, np.random.RandomState) else np.random.RandomState(random_state)
    for layer in layers:
        n_out, n_in = layer.weight.flatten(1).shape
        n_places = n_in // layer.weight.shape[1]
        weight, bias = INITIALIZERS[weight_init](rng, n_in, n_out, activation, n_places)
        layer.weight.copy_(torch.from_numpy(weight.T).view_as(layer.weight))
        layer.bias.copy_(torch.from_numpy(bias))  # type: ignore[union-attr]


class Linear(nn.Linear):
    """`nn.Linear` that leaves its weights to its owner, so that building it moves no global random state."""

    def reset_parameters(self) -> None:
        """Leave the weights undrawn."""


class Conv2d(nn.Conv2d):
    """`nn.Conv2d` that leaves its weights to its owner too."""

    bias: nn.Parameter

    def reset_parameters(self) -> None:
        """Leave the weights undrawn."""


class Dropout(nn.Module):
    """Dropout with a random generator of its own.

    Parameters
    ----------
    p : float, default=0.5
        Probability in [0, 1) that an element is zeroed in training; the others are scaled by 1 / (1 - p). On the CPU it
        is rounded to a multiple of 1 / 65536.

    Attributes
    ----------
    generator : torch.Generator or None
        Source of the masks; None stands for torch's global generator.

    Raises
    ------
    ValueError
        If `p` is not in [0, 1).

    References
    ----------
    Srivastava et al., "Dropout: a simple way to prevent neural networks from overfitting", JMLR, 2014.

    Examples
    --------
    >>> import torch
    >>> from sknn.modules import Dropout
    >>> Dropout(0.5).eval()(torch.ones(3))
    tensor([1., 1., 1.])
    """

    def __init__(self, p: float = 0.5) -> None:
        super().__init__()
        if not 0 <= p < 1:
            raise ValueError(f"dropout needs a probability in [0, 1), got {p!r}.")
        self.p = p
        self.generator: torch.Generator | None = None

    def forward(self, X: Tensor) -> Tensor:
        """Zero random elements in training; return X as it is otherwise.

        Parameters
        ----------
        X : Tensor of any shape
            The activations.

        Returns
        -------
        Tensor of the shape of X
            The activations, masked and rescaled in training.
        """
        if not self.training or self.p == 0:
            return X
        return X * dropout_factors(self.p, X, self.generator)

    def extra_repr(self) -> str:
        """Return the probability for the module's repr.

        Returns
        -------
        str
            The text between the brackets of the repr.
        """
        return f"p={self.p}"
