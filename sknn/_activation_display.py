"""ActivationDisplay: activation functions and their derivatives."""

import math
from collections.abc import Iterable, Mapping
from typing import Any, Self

import numpy as np
import torch

from sknn._activations import ACTIVATIONS
from sknn._devices import plain_modes
from sknn._displays import COLOURS, fitted_network, import_pyplot, refuse

_N_COLUMNS = 5


class ActivationDisplay:
    """Activation functions and their derivatives.

    Parameters
    ----------
    z : ndarray of shape (n_points,), float64
        What goes into the functions.
    values : dict of str to ndarray of shape (n_points,)
        What comes out, by the name of the function.
    derivatives : dict of str to ndarray of shape (n_points,)
        The derivative at each point, by the same names.

    Attributes
    ----------
    axes_ : ndarray of matplotlib Axes of shape (n_functions,)
        The axes of each function.
    ax_ : matplotlib Axes
        The first of them.
    figure_ : matplotlib Figure
        Their figure.

    Examples
    --------
    >>> from sknn.inspection import ActivationDisplay
    >>> display = ActivationDisplay.from_names(["relu", "tanh"])
    >>> float(display.derivatives["tanh"].max())  # at zero
    1.0
    """

    def __init__(self, z: np.ndarray, values: Mapping[str, np.ndarray], derivatives: Mapping[str, np.ndarray]) -> None:
        self.z = z
        self.values = values
        self.derivatives = derivatives

    def plot(self, ax: Any = None) -> Self:
        """Draw the functions, each in axes of its own.

        Parameters
        ----------
        ax : matplotlib Axes or array-like of matplotlib Axes, default=None
            Where to draw, for several functions as many axes; None makes a new figure.

        Returns
        -------
        self : ActivationDisplay
            The display.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        ValueError
            If there are not as many axes as functions.
        """
        self.axes_ = self._axes(ax)
        self.ax_, self.figure_ = self.axes_[0], self.axes_[0].figure
        for axes, name in zip(self.axes_, self.values, strict=True):
            axes.plot(self.z, self.values[name], color=COLOURS[0], label="value")
            axes.plot(self.z, self.derivatives[name], "--", color=COLOURS[1], label="derivative")
            axes.set(title=name, xlabel="z")
            axes.grid(alpha=0.3)
        self.ax_.legend(loc="upper left", fontsize="small", handlelength=1.5)
        return self

    @classmethod
    def from_names(cls, names: str | Iterable[str] | None = None, *, ax: Any = None) -> Self:
        """Draw activation functions from -8 to 8.

        Parameters
        ----------
        names : str or iterable of str, default=None
            Values of an estimator's `activation`; None stands for all that there are.
        ax : matplotlib Axes or array-like of matplotlib Axes, default=None
            Where to draw, for several functions as many axes; None makes a new figure.

        Returns
        -------
        display : ActivationDisplay
            The display, drawn.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        ValueError
            If there is no activation of that name, or there are not as many axes as functions.
        """
        import_pyplot(cls.__name__)
        names = [names] if isinstance(names, str) else list(ACTIVATIONS if names is None else names)
        if not names or not ACTIVATIONS.keys() >= set(names):
            raise ValueError(f"names must be of {sorted(ACTIVATIONS)}, got {names}.")
        z = np.linspace(-8, 8, 801)
        curves = {name: _with_derivative(name, z) for name in names}
        values, derivatives = ({name: pair[i] for name, pair in curves.items()} for i in range(2))
        return cls(z, values, derivatives).plot(ax=ax)

    @classmethod
    def from_estimator(cls, estimator: Any, *, ax: Any = None) -> Self:
        """Draw the activation function of an estimator's hidden layers.

        Parameters
        ----------
        estimator : estimator
            A fitted estimator with a parameter `activation`, or a pipeline or search with one inside.
        ax : matplotlib Axes, default=None
            Where to draw; None makes a new figure.

        Returns
        -------
        display : ActivationDisplay
            The display, drawn.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        ValueError
            If the estimator has no activation.
        """
        network, _ = fitted_network(estimator)
        if not hasattr(network, "activation"):
            raise refuse(cls.__name__, "an estimator with an activation, such as MLPTorchClassifier", network)
        return cls.from_names(network.activation, ax=ax)

    def _axes(self, ax: Any) -> np.ndarray:
        plt, n = import_pyplot(type(self).__name__), len(self.values)
        if ax is not None:
            axes = np.ravel(np.asarray(ax, dtype=object))
            if len(axes) != n:
                raise ValueError(f"{n} functions need {n} axes, got {len(axes)}.")
            return axes
        n_columns = min(n, _N_COLUMNS)
        n_rows = math.ceil(n / n_columns)
        size = (5, 3.5) if n == 1 else (2.2 * n_columns, 2.2 * n_rows)
        _, axes = plt.subplots(n_rows, n_columns, figsize=size, squeeze=False, layout="constrained")
        for unused in axes.flat[n:]:
            unused.remove()
        return axes.ravel()[:n]


def _with_derivative(name: str, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    with plain_modes():
        point = torch.from_numpy(z).requires_grad_()
        value = ACTIVATIONS[name].module()(point)
        (derivative,) = torch.autograd.grad(value.sum(), point)
    return value.detach().numpy(), derivative.numpy()
