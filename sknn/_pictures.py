"""Images of every layout as pictures that matplotlib draws, many of them in one axes."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import scipy.sparse

from sknn._images import Shape, full_shape, rows_of_images, shape_of_images, square_shape
from sknn._input import to_host

PITCH = 1.1  # from one picture to the next, where a picture's longer side is 1


def pictures_of(X: Any, image_shape: Sequence[int] | None = None) -> np.ndarray:
    """Return images of any layout as (n, height, width), or as (n, height, width, channels) if there are colours."""
    X = to_host(X)
    X = X.toarray() if scipy.sparse.issparse(X) else np.asarray(X)
    if X.ndim == 2:
        shape = shape_of_pixels(X.shape[1], image_shape)
    elif X.ndim in (3, 4):
        shape, channels_last = shape_of_images(X.shape, full_shape(image_shape))
        X = rows_of_images(X, channels_last)
    else:
        raise ValueError(f"Images are arrays of 3 or 4 dimensions, or of 2 as rows of pixels; got {X.ndim}.")
    if shape[0] not in (1, 3, 4):
        raise ValueError(
            f"Images of {shape[0]} channels cannot be drawn: gray ones have 1, colours 3, or 4 with alpha."
        )
    pictures = np.moveaxis(X.reshape(len(X), *shape), 1, -1)
    return pictures[..., 0] if shape[0] == 1 else pictures


def shape_of_pixels(n_pixels: int, image_shape: Sequence[int] | None) -> Shape:
    """Return channels, height and width of images in rows of pixels."""
    shape = square_shape(n_pixels) if image_shape is None else full_shape(image_shape)
    if shape is None:
        raise ValueError(
            f"{n_pixels} features are no square image: set image_shape to (height, width) or (channels, height, width)."
        )
    if math.prod(shape) != n_pixels:
        raise ValueError(f"{n_pixels} features are no image of shape {shape}, which has {math.prod(shape)} pixels.")
    return shape


def brightness(pictures: np.ndarray) -> np.ndarray:
    """Return pictures from 0 to 1: bytes and shares as they are, other numbers from their smallest to their largest."""
    if pictures.dtype == np.uint8:
        return pictures / 255
    low, high = pictures.min(), pictures.max()
    return pictures if low >= 0 and high <= 1 else (pictures - low) / ((high - low) or 1)


def draw_picture(ax: Any, picture: np.ndarray, left: float, top: float, **options: Any) -> Any:
    """Draw a picture in the middle of a square of size one, as large as fits."""
    height, width = np.divide(picture.shape[:2], max(picture.shape[:2]))
    left, top = left + (1 - width) / 2, top + (1 - height) / 2
    return ax.imshow(picture, extent=(left, left + width, top + height, top), **options)


def frame(ax: Any, columns: Mapping[float, str], rows: Mapping[float, str]) -> None:
    """Show all pictures, with labels above columns and to the left of rows; both are {left or top: label}."""
    ax.set(xlim=(0, max(columns) + 1), ylim=(max(rows) + 1, 0), aspect="equal")
    ax.set_xticks(np.array([*columns]) + 0.5, columns.values())
    ax.set_yticks(np.array([*rows]) + 0.5, rows.values())
    ax.tick_params(length=0, labeltop=True, labelbottom=False)
    ax.spines[:].set_visible(False)
