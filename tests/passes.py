"""Passes over batches, in C and by autograd, and what they come to."""

import numpy as np
import scipy.sparse
import torch
from threadpoolctl import threadpool_info

from sknn._autograd import AutogradStep
from sknn._batches import BatchedPass
from sknn._compiled import CompiledPass, compiled_pass
from sknn._devices import compute_scope
from sknn._fused import FusedMLPStep
from sknn._learner import Learner, Recipe, Shuffled, TrainState
from sknn._losses import make_loss
from sknn._samples import Samples, place
from sknn._small import SmallMLPStep
from sknn._solvers import Solver, SolverOptions
from sknn.modules import MLP, Dropout

N_ROWS, N_FEATURES, N_CLASSES = 53, 5, 4
RNG = np.random.default_rng(0)
X = RNG.normal(size=(N_ROWS, N_FEATURES))
SPARSE = scipy.sparse.csr_array(X * (RNG.random(X.shape) < 0.3))
WIDE = SPARSE.astype(np.float32)
WIDE.indices, WIDE.indptr = WIDE.indices.astype(np.int64), WIDE.indptr.astype(np.int64)
WEIGHT = RNG.uniform(0.1, 3, N_ROWS)
PLAIN = Recipe(
    batch_size=20, learning_rate="constant", learning_rate_init=0.02, lowers_rate=False, power_t=0.5, max_iter=10,
    max_fun=1, shuffle=True, tol=0.0, n_iter_no_change=np.inf, max_grad_norm=np.inf, stop_on_score=False, pairs=False,
)  # fmt: skip
LOSSES = {
    "softmax": ("log_loss", "softmax", 0.0, RNG.integers(N_CLASSES, size=(N_ROWS, 1))),
    "smoothed softmax": ("log_loss", "softmax", 0.2, RNG.integers(N_CLASSES, size=(N_ROWS, 1))),
    "logistic": ("log_loss", "logistic", 0.0, RNG.integers(2, size=(N_ROWS, N_CLASSES)).astype(float)),
    "smoothed logistic": ("log_loss", "logistic", 0.2, RNG.integers(2, size=(N_ROWS, N_CLASSES)).astype(float)),
    "squared error": ("squared_error", "identity", 0.0, RNG.normal(size=(N_ROWS, N_CLASSES))),
}
RULES = {
    "sgd": ("sgd", {"momentum": 0.0}),
    "momentum": ("sgd", {"momentum": 0.8, "nesterovs_momentum": False}),
    "nesterov": ("sgd", {"momentum": 0.8}),
    "adam": ("adam", {"beta_1": 0.8, "beta_2": 0.99, "epsilon": 1e-6}),
    "adamw": ("adamw", {"weight_decay": 0.3}),
}


def product_threads():
    """Return the numbers of threads of numpy's and scipy's matrix products."""
    return {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"}


def make_pass(
    kind, step, *, X=X, loss="softmax", rule="adam", activation="relu", hidden=(17, 6), alpha=0.1, weight=None,
    n_models=1, rows=None, dtype=torch.float64, scale=1.0, dropouts=(0, 0, 0, 0), schedule="constant", **recipe,
):  # fmt: skip
    """Return a pass of that kind over the batches of a step, with what it changes: the step, the solver, the states."""
    name, link, parameter, y = LOSSES[loss]
    solver_name, options = RULES[rule]
    modules = [
        MLP(X.shape[1], N_CLASSES, hidden, activation, dropout=dropouts[k], random_state=k, dtype=dtype)
        for k in range(n_models)
    ]
    for k, module in enumerate(modules):
        generator = torch.Generator().manual_seed(k)
        for part in module.modules():
            if isinstance(part, Dropout):
                part.generator = generator
    stepped = step(modules, make_loss(name, link, parameter, (N_CLASSES,)), alpha=alpha)
    stepped.parameters.data.mul_(scale)
    flat = stepped.parameters
    solver = Solver(solver_name, flat.data, flat.grad, flat.decayed, [SolverOptions(schedule, **options)] * n_models)
    targets = torch.from_numpy(y) if link == "softmax" else torch.from_numpy(y).to(dtype)
    samples = Samples(
        place(X, torch.device("cpu"), dtype), targets, None if weight is None else torch.from_numpy(weight).to(dtype)
    )
    recipe = PLAIN._replace(**recipe)
    learners = [
        Learner(
            samples, np.arange(N_ROWS) if rows is None else rows, recipe, TrainState(0.02 / (k + 1)),
            np.random.RandomState(k),
        )
        for k in range(n_models)
    ]  # fmt: skip
    orders = [Shuffled(learner) for learner in learners]
    return kind(stepped, solver, learners, orders), stepped, solver, [learner.state for learner in learners]


def after(kind, step, n_epochs=4, work=0, **options):
    """Return the losses of each epoch, the parameters, and what the solver remembers, with threads for that work."""
    sums = []
    with compute_scope(work, torch.device("cpu")):
        run, stepped, solver, states = make_pass(kind, step, **options)
        assert kind is not compiled_pass or isinstance(run, CompiledPass)
        for _ in range(n_epochs):
            sums.append(run())
            for state in states:
                state.n_epochs += 1
    parts = [view for of in (stepped.parameters.data, *solver.slots.values()) for view in stepped.parameters.views(of)]
    return np.array(sums), parts, solver.steps


def assert_equal_to_autograd(rtol=1e-9, atol=1e-9, **options):
    expected, weights, count = after(BatchedPass, AutogradStep, **options)
    for step in (SmallMLPStep, FusedMLPStep):
        sums, found, counted = after(compiled_pass, step, **options)
        np.testing.assert_allclose(sums, expected, rtol=rtol)
        assert counted == count
        for mine, theirs in zip(found, weights, strict=True):
            torch.testing.assert_close(mine, theirs, rtol=rtol, atol=atol)
