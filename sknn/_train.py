"""The training loop of K models as a generator of epochs; whoever iterates decides when it ends."""

import math
import time
from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from sknn._samples import Batch, KeptRows, Orders, Samples, batch_bounds, gather
from sknn._solvers import SCHEDULES, Rate, Solver
from sknn._steps import Step

# scikit-learn's bound below which the "adaptive" learning rate stops the fit instead of shrinking again.
_SMALLEST_RATE = 1e-6

# Values of X up to which all rows are prepared at once, and kept so beside X: some megabytes.
_KEPT_VALUES = 2**20


@dataclass(frozen=True)
class Recipe:
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
    message: str


@dataclass
class TrainState:
    """What training remembers from epoch to epoch beside the parameters and the solver; the lists are of K models."""

    rate: list[float]
    best_loss: list[float] = field(init=False)
    best_score: list[float] = field(init=False)
    no_improvement: list[int] = field(init=False)
    stopped: list[bool] = field(init=False)
    n_seen: int = 0
    n_epochs: int = 0

    def __post_init__(self) -> None:
        n_models = len(self.rate)
        self.best_loss, self.best_score = [math.inf] * n_models, [-math.inf] * n_models
        self.no_improvement, self.stopped = [0] * n_models, [False] * n_models


def train(
    step: Step,
    solver: Solver,
    samples: Samples,
    recipe: Recipe,
    state: TrainState,
    *,
    rngs: Sequence[np.random.RandomState],
    rows: np.ndarray,
    score: Callable[[], np.ndarray] | None = None,
) -> Generator[Epoch, None, None]:
    """Train on those rows and yield a record after each epoch; `score` gives the validation scores (K,).

    When the generator ends or is closed, models that stopped early, or whose stop depends on the score, are brought
    back to their last or best weights.
    """
    if samples.may_cancel and len(rngs) > 1:
        raise ValueError("Several models cannot be trained together on negative weights: each skips other batches.")
    read = _reader(step, samples, recipe, rows, rngs)
    kept = step.parameters.snapshot() if recipe.stop_on_score or len(rngs) > 1 else None
    try:
        while not all(state.stopped):
            started, message = time.perf_counter(), ""
            losses = [total / len(rows) for total in _run_epoch(step, solver, samples, recipe, state, read())]
            scores = score() if score is not None else None
            state.n_seen += len(rows)
            state.n_epochs += 1
            for k in [k for k, stopped in enumerate(state.stopped) if not stopped]:
                improved = _observe(recipe, state, k, losses[k], None if scores is None else scores[k])
                message = _act_on_plateau(recipe, state, k) or message
                if not math.isfinite(losses[k]) and not step.parameters.finite(k):  # NaN never recovers
                    state.stopped[k], message = True, "The weights are no longer finite. Stopping."
                if kept is not None and (improved if recipe.stop_on_score else state.stopped[k]):
                    step.parameters.update_snapshot(kept, k)
            seconds = time.perf_counter() - started
            yield Epoch(state.n_epochs, np.array(losses), scores, np.array(state.stopped), seconds, message)
    finally:
        if kept is not None:
            for k, stopped in enumerate(state.stopped):
                if stopped or recipe.stop_on_score:
                    step.parameters.restore(kept, k)


class _Batches(NamedTuple):
    """The batches of one epoch, and how many they are."""

    n: int
    each: Iterable[Batch]


def _reader(
    step: Step, samples: Samples, recipe: Recipe, rows: np.ndarray, rngs: Sequence[np.random.RandomState]
) -> Callable[[], _Batches]:
    """Return what reads the rows for an epoch; what does not change from epoch to epoch is prepared once."""
    bounds = batch_bounds(len(rows), recipe.batch_size, at_least_two=recipe.pairs)
    row_size, device = samples.X.row_size, samples.y.device

    def prepared(rows: Tensor) -> Batch:
        return step.prepared(*samples.batch(rows))

    if len(bounds) == 1:  # the same rows in any order
        whole = _Batches(1, [prepared(torch.from_numpy(np.tile(rows, (len(rngs), 1))).to(device))])
        return lambda: whole

    kept, places = None, rows
    if len(rows) * row_size <= _KEPT_VALUES:
        kept, places = KeptRows(prepared(torch.from_numpy(rows[None]).to(device))), np.arange(len(rows))
    orders = Orders(places, rngs)

    def read() -> _Batches:
        order = torch.from_numpy(orders.shuffled() if recipe.shuffle else orders.rows()).to(device)
        return _Batches(len(bounds), gather(kept.batch if kept else prepared, order, bounds, row_size))

    return read


@torch.no_grad()  # operations take longer where gradients might be wanted
@np.errstate(all="ignore")  # what is no longer finite is found after the epoch
def _run_epoch(
    step: Step, solver: Solver, samples: Samples, recipe: Recipe, state: TrainState, batches: _Batches
) -> list[float]:
    """Update the parameters once per batch and return the sums of the K losses, each batch counted by its rows."""
    schedule = SCHEDULES.get(recipe.learning_rate)
    sums = None
    rate = _rate(state.rate, step.parameters.data)
    for i, (X, y, weight) in enumerate(batches.each):
        if samples.may_cancel and weight is not None and _cancels(weight):
            continue
        of_batch = step(X, y, weight) * X.shape[1]
        sums = of_batch if sums is None else sums + of_batch
        if recipe.max_grad_norm < np.inf:
            step.parameters.clip_gradient(recipe.max_grad_norm)
        factor = schedule(state.n_epochs * batches.n + i, recipe.max_iter * batches.n) if schedule else 1.0
        solver.update(rate * factor)
    return [0.0] * len(state.rate) if sums is None else sums.tolist()


def _cancels(weight: Tensor) -> bool:
    """Return whether there is nothing to divide by: weights of a batch that sum to zero, up to rounding, or less."""
    smallest = weight.shape[1] * torch.finfo(weight.dtype).eps
    return not bool((weight.sum(1) > smallest * weight.abs().sum(1)).all())


def _rate(rates: list[float], like: Tensor) -> Rate:
    if rates.count(rates[0]) == len(rates):
        return rates[0]
    return like.new_tensor(rates).unsqueeze(1)  # (K, 1)


def _observe(recipe: Recipe, state: TrainState, k: int, loss: float, score: float | None) -> bool:
    """Bring the best value and the count of model k up to date; return whether this is its best so far."""
    if recipe.stop_on_score and score is not None:
        stale, improved = score < state.best_score[k] + recipe.tol, score > state.best_score[k]
        state.best_score[k] = score if improved else state.best_score[k]
    else:
        stale, improved = loss > state.best_loss[k] - recipe.tol, loss < state.best_loss[k]
        state.best_loss[k] = loss if improved else state.best_loss[k]
    state.no_improvement[k] = state.no_improvement[k] + 1 if stale else 0
    return improved


def _act_on_plateau(recipe: Recipe, state: TrainState, k: int) -> str:
    """Stop model k if it makes no progress, or lower its learning rate, and return what to say of it."""
    if recipe.lowers_rate and recipe.learning_rate == "invscaling":
        state.rate[k] = recipe.learning_rate_init / (state.n_seen + 1) ** recipe.power_t
    if state.no_improvement[k] <= recipe.n_iter_no_change:
        return ""
    what = "Validation score" if recipe.stop_on_score else "Training loss"
    message = f"{what} did not improve more than tol={recipe.tol:f} for {recipe.n_iter_no_change} consecutive epochs."
    if not recipe.lowers_rate or recipe.learning_rate != "adaptive":
        state.stopped[k] = True
        return message + " Stopping."
    if state.rate[k] <= _SMALLEST_RATE:
        state.stopped[k] = True
        return message + " Learning rate too small. Stopping."
    state.rate[k] /= 5
    state.no_improvement[k] = 0
    return message + f" Setting learning rate to {state.rate[k]:f}"
