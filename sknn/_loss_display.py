"""LossCurveDisplay: what fits recorded, epoch by epoch."""

from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np
from sklearn.base import is_classifier, is_regressor

from sknn._displays import COLOURS, axes_or_new, fitted_network, import_pyplot, refuse

_Curves = Mapping[str, Sequence[float]]
_STYLES: dict[str, Any] = {"training loss": "-", "training score": ":", "validation score": "--"}


class LossCurveDisplay:
    """Loss and scores of one fit or several, epoch by epoch.

    The loss has the axis on the left, scores have one on the right. Of one fit, colours part loss and scores; of
    several, colours part the fits, and line styles part loss and scores.

    Parameters
    ----------
    losses : dict of str to sequence of float
        Training loss after each epoch, by the name of the fit.
    training_scores : dict of str to sequence of float, default=None
        Scores of the training rows by the name of the fit; of the last epochs if they are fewer than the losses.
    validation_scores : dict of str to sequence of float, default=None
        Scores of the validation rows in the same way.
    score_name : str, default="score"
        What the scores are, such as "accuracy".

    Attributes
    ----------
    ax_ : matplotlib Axes
        The axes of the losses.
    score_ax_ : matplotlib Axes or None
        The axes of the scores, if there are any: those of the losses with an axis on the right.
    figure_ : matplotlib Figure
        The figure of both.
    lines_ : dict of (str, str) to matplotlib Line2D
        The curves, by the name of the fit and "training loss", "training score" or "validation score".

    See Also
    --------
    sklearn.callback.ScoringMonitor : Records scores of the training rows during a fit.

    Examples
    --------
    >>> from sklearn.callback import ScoringMonitor
    >>> from sklearn.datasets import load_iris
    >>> from sknn import MLPTorchClassifier
    >>> from sknn.inspection import LossCurveDisplay
    >>> X, y = load_iris(return_X_y=True)
    >>> network = MLPTorchClassifier(learning_rate="cosine", max_iter=20, random_state=0)
    >>> monitor = ScoringMonitor(scoring="accuracy")
    >>> _ = network.set_callbacks(monitor).fit(X[::2], y[::2], X_val=X[1::2], y_val=y[1::2])
    >>> accuracy = [task["accuracy"] for task in monitor.get_logs().data if task["task_name"] == "epoch"]
    >>> display = LossCurveDisplay.from_estimator(network, training_scores=accuracy)
    >>> [kind for name, kind in display.lines_]
    ['training loss', 'training score', 'validation score']
    """

    def __init__(
        self,
        losses: _Curves,
        *,
        training_scores: _Curves | None = None,
        validation_scores: _Curves | None = None,
        score_name: str = "score",
    ) -> None:
        self.losses = losses
        self.training_scores = training_scores
        self.validation_scores = validation_scores
        self.score_name = score_name

    def plot(self, ax: Any = None) -> Self:
        """Draw the curves.

        Drawn again into its own `ax_`, a display replaces the curves that it drew there before: so it can follow a
        training that goes on.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; None makes a new figure.

        Returns
        -------
        self : LossCurveDisplay
            The display.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        ValueError
            If there are scores of more epochs, or of other fits, than losses.
        """
        families = (self.losses, self.training_scores or {}, self.validation_scores or {})
        curves = {
            (name, kind): curve
            for kind, of_fits in zip(_STYLES, families, strict=True)
            for name, curve in of_fits.items()
        }
        self._check_lengths(curves)
        self._prepare_axes(ax, scored=len(curves) > len(self.losses))
        for (name, kind), curve in curves.items():
            n_epochs = len(self.losses[name])
            (self.lines_[name, kind],) = (self.ax_ if kind == "training loss" else self.score_ax_).plot(
                np.arange(n_epochs - len(curve), n_epochs) + 1,
                curve,
                color=self._colour(name, kind),
                linestyle=_STYLES[kind],
                marker="o" if len(curve) == 1 else None,  # a line needs two points
            )
        self._draw_legend()
        return self

    @classmethod
    def from_estimator(cls, estimator: Any, *, training_scores: Any = None, ax: Any = None) -> Self:
        """Draw what fits recorded.

        Parameters
        ----------
        estimator : estimator, list of estimators or dict of str to estimator
            Fitted estimators with a `loss_curve_`: those of sknn, and scikit-learn's MLP; in a list they are numbered.
            A pipeline stands for its last step, and a search for its best estimator, as it keeps no other;
            `cross_validate(..., return_estimator=True)` keeps all.
        training_scores : sequence of float or dict of str to sequence of float, default=None
            Scores of the training rows after each epoch, for several estimators by their names. No fit computes
            them unasked; scikit-learn's `ScoringMonitor` makes it do so.
        ax : matplotlib Axes, default=None
            Where to draw; None makes a new figure.

        Returns
        -------
        display : LossCurveDisplay
            The display, drawn.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        ValueError
            If there is no estimator, one has no `loss_curve_`, or scores do not belong to the losses.
        """
        import_pyplot(cls.__name__)
        networks = _by_name(estimator)
        for network in networks.values():
            if not hasattr(network, "loss_curve_"):
                raise refuse(cls.__name__, "an estimator with a loss_curve_, such as those of sknn", network)
        if training_scores is not None and not isinstance(training_scores, Mapping):
            if len(networks) > 1:
                raise ValueError(f"training_scores of several estimators must be a dict by name: {list(networks)}.")
            training_scores = dict.fromkeys(networks, training_scores)
        validated = {name: getattr(network, "validation_scores_", None) for name, network in networks.items()}
        return cls(
            {name: list(network.loss_curve_) for name, network in networks.items()},
            training_scores=training_scores,
            validation_scores={name: list(scores) for name, scores in validated.items() if scores is not None},
            score_name=_score_name(list(networks.values())),
        ).plot(ax=ax)

    @classmethod
    def from_search(cls, search: Any, *, ax: Any = None) -> Self:
        """Draw the losses of all candidates of a search.

        Parameters
        ----------
        search : sknn.model_selection.GridSearchCV or RandomizedSearchCV
            A fitted search over a perceptron, alone or at the end of a pipeline, which keeps its `loss_curves_`.
        ax : matplotlib Axes, default=None
            Where to draw; None makes a new figure.

        Returns
        -------
        display : LossCurveDisplay
            The display, drawn: of each candidate the mean over the folds that still train, under its parameters. One
            without a fold whose fit succeeded has no curve.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        ValueError
            If the search kept no losses.
        """
        import_pyplot(cls.__name__)
        if not getattr(search, "loss_curves_", None):
            raise ValueError(
                f"{cls.__name__}.from_search needs a fitted search of sknn.model_selection over a perceptron, with the"
                f" losses of its fits; got {type(search).__name__}."
            )
        curves = map(_mean_curve, search.loss_curves_)
        losses = dict(zip(_candidate_names(search.cv_results_["params"]), curves, strict=True))
        return cls({name: curve for name, curve in losses.items() if curve}).plot(ax=ax)

    def _check_lengths(self, curves: Mapping[tuple[str, str], Sequence[float]]) -> None:
        for (name, kind), curve in curves.items():
            if name not in self.losses:
                raise ValueError(f"There is a {kind} of {name!r}, but the losses are of {list(self.losses)}.")
            if len(curve) > len(self.losses[name]):
                raise ValueError(
                    f"{name!r} has a {kind} for {len(curve)} epochs, but a loss for {len(self.losses[name])}."
                )

    def _prepare_axes(self, ax: Any, *, scored: bool) -> None:
        """Label new axes, or take away what was drawn in those that there are."""
        if ax is None or ax is not getattr(self, "ax_", None):
            self.ax_ = axes_or_new(self, ax, 6.4, 4)
            from matplotlib.ticker import MaxNLocator

            self.score_ax_: Any = None
            self.figure_ = self.ax_.figure
            self.ax_.xaxis.set_major_locator(MaxNLocator("auto", steps=[1, 2, 5, 10], integer=True))
            self.ax_.set(xlabel="epoch", ylabel="training loss")
        else:
            for artist in (*self.lines_.values(), self._legend):
                if artist is not None and artist.axes is not None:  # it is None where the axes were cleared
                    artist.remove()
            for axes in {self.ax_, self.score_ax_} - {None}:
                axes.relim()
        self.lines_: dict[tuple[str, str], Any] = {}
        if scored and self.score_ax_ is None:
            self.score_ax_ = self.ax_.twinx()
            self.score_ax_.set_ylabel(self.score_name)

    def _colour(self, name: str, kind: str) -> Any:
        if len(self.losses) == 1:
            return COLOURS[list(_STYLES).index(kind)]
        place = list(self.losses).index(name)
        if len(self.losses) <= len(COLOURS):
            return COLOURS[place]
        from matplotlib import colormaps

        return colormaps["viridis"](0.9 * place / (len(self.losses) - 1))  # whose last colours are too light

    def _draw_legend(self) -> None:
        """Say which curve is which, if there are several."""
        from matplotlib.lines import Line2D

        colours = {key: line.get_color() for key, line in self.lines_.items()}
        kinds = list(dict.fromkeys(kind for _, kind in colours))
        several = len(self.losses) > 1
        entries = [
            Line2D([], [], color=colours[name, "training loss"], label=str(name)) for name in self.losses if several
        ]
        for kind in kinds if len(kinds) > 1 else []:
            colour = "gray" if several else colours[next(iter(self.losses)), kind]
            label = kind.replace("score", self.score_name)
            entries.append(Line2D([], [], color=colour, linestyle=_STYLES[kind], label=label))
        # Where losses have fallen and scores not, there is room.
        axes, place = (self.ax_, "upper right") if self.score_ax_ is None else (self.score_ax_, "center right")
        self._legend: Any = axes.legend(handles=entries, loc=place) if entries else None


def _by_name(estimator: Any) -> dict[str, Any]:
    """Return the fitted networks inside of one or several estimators by name."""
    if isinstance(estimator, Mapping):
        networks = {name: fitted_network(value)[0] for name, value in estimator.items()}
    elif isinstance(estimator, list | tuple):
        found = [fitted_network(value)[0] for value in estimator]
        networks = {f"{type(network).__name__} {i}": network for i, network in enumerate(found, start=1)}
    else:
        network, _ = fitted_network(estimator)
        networks = {type(network).__name__: network}
    if not networks:
        raise ValueError("There is no estimator whose loss could be drawn: got none.")
    return networks


def _candidate_names(candidates: Sequence[dict[str, Any]]) -> list[str]:
    """Return the parameters of each candidate, without the names of steps where that leaves them apart."""
    full = [", ".join(f"{name}={value}" for name, value in parameters.items()) for parameters in candidates]
    short = [
        ", ".join(f"{name.rpartition('__')[2]}={value}" for name, value in parameters.items())
        for parameters in candidates
    ]
    if len(set(short)) == len(short):
        return short
    return full if len(set(full)) == len(full) else [f"{i}: {name}" for i, name in enumerate(full)]


def _mean_curve(curves: Sequence[Sequence[float]]) -> list[float]:
    """Return the mean over the folds that still train, epoch by epoch."""
    n_epochs = max(map(len, curves))
    return [float(np.mean([curve[epoch] for curve in curves if epoch < len(curve)])) for epoch in range(n_epochs)]


def _score_name(networks: list[Any]) -> str:
    if all(map(is_classifier, networks)):
        return "accuracy"
    return "R²" if all(map(is_regressor, networks)) else "score"
