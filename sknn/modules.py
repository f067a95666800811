"""Networks as plain `torch.nn.Module`s, usable and subclassable without scikit-learn."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn

from sknn._activations import ACTIVATIONS
from sknn._initializers import INITIALIZERS

__all__ = ["MLP", "Dropout"]


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
        for name, value, valid in (("activation", activation, ACTIVATIONS), ("weight_init", weight_init, INITIALIZERS)):
            if value not in valid:
                raise ValueError(f"{name} must be one of {sorted(valid)}, got {value!r}.")
        layers: list[nn.Module] = []
        for n_in, n_out in pairwise([n_features_in, *hidden_layer_sizes]):
            layers += [Linear(n_in, n_out, dtype=dtype)]
            layers += [nn.BatchNorm1d(n_out, dtype=dtype)] if batch_norm else []
            layers += [ACTIVATIONS[activation]()]
            layers += [Dropout(dropout)] if dropout else []
        n_last = hidden_layer_sizes[-1] if len(hidden_layer_sizes) else n_features_in
        self.layers = nn.Sequential(*layers, Linear(n_last, n_outputs, dtype=dtype))
        self._draw_weights(activation, weight_init, random_state)

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

    @torch.no_grad()
    def _draw_weights(
        self, activation: str, weight_init: str, random_state: int | np.random.RandomState | None
    ) -> None:
        if random_state is None:
            random_state = int(torch.randint(2**31 - 1, ()).item())
        rng = random_state if isinstance(random_state, np.random.RandomState) else np.random.RandomState(random_state)
        for layer in self.linear_layers():
            weight, bias = INITIALIZERS[weight_init](rng, layer.in_features, layer.out_features, activation)
            layer.weight.copy_(torch.from_numpy(weight.T))
            layer.bias.copy_(torch.from_numpy(bias))


class Linear(nn.Linear):
    """`nn.Linear` that leaves its weights to its owner, so that building it moves no global random state."""

    def reset_parameters(self) -> None:
        """Leave the weights undrawn."""


class Dropout(nn.Module):
    """Dropout with a random generator of its own.

    Parameters
    ----------
    p : float, default=0.5
        Probability that an element is zeroed in training; the others are scaled by 1 / (1 - p).

    Attributes
    ----------
    generator : torch.Generator or None
        Source of the masks; None stands for torch's global generator.

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
        mask = torch.empty_like(X).bernoulli_(1 - self.p, generator=self.generator)
        return X * mask.div_(1 - self.p)

    def extra_repr(self) -> str:
        """Return the probability for the module's repr.

        Returns
        -------
        str
            The text between the brackets of the repr.
        """
        return f"p={self.p}"
