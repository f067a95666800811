"""FeatureMapDisplay: what the layers of a LeNet make of images."""

from collections.abc import Mapping, Sequence
from numbers import Integral
from typing import Any, Self

import numpy as np
import scipy.sparse
from sklearn.utils._param_validation import Interval, validate_params

from sknn._displays import axes_or_new, fitted_network, import_pyplot, refuse
from sknn._pictures import PITCH, brightness, draw_picture, frame, pictures_of
from sknn.modules import FEATURE_LAYERS


class FeatureMapDisplay:
    """What the layers of a LeNet make of images.

    A row of pictures for each layer: the sum of its maps, then the maps. Bright is high, on a scale which the maps of
    a row share; that of their sum is another.

    Parameters
    ----------
    images : ndarray of shape (n_images, height, width) or (n_images, height, width, n_channels)
        The images.
    maps : dict of str to ndarray of shape (n_images, n_maps, map_height, map_width)
        The maps by the name of their layer.

    Attributes
    ----------
    ax_ : matplotlib Axes
        The axes.
    figure_ : matplotlib Figure
        Its figure.
    images_ : list of matplotlib AxesImage
        For each image it, then for each layer the sum and the maps.

    See Also
    --------
    FilterDisplay : The weights that make the maps.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sknn import LeNetClassifier
    >>> from sknn.inspection import FeatureMapDisplay
    >>> X, y = load_digits(return_X_y=True)
    >>> network = LeNetClassifier(max_iter=3, dtype="float32", random_state=0).fit(X, y)
    >>> display = FeatureMapDisplay.from_estimator(network, X[:2], layers=["c1", "s2"])
    >>> display.maps["s2"].shape
    (2, 6, 14, 14)
    """

    def __init__(self, images: np.ndarray, maps: Mapping[str, np.ndarray]) -> None:
        self.images = images
        self.maps = maps

    def plot(self, ax: Any = None) -> Self:
        """Draw images and maps.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; None makes a new figure.

        Returns
        -------
        self : FeatureMapDisplay
            The display.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        """
        n_maps = max(maps.shape[1] for maps in self.maps.values())
        # Gaps of 0.3 part image, sum and maps, and the rows of one image from those of the next.
        columns = {0.0: "image", 1.3: "sum", **{2.6 + PITCH * i: str(i + 1) for i in range(n_maps)}}
        block = PITCH * len(self.maps) + 0.2
        width, height = max(columns) + 1, block * len(self.images) - 0.3
        inches = min(max(11 / width, 0.6), 1)
        self.ax_ = axes_or_new(self, ax, inches * width + 0.6, inches * height + 0.5)
        self.figure_ = self.ax_.figure
        self.images_: list[Any] = []
        rows = {}
        for i, image in enumerate(brightness(self.images)):
            self._draw(image, 0, block * i, "gray", 0, 1)
            for j, (layer, of_images) in enumerate(self.maps.items()):
                top, maps = block * i + PITCH * j, of_images[i]
                rows[top] = layer
                self._draw(maps.sum(axis=0), 1.3, top, "viridis", None, None)
                for left, one in zip(list(columns)[2:], maps, strict=False):  # layers differ in their number
                    self._draw(one, left, top, "viridis", maps.min(), maps.max())
        frame(self.ax_, columns, rows)
        return self

    @classmethod
    @validate_params({"n_images": [Interval(Integral, 1, None, closed="left")]}, prefer_skip_nested_validation=False)
    def from_estimator(
        cls, estimator: Any, X: Any, *, layers: str | Sequence[str] = FEATURE_LAYERS, n_images: int = 5, ax: Any = None
    ) -> Self:
        """Compute and draw the maps of the first images.

        Parameters
        ----------
        estimator : estimator
            A fitted LeNetClassifier or LeNetRegressor, or a pipeline or search with one inside.
        X : array-like of the shapes that `fit` takes
            The images; of a pipeline, its earlier steps transform them first.
        layers : str or sequence of str, default=('c1', 's2', 'c3', 's4')
            The layers: convolutions with their activation, or the pooling after them.
        n_images : int, default=5
            How many of the images to draw at most.
        ax : matplotlib Axes, default=None
            Where to draw; None makes a new figure.

        Returns
        -------
        display : FeatureMapDisplay
            The display, drawn.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        ValueError
            If the estimator is no LeNet, or has no layer of that name.
        """
        import_pyplot(cls.__name__)
        X = X.tocsr() if scipy.sparse.issparse(X) else X
        network, X = fitted_network(estimator, X[:n_images])
        if not hasattr(network, "feature_maps"):
            raise refuse(cls.__name__, "a LeNetClassifier or LeNetRegressor", network)
        layers = [layers] if isinstance(layers, str) else layers
        if not layers:
            raise ValueError(f"layers must be of {list(FEATURE_LAYERS)}, got none.")
        maps = {layer: network.feature_maps(X, layer) for layer in layers}
        return cls(pictures_of(X, network.image_shape_), maps).plot(ax=ax)

    def _draw(self, picture: np.ndarray, left: float, top: float, cmap: str, low: Any, high: Any) -> None:
        self.images_.append(draw_picture(self.ax_, picture, left, top, cmap=cmap, vmin=low, vmax=high))
