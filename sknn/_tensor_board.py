"""TensorBoard: the numbers of each epoch as event files."""

from os import PathLike
from pathlib import Path
from typing import Any

from sknn._epoch_callback import EpochCallback, ended_epoch, lineage


class TensorBoard(EpochCallback):
    """Write loss, scores, learning rate and seconds of each epoch as event files, which TensorBoard shows.

    Set it on the network itself, alone or inside of a pipeline or a search, and run `tensorboard --logdir runs`. Each
    call of `fit` gets a folder, named by its time in UTC and its estimator. If it is that of a pipeline or a search,
    each network fitted in it, in whichever process, gets a folder therein.

    Parameters
    ----------
    log_dir : str or path-like, default="runs"
        The folder of all runs. Where it is relative, it is so to the folder that the process is in now.
    training_score : bool, default=True
        Whether to tell accuracy or R2 of the training rows, for which they pass through the network once more.

    Raises
    ------
    ImportError
        If tensorboard is not installed.

    Examples
    --------
    >>> from pathlib import Path
    >>> from sklearn.datasets import load_iris
    >>> from sknn import MLPTorchClassifier
    >>> from sknn.callbacks import TensorBoard
    >>> X, y = load_iris(return_X_y=True)
    >>> network = MLPTorchClassifier(learning_rate="cosine", max_iter=3, random_state=0)
    >>> _ = network.set_callbacks(TensorBoard("runs")).fit(X, y)
    >>> len(list(Path("runs").glob("*_MLPTorchClassifier_*/events*")))
    1
    """

    def __init__(self, log_dir: str | PathLike[str] = "runs", *, training_score: bool = True) -> None:
        super().__init__()
        _import_writer()
        self.log_dir = Path(log_dir).absolute()  # other processes may be in other folders
        self.training_score = training_score

    def on_fit_task_end(self, estimator: Any, context: Any) -> None:
        """Write the numbers of an epoch at its end.

        Parameters
        ----------
        estimator : estimator
            The network.
        context : sklearn.callback.CallbackContext
            The fit, or one of its epochs.
        """
        progress = ended_epoch(estimator, context)
        if progress is None:
            return
        epoch: Any = progress.epoch
        numbers = {
            "loss/training": progress.loss,
            f"{progress.score_name}/training": progress.training_score() if self.training_score else None,
            f"{progress.score_name}/validation": progress.validation_score,
            "learning_rate": progress.rate,
            "seconds": epoch.seconds,
        }
        for tag, number in numbers.items():
            if number is not None:
                self._fits[context.parent].add_scalar(tag, number, epoch.number)

    def _begin_fit(self, estimator: Any, context: Any) -> Any:
        outermost, tasks = lineage(context)
        name = f"{outermost.init_time:%Y-%m-%d_%H-%M-%S}_{outermost.estimator_name}_{outermost.root_uuid.hex[:6]}"
        parts = [f"{task.source_task_name or task.task_name}-{task.task_id}" for task in tasks]
        # By default, numbers may wait for two minutes.
        return _import_writer()(str(self.log_dir.joinpath(name, *parts)), flush_secs=5)

    def _end_fit(self, kept: Any) -> None:
        kept.close()


def _import_writer() -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise ImportError(
            'TensorBoard writes with tensorboard, which is not installed: pip install "sknn-torch[tensorboard]"'
        ) from error
    return SummaryWriter
