"""FilterDisplay: the weights with which a network looks at images."""

import math
from collections.abc import Sequence
from numbers import Integral
from typing import Any, Self

import numpy as np
from sklearn.utils._param_validation import Interval, validate_params

from sknn._displays import axes_or_new, fitted_network, import_pyplot, refuse
from sknn._pictures import PITCH, draw_picture, frame, shape_of_pixels


class FilterDisplay:
    """The weights with which a network looks at images.

    Red is positive, blue negative. Filters of three channels are drawn in colours instead, in which gray is zero; of
    other numbers of channels, each has a row.

    Parameters
    ----------
    filters : ndarray of shape (n_filters, n_channels, height, width)
        The weights.

    Attributes
    ----------
    ax_ : matplotlib Axes
        The axes.
    figure_ : matplotlib Figure
        Its figure.
    images_ : list of matplotlib AxesImage
        The pictures, filter by filter.

    See Also
    --------
    FeatureMapDisplay : What a LeNet finds with its filters.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sknn import MLPTorchClassifier
    >>> from sknn.inspection import FilterDisplay
    >>> X, y = load_digits(return_X_y=True)
    >>> network = MLPTorchClassifier((16,), learning_rate="onecycle", max_iter=5, random_state=0).fit(X, y)
    >>> FilterDisplay.from_estimator(network).filters.shape
    (16, 1, 8, 8)
    """

    def __init__(self, filters: np.ndarray) -> None:
        self.filters = filters

    def plot(self, ax: Any = None) -> Self:
        """Draw the filters.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; None makes a new figure.

        Returns
        -------
        self : FilterDisplay
            The display.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        """
        n_filters, n_channels, *size = self.filters.shape
        largest = float(np.abs(self.filters).max()) or 1.0
        if n_channels in (1, 3):
            colours = np.moveaxis(0.5 + self.filters / (2 * largest), 1, -1)
            pictures = colours if n_channels == 3 else self.filters[:, 0]
            n_columns = math.ceil(math.sqrt(n_filters))
            places = [divmod(i, n_columns) for i in range(n_filters)]
        else:
            pictures = self.filters.reshape(-1, *size)
            places = [(row, column) for column in range(n_filters) for row in range(n_channels)]
        n_rows, n_columns = np.max(places, axis=0) + 1
        inches = min(max(7 / max(n_rows, n_columns), 0.5), 1)
        self.ax_ = axes_or_new(self, ax, inches * PITCH * n_columns + 1.2, inches * PITCH * n_rows + 0.6)
        self.figure_ = self.ax_.figure
        self.images_ = [
            draw_picture(self.ax_, picture, PITCH * column, PITCH * row, cmap="RdBu_r", vmin=-largest, vmax=largest)
            for picture, (row, column) in zip(pictures, places, strict=True)
        ]
        numbered = n_channels not in (1, 3)
        frame(
            self.ax_,
            {PITCH * i: str(i + 1) if numbered else "" for i in range(n_columns)},
            {PITCH * i: str(i + 1) if numbered else "" for i in range(n_rows)},
        )
        if numbered:
            self.ax_.set(xlabel="filter", ylabel="channel")
            self.ax_.xaxis.set_label_position("top")
        if n_channels != 3:
            self.ax_.set_facecolor("lightgray")  # as zero is white
            self.figure_.colorbar(self.images_[0], ax=self.ax_, label="weight", shrink=0.8, aspect=30)
        return self

    @classmethod
    @validate_params({"max_filters": [Interval(Integral, 1, None, closed="left")]}, prefer_skip_nested_validation=False)
    def from_estimator(
        cls,
        estimator: Any,
        *,
        layer: str | None = None,
        image_shape: Sequence[int] | None = None,
        max_filters: int = 100,
        ax: Any = None,
    ) -> Self:
        """Draw the first filters of an estimator.

        Parameters
        ----------
        estimator : estimator
            A fitted LeNet or MLP, or a pipeline or search with one inside. Of an MLP the filters are the weights of
            the first layer's neurons.
        layer : {"c1", "c3"} or None, default=None
            The convolution of a LeNet; None is "c1", and the first layer of an MLP.
        image_shape : tuple of int, default=None
            (height, width), or (channels, height, width), of the images in the rows that an MLP was fitted to; None
            are square ones. A LeNet knows it.
        max_filters : int, default=100
            How many of the filters to draw at most.
        ax : matplotlib Axes, default=None
            Where to draw; None makes a new figure.

        Returns
        -------
        display : FilterDisplay
            The display, drawn.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        ValueError
            If the estimator is no LeNet or MLP, has no such layer, or was not fitted to images of that shape.
        """
        import_pyplot(cls.__name__)
        network, _ = fitted_network(estimator)
        if hasattr(network, "filters"):
            filters = network.filters(layer or "c1")
        elif hasattr(network, "coefs_"):
            if layer is not None:
                raise ValueError(f"layer must be None for the first layer of {type(network).__name__}, got {layer!r}.")
            weights = network.coefs_[0].T.copy()  # those of sknn are the network's own memory
            filters = weights.reshape(len(weights), *shape_of_pixels(weights.shape[1], image_shape))
        else:
            networks = "a LeNetClassifier, LeNetRegressor, MLPTorchClassifier or MLPTorchRegressor"
            raise refuse(cls.__name__, networks, network)
        return cls(filters[:max_filters]).plot(ax=ax)
