"""Checkpoint: a killed fit goes on where it was."""

import os
import threading
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from numbers import Integral
from os import PathLike
from pathlib import Path
from typing import Any

import torch
from sklearn.utils._param_validation import Interval, validate_params

from sknn._epoch_callback import EpochCallback, lineage
from sknn._fingerprint import fingerprint
from sknn._progress import Progress
from sknn._solvers import SOLVERS


@dataclass
class _Place:
    """The file of one fit, which is known once there is something to go on with."""

    progress: Progress
    suffix: str
    path: Path | None = None


class Checkpoint(EpochCallback):
    """Write down where a fit stands, so that a killed one goes on from there when the program is run again.

    Set it on the network itself, alone or inside of a pipeline or a search. A fit finds its file by its parameters, its
    rows and the weights that it begins with, and ends with the same weights as if it had never been killed, bit for
    bit. When it has ended, its file is removed; when it is interrupted by Ctrl-C, the file stays.

    Parameters
    ----------
    folder : str or path-like, default="checkpoints"
        Where the files of all fits are. It is made if need be.
    every : int, default=1
        The number of epochs from one writing to the next.

    Attributes
    ----------
    n_epochs_before_ : int
        Epochs that the last fit had behind it when it began; 0 if there was nothing to go on with.

    See Also
    --------
    sknn.MLPTorchClassifier.partial_fit : Trains one epoch more, also of a network that was loaded from a file.

    Notes
    -----
    A file is replaced as a whole and only when the new one is on the disk, so a fault in the middle leaves the last
    one. It holds tensors and numbers, and to load it runs no code of its own.

    Other callbacks go on as well: `EarlyStoppingOnMetric` knows the scores of all epochs, the others tell of those that
    are still to come. Of a search, fits that had ended are done again.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sknn import MLPTorchClassifier
    >>> from sknn.callbacks import Checkpoint
    >>> X, y = load_iris(return_X_y=True)
    >>> checkpoint = Checkpoint("checkpoints", every=10)
    >>> network = MLPTorchClassifier(learning_rate="cosine", random_state=0).set_callbacks(checkpoint).fit(X, y)
    >>> checkpoint.n_epochs_before_
    0
    """

    @validate_params(
        {"folder": [str, PathLike], "every": [Interval(Integral, 1, None, closed="left")]},
        prefer_skip_nested_validation=True,
    )
    def __init__(self, folder: str | PathLike[str] = "checkpoints", *, every: int = 1) -> None:
        super().__init__()
        self.folder = Path(folder).absolute()  # other processes may be in other folders
        self.every = every

    def on_fit_task_begin(self, estimator: Any, context: Any) -> None:
        """Go on from a file at the first epoch, if there is one, and write it before a later one.

        Parameters
        ----------
        estimator : estimator
            The network.
        context : sklearn.callback.CallbackContext
            The fit, or one of its epochs.

        Raises
        ------
        ValueError
            If the file is damaged.
        """
        if context.task_name != "epoch":
            return
        place = self._fits[context.parent]
        standing, progress = place.progress.standing, place.progress
        if place.path is None:
            place.path = self.folder / f"{_name(estimator, progress)}{place.suffix}.pt"
            _remove_unfinished_of_the_dead(place.path)
            saved = _read(place.path)
            if saved is not None:
                standing.load_state(saved["standing"])
                progress.load_state(saved["progress"])
            self.n_epochs_before_ = progress.n_iter
        elif progress.n_iter % self.every == 0:
            _replace(place.path, {"standing": standing.state(), "progress": progress.state()})

    def on_fit_task_end(self, estimator: Any, context: Any) -> None:
        """Remove the file at the end of the fit.

        Parameters
        ----------
        estimator : estimator
            The network.
        context : sklearn.callback.CallbackContext
            The fit, or one of its epochs.
        """
        place = self._fits.get(context)
        if place is not None and place.path is not None and not place.progress.interrupted:
            place.path.unlink(missing_ok=True)
            _unfinished(place.path).unlink(missing_ok=True)

    def _begin_fit(self, estimator: Any, context: Any) -> _Place:
        if estimator.solver not in SOLVERS:
            raise ValueError(
                f"Checkpoint goes on with solvers that update the weights batch by batch, {sorted(SOLVERS)}; got"
                f" solver={estimator.solver!r}."
            )
        if estimator.n_ensemble > 1:
            raise ValueError(f"Checkpoint goes on with one network, got n_ensemble={estimator.n_ensemble}.")
        if not isinstance(estimator.random_state, Integral):
            raise ValueError(
                "Checkpoint needs random_state to be an integer, from which another process draws the same numbers;"
                f" got random_state={estimator.random_state!r}."
            )
        self.folder.mkdir(parents=True, exist_ok=True)
        # Fits of a search may be alike and run side by side.
        _, tasks = lineage(context)
        return _Place(estimator._progress, "".join(f"_{task.task_id}" for task in tasks))


def _name(estimator: Any, progress: Progress) -> str:
    """Return what is the same for the same fit in every process, and another for any other."""
    parameters = {name: value for name, value in estimator.get_params(deep=False).items() if name != "verbose"}
    standing: Any = progress.standing
    scorings = [scoring for scoring, _ in progress.scores_of_callbacks]
    given = (standing.beginning, len(progress.loss_curve) - progress.n_iter, scorings)
    digest = fingerprint([_version(), str(standing.parameters.data.device), parameters, *given])
    return f"{type(estimator).__name__}_{digest[:16]}"


def _version() -> str:
    try:
        return version("sknn-torch")
    except PackageNotFoundError:  # run from its source
        return ""


def _unfinished(path: Path) -> Path:
    """Return where this thread writes; another may be in the same fit."""
    return path.with_suffix(f".{os.getpid()}-{threading.get_ident()}.tmp")


def _remove_unfinished_of_the_dead(path: Path) -> None:
    if os.name != "posix":  # to ask for a process is to end it elsewhere
        return
    for unfinished in path.parent.glob(f"{path.stem}.*.tmp"):
        try:
            os.kill(int(unfinished.suffixes[-2][1:].partition("-")[0]), 0)
        except ProcessLookupError:
            unfinished.unlink(missing_ok=True)
        except OSError:  # it lives, and is somebody else's
            continue


def _replace(path: Path, saved: dict[str, Any]) -> None:
    with _unfinished(path).open("wb") as file:
        torch.save(saved, file)
        file.flush()
        os.fsync(file.fileno())
    _unfinished(path).replace(path)


def _read(path: Path) -> dict[str, Any] | None:
    try:
        saved: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        return None
    except Exception as error:
        raise ValueError(f"{path} is no checkpoint that can be read; without it, the fit begins anew.") from error
    return saved
