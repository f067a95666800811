"""Images: their shape read from the user's array, and rows of pixels made into what a convolution takes."""

import math
import warnings
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

Shape = tuple[int, int, int]
"""Channels, height, width."""

_CHANNELS = (1, 3, 4)
# LeNet's images are this large; smaller ones get a frame of zeros.
_SMALLEST_SIDE = 32


def full_shape(image_shape: Sequence[int] | None) -> Shape | None:
    """Return (channels, height, width) of what the user set: None, (height, width) or all three."""
    if image_shape is None:
        return None
    shape = tuple(image_shape)
    if len(shape) not in (2, 3) or not all(isinstance(n, int | np.integer) and n > 0 for n in shape):
        raise ValueError(
            f"image_shape must be (height, width) or (channels, height, width), all integers > 0, got {image_shape!r}."
        )
    channels, height, width = (1, *shape)[-3:]
    return int(channels), int(height), int(width)


def shape_of_images(array_shape: Sequence[int], expected: Shape | None) -> tuple[Shape, bool]:
    """Return the shape of images in an array of three or four dimensions, and whether its channels come last."""
    images = tuple(array_shape[1:])
    if len(images) == 2:
        found: Shape = (1, *images)
        if expected in (None, found):
            return found, False
        raise ValueError(f"X of shape {tuple(array_shape)} has images of shape {images}, expected {expected}.")
    first: Shape = images  # type: ignore[assignment]
    last: Shape = (images[2], images[0], images[1])
    if expected is not None:
        if expected not in (first, last):
            raise ValueError(
                f"X of shape {tuple(array_shape)} has images of shape {images}, expected {expected} or channels last."
            )
        return expected, expected != first
    is_first, is_last = (shape[0] in _CHANNELS for shape in (first, last))
    if is_first == is_last:
        raise ValueError(
            f"X of shape {tuple(array_shape)} does not tell which axis holds the channels: set image_shape=(channels,"
            f" height, width), to {first} or to {last}."
        )
    return (last, True) if is_last else (first, False)


def shape_of_rows(n_features: int, expected: Shape | None) -> Shape:
    """Return the shape of images whose pixels are rows, channel by channel."""
    if expected is not None:
        if math.prod(expected) != n_features:
            raise ValueError(f"X has {n_features} features, but image_shape={expected} needs {math.prod(expected)}.")
        return expected
    square = square_shape(n_features)
    if square is not None:
        return square
    side = math.isqrt(n_features) + 1
    warnings.warn(
        f"X has {n_features} features, which are no square image: rows are padded with zeros to {side} x {side}"
        " pixels. Set image_shape=(height, width) or (channels, height, width) if they are images of another shape.",
        stacklevel=2,
    )
    return 1, side, side


def square_shape(n_features: int) -> Shape | None:
    """Return the shape of square images with so many pixels, gray or in three colours, if there are such."""
    for channels in (1, 3):
        side = math.isqrt(n_features // channels)
        if channels * side**2 == n_features:
            return channels, side, side
    return None


def rows_of_images(X: Any, channels_last: bool) -> Any:
    """Return images as rows of pixels, channel by channel."""
    if channels_last:
        X = np.moveaxis(X, -1, 1)
    return X.reshape(len(X), math.prod(X.shape[1:]))  # -1 stands for nothing where there are no images


class ImageInput(nn.Module):
    """Rows of pixels as normalised images, with a frame of zeros around small ones and augmented in training.

    Parameters
    ----------
    n_features : int
        Pixels in a row; fewer than the image has are followed by zeros.
    image_shape : tuple of int
        Channels, height and width of the images in the rows.
    augment : Augment or None, default=None
        Random changes of the images in training.
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, n_features: int, image_shape: Shape, augment: "Augment | None" = None) -> None:
        super().__init__()
        channels, *size = image_shape
        self.image_shape, self.n_features = image_shape, n_features
        missing = [max(_SMALLEST_SIDE - side, 0) for side in size]
        (top, left), (bottom, right) = ([n // 2 for n in missing], [n - n // 2 for n in missing])
        self.padding = (left, right, top, bottom)
        self.augment = augment
        self.register_buffer("mean", torch.zeros(channels, dtype=torch.float64))
        self.register_buffer("scale", torch.ones(channels, dtype=torch.float64))

    @property
    def output_shape(self) -> Shape:
        """Channels, height and width of what comes out."""
        channels, height, width = self.image_shape
        left, right, top, bottom = self.padding
        return channels, height + top + bottom, width + left + right

    def images(self, X: Tensor) -> Tensor:
        """Return rows (b, n_features) as they are, in the shape of images (b, C, H, W)."""
        missing = math.prod(self.image_shape) - self.n_features
        return (F.pad(X, (0, missing)) if missing else X).view(-1, *self.image_shape)

    @torch.no_grad()
    def learn_scale(self, batches: Callable[[], Iterable[tuple[Tensor, Tensor | None]]]) -> None:
        """Learn mean and scale of each channel from batches of rows (b, n_features) and their weights (b,)."""

        def mean(pixels: Callable[[Tensor], Tensor]) -> Tensor:
            total, n = torch.zeros_like(self.mean, dtype=torch.float64, device="cpu"), 0.0
            for X, weight in batches():
                sums = pixels(self.images(X)).mean((2, 3))  # (b, C)
                total += (sums.sum(0) if weight is None else weight @ sums).cpu()
                n += len(X) if weight is None else float(weight.sum())
            return (total / n).to(self.mean)

        # Differences from one pixel are exact zeros in a channel of one value, so that no rounding passes for contrast.
        first, _ = next(iter(batches()))
        origin = self.images(first[:1])[0, :, :1, :1]  # (C, 1, 1)
        self.mean.copy_(origin.flatten() + mean(lambda images: images - origin))
        deviation = mean(lambda images: (images - self.mean[:, None, None]).square_()).clamp_min_(0).sqrt_()
        self.scale.copy_(torch.where(deviation > 0, deviation, 1))

    @torch.no_grad()
    def forward(self, X: Tensor) -> Tensor:
        """Return rows (b, n_features) as images (b, C, H', W').

        Parameters
        ----------
        X : Tensor of shape (n_samples, n_features)
            The pixels, in the dtype of the weights.

        Returns
        -------
        Tensor of shape (n_samples, *output_shape)
            The images.
        """
        X = F.pad(self.images(X), self.padding)
        if self.training and self.augment is not None:
            X = self.augment(X)
        # Convolutions in float32 are fastest with the channels innermost, those in float64 with the pixels.
        layout = torch.contiguous_format if X.dtype == torch.float64 else torch.channels_last
        out = torch.empty(X.shape, dtype=X.dtype, device=X.device, memory_format=layout)
        # In the dtype of X, as arithmetic between two takes several times as long.
        mean, scale = (values.to(X.dtype)[:, None, None] for values in (self.mean, self.scale))
        return torch.sub(X, mean, out=out).div_(scale)

    def extra_repr(self) -> str:
        """Return the shapes for the module's repr.

        Returns
        -------
        str
            The text between the brackets of the repr.
        """
        return f"{self.n_features} features -> {self.output_shape}"


class Augment(nn.Module):
    """Random changes of images, drawn anew for each image of each batch, around which zeros are.

    One bilinear resampling does all of them.

    Parameters
    ----------
    shift : int, default=0
        Pixels by which an image is moved at most, up or down and left or right.
    rotation : float, default=0.0
        Degrees by which it is turned at most, either way.
    flip : bool, default=False
        Whether every second image, on average, is mirrored left to right.
    crop : int, default=0
        Pixels that are cut off at each side at most, before what is left is enlarged to the full size.

    Attributes
    ----------
    generator : torch.Generator or None
        Source of the changes; None stands for torch's global generator.
    """

    def __init__(self, shift: int = 0, rotation: float = 0.0, flip: bool = False, crop: int = 0) -> None:
        super().__init__()
        self.shift, self.rotation, self.flip, self.crop = shift, rotation, flip, crop
        self.generator: torch.Generator | None = None

    def forward(self, X: Tensor) -> Tensor:
        """Return changed copies.

        Parameters
        ----------
        X : Tensor of shape (n_samples, channels, height, width)
            The images.

        Returns
        -------
        Tensor of the shape of X
            The changed images.
        """
        grid = F.affine_grid(self._where_to_read(X), list(X.shape), align_corners=False)
        return F.grid_sample(X, grid, padding_mode="zeros", align_corners=False)

    def _where_to_read(self, X: Tensor) -> Tensor:
        """Return for each image the map (2, 3) from its new places to those in X, both from -1 to 1."""
        n, _, height, width = X.shape
        size = X.new_tensor([width, height])
        draws = torch.rand((8, n, 1), generator=self.generator, dtype=X.dtype, device=X.device)
        # What is read spans the image less the crops, and lies off the centre by half their difference.
        crop = torch.floor(draws[:4] * (self.crop + 1)).view(2, 2, n)  # left, right and top, bottom
        span = 1 - crop.sum(1).T / size  # (n, 2)
        shift = torch.floor(draws[4:6] * (2 * self.shift + 1)).view(2, n) - self.shift
        centre = (crop[:, 0] - crop[:, 1] - 2 * shift).T / size
        angle = (draws[6] * 2 - 1) * math.radians(self.rotation)  # (n, 1)
        mirror = torch.where(draws[7] < 0.5, -1, 1) if self.flip else 1
        # Angles are those of square pixels.
        cos, sin, ratio = angle.cos(), angle.sin(), height / width
        across, down = span.split(1, dim=1)
        rows = [
            torch.cat([cos * across * mirror, -sin * down * ratio, centre[:, :1]], 1),
            torch.cat([sin * across * mirror / ratio, cos * down, centre[:, 1:]], 1),
        ]
        return torch.stack(rows, 1)

    def extra_repr(self) -> str:
        """Return the sizes of the changes for the module's repr.

        Returns
        -------
        str
            The text between the brackets of the repr.
        """
        return f"shift={self.shift}, rotation={self.rotation}, flip={self.flip}, crop={self.crop}"
