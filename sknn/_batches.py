"""One pass of K models over their rows: batches that are gathered and prepared, each followed by an update."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from sknn._learner import Learner, Shuffled
from sknn._samples import Batch, KeptRows, batch_bounds, gather, stacked
from sknn._solvers import Solver, scheduled
from sknn._steps import Step

# Values of X up to which all rows are prepared at once, and kept so beside X: some megabytes.
_KEPT_VALUES = 2**20


class Passed(NamedTuple):
    """What a pass came to for each of K models."""

    sums: Sequence[float]
    """Of the losses, each batch counted by its rows."""
    rates: Sequence[float]
    """Learning rates of the last batch."""


class BatchedPass:
    """The pass of any step and solver."""

    def __init__(self, step: Step, solver: Solver, learners: Sequence[Learner], orders: Sequence[Shuffled]) -> None:
        self._step, self._solver, self._learners = step, solver, learners
        recipe, n_rows, row_size = learners[0].recipe, len(learners[0].rows), learners[0].samples.X.row_size
        self._bounds = batch_bounds(n_rows, recipe.batch_size, at_least_two=recipe.pairs)
        self._readers = [_Reader(step, learner, order) for learner, order in zip(learners, orders, strict=True)]
        self._kept = None
        if len(self._bounds) > 1 and n_rows * row_size <= _KEPT_VALUES:
            self._kept = _keep_rows(self._readers, row_size)

    @torch.no_grad()  # operations take longer where gradients might be wanted
    @np.errstate(all="ignore")  # what is no longer finite is found after the epoch
    def __call__(self) -> Passed:
        """Update the parameters once per batch."""
        step, solver, learners, n_batches = self._step, self._solver, self._learners, len(self._bounds)
        recipe, may_cancel = learners[0].recipe, learners[0].samples.may_cancel
        rates, n_epochs = [learner.state.rate for learner in learners], max(of.state.n_epochs for of in learners)
        sums, place, n_places = None, n_epochs * n_batches, recipe.max_iter * n_batches
        for i, (X, y, weight) in enumerate(self._batches()):
            if may_cancel and weight is not None and _cancels(weight):
                continue
            of_batch = step(X, y, weight) * X.shape[1]
            sums = of_batch if sums is None else sums + of_batch
            if recipe.max_grad_norm < np.inf:
                step.parameters.clip_gradient(recipe.max_grad_norm)
            place = n_epochs * n_batches + i
            solver.update(rates, place, n_places)
        last = [scheduled(rate, options, place, n_places) for rate, options in zip(rates, solver.options, strict=True)]
        return Passed([0.0] * len(learners) if sums is None else sums.tolist(), last)

    def _batches(self) -> Iterable[Batch]:
        """Return the batches of all models, one behind the other."""
        if self._kept is not None:
            order = torch.cat([reader.order() for reader in self._readers])
            return gather(self._kept.batch, order, self._bounds, self._kept.row_size)
        return map(stacked, zip(*(reader.batches(self._bounds) for reader in self._readers), strict=True))


class _Reader:
    """What reads a learner's rows for an epoch; what does not change from epoch to epoch is prepared once."""

    def __init__(self, step: Step, learner: Learner, order: Shuffled) -> None:
        self._step, self.learner, self._order = step, learner, order
        self.places = torch.from_numpy(learner.rows)
        """Where the learner's rows are: in the samples, or among those that are kept."""
        self._whole: list[Batch] = []

    def order(self) -> Tensor:
        """Return where the rows of the next epoch are (1, n)."""
        return self.places[torch.from_numpy(self._order.places())][None].to(self.learner.samples.y.device)

    def batches(self, bounds: list[tuple[int, int]]) -> Iterable[Batch]:
        """Return the batches of the next epoch, read from the samples."""
        if len(bounds) > 1:
            return gather(self._prepared, self.order(), bounds, self.learner.samples.X.row_size)
        if not self._whole:  # the same rows in any order
            self._whole = [self.all_rows()]
        return self._whole

    def all_rows(self) -> Batch:
        """Return all rows of the learner, prepared."""
        return self._prepared(torch.from_numpy(self.learner.rows[None]).to(self.learner.samples.y.device))

    def _prepared(self, rows: Tensor) -> Batch:
        return self._step.prepared(*self.learner.samples.batch(rows))


def _keep_rows(readers: Sequence[_Reader], row_size: int) -> KeptRows:
    """Return the rows of all learners together, each set of rows once."""
    sets = {(id(reader.learner.samples), id(reader.learner.rows)): reader for reader in readers}
    first_of = dict(zip(sets, range(len(sets)), strict=True))
    for reader in readers:
        n_rows = len(reader.learner.rows)
        first = first_of[id(reader.learner.samples), id(reader.learner.rows)] * n_rows
        reader.places = torch.arange(first, first + n_rows)
    return KeptRows([reader.all_rows() for reader in sets.values()], row_size)


def _cancels(weight: Tensor) -> bool:
    """Return whether there is nothing to divide by: weights of a batch that sum to zero, up to rounding, or less."""
    smallest = weight.shape[1] * torch.finfo(weight.dtype).eps
    return not bool((weight.sum(1) > smallest * weight.abs().sum(1)).all())
