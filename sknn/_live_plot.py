"""LivePlot: loss and validation scores, drawn while a fit goes on."""

import time
from numbers import Real
from typing import Any

from sklearn.utils._param_validation import Interval, validate_params

from sknn._displays import import_pyplot
from sknn._epoch_callback import EpochCallback, ended_epoch
from sknn._live_places import Curves, Place, find_place
from sknn._loss_display import LossCurveDisplay
from sknn._progress import Progress

_SHORTEST_PAUSE = 0.1  # seconds; what is faster nobody sees


class LivePlot(EpochCallback):
    """Draw loss and validation scores while a network is fitted.

    Set it on the network itself, alone or inside of a pipeline or a search. In a notebook, a picture under the running
    cell is redrawn; elsewhere a window, where matplotlib has windows; and in a terminal without them, a line with bars
    such as `loss █▅▃▂▁ 0.0312`. Where output goes to a file, and in processes and threads other than the main ones, as
    in a parallel search, nothing is drawn.

    Parameters
    ----------
    max_share : float, default=0.03
        The share of time that drawing may take, in (0, 1]: epochs for which there is no time are drawn with a later
        one. The end of a fit is then drawn when the cell of a notebook ends, or when `plt.show()` shows the window.

    Attributes
    ----------
    display_ : LossCurveDisplay or None
        What the window or the cell of the last fit shows, if anything yet.

    Raises
    ------
    ImportError
        If matplotlib is not installed.

    See Also
    --------
    sknn.inspection.LossCurveDisplay : Draws the same curves after the fit, also of several fits.

    Notes
    -----
    All fits of a cell, or of a window as long as it is open, share one picture, which shows the last of them.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sknn import MLPTorchClassifier
    >>> from sknn.callbacks import LivePlot
    >>> X, y = load_iris(return_X_y=True)
    >>> network = MLPTorchClassifier(learning_rate="cosine", max_iter=20, random_state=0).set_callbacks(LivePlot())
    >>> network.fit(X[::2], y[::2], X_val=X[1::2], y_val=y[1::2])
    MLPTorchClassifier(learning_rate='cosine', max_iter=20, random_state=0)
    """

    @validate_params({"max_share": [Interval(Real, 0, 1, closed="right")]}, prefer_skip_nested_validation=True)
    def __init__(self, *, max_share: float = 0.03) -> None:
        super().__init__()
        import_pyplot(type(self).__name__)
        self.max_share = max_share
        self._place: Place | None = find_place(None)  # now, as the first picture takes longest
        self._outermost: Any = None
        self._next = 0.0

    @property
    def display_(self) -> LossCurveDisplay | None:
        """What the window or the cell of the last fit shows, if anything yet."""
        return self._place.display if self._place else None

    def on_fit_task_end(self, estimator: Any, context: Any) -> None:
        """Draw the fit so far, if it is time to.

        Parameters
        ----------
        estimator : estimator
            The network.
        context : sklearn.callback.CallbackContext
            The fit, or one of its epochs.
        """
        ended = context in self._fits
        if not ended and ended_epoch(estimator, context) is None:
            return
        place, progress = self._fits[context if ended else context.parent]
        started = time.perf_counter()
        in_time = started >= self._next
        if place is None or not progress.loss_curve or not (ended or in_time):
            return
        if ended:
            place.finish(_curves(estimator, progress), at_once=in_time)
        else:
            place.draw(_curves(estimator, progress))
        if in_time:
            place.seconds = time.perf_counter() - started
            self._rest(place)

    def _begin_fit(self, estimator: Any, context: Any) -> tuple[Place | None, Progress]:
        place = find_place(self._place)
        if place is not None:
            self._place = place
            if self._outermost != context.root_uuid:  # the fits of a search share its time
                self._outermost = context.root_uuid
                self._rest(place)
        return place, estimator._progress

    def _end_fit(self, kept: tuple[Place | None, Progress]) -> None:
        if kept[0] is not None:
            kept[0].leave()

    def _rest(self, place: Place) -> None:
        """Put off the next drawing until it takes no more than its share."""
        self._next = time.perf_counter() + max(_SHORTEST_PAUSE, place.seconds * (1 / self.max_share - 1))

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_place": None, "_outermost": None}


def _curves(estimator: Any, progress: Progress) -> Curves:
    epoch = f"{progress.n_iter}/{progress.n_epochs}"
    return Curves(type(estimator).__name__, epoch, progress.loss_curve, progress.validation_scores, progress.score_name)
