"""EpochLog: a line an epoch."""

import functools
import logging
import multiprocessing
import os
import sys
from typing import Any

from sklearn.callback._transport import open_listener, send

from sknn._epoch_callback import EpochCallback, ended_epoch, lineage
from sknn._progress import Progress


class EpochLog(EpochCallback):
    """Write a line after each epoch: loss, scores, learning rate and seconds.

    Set it on the network itself, alone or inside of a pipeline or a search. Lines from the processes of a parallel
    search arrive where those of this process do, and name the fit that they belong to.

    Parameters
    ----------
    to : text stream, logging.Logger or None, default=None
        Where to write: a stream such as an open file, or a logger, which gets the lines at level INFO. None is
        `sys.stdout` of the moment. Loaded from a file, a callback with a stream writes to `sys.stdout`.
    training_score : bool, default=True
        Whether to tell accuracy or R2 of the training rows, for which they pass through the network once more.

    See Also
    --------
    sklearn.callback.ProgressBar : Shows how far fits and searches are.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sknn import MLPTorchClassifier
    >>> from sknn.callbacks import EpochLog
    >>> X, y = load_iris(return_X_y=True)
    >>> network = MLPTorchClassifier(learning_rate="cosine", max_iter=3, random_state=0)
    >>> _ = network.set_callbacks(EpochLog()).fit(X, y)
    epoch 1/3: loss 1.2..., accuracy 0.3..., learning rate 0.001, ... s
    epoch 2/3: loss 1..., accuracy 0.3..., learning rate 0.00075, ... s
    epoch 3/3: loss 1..., accuracy 0.3..., learning rate 0.00025, ... s
    """

    def __init__(self, to: Any = None, *, training_score: bool = True) -> None:
        super().__init__()
        if not (to is None or _is_logger(to) or hasattr(to, "write")):
            raise TypeError(f"EpochLog writes to a text stream, a logging.Logger or None, got {type(to).__name__}.")
        self.to = to
        self.training_score = training_score
        self._listener: Any = None
        self._home = os.getpid()

    def on_fit_task_end(self, estimator: Any, context: Any) -> None:
        """Write a line at the end of an epoch.

        Parameters
        ----------
        estimator : estimator
            The network.
        context : sklearn.callback.CallbackContext
            The fit, or one of its epochs.
        """
        progress = ended_epoch(estimator, context)
        if progress is not None:
            self._write(self._fits[context.parent] + self._line(progress))

    def _begin_fit(self, estimator: Any, context: Any) -> str:
        # Fits that follow one another are told apart by their order.
        _, tasks = lineage(context)
        parallel = [task for task in tasks if not task.parent.sequential_subtasks]
        return "".join(f"{task.source_task_name or task.task_name} {task.task_id}, " for task in parallel)

    def _line(self, progress: Progress) -> str:
        epoch: Any = progress.epoch
        parts = [f"loss {progress.loss:.4f}"]
        if self.training_score:
            parts.append(f"{progress.score_name} {progress.training_score():.4f}")
        if progress.validation_score is not None:
            parts.append(f"validation {progress.score_name} {progress.validation_score:.4f}")
        if progress.rate is not None:
            parts.append(f"learning rate {progress.rate:.3g}")
        n_epochs = str(progress.n_epochs)
        return f"epoch {epoch.number:>{len(n_epochs)}}/{n_epochs}: {', '.join(parts)}, {epoch.seconds:.3f} s"

    def _write(self, line: str) -> None:
        """Write a line here, or where this callback was pickled, if that still listens."""
        if self._listener is not None:
            try:
                return send(self._listener, line)
            except (OSError, EOFError):
                self._listener = None
        _write(self.to, line)

    def __getstate__(self) -> dict[str, Any]:
        # A stream cannot leave its process, and loggers are set up in one. So lines travel instead.
        if self._listener is None:
            self._listener, self._home = open_listener(functools.partial(_write, self.to), owner=self), os.getpid()
        return {**super().__getstate__(), "to": self.to if _is_logger(self.to) else None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        if os.getpid() != self._home and multiprocessing.parent_process() is None:
            self._listener = None  # no worker of the process that pickled it, but one that loaded a file


def _is_logger(to: Any) -> bool:
    return isinstance(to, logging.Logger | logging.LoggerAdapter)


def _write(to: Any, line: str) -> None:
    if _is_logger(to):
        to.info(line)
    else:
        stream = sys.stdout if to is None else to
        stream.write(line + "\n")  # at once, as several fits may write
        stream.flush()
