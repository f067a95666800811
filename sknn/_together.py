"""Fits of several estimators at once: those whose networks are alike train as one program."""

import dataclasses
import itertools
import os
import pickle
import threading
import time
import warnings
from collections.abc import Hashable, Iterator, Sequence
from contextlib import closing, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import joblib
import numpy as np
from joblib import effective_n_jobs
from sklearn.base import clone
from sklearn.pipeline import Pipeline
from sklearn.utils.parallel import Parallel, delayed

from sknn._devices import compute_scope, fits_one_thread, plain_modes
from sknn._fitting import Fit, make_solver, make_step, warn_if_unfinished
from sknn._fused import shape_of
from sknn._learner import TrainState
from sknn._progress import Progress
from sknn._solvers import SOLVERS
from sknn._train import Epoch, train
from sknn.mlp_classifier import MLPTorchClassifier
from sknn.mlp_regressor import MLPTorchRegressor

# Only of these is it certain that a fit among others is what it is alone.
_KNOWN = (MLPTorchClassifier, MLPTorchRegressor)
_FIT_PARAMS = ("sample_weight", "X_val", "y_val", "sample_weight_val")


@dataclass
class Job:
    """One fit to do: an estimator of its own, and what to fit it to; `fold` is the same where X and y are."""

    estimator: Any
    X: Any
    y: Any
    fit_params: dict[str, Any]
    fold: int


@dataclass
class Outcome:
    """What came of a job: the fitted estimator or an exception, what it warned of, and its share of the time."""

    estimator: Any = None
    error: Exception | None = None
    caught: list[warnings.WarningMessage] = field(default_factory=list)
    seconds: float = 0.0
    together: bool = False

    @contextmanager
    def recorded(self) -> Iterator[None]:
        """Write down time, warnings and an exception of what is done for this job.

        Where other threads run beside, warnings go their usual way: what catches them is shared by all threads.
        """
        started, alone = time.perf_counter(), threading.current_thread() is threading.main_thread()
        with warnings.catch_warnings(record=True) if alone else nullcontext() as caught:
            if alone:
                warnings.simplefilter("always")
            try:
                yield
            except Exception as error:
                self.error = error
        self.caught += caught or []
        self.seconds += time.perf_counter() - started


@dataclass
class _Member:
    """A job among others: the network to fit, alone or at the end of a pipeline, and its fit."""

    outcome: Outcome
    network: Any
    fit: Fit
    state: TrainState
    progress: Progress


def last_step(estimator: Any) -> Any:
    """Return the estimator at the end of a pipeline, or the estimator itself."""
    return estimator.steps[-1][1] if isinstance(estimator, Pipeline) and estimator.steps else estimator


def can_take_part(estimator: Any) -> bool:
    """Return whether an estimator, or the one at the end of a pipeline, is one that may be fitted among others."""
    network = last_step(estimator)
    return (
        type(network) in _KNOWN
        and network.n_ensemble == 1
        and isinstance(network.solver, str)
        and network.solver in SOLVERS
        and not network.verbose
        and not getattr(network, "_skl_callbacks", None)
        and (
            network is estimator
            or (
                type(estimator) is Pipeline and not (estimator.verbose or estimator.memory or estimator.transform_input)
            )
        )
    )


def fit_all(jobs: Sequence[Job], n_jobs: int | None, batch_memory: int | None) -> list[Outcome]:
    """Do all jobs, together those that are alike, and each of the others alone; what comes of them is the same."""
    outcomes = [Outcome() for _ in jobs]
    spares = [clone(job.estimator) for job in jobs]
    members = _prepare_all(jobs, outcomes)
    n_workers = min(effective_n_jobs(n_jobs), joblib.cpu_count())  # a cluster may have more, for other fits
    groups: dict[Hashable, list[_Member]] = {}
    for member in members:
        groups.setdefault(_likeness(member), []).append(member)
    parts = [part for group in groups.values() for part in _parts(group, n_workers, batch_memory)]
    given_up = threading.Event()
    try:
        Parallel(n_jobs=n_workers, backend="threading")(delayed(_train_together)(part, given_up) for part in parts)
    finally:  # where the user interrupts, the threads would go on
        given_up.set()
    for member in members:
        _publish(member)
    alone = [k for k, outcome in enumerate(outcomes) if outcome.error is None and not outcome.together]
    again = (dataclasses.replace(jobs[k], estimator=spares[k]) for k in alone)
    found = Parallel(n_jobs=n_jobs)(map(delayed(_fit_alone), again)) if alone else []
    for k, outcome in zip(alone, found, strict=True):
        outcomes[k] = outcome
    return outcomes


def _prepare_all(jobs: Sequence[Job], outcomes: Sequence[Outcome]) -> list[_Member]:
    """Return those of the jobs that may train among others and whose batches are small enough to gain, ready to."""
    members, transformed, known = [], dict[Hashable, tuple[Any, Any]](), dict[int, list[Fit]]()
    too_large = set[Hashable]()
    for job, outcome in zip(jobs, outcomes, strict=True):
        piped = isinstance(job.estimator, Pipeline)
        if not can_take_part(job.estimator) or job.fit_params.keys() - (() if piped else _FIT_PARAMS):
            continue
        with outcome.recorded():
            X = _through_steps(job, transformed) if piped else job.X
            network = last_step(job.estimator)
            size = getattr(X, "shape", id(X)), repr([network.hidden_layer_sizes, network.batch_size, network.device])
            if size in too_large:
                continue
            member = _prepared(network, X, job, outcome)
            if not fits_one_thread(member.fit.work, member.fit.device):
                too_large.add(size)
            elif shape_of(member.fit.module) and not member.fit.samples.may_cancel:
                member.fit = _with_known_rows(member.fit, known.setdefault(job.fold, []))
                outcome.estimator, outcome.together = job.estimator, True
                members.append(member)
    return members


def _through_steps(job: Job, transformed: dict[Hashable, tuple[Any, Any]]) -> Any:
    """Return X as it gets to the last step; the steps before are fitted once for each fold and setting of them."""
    steps = job.estimator.steps
    if len(steps) == 1:
        return job.X
    try:
        key = job.fold, joblib.hash(steps[:-1])
    except (pickle.PicklingError, TypeError, AttributeError):  # such as steps that are defined in a function
        key = job.fold, id(job)
    if key not in transformed:
        transformed[key] = job.estimator[:-1].fit_transform(job.X, job.y), steps[:-1]
    X, steps[:-1] = transformed[key]
    return X


def _prepared(network: Any, X: Any, job: Job, outcome: Outcome) -> _Member:
    """Validate and place what a network is fitted to."""
    network._validate_params()
    weight, *validation = (job.fit_params.get(name) for name in _FIT_PARAMS)
    with plain_modes():
        fit = network._prepare(X, job.y, weight, tuple(validation), first=True)
        (state,), progress = network._resume(True)
    return _Member(outcome, network, fit, state, progress)


def _with_known_rows(fit: Fit, known: list[Fit]) -> Fit:
    """Return a fit with the samples of one before where they are equal, so that they are kept once."""
    for other in known:
        if fit.samples.is_same(other.samples) and np.array_equal(fit.training.rows, other.training.rows):
            X, validation = other.samples.X, fit.validation
            if validation is not None and validation.X is fit.samples.X:
                validation = validation._replace(X=X)
            training = fit.training._replace(X=X, rows=other.training.rows)
            return fit._replace(samples=other.samples, training=training, validation=validation)
    known.append(fit)
    return fit


def _likeness(member: _Member) -> Hashable:
    """Return what has to be the same for members to train as one program."""
    fit, recipe = member.fit, member.fit.recipe
    common = recipe._replace(learning_rate="", learning_rate_init=0.0, power_t=0.0, tol=0.0, n_iter_no_change=0)
    return (
        shape_of(fit.module),
        fit.solver,
        fit.autocast,
        common,
        len(fit.training.rows),
        fit.samples.X.dtype,
        fit.samples.weight is None,
        fit.validation is None,
        (fit.targets.link, fit.targets.blocks, member.network.loss),
    )


def _parts(group: list[_Member], n_workers: int, batch_memory: int | None) -> list[list[_Member]]:
    """Return a group in parts, as many as there are workers, of which none takes more than that many bytes."""
    fit = group[0].fit
    n_parameters = sum(parameter.numel() for parameter in fit.module.parameters())
    # Parameters, gradient, penalty, slots and the copies to go back to; forward, masks and backward through each layer.
    n_values = 7 * n_parameters + 5 * fit.recipe.batch_size * sum(
        p.numel() for p in fit.module.parameters() if p.ndim == 1
    )
    at_most = max(1, (batch_memory or _free_memory() // 4) // (n_values * fit.dtype.itemsize))
    n_parts = max(min(n_workers, len(group)), -(-len(group) // at_most))
    # One call updates neighbours with the same rate and options, and one computes the loss of those with the same.
    losses = [member.fit.loss for member in group]
    ordered = sorted(group, key=lambda of: (repr(of.fit.options), of.state.rate, losses.index(of.fit.loss)))
    bounds = np.linspace(0, len(group), n_parts + 1).astype(int)
    return [ordered[start:stop] for start, stop in itertools.pairwise(bounds)]


def _free_memory() -> int:
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):  # not on every system
        return 2**32


def _train_together(part: Sequence[_Member], given_up: threading.Event) -> None:
    """Train the models of members that are alike, until that is given up; where it fails, each will be fitted alone."""
    started, fits = time.perf_counter(), [member.fit for member in part]
    try:
        with plain_modes(), compute_scope(fits[0].work, fits[0].device):
            step = make_step(fits)
            learners = [learner for member in part for learner in member.fit.learners([member.state])]
            with closing(train(step, make_solver(fits, step), learners)) as epochs:
                stopped = [False] * len(part)
                for epoch in itertools.islice(epochs, fits[0].recipe.max_iter):
                    for k, member in enumerate(part):
                        if not stopped[k]:
                            member.progress.end(_of_model(epoch, k))
                    stopped = epoch.stop.tolist()
                    if given_up.is_set():
                        break
    except Exception:
        for member in part:
            member.outcome.together = False
    for member in part:
        member.outcome.seconds += (time.perf_counter() - started) / len(part)


def _of_model(epoch: Epoch, k: int) -> Epoch:
    one = slice(k, k + 1)
    score, rate = (None if values is None else values[one] for values in (epoch.score, epoch.rate))
    return epoch._replace(
        loss=epoch.loss[one], score=score, stop=epoch.stop[one], messages=epoch.messages[one], rate=rate
    )


def _publish(member: _Member) -> None:
    if not member.outcome.together:
        return
    fit, network = member.fit, member.network
    with member.outcome.recorded():
        warn_if_unfinished(fit.recipe, member.state.stopped)
        network._publish(fit, [member.state], member.progress)


def _fit_alone(job: Job) -> Outcome:
    outcome = Outcome()
    with outcome.recorded():
        outcome.estimator = job.estimator.fit(job.X, job.y, **job.fit_params)
    return outcome
