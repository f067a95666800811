"""One fit between estimator and engine: the rows it trains and scores on, and its run to the end."""

import functools
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from typing import Any, NamedTuple

import numpy as np
import torch
from sklearn.base import BaseEstimator
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import _safe_indexing, indexable
from torch import Tensor, nn

from sknn._autograd import RowCost, raw_scores
from sknn._devices import fits_one_thread, plain_modes
from sknn._ensemble import members_of
from sknn._images import Augment
from sknn._input import check_weight_sum
from sknn._lbfgs import minimize_lbfgs
from sknn._learner import Learner, Recipe, TrainState
from sknn._links import LINKS
from sknn._losses import Loss
from sknn._progress import GivenRows, Progress
from sknn._samples import DenseRows, HostRows, Samples, pass_slices, to_tensor
from sknn._solvers import SCHEDULES, Solver, SolverOptions
from sknn._sparse_scores import sparse_scores
from sknn._standing import Standing
from sknn._steps import Step, choose_step
from sknn._targets import Targets
from sknn._train import Epoch, train
from sknn.modules import MLP, Dropout


class ScoredRows(NamedTuple):
    """Rows of X to score a model on, with their encoded targets and weights (or None)."""

    X: DenseRows | HostRows
    rows: np.ndarray
    y: np.ndarray
    weight: np.ndarray | None

    def batches(self) -> Iterator[tuple[Tensor, Tensor | None]]:
        """Yield X and weights of some rows at a time, over all of them, on the device."""
        order = torch.from_numpy(self.rows).to(self.X.device)
        for part in pass_slices(len(self.rows), self.X.row_size):
            X = self.X[order[part]]
            yield X, None if self.weight is None else to_tensor(self.weight[part]).to(X)


class Fit(NamedTuple):
    """One fit, ready to run; `n_seen` rows were seen before it, and `dtype` is that of the published module.

    Of an ensemble, all members train on the same rows, each by a source of randomness of its own.
    """

    module: nn.Module
    loss: Loss
    alpha: float
    autocast: bool
    solver: str
    options: SolverOptions
    cost: RowCost
    samples: Samples
    targets: Targets
    recipe: Recipe
    training: ScoredRows
    validation: ScoredRows | None
    rngs: list[np.random.RandomState]
    n_seen: int
    device: torch.device
    dtype: torch.dtype
    generators: Sequence[torch.Generator]
    """What the layers draw from."""

    @property
    def work(self) -> int:
        """Multiply-adds of a batch in one network: together they take no more threads than alone.

        Of dense networks only those of the largest layer count: threads part each product anew.
        """
        network = self.networks[0]
        if isinstance(network, MLP):
            return self.recipe.batch_size * max(layer.weight.numel() for layer in network.linear_layers())
        return self.recipe.batch_size * self.cost.multiply_adds // len(self.networks)

    @property
    def networks(self) -> list[nn.Module]:
        """What is trained: the members of an ensemble, or the module itself."""
        return members_of(self.module)

    def score(self, scored: ScoredRows, network: nn.Module | None = None) -> float:
        """Return accuracy or R2 of the model, or of one of its networks, as it stands."""
        scored_network = (self.module if network is None else network).eval()
        compute = functools.partial(raw_scores, scored_network, autocast=True) if self.autocast else scored_network
        raw = forward(compute, self.cost, scored.X, scored.rows).to(scored.X.dtype).cpu().numpy()
        return self.targets.score(raw, LINKS[self.targets.link](raw), scored.y, scored.weight)

    def contents(self) -> Iterator[Tensor]:
        """Yield all that decides the fit, beside parameters: the weights to begin with, rows, targets and weights."""
        yield from (*self.module.parameters(), *self.module.buffers())
        for scored in (self.training, self.validation):
            if scored is not None:
                for X, weight in scored.batches():
                    yield from (X,) if weight is None else (X, weight)
                yield to_tensor(scored.y)
        yield from (self.samples.y,) if self.samples.weight is None else (self.samples.y, self.samples.weight)

    def learners(self, states: Sequence[TrainState]) -> list[Learner]:
        """Return what training needs to know of each network."""
        return [
            Learner(self.samples, self.training.rows, self.recipe, state, rng, self._validation_score(network))
            for network, state, rng in zip(self.networks, states, self.rngs, strict=True)
        ]

    def _validation_score(self, network: nn.Module) -> Callable[[], float] | None:
        return None if self.validation is None else functools.partial(self.score, self.validation, network)


def all_or_nothing(method: Callable[..., Any]) -> Callable[..., Any]:
    """Decorate a method that fits: no mode of torch reaches it, and when it raises, the estimator is as before."""

    @functools.wraps(method)
    def restoring(self: BaseEstimator, *args: Any, **kwargs: Any) -> Any:
        before = dict(vars(self))
        try:
            with plain_modes():
                return method(self, *args, **kwargs)
        except BaseException:
            self.__dict__.clear()
            self.__dict__.update(before)
            raise

    return restoring


def make_step(fits: Sequence[Fit]) -> Step:
    """Return the step of fits whose modules, targets and batches are alike."""
    networks = [network for fit in fits for network in fit.networks]
    losses, alpha = zip(*((fit.loss, fit.alpha) for fit in fits for _ in fit.networks), strict=True)
    small = fits_one_thread(fits[0].work, fits[0].device)
    return choose_step(networks, losses, alpha=alpha, autocast=fits[0].autocast, small=small)


def make_solver(fits: Sequence[Fit], step: Step) -> Solver:
    """Return the solver of fits with the same one."""
    flat, options = step.parameters, [fit.options for fit in fits for _ in fit.networks]
    return Solver(fits[0].solver, flat.data, flat.grad, flat.decayed, options)


@torch.no_grad()
def forward(
    compute: Callable[[Tensor], Tensor], cost: RowCost, X: DenseRows | HostRows, rows: np.ndarray | None = None
) -> Tensor:
    """Pass rows of X forward in batches and return what comes out, one after the other."""
    if (scores := sparse_scores(compute, X, rows)) is not None:
        return scores
    if rows is None:
        return torch.cat([compute(X[part]) for part in pass_slices(len(X), cost.values)])
    order = torch.from_numpy(rows).to(X.device)
    return torch.cat([compute(X[order[part]]) for part in pass_slices(len(rows), cost.values)])


def split(
    scored: ScoredRows, fraction: float, rng: np.random.RandomState, *, stratify: bool
) -> tuple[ScoredRows, ScoredRows]:
    """Hold out a fraction of the rows for validation, the same rows that scikit-learn's MLP would."""
    from sklearn.model_selection import train_test_split  # takes longer to import than sknn itself

    places = np.arange(len(scored.rows))
    training, validation = train_test_split(
        places, test_size=fraction, random_state=rng, stratify=scored.y if stratify else None
    )
    if len(validation) < 2:
        raise ValueError(
            "The validation set is too small. Increase 'validation_fraction' or the size of your dataset. It has"
            f" {len(validation)} of {len(places)} rows, and needs 2."
        )

    if scored.weight is not None:
        check_weight_sum(scored.weight[validation], "Sample weights of the rows held out for validation")

    def part(chosen: np.ndarray) -> ScoredRows:
        weight = None if scored.weight is None else scored.weight[chosen]
        return ScoredRows(scored.X, scored.rows[chosen], scored.y[chosen], weight)

    return part(training), part(validation)


def validation_as_given(fit: Fit, training: GivenRows, validation: GivenRows) -> GivenRows | None:
    """Return X, y and weights of the validation rows as the user has them: given, a part of all rows, or none."""
    if fit.validation is None:
        return None
    if validation[0] is not None:
        return validation
    X, y, weight = indexable(*training)
    rows = fit.validation.rows
    return _safe_indexing(X, rows), _safe_indexing(y, rows), None if weight is None else _safe_indexing(weight, rows)


def seed_layers(
    module: nn.Module, device: torch.device, rngs: Sequence[np.random.RandomState], offset: int
) -> list[torch.Generator]:
    """Give the random layers of each network a generator, and return those that are needed.

    The offset keeps the masks of one fit from coming back in the next.
    """
    generators = []
    for network, rng in zip(members_of(module), rngs, strict=True):
        layers = [part for part in network.modules() if isinstance(part, Dropout | Augment)]
        if layers:
            generators.append(torch.Generator(device).manual_seed(int(rng.randint(2**31 - 1)) + offset))
        for layer in layers:
            layer.generator = generators[-1]
    return generators


def run_solver(
    fit: Fit, step: Step, solver: Solver, states: Sequence[TrainState], progress: Progress, n_epochs: int
) -> bool:
    """Train for at most that many epochs and return whether anything ended the fit before."""
    best = step.parameters.snapshot() if fit.recipe.stop_on_score else None
    if len(states) == 1:
        progress.standing = Standing(step.parameters, best, solver, states[0], fit.generators, fit.contents)
    with closing(train(step, solver, fit.learners(states), best)) as epochs:
        try:
            while progress.n_iter < n_epochs:
                progress.begin()
                epoch = next(epochs)
                if progress.end(epoch) or all(epoch.stop):
                    return True
        except KeyboardInterrupt:
            warnings.warn("Training interrupted by user.", stacklevel=2)
            progress.interrupted = True
            return True
    return False


def warn_if_unfinished(recipe: Recipe, finished: bool) -> None:
    """Warn as scikit-learn does; schedules that plan for `max_iter` epochs are meant to reach it."""
    if not finished and recipe.learning_rate not in SCHEDULES:
        warnings.warn(
            f"Stochastic Optimizer: Maximum iterations ({recipe.max_iter}) reached and the optimization hasn't"
            " converged yet.",
            ConvergenceWarning,
            stacklevel=2,
        )


def run_lbfgs(fit: Fit, state: TrainState, progress: Progress) -> None:
    """Minimise by L-BFGS, an iteration being an epoch."""

    def after_iteration(number: int, loss: float, seconds: float) -> bool:
        state.best_loss = min(state.best_loss, loss)
        score = None if fit.validation is None else np.array([fit.score(fit.validation)])
        stop = progress.end(Epoch(number, np.array([loss]), score, np.array([state.stopped]), seconds, [""], None))
        progress.begin()
        return stop

    recipe = fit.recipe
    progress.begin()
    try:
        failure, progress.loss = minimize_lbfgs(
            make_step([fit]),
            fit.samples,
            fit.training.rows,
            fit.cost,
            max_iter=recipe.max_iter,
            max_fun=recipe.max_fun,
            tol=recipe.tol,
            after_iteration=after_iteration,
        )
    except KeyboardInterrupt:
        warnings.warn("Training interrupted by user.", stacklevel=2)
        return
    finally:
        progress.close()
    if failure:
        warnings.warn(
            f"lbfgs failed to converge after {progress.n_iter} iteration(s) {failure}. Increase max_iter="
            f"{recipe.max_iter} or max_fun={recipe.max_fun}, or scale the data.",
            ConvergenceWarning,
            stacklevel=2,
        )
