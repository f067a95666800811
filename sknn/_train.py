"""The training loop of K models as a generator of epochs; whoever iterates decides when it ends."""

import math
import time
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from sknn._parameters import Snapshot
from sknn._samples import Batch, KeptRows, Orders, Samples, batch_bounds, gather, stacked
from sknn._solvers import Solver, scheduled
from sknn._steps import Step

# scikit-learn's bound below which the "adaptive" learning rate stops the fit instead of shrinking again.
_SMALLEST_RATE = 1e-6

# Values of X up to which all rows are prepared at once, and kept so beside X: some megabytes.
_KEPT_VALUES = 2**20


class Recipe(NamedTuple):
    """How to train, every choice resolved: no "auto" and no None."""

    batch_size: int
    learning_rate: str
    learning_rate_init: float
    lowers_rate: bool
    """Whether "invscaling" and "adaptive" apply: scikit-learn reads them for plain gradient descent only."""
    power_t: float
    max_iter: int
    max_fun: int
    shuffle: bool
    tol: float
    n_iter_no_change: float
    max_grad_norm: float
    stop_on_score: bool
    pairs: bool
    """Whether a batch needs two rows at the least, as batch normalisation does."""


class Epoch(NamedTuple):
    """What one pass over the rows came to, for each of K models."""

    number: int
    loss: np.ndarray
    score: np.ndarray | None
    stop: np.ndarray
    seconds: float
    messages: list[str]
    rate: np.ndarray | None
    """Learning rate of the last update; L-BFGS has none."""


@dataclass
class TrainState:
    """What training remembers of one model from epoch to epoch, beside its parameters and the solver."""

    rate: float
    best_loss: float = math.inf
    best_score: float = -math.inf
    no_improvement: int = 0
    stopped: bool = False
    n_seen: int = 0
    n_epochs: int = 0

    def memory(self, *, with_loss: bool) -> dict[str, Any]:
        """Return what the next fit of a warm start goes on from."""
        kept = {"no_improvement": self.no_improvement, "n_seen": self.n_seen}
        return {**kept, "best_loss": self.best_loss} if with_loss else kept


class Learner(NamedTuple):
    """One of K models: its rows, how it learns from them, and what it remembers."""

    samples: Samples
    rows: np.ndarray
    recipe: Recipe
    state: TrainState
    rng: np.random.RandomState
    score: Callable[[], float] | None = None
    """Returns the validation score of the model as it stands."""


def train(
    step: Step, solver: Solver, learners: Sequence[Learner], best: Snapshot | None = None
) -> Generator[Epoch, None, None]:
    """Train the models of a step, one for each learner, and yield a record after each epoch.

    The learners have as many rows, and their recipes differ in rates, `tol` and `n_iter_no_change` only. When the
    generator ends or is closed, models that stopped early, or whose stop depends on the score, are brought back to
    their last or best weights, which are kept in `best` if it is given.
    """
    if len(learners) > 1 and any(learner.samples.may_cancel for learner in learners):
        raise ValueError("Several models cannot be trained together on negative weights: each skips other batches.")
    readers = _readers(step, learners)
    needed = learners[0].recipe.stop_on_score or len(learners) > 1
    if best is None and needed:
        best = step.parameters.snapshot()
    return _train(step, solver, learners, readers, best)


def _train(
    step: Step, solver: Solver, learners: Sequence[Learner], readers: "Sequence[_Reader]", kept: Snapshot | None
) -> Generator[Epoch, None, None]:
    by_score, rest = learners[0].recipe.stop_on_score, list[int]()
    try:
        while not all(learner.state.stopped for learner in learners) and not rest:
            started, messages = time.perf_counter(), [""] * len(learners)
            scores = None if learners[0].score is None else np.full(len(learners), np.nan)
            sums, rates = _run_epoch(step, solver, learners, _joined(readers))
            losses = np.divide(sums, len(learners[0].rows))
            for k, learner in enumerate(learners):
                state = learner.state
                if state.stopped:
                    if kept is not None:  # it moved on in the buffer
                        step.parameters.restore(kept, k)
                    continue
                state.n_seen += len(learner.rows)
                state.n_epochs += 1
                if learner.score is not None and scores is not None:
                    scores[k] = learner.score()
                score = None if scores is None else float(scores[k])
                improved = _observe(learner.recipe, state, float(losses[k]), score)
                messages[k] = _act_on_plateau(learner.recipe, state)
                if not math.isfinite(losses[k]) and not step.parameters.finite(k):  # NaN never recovers
                    state.stopped, messages[k] = True, "The weights are no longer finite. Stopping."
                if kept is not None and (improved if by_score else state.stopped):
                    step.parameters.update_snapshot(kept, k)
            number = max(learner.state.n_epochs for learner in learners)
            stop = np.array([learner.state.stopped for learner in learners])
            yield Epoch(number, losses, scores, stop, time.perf_counter() - started, messages, np.array(rates))
            rest = _without_stopped(learners)
    finally:
        if kept is not None:
            for k, learner in enumerate(learners):
                if k not in rest and (learner.state.stopped or by_score):
                    step.parameters.restore(kept, k)
    if rest and kept is not None:
        fewer = step.keep(rest)
        solver = solver.keep(rest, fewer.parameters.data, fewer.parameters.grad)
        going_on = _train(fewer, solver, [learners[k] for k in rest], [readers[k] for k in rest], kept.keep(rest))
        with closing(going_on):
            for epoch in going_on:
                yield _among(epoch, rest, len(learners))


def _without_stopped(learners: Sequence[Learner]) -> list[int]:
    """Return the models to go on with, if half of them or more have stopped."""
    rest = [k for k, learner in enumerate(learners) if not learner.state.stopped]
    return rest if 2 * len(rest) <= len(learners) else []


def _among(epoch: Epoch, models: Sequence[int], n_models: int) -> Epoch:
    """Return the record of some models as one of all, of which the others have stopped."""

    def spread(values: Any, filling: Any) -> np.ndarray:
        among = np.full(n_models, filling)
        among[list(models)] = values
        return among

    score = None if epoch.score is None else spread(epoch.score, np.nan)
    messages = [""] * n_models
    for k, message in zip(models, epoch.messages, strict=True):
        messages[k] = message
    rate = None if epoch.rate is None else spread(epoch.rate, np.nan)
    return epoch._replace(
        loss=spread(epoch.loss, np.nan), score=score, stop=spread(epoch.stop, True), messages=messages, rate=rate
    )


class _Batches(NamedTuple):
    """The batches of one epoch, and how many they are."""

    n: int
    each: Iterable[Batch]


class _Reader:
    """What reads a learner's rows for an epoch; what does not change from epoch to epoch is prepared once."""

    def __init__(
        self, step: Step, learner: Learner, bounds: list[tuple[int, int]], kept: KeptRows | None = None, first: int = 0
    ) -> None:
        """Read batches with those bounds from `kept`, where the learner's rows begin at `first`, or from samples."""
        self._step, self._learner = step, learner
        self.bounds, self.kept = bounds, kept
        places = learner.rows if kept is None else first + np.arange(len(learner.rows))
        self._orders, self._n_drawn = Orders(places, [learner.rng]), learner.state.n_epochs
        self._whole: list[Batch] = []

    def order(self) -> Tensor:
        """Return where the rows of the next epoch are (1, n): among those that are kept, or else in the samples."""
        state, recipe = self._learner.state, self._learner.recipe
        while self._n_drawn <= state.n_epochs:  # once, but where another process ran the epochs before
            self._n_drawn += 1
            if recipe.shuffle:
                self._orders.shuffle()
        return torch.from_numpy(self._orders.rows()).to(self._learner.samples.y.device)

    def batches(self) -> Iterable[Batch]:
        """Return the batches of the next epoch, read from the samples."""
        if len(self.bounds) > 1:
            return gather(self._prepared, self.order(), self.bounds, self._learner.samples.X.row_size)
        if not self._whole:  # the same rows in any order
            self._whole = [_all_rows(self._step, self._learner)]
        return self._whole

    def _prepared(self, rows: Tensor) -> Batch:
        return self._step.prepared(*self._learner.samples.batch(rows))


def _all_rows(step: Step, learner: Learner) -> Batch:
    """Return all rows of a learner, prepared."""
    everything = torch.from_numpy(learner.rows[None]).to(learner.samples.y.device)
    return step.prepared(*learner.samples.batch(everything))


def _readers(step: Step, learners: Sequence[Learner]) -> list[_Reader]:
    """Return what reads the rows of each learner; those of all are kept together, each set of rows once."""
    recipe, n_rows, row_size = learners[0].recipe, len(learners[0].rows), learners[0].samples.X.row_size
    bounds = batch_bounds(n_rows, recipe.batch_size, at_least_two=recipe.pairs)
    if n_rows * row_size > _KEPT_VALUES or len(bounds) == 1:
        return [_Reader(step, learner, bounds) for learner in learners]
    sets = {(id(learner.samples), id(learner.rows)): learner for learner in learners}
    kept = KeptRows([_all_rows(step, learner) for learner in sets.values()], row_size)
    places = {same: i * n_rows for i, same in enumerate(sets)}
    return [_Reader(step, learner, bounds, kept, places[id(learner.samples), id(learner.rows)]) for learner in learners]


def _joined(readers: Sequence[_Reader]) -> _Batches:
    """Return the batches of all models, one behind the other."""
    bounds, kept = readers[0].bounds, readers[0].kept
    if kept is not None:
        order = torch.cat([reader.order() for reader in readers])
        return _Batches(len(bounds), gather(kept.batch, order, bounds, kept.row_size))
    return _Batches(len(bounds), map(stacked, zip(*(reader.batches() for reader in readers), strict=True)))


@torch.no_grad()  # operations take longer where gradients might be wanted
@np.errstate(all="ignore")  # what is no longer finite is found after the epoch
def _run_epoch(
    step: Step, solver: Solver, learners: Sequence[Learner], batches: _Batches
) -> tuple[list[float], list[float]]:
    """Update the parameters once per batch.

    Returns the sums of the K losses, each batch counted by its rows, and the learning rates of the last batch.
    """
    recipe, may_cancel = learners[0].recipe, learners[0].samples.may_cancel
    rates, n_epochs = [learner.state.rate for learner in learners], max(learner.state.n_epochs for learner in learners)
    sums, place, n_places = None, n_epochs * batches.n, recipe.max_iter * batches.n
    for i, (X, y, weight) in enumerate(batches.each):
        if may_cancel and weight is not None and _cancels(weight):
            continue
        of_batch = step(X, y, weight) * X.shape[1]
        sums = of_batch if sums is None else sums + of_batch
        if recipe.max_grad_norm < np.inf:
            step.parameters.clip_gradient(recipe.max_grad_norm)
        place = n_epochs * batches.n + i
        solver.update(rates, place, n_places)
    last = [scheduled(rate, options, place, n_places) for rate, options in zip(rates, solver.options, strict=True)]
    return [0.0] * len(learners) if sums is None else sums.tolist(), last


def _cancels(weight: Tensor) -> bool:
    """Return whether there is nothing to divide by: weights of a batch that sum to zero, up to rounding, or less."""
    smallest = weight.shape[1] * torch.finfo(weight.dtype).eps
    return not bool((weight.sum(1) > smallest * weight.abs().sum(1)).all())


def _observe(recipe: Recipe, state: TrainState, loss: float, score: float | None) -> bool:
    """Bring the best value and the count up to date; return whether this is the best so far."""
    if recipe.stop_on_score and score is not None:
        stale, improved = score < state.best_score + recipe.tol, score > state.best_score
        state.best_score = score if improved else state.best_score
    else:
        stale, improved = loss > state.best_loss - recipe.tol, loss < state.best_loss
        state.best_loss = loss if improved else state.best_loss
    state.no_improvement = state.no_improvement + 1 if stale else 0
    return improved


def _act_on_plateau(recipe: Recipe, state: TrainState) -> str:
    """Stop a model that makes no progress, or lower its learning rate, and return what to say of it."""
    if recipe.lowers_rate and recipe.learning_rate == "invscaling":
        state.rate = recipe.learning_rate_init / (state.n_seen + 1) ** recipe.power_t
    if state.no_improvement <= recipe.n_iter_no_change:
        return ""
    what = "Validation score" if recipe.stop_on_score else "Training loss"
    message = f"{what} did not improve more than tol={recipe.tol:f} for {recipe.n_iter_no_change} consecutive epochs."
    if not recipe.lowers_rate or recipe.learning_rate != "adaptive":
        state.stopped = True
        return message + " Stopping."
    if state.rate <= _SMALLEST_RATE:
        state.stopped = True
        return message + " Learning rate too small. Stopping."
    state.rate /= 5
    state.no_improvement = 0
    return message + f" Setting learning rate to {state.rate:f}"
