"""The training loop of K models as a generator of epochs; whoever iterates decides when it ends."""

import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from sknn._parameters import FlatParameters
from sknn._samples import Orders, Samples, batch_bounds
from sknn._solvers import SCHEDULES, Rate, Solver
from sknn._steps import Step

# scikit-learn's bound below which the "adaptive" learning rate stops the fit instead of shrinking again.
_SMALLEST_RATE = 1e-6


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
    """What training remembers from epoch to epoch beside the parameters and the solver; arrays are (K,)."""

    rate: np.ndarray
    best_loss: np.ndarray
    best_score: np.ndarray
    no_improvement: np.ndarray
    n_seen: int = 0
    n_epochs: int = 0
    stopped: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        self.stopped = np.zeros(len(self.rate), dtype=bool)

    @classmethod
    def start(cls, n_models: int, rate: float) -> "TrainState":
        """Return the state before the first epoch."""
        full = np.full
        return cls(full(n_models, rate), full(n_models, np.inf), full(n_models, -np.inf), full(n_models, 0))


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
    orders = Orders(rows, rngs)
    kept = step.parameters.snapshot() if recipe.stop_on_score or len(rngs) > 1 else None
    try:
        while not state.stopped.all():
            started, running = time.perf_counter(), ~state.stopped
            loss = _run_epoch(step, solver, samples, recipe, state, orders)
            scores = score() if score is not None else None
            state.n_seen += len(rows)
            state.n_epochs += 1
            improved = _observe(recipe, state, loss, scores)
            message = _act_on_plateaus(recipe, state) or _stop_diverged(step.parameters, state, loss)
            if kept is not None:
                for k in np.flatnonzero(running & (improved if recipe.stop_on_score else state.stopped)):
                    step.parameters.update_snapshot(kept, int(k))
            yield Epoch(state.n_epochs, loss, scores, state.stopped.copy(), time.perf_counter() - started, message)
    finally:
        if kept is not None:
            for k in np.flatnonzero(state.stopped | recipe.stop_on_score):
                step.parameters.restore(kept, int(k))


def _run_epoch(
    step: Step, solver: Solver, samples: Samples, recipe: Recipe, state: TrainState, orders: Orders
) -> np.ndarray:
    """Update the parameters once per batch and return the mean loss (K,), each batch counted by its rows."""
    order = torch.from_numpy(orders.shuffled() if recipe.shuffle else orders.rows()).to(samples.y.device)
    bounds = batch_bounds(order.shape[1], recipe.batch_size, at_least_two=recipe.pairs)
    schedule = SCHEDULES.get(recipe.learning_rate)
    sums = step.parameters.data.new_zeros(len(order))
    rate = _rate(state.rate, sums)
    for i, (X, y, weight) in enumerate(samples.batches(order, bounds)):
        if samples.may_cancel and weight is not None and _cancels(weight):
            continue
        sums.add_(step(X, y, weight), alpha=X.shape[1])
        if recipe.max_grad_norm < np.inf:
            step.parameters.clip_gradient(recipe.max_grad_norm)
        factor = schedule(state.n_epochs * len(bounds) + i, recipe.max_iter * len(bounds)) if schedule else 1.0
        solver.update(rate * factor)
    return (sums / order.shape[1]).double().cpu().numpy()


def _cancels(weight: Tensor) -> bool:
    """Return whether there is nothing to divide by: weights of a batch that sum to zero, up to rounding, or less."""
    smallest = weight.shape[1] * torch.finfo(weight.dtype).eps
    return not bool((weight.sum(1) > smallest * weight.abs().sum(1)).all())


def _rate(rates: np.ndarray, like: Tensor) -> Rate:
    if (rates == rates[0]).all():
        return float(rates[0])
    return torch.from_numpy(rates).to(like).unsqueeze(1)  # (K, 1)


def _observe(recipe: Recipe, state: TrainState, loss: np.ndarray, scores: np.ndarray | None) -> np.ndarray:
    """Bring best values and counts of the running models up to date; return whose score is the best so far (K,)."""
    running = ~state.stopped
    if recipe.stop_on_score and scores is not None:
        stale, improved = scores < state.best_score + recipe.tol, running & (scores > state.best_score)
        state.best_score[improved] = scores[improved]
    else:
        stale, improved = loss > state.best_loss - recipe.tol, running & (loss < state.best_loss)
        state.best_loss[improved] = loss[improved]
    state.no_improvement = np.where(stale, state.no_improvement + 1, 0)
    return improved


def _act_on_plateaus(recipe: Recipe, state: TrainState) -> str:
    """Stop the models without progress or lower their learning rate, and return what to say of the last of them."""
    if recipe.lowers_rate and recipe.learning_rate == "invscaling":
        state.rate[:] = recipe.learning_rate_init / (state.n_seen + 1) ** recipe.power_t
    message = ""
    for k in np.flatnonzero((state.no_improvement > recipe.n_iter_no_change) & ~state.stopped):
        what = "Validation score" if recipe.stop_on_score else "Training loss"
        message = (
            f"{what} did not improve more than tol={recipe.tol:f} for {recipe.n_iter_no_change} consecutive epochs."
        )
        if not recipe.lowers_rate or recipe.learning_rate != "adaptive":
            state.stopped[k] = True
            message += " Stopping."
        elif state.rate[k] <= _SMALLEST_RATE:
            state.stopped[k] = True
            message += " Learning rate too small. Stopping."
        else:
            state.rate[k] /= 5
            state.no_improvement[k] = 0
            message += f" Setting learning rate to {state.rate[k]:f}"
    return message


def _stop_diverged(parameters: FlatParameters, state: TrainState, loss: np.ndarray) -> str:
    """Stop the models whose weights are no longer finite, and return what to say of them: NaN never recovers."""
    diverged = [k for k in np.flatnonzero(~np.isfinite(loss) & ~state.stopped) if not parameters.finite(int(k))]
    state.stopped[diverged] = True
    return "The weights are no longer finite. Stopping." if diverged else ""
