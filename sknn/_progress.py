"""What a fit records, prints and tells scikit-learn's callbacks, epoch by epoch."""

from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn.callback import CallbackContext

from sknn._train import Epoch


class Progress:
    """The record of one fit; lists go on from those of the fit before where training does.

    `begin` and `end` stand around each epoch; `end` returns True when a callback asks to stop.
    """

    def __init__(self, loss_curve: list[float], validation_scores: list[float]) -> None:
        self.loss_curve, self.validation_scores = list(loss_curve), list(validation_scores)
        self.n_iter, self.loss = 0, np.nan
        self._n_epochs = 0
        self._training_score: Callable[[], tuple[str, float]] | None = None
        self._context: CallbackContext | None = None
        self._epoch_context: CallbackContext | None = None
        self._hook_arguments: dict[str, Any] = {}

    def print_scores(self, n_epochs: int, training_score: Callable[[], tuple[str, float]]) -> None:
        """Print a line an epoch, with the name and value that `training_score` returns."""
        self._n_epochs, self._training_score = n_epochs, training_score

    def call_back(self, context: CallbackContext, **hook_arguments: Any) -> None:
        """Call the callbacks of that context around each epoch, with those arguments."""
        self._context, self._hook_arguments = context, hook_arguments

    def begin(self) -> None:
        """Tell the callbacks that an epoch begins."""
        if self._context is not None:
            self._epoch_context = self._context.subcontext(task_name="epoch")
            self._epoch_context.call_on_fit_task_begin(**self._hook_arguments)

    def end(self, epoch: Epoch) -> bool:
        """Record an epoch, print it, and return whether a callback wants the fit to stop."""
        self.n_iter += 1
        self.loss = float(epoch.loss[0])
        self.loss_curve.append(self.loss)
        if epoch.score is not None:
            self.validation_scores.append(float(epoch.score[0]))
        if self._training_score is not None:
            print(self._line(epoch, *self._training_score()))
            if epoch.messages[0]:
                print(epoch.messages[0])
        if self._epoch_context is None:
            return False
        context, self._epoch_context = self._epoch_context, None
        return context.call_on_fit_task_end(**self._hook_arguments)

    def close(self) -> None:
        """End an epoch that was begun but never ran, as the last one of L-BFGS."""
        if self._epoch_context is not None:
            self._epoch_context.call_on_fit_task_end(estimator=self._hook_arguments["estimator"])

    def _line(self, epoch: Epoch, score_name: str, score: float) -> str:
        parts = [
            f"Iteration {epoch.number}/{self._n_epochs}",
            f"loss = {epoch.loss[0]:.4f}",
            f"{score_name} = {score:.4f}",
        ]
        if epoch.score is not None:
            parts.append(f"validation score = {epoch.score[0]:.4f}")
        return ", ".join([*parts, f"{epoch.seconds:.2f} s"])
