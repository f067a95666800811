"""The training loop of K models as a generator of epochs; whoever iterates decides when it ends."""

import math
import time
from collections.abc import Generator, Sequence
from contextlib import closing
from typing import Any, NamedTuple

import numpy as np

from sknn._batches import BatchedPass
from sknn._compiled import compiled_pass
from sknn._learner import Learner, Shuffled
from sknn._parameters import Snapshot
from sknn._solvers import Solver
from sknn._steps import Step


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
    needed = learners[0].recipe.stop_on_score or len(learners) > 1
    if best is None and needed:
        best = step.parameters.snapshot()
    return _train(step, solver, learners, [Shuffled(learner) for learner in learners], best)


def _train(
    step: Step, solver: Solver, learners: Sequence[Learner], orders: Sequence[Shuffled], kept: Snapshot | None
) -> Generator[Epoch, None, None]:
    by_score, rest = learners[0].recipe.stop_on_score, list[int]()
    run = compiled_pass(step, solver, learners, orders) or BatchedPass(step, solver, learners, orders)
    try:
        while not all(learner.state.stopped for learner in learners) and not rest:
            started, messages = time.perf_counter(), [""] * len(learners)
            scores = None if learners[0].score is None else np.full(len(learners), np.nan)
            sums, rates = run()
            losses = [total / len(learners[0].rows) for total in sums]
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
                improved = state.observe(learner.recipe, losses[k], score)
                messages[k] = state.act_on_plateau(learner.recipe)
                if not math.isfinite(losses[k]) and not step.parameters.finite(k):  # NaN never recovers
                    state.stopped, messages[k] = True, "The weights are no longer finite. Stopping."
                if kept is not None and (improved if by_score else state.stopped):
                    step.parameters.update_snapshot(kept, k)
            number = max(learner.state.n_epochs for learner in learners)
            stop = np.array([learner.state.stopped for learner in learners])
            seconds = time.perf_counter() - started
            yield Epoch(number, np.array(losses), scores, stop, seconds, messages, np.array(rates))
            rest = _without_stopped(learners)
    finally:
        if kept is not None:
            for k, learner in enumerate(learners):
                if k not in rest and (learner.state.stopped or by_score):
                    step.parameters.restore(kept, k)
    if rest and kept is not None:
        fewer = step.keep(rest)
        solver = solver.keep(rest, fewer.parameters.data, fewer.parameters.grad)
        going_on = _train(fewer, solver, [learners[k] for k in rest], [orders[k] for k in rest], kept.keep(rest))
        with closing(going_on):
            for epoch in going_on:
                yield _among(epoch, rest, len(learners))


def _without_stopped(learners: Sequence[Learner]) -> list[int]:
    """Return the models to go on with, if half of them or more have stopped."""
    if len(learners) == 1:  # asked after each epoch, and epochs may take some 20 µs
        return []
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
