"""What the LeNet estimators share: images of any layout, their network, its feature maps and filters."""

import math
from collections import OrderedDict
from collections.abc import Callable
from numbers import Integral, Real
from typing import Any

import numpy as np
import torch
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted
from torch import nn

from sknn._activations import ACTIVATIONS
from sknn._ensemble import members_of
from sknn._fitting import ScoredRows
from sknn._images import Augment, ImageInput, Shape, full_shape, rows_of_images, shape_of_images, shape_of_rows
from sknn._initializers import INITIALIZERS
from sknn._input import to_host, validate_rows
from sknn.modules import FEATURE_LAYERS, POOLINGS, LeNet5

# What max_iter="auto" comes to: enough for 98 % of digits of 8 x 8 pixels and for 99 % of MNIST.
_UPDATES, _FEWEST_EPOCHS, _MOST_EPOCHS = 1000, 3, 50


class LeNetEstimatorMixin:
    """The network of an estimator that trains LeNet-5 on images."""

    _lenet_constraints: dict[str, list[Any]] = {
        "image_shape": ["array-like", None],
        "max_iter": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
        "normalize": ["boolean"],
        "activation": [StrOptions(set(ACTIVATIONS))],
        "pooling": [StrOptions(set(POOLINGS))],
        "dropout": [Interval(Real, 0, 1, closed="left")],
        "batch_norm": ["boolean"],
        "weight_init": [StrOptions(set(INITIALIZERS))],
        "random_shift": [Interval(Integral, 0, None, closed="left")],
        "random_rotation": [Interval(Real, 0, 180, closed="both")],
        "random_flip": ["boolean"],
        "random_crop": [Interval(Integral, 0, None, closed="left")],
        "n_ensemble": [Interval(Integral, 1, None, closed="left")],
    }

    image_shape: Any
    normalize: bool
    activation: str
    pooling: str
    dropout: float
    batch_norm: bool
    weight_init: str
    random_shift: int
    random_rotation: float
    random_flip: bool
    random_crop: int
    n_ensemble: int
    solver: str
    max_iter: Any
    image_shape_: Shape | None
    n_features_in_: int
    module_: Any
    _pass_forward: Callable[..., Any]

    @property
    def mean_(self) -> np.ndarray:
        """Mean of each channel, of shape (n_channels,), in the units of X; zeros with `normalize=False`."""
        return self._input("mean_").mean.cpu().numpy()

    @property
    def scale_(self) -> np.ndarray:
        """Standard deviation of each channel, of shape (n_channels,); ones where it is zero or not learned."""
        return self._input("scale_").scale.cpu().numpy()

    def feature_maps(self, X: Any, layer: str = "c3") -> np.ndarray:
        """Compute what one layer makes of images, of several networks the first.

        Parameters
        ----------
        X : array-like of the shapes that `fit` takes
            The images.
        layer : {"c1", "s2", "c3", "s4"}, default="c3"
            The layer: a convolution with its activation, or the pooling after it.

        Returns
        -------
        ndarray of shape (n_samples, n_maps, map_height, map_width)
            The maps; 16 of 10 x 10 for "c3" of 32 x 32 pixels.

        Raises
        ------
        ValueError
            If there is no layer of that name.
        """
        check_is_fitted(self)
        first = self._first
        X = validate_rows(self, self._as_rows(X, reset=False))
        maps = self._pass_forward(lambda rows: first.network.feature_maps(first.images(rows), layer), X)
        return maps.contiguous().cpu().numpy()

    def filters(self, layer: str = "c1") -> np.ndarray:
        """Return the kernels of a convolution, of several networks the first.

        Parameters
        ----------
        layer : {"c1", "c3"}, default="c1"
            The convolution.

        Returns
        -------
        ndarray of shape (n_maps, n_channels, 5, 5)
            A copy of its weights.

        Raises
        ------
        ValueError
            If there is no convolution of that name.
        """
        check_is_fitted(self)
        convolutions = FEATURE_LAYERS[::2]
        if layer not in convolutions:
            raise ValueError(f"layer must be one of {list(convolutions)}, got {layer!r}.")
        return getattr(self._first.network, layer).weight.detach().cpu().numpy().copy()

    def _input(self, attribute: str) -> ImageInput:
        if "module_" not in vars(self):
            raise AttributeError(f"This {type(self).__name__} has no attribute {attribute!r} before it is fitted.")
        return self._first.images

    @property
    def _first(self) -> Any:
        """The network, of several the first."""
        return members_of(self.module_)[0]

    def _as_rows(self, X: Any, *, reset: bool) -> Any:
        """Return images of any layout as rows of pixels; with `reset`, their shape is learned."""
        X = to_host(X)
        X = np.asarray(X) if isinstance(X, list | tuple) else X
        expected = full_shape(self.image_shape) if reset else self.image_shape_
        shape, channels_last, n_dimensions = None, False, getattr(X, "ndim", 2)
        if n_dimensions in (3, 4):
            shape, channels_last = shape_of_images(X.shape, expected)
            X = rows_of_images(X, channels_last)
        elif n_dimensions > 4:
            raise ValueError(f"X must be rows of pixels or images, of two to four dimensions, got the shape {X.shape}.")
        if reset:
            self.image_shape_ = shape  # of rows it is known after their validation
        return X

    def _make_module(self, n_outputs: int, rng: np.random.RandomState) -> nn.Module:
        expected = full_shape(self.image_shape)
        if self.image_shape_ is None:
            self.image_shape_ = shape_of_rows(self.n_features_in_, expected)
        elif expected not in (None, self.image_shape_):
            raise ValueError(
                f"Training can only go on with images of the shape of the fit before, {self.image_shape_}, got"
                f" image_shape={self.image_shape!r}."
            )
        changes = (self.random_shift, self.random_rotation, self.random_flip, self.random_crop)
        images = ImageInput(self.n_features_in_, self.image_shape_, Augment(*changes) if any(changes) else None)
        smaller = min(images.output_shape[1:])
        if self.random_shift >= smaller or 2 * self.random_crop >= smaller:
            raise ValueError(
                f"random_shift must be less than a side and random_crop less than half of one, which has {smaller}"
                f" pixels with its frame, got random_shift={self.random_shift} and random_crop={self.random_crop}."
            )
        network = LeNet5(
            images.output_shape,
            n_outputs,
            self.activation,
            pooling=self.pooling,
            dropout=self.dropout,
            batch_norm=self.batch_norm,
            weight_init=self.weight_init,
            random_state=rng,
            dtype=torch.float64,  # as drawn, so that nothing is lost before the dtype of the fit is known
        )
        return nn.Sequential(OrderedDict(images=images, network=network))

    def _automatic_batch_size(self, n_rows: int) -> int:
        return min(64, n_rows)

    def _n_epochs(self, n_batches: int) -> int:
        if self.max_iter != "auto":
            return int(self.max_iter)
        n_batches = 1 if self.solver == "lbfgs" else n_batches  # an iteration is one update, over all rows
        return min(max(math.ceil(_UPDATES / n_batches), _FEWEST_EPOCHS), _MOST_EPOCHS)

    def _learn_inputs(self, module: nn.Module, training: ScoredRows) -> None:
        if self.normalize:
            networks: list[Any] = members_of(module)
            first, *others = (network.images for network in networks)
            first.learn_scale(training.batches)
            for other in others:
                other.load_state_dict(first.state_dict())

    def _check_combinations(self) -> None:
        random = {
            name: getattr(self, name)
            for name in ("dropout", "batch_norm", "random_shift", "random_rotation", "random_flip", "random_crop")
            if getattr(self, name)
        }
        if self.solver == "lbfgs" and random:
            raise ValueError(
                "solver='lbfgs' needs a loss that is the same at every evaluation: it goes without dropout, batch_norm"
                f" and random changes of the images, got {random}."
            )

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()  # type: ignore[misc]
        tags.input_tags.three_d_array = True
        return tags
