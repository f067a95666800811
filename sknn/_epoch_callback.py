"""What all callbacks share: they follow the epochs of networks, of several fits at once where need be."""

from abc import ABC, abstractmethod
from typing import Any

from sknn._progress import Progress
from sknn.base import BaseTorchEstimator


class EpochCallback(ABC):
    """A callback of scikit-learn's protocol that is set on a network.

    Clones share their callbacks, and threads may fit them side by side. So what belongs to a fit is kept by its
    context, and only while it runs.
    """

    def __init__(self) -> None:
        self._fits: dict[Any, Any] = {}

    def setup(self, estimator: Any, context: Any) -> None:
        """Prepare for a fit, which scikit-learn asks for.

        Parameters
        ----------
        estimator : estimator
            The network that is about to be fitted.
        context : sklearn.callback.CallbackContext
            The task that is the whole fit.

        Raises
        ------
        TypeError
            If the estimator is not a network of sknn.
        """
        if not isinstance(estimator, BaseTorchEstimator):
            raise TypeError(
                f"{type(self).__name__} follows the epochs of a network: set it on the estimator of sknn itself, also"
                f" where that is inside of a pipeline or a search; got {type(estimator).__name__}."
            )
        self._fits[context] = self._begin_fit(estimator, context)

    def teardown(self, estimator: Any, context: Any) -> None:
        """Let go of a fit, whether it ended or failed.

        Parameters
        ----------
        estimator : estimator
            The network.
        context : sklearn.callback.CallbackContext
            The task that was the whole fit.
        """
        if context in self._fits:
            self._end_fit(self._fits.pop(context))

    def on_fit_task_begin(self, estimator: Any, context: Any) -> None:
        """Do nothing: what there is to tell is known at the end of a task.

        Parameters
        ----------
        estimator : estimator
            The network.
        context : sklearn.callback.CallbackContext
            The fit, or one of its epochs.
        """
        return

    @abstractmethod
    def _begin_fit(self, estimator: Any, context: Any) -> Any:
        """Return what is to be kept of a fit while it runs."""

    def _end_fit(self, kept: Any) -> None:
        """Release what was kept."""
        return

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_fits": {}}


def ended_epoch(estimator: Any, context: Any) -> Progress | None:
    """Return the record of the fit at the end of an epoch, and None at the end of any other task."""
    progress = getattr(estimator, "_progress", None)
    return progress if context.task_name == "epoch" and progress and progress.epoch else None


def lineage(context: Any) -> tuple[Any, list[Any]]:
    """Return the outermost task that a fit belongs to, and the tasks from there down to the fit."""
    below: list[Any] = []
    while context.parent is not None:
        below.insert(0, context)
        context = context.parent
    return context, below
