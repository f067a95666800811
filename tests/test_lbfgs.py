"""L-BFGS over the flat buffer against scipy on an objective written by hand."""

from itertools import pairwise

import numpy as np
import pytest
import scipy.optimize
import scipy.special
import torch

from sknn._autograd import AutogradStep, row_cost
from sknn._lbfgs import minimize_lbfgs
from sknn._losses import make_loss
from sknn._samples import Samples, place
from sknn.modules import MLP


def make(n_rows=60, weighted=False, hidden=(), dtype=torch.float64):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n_rows, 4))
    y = (X @ rng.normal(size=(4, 2)) + rng.normal(size=(n_rows, 2)) > 0).astype(float)
    weight = rng.uniform(0, 2, n_rows) if weighted else None
    module = MLP(4, 2, hidden, "tanh", random_state=0, dtype=dtype)
    step = AutogradStep([module], make_loss("log_loss", "logistic"), alpha=0.5)
    tensor = None if weight is None else torch.as_tensor(weight, dtype=dtype)
    samples = Samples(place(X, torch.device("cpu"), dtype), torch.as_tensor(y, dtype=dtype), tensor)
    return X, y, np.ones(n_rows) if weight is None else weight, step, samples


def minimize(step, samples, rows, after_iteration=lambda *_: False, **options):
    options = {"max_iter": 1000, "max_fun": 15000, "tol": 1e-8, **options}
    cost = row_cost(step.modules[0], samples.X[:1])
    return minimize_lbfgs(step, samples, rows, cost, after_iteration=after_iteration, **options)


def learned(step):
    """Return weights (4, 2) and biases of a linear model, one after the other."""
    layer = step.modules[0].linear_layers()[0]
    return np.concatenate([layer.weight.detach().T.ravel(), layer.bias.detach()])


def by_hand(X, y, weight):
    """Minimise the penalised logistic loss of a linear model with scipy's own differences."""

    def objective(theta):
        W, b = theta[:8].reshape(4, 2), theta[8:]
        z = X @ W + b
        loss = np.logaddexp(0, z) - y * z
        return ((loss.sum(axis=1) * weight).sum() + 0.25 * (W**2).sum()) / weight.sum()

    return scipy.optimize.minimize(objective, np.zeros(10), method="BFGS", options={"gtol": 1e-7})


@pytest.mark.parametrize("weighted", [False, True])
def test_finds_the_minimum_of_the_given_rows(weighted):
    X, y, weight, step, samples = make(weighted=weighted)
    rows, losses = np.arange(0, 60, 2), []
    failure, loss = minimize(step, samples, rows, lambda number, loss, seconds: losses.append((number, loss, seconds)))
    expected = by_hand(X[rows], y[rows], weight[rows])
    assert failure == ""
    np.testing.assert_allclose(learned(step), expected.x, atol=1e-4)
    assert [number for number, _, _ in losses] == list(range(1, len(losses) + 1))
    assert losses[-1][1] == pytest.approx(expected.fun, rel=1e-6)
    assert loss == losses[-1][1]
    assert all(later[1] <= earlier[1] for earlier, later in pairwise(losses))
    assert all(seconds >= 0 for _, _, seconds in losses)


def test_many_rows_are_read_in_parts():
    """More rows than one pass reads: the gradient is their sum, the penalty counts once."""
    X, y, weight, step, samples = make(n_rows=9000, weighted=True)
    assert minimize(step, samples, np.arange(9000))[0] == ""
    np.testing.assert_allclose(learned(step), by_hand(X, y, weight).x, atol=1e-4)


def test_after_iteration_sees_the_weights_and_may_stop():
    *_, step, samples = make(hidden=(5,))
    seen = []

    def stop_at_three(number, loss, seconds):
        value = step(*samples.batch(torch.arange(60)[None]))
        seen.append((loss, value.item(), step.parameters.data.clone()))
        return number == 3

    assert minimize(step, samples, np.arange(60), stop_at_three)[0] == ""
    assert len(seen) == 3
    for loss, value, _ in seen:
        assert loss == pytest.approx(value, rel=1e-12)
    assert torch.equal(step.parameters.data, seen[-1][2])


@pytest.mark.parametrize(
    ("options", "reason"),
    [({"max_iter": 2}, "ITERATIONS REACHED LIMIT"), ({"max_fun": 2}, "EVALUATIONS EXCEEDS LIMIT")],
)
def test_a_limit_is_told(options, reason):
    *_, step, samples = make(hidden=(5,))
    assert reason in minimize(step, samples, np.arange(60), **options)[0]


@pytest.mark.parametrize("tol", [1e-1, 1e-2, 1e-4])
def test_tol_bounds_the_gradient(tol):
    *_, step, samples = make(hidden=(5,))
    assert minimize(step, samples, np.arange(60), tol=tol)[0] == ""
    step(*samples.batch(torch.arange(60)[None]))
    assert step.parameters.grad.abs().max() <= tol


def test_float32_weights_stay_float32():
    X, y, weight, step, samples = make(dtype=torch.float32)
    minimize(step, samples, np.arange(60), tol=1e-4)
    assert step.parameters.data.dtype == torch.float32
    np.testing.assert_allclose(learned(step), by_hand(X, y, weight).x, atol=1e-2)


def test_without_an_iteration_the_loss_is_that_of_the_start():
    *_, step, samples = make()
    batch = samples.batch(torch.arange(60)[None])
    start = step(*batch).item()
    assert minimize(step, samples, np.arange(60), tol=1e6) == ("", pytest.approx(start, rel=1e-12))
    assert step(*batch).item() == start


class InterruptedStep(AutogradStep):
    """Presses Ctrl-C in its n-th evaluation."""

    def interrupt_at(self, n):
        self.left = n
        return self

    def add_data_term(self, *args, **options):
        self.left -= 1
        if self.left < 0:
            raise KeyboardInterrupt
        return super().add_data_term(*args, **options)


@pytest.mark.parametrize("evaluations", range(12))
def test_an_interrupt_leaves_the_weights_of_the_last_iteration(evaluations):
    """And not those that a line search happens to try."""
    *_, samples = make()
    module = MLP(4, 2, (8,), "relu", random_state=0, dtype=torch.float64)
    step = InterruptedStep([module], make_loss("log_loss", "logistic")).interrupt_at(evaluations)
    seen = [step.parameters.data.clone()]
    with pytest.raises(KeyboardInterrupt):
        minimize(step, samples, np.arange(60), lambda *_: seen.append(step.parameters.data.clone()))
    assert torch.equal(step.parameters.data, seen[-1])
