"""PredictionDisplay: images, what a classifier takes them for, and what they are."""

import math
from collections.abc import Mapping, Sequence
from numbers import Integral
from typing import Any, Self

import numpy as np
from sklearn.base import is_classifier
from sklearn.utils import check_consistent_length
from sklearn.utils._param_validation import Interval, validate_params

from sknn._displays import COLOURS, axes_or_new, fitted_network, import_pyplot, refuse
from sknn._input import to_host
from sknn._pictures import brightness, draw_picture, pictures_of

_COUNT = Interval(Integral, 1, None, closed="left")
_INCHES, _POINTS = 1.1, 9  # the sizes of a picture and of letters


class PredictionDisplay:
    """Images, what a classifier takes them for, and what they are.

    Above each image is the predicted label. Where it is wrong, the true one follows and the image is framed.

    Parameters
    ----------
    images : ndarray of shape (n_images, height, width) or (n_images, height, width, n_channels)
        The images.
    y_true : ndarray of shape (n_images,)
        Their labels.
    y_pred : ndarray of shape (n_images,)
        The labels that are predicted.
    target_names : dict of label to str, default=None
        Names to write for labels.
    proba_true : ndarray of shape (n_images,), default=None
        Predicted probability of each true label, to write beside it.
    proba_pred : ndarray of shape (n_images,), default=None
        Predicted probability of each predicted label, to write beside it.
    rows : ndarray of shape (n_images,), default=None
        Which rows of X the images are.

    Attributes
    ----------
    ax_ : matplotlib Axes
        The axes.
    figure_ : matplotlib Figure
        Its figure.
    images_ : list of matplotlib AxesImage
        The images.
    texts_ : list of matplotlib Text
        What is above each of them.
    frames_ : list of matplotlib Rectangle
        Those around the wrong ones.

    See Also
    --------
    sklearn.metrics.ConfusionMatrixDisplay : How often which class is taken for which.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sknn import MLPTorchClassifier
    >>> from sknn.inspection import PredictionDisplay
    >>> X, y = load_digits(return_X_y=True)
    >>> network = MLPTorchClassifier(learning_rate="onecycle", max_iter=5, random_state=0).fit(X[::2], y[::2])
    >>> display = PredictionDisplay.from_estimator(network, X[1::2], y[1::2], most_wrong_first=True)
    >>> len(display.images_), len(display.frames_)
    (20, 20)
    """

    def __init__(
        self,
        images: np.ndarray,
        y_true: np.ndarray,
        y_pred: np.ndarray,
        *,
        target_names: Mapping[Any, str] | None = None,
        proba_true: np.ndarray | None = None,
        proba_pred: np.ndarray | None = None,
        rows: np.ndarray | None = None,
    ) -> None:
        self.images = images
        self.y_true = y_true
        self.y_pred = y_pred
        self.target_names = target_names
        self.proba_true = proba_true
        self.proba_pred = proba_pred
        self.rows = rows

    def plot(self, ax: Any = None, *, n_columns: int = 5) -> Self:
        """Draw the images, row after row.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; None makes a new figure.
        n_columns : int, default=5
            Images in a row at most.

        Returns
        -------
        self : PredictionDisplay
            The display.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        """
        texts = [self._text(i) for i in range(len(self.images))]
        n_columns = min(n_columns, len(texts))
        width, above = _room_for(texts)
        height = above + 1.05
        page = np.array([width * n_columns, height * math.ceil(len(texts) / n_columns)])
        self.ax_ = axes_or_new(self, ax, *(_INCHES * page))
        self.figure_ = self.ax_.figure
        self.images_: list[Any] = []
        self.texts_: list[Any] = []
        self.frames_: list[Any] = []
        points = _POINTS if ax is None else _POINTS * min(1, *(_inches(ax) / (_INCHES * page)))
        for i, image in enumerate(brightness(self.images)):
            left, top = width * (i % n_columns) + (width - 1) / 2, height * (i // n_columns) + above
            self._draw(image, left, top, texts[i], points, bool(self.y_true[i] != self.y_pred[i]))
        self.ax_.set(xlim=(0, page[0]), ylim=(page[1], 0), aspect="equal")
        self.ax_.set_axis_off()
        return self

    @classmethod
    @validate_params({"n_images": [_COUNT], "n_columns": [_COUNT]}, prefer_skip_nested_validation=False)
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        y: Any,
        *,
        target_names: Sequence[str] | None = None,
        image_shape: Sequence[int] | None = None,
        most_wrong_first: bool = False,
        probabilities: bool = False,
        n_images: int = 20,
        n_columns: int = 5,
        ax: Any = None,
    ) -> Self:
        """Predict the labels of all images and draw the first ones.

        Parameters
        ----------
        estimator : estimator
            A fitted classifier, a pipeline or a search, of sknn or not.
        X : array-like of shape (n_samples, n_pixels), (n_samples, height, width) or with channels first or last
            The images, as the estimator takes them.
        y : array-like of shape (n_samples,)
            Their labels.
        target_names : sequence of str of length n_classes, default=None
            Names of the estimator's `classes_` in their order; None are the labels themselves.
        image_shape : tuple of int, default=None
            (height, width), or (channels, height, width), of images in rows of pixels; None is what the estimator
            was fitted to, else square.
        most_wrong_first : bool, default=False
            Whether those that are wrong come first, and of them those with the least probability of the true label.
        probabilities : bool, default=False
            Whether to write the probabilities of labels.
        n_images : int, default=20
            How many images to draw at most.
        n_columns : int, default=5
            Images in a row at most.
        ax : matplotlib Axes, default=None
            Where to draw; None makes a new figure.

        Returns
        -------
        display : PredictionDisplay
            The display, drawn.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        ValueError
            If the estimator is no classifier of one label an image, X are no images, or names are not as many as
            classes.
        """
        import_pyplot(cls.__name__)
        if not is_classifier(estimator):
            raise refuse(cls.__name__, "a classifier", fitted_network(estimator)[0])
        y_true, y_pred = np.asarray(to_host(y)), estimator.predict(X)
        if y_true.ndim != 1 or y_pred.ndim != 1:
            raise ValueError(
                f"{cls.__name__} needs one label an image, got y of shape {y_true.shape} and predictions of shape"
                f" {y_pred.shape}."
            )
        check_consistent_length(y_pred, y_true)
        names = _names(target_names, estimator.classes_)
        rows, of_labels = np.arange(len(y_true)), []
        if most_wrong_first or probabilities:
            proba = estimator.predict_proba(X)
            of_labels = [_of_labels(proba, labels, estimator.classes_) for labels in (y_true, y_pred)]
        if most_wrong_first:
            rows = np.lexsort((of_labels[0], y_true == y_pred))  # by the last, then by the first
        rows = rows[:n_images]
        display = cls(
            pictures_of(X, _known_shape(estimator, X) if image_shape is None else image_shape)[rows],
            y_true[rows],
            y_pred[rows],
            target_names=names,
            rows=rows,
        )
        if probabilities:
            display.proba_true, display.proba_pred = (proba[rows] for proba in of_labels)
        return display.plot(ax=ax, n_columns=n_columns)

    def _text(self, i: int) -> str:
        wrong = self.y_true[i] != self.y_pred[i]
        parts = [(self.y_pred, self.proba_pred), (self.y_true, self.proba_true)]
        lines = []
        for labels, probabilities in parts[: 1 + wrong]:
            name = str(labels[i]) if self.target_names is None else self.target_names.get(labels[i], str(labels[i]))
            lines.append(name if probabilities is None else f"{name} {100 * probabilities[i]:.0f} %")
        return "\ntrue: ".join(lines)

    def _draw(self, image: np.ndarray, left: float, top: float, text: str, points: float, wrong: bool) -> None:
        from matplotlib.patches import Rectangle

        colour = COLOURS[1] if wrong else None
        picture = draw_picture(self.ax_, image, left, top, cmap="gray", vmin=0, vmax=1)
        start, end, bottom, top = picture.get_extent()
        self.images_.append(picture)
        self.texts_.append(self.ax_.text(left + 0.5, top - 0.05, text, color=colour, size=points, ha="center"))
        if wrong:
            box = Rectangle((start, top), end - start, bottom - top, fill=False, color=colour, linewidth=points / 4)
            self.frames_.append(self.ax_.add_patch(box))


def _names(target_names: Sequence[str] | None, classes: np.ndarray) -> dict[Any, str] | None:
    if target_names is None:
        return None
    if len(target_names) != len(classes):
        raise ValueError(
            f"target_names must be the names of the {len(classes)} classes {classes.tolist()}, got {len(target_names)}."
        )
    return {label: str(name) for label, name in zip(classes.tolist(), target_names, strict=True)}


def _of_labels(proba: np.ndarray, labels: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Return the probability of each row's label, zero for one that is no class."""
    columns = {label: column for column, label in enumerate(classes.tolist())}
    return np.array(
        [row[columns[label]] if label in columns else 0.0 for row, label in zip(proba, labels.tolist(), strict=True)]
    )


def _known_shape(estimator: Any, X: Any) -> Sequence[int] | None:
    """Return the shape of images that the network of an estimator was fitted to, if it is that of X."""
    network, _ = fitted_network(estimator)
    shape = X.shape if hasattr(X, "shape") else np.shape(X)
    of_rows = getattr(network, "input_shape_", ()) if len(shape) == 2 else ()
    known = getattr(network, "image_shape_", of_rows)
    return known if len(known) in (2, 3) and math.prod(known) == math.prod(shape[1:]) else None


def _room_for(texts: list[str]) -> tuple[float, float]:
    """Return the width of a cell and the height above its picture, in sizes of a picture, that its text takes."""
    lines = [text.split("\n") for text in texts]
    letter = _POINTS / 72 / _INCHES  # 0.65 as wide as high at most, and lines are 1.3 apart
    width = 0.65 * letter * max(len(line) for pair in lines for line in pair) + 0.1
    return max(1.1, width), 1.3 * letter * max(map(len, lines)) + 0.1


def _inches(ax: Any) -> np.ndarray:
    box = ax.get_window_extent().transformed(ax.figure.dpi_scale_trans.inverted())
    return np.array([box.width, box.height])
