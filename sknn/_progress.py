"""What a fit records, prints and tells scikit-learn's callbacks, epoch by epoch."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from sklearn.callback import CallbackContext
from torch import Tensor, nn

from sknn._standing import Standing
from sknn._train import Epoch

# X, y and the weights or None, as they were given to fit.
GivenRows = tuple[Any, Any, Any]


class Progress:
    """The record of one fit; lists go on from those of the fit before where training does.

    Of an ensemble, it holds means over the members that still train.

    `begin` and `end` stand around each epoch; `end` returns True when a callback asks to stop. While an estimator fits,
    callbacks find this as its `_progress`, with `epoch`, the one that has just ended, or None where one never ran:
    scikit-learn passes them no losses, and a fitted estimator, which has them, is a copy of the network.
    """

    def __init__(self, loss_curve: list[float], validation_scores: list[float]) -> None:
        self.loss_curve, self.validation_scores = list(loss_curve), list(validation_scores)
        self.n_iter, self.loss = 0, np.nan
        self.rate: float | None = None
        self.n_epochs, self.score_name = 0, ""
        self.epoch: Epoch | None = None
        self.interrupted = False
        self.standing: Standing | None = None
        self.scores_of_callbacks: list[tuple[Any, list[float]]] = []  # what they are, and those of each epoch
        self.validation_rows: Callable[[], GivenRows | None] = lambda: None
        self._verbose = False
        self._running: np.ndarray | slice = slice(None)
        self._score_training: Callable[[], float]
        self._scored: float | None = None
        self._weights: list[Tensor] = []
        self._kept: list[Tensor] = []
        self._context: CallbackContext | None = None
        self._epoch_context: CallbackContext | None = None
        self._hook_arguments: dict[str, Any] = {}

    def describe(self, n_epochs: int, score_name: str, score_training: Callable[[], float], *, verbose: bool) -> None:
        """Learn how many epochs there are at most and how rows are scored; `verbose` prints a line an epoch."""
        self.n_epochs, self.score_name, self._verbose = n_epochs, score_name, verbose
        self._score_training = score_training

    @property
    def validation_score(self) -> float | None:
        """Score of the validation rows after the epoch that has just ended, if there are any."""
        return self.validation_scores[-1] if self.validation_scores else None

    def open_up(self, module: nn.Module, validation_rows: Callable[[], GivenRows | None]) -> None:
        """Let callbacks see the validation rows, and keep weights of the module that is trained."""
        self._weights, self.validation_rows = [*module.parameters(), *module.buffers()], validation_rows

    def call_back(self, context: CallbackContext, **hook_arguments: Any) -> None:
        """Call the callbacks of that context around each epoch, with those arguments."""
        self._context, self._hook_arguments = context, hook_arguments

    def begin(self) -> None:
        """Tell the callbacks that an epoch begins."""
        if self._context is not None:
            self.epoch = self._scored = None
            self._epoch_context = self._context.subcontext(task_name="epoch")
            self._epoch_context.call_on_fit_task_begin(**self._hook_arguments)

    def end(self, epoch: Epoch) -> bool:
        """Record an epoch, print it, and return whether a callback wants the fit to stop."""
        self.epoch, self._scored = epoch, None
        self.n_iter += 1
        self.loss = self._mean(epoch.loss)
        self.loss_curve.append(self.loss)
        self.rate = None if epoch.rate is None else self._mean(epoch.rate)
        if epoch.score is not None:
            self.validation_scores.append(self._mean(epoch.score))
        else:  # those of a fit before would be taken for scores of these epochs
            self.validation_scores.clear()
        self._running = ~epoch.stop
        if self._verbose:
            for line in (self._line(epoch), *filter(None, epoch.messages)):
                print(line)
        if self._epoch_context is None:
            return False
        context, self._epoch_context = self._epoch_context, None
        return context.call_on_fit_task_end(**self._hook_arguments)

    def close(self) -> None:
        """End an epoch that was begun but never ran, as the last one of L-BFGS."""
        if self._epoch_context is not None:
            self._epoch_context.call_on_fit_task_end(estimator=self._hook_arguments["estimator"])

    def training_score(self) -> float:
        """Return the score of the training rows after this epoch, which is computed once."""
        if self._scored is None:
            self._scored = self._score_training()
        return self._scored

    def keep(self) -> None:
        """Keep the weights as they are now: those kept last become the fitted ones."""
        self._kept = [weight.detach().clone() for weight in self._weights]

    @torch.no_grad()
    def restore(self) -> None:
        """Bring back the weights that were kept, if any were."""
        for weight, kept in zip(self._weights, self._kept, strict=False):
            weight.copy_(kept)

    def state(self) -> dict[str, Any]:
        """Return what another process needs to go on with this record."""
        return {
            "n_iter": self.n_iter,
            "loss_curve": self.loss_curve,
            "validation_scores": self.validation_scores,
            "scores_of_callbacks": [scores for _, scores in self.scores_of_callbacks],
            "kept": [weight.cpu() for weight in self._kept],
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on from what `state` returned."""
        self.n_iter, self.loss_curve, self.validation_scores = (
            state[name] for name in ("n_iter", "loss_curve", "validation_scores")
        )
        self.loss = self.loss_curve[-1]
        for (_, scores), saved in zip(self.scores_of_callbacks, state["scores_of_callbacks"], strict=True):
            scores[:] = saved
        self._kept = state["kept"]

    def _mean(self, values: np.ndarray) -> float:
        return float(values[0] if len(values) == 1 else np.mean(values[self._running]))

    def _line(self, epoch: Epoch) -> str:
        parts = [
            f"Iteration {epoch.number}/{self.n_epochs}",
            f"loss = {self.loss:.4f}",
            f"{self.score_name} = {self.training_score():.4f}",
        ]
        if epoch.score is not None:
            parts.append(f"validation score = {self.validation_scores[-1]:.4f}")
        return ", ".join([*parts, f"{epoch.seconds:.2f} s"])
