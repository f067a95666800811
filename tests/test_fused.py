"""The hand-written step against the one that autograd differentiates."""

import copy
import functools
import itertools

import numpy as np
import pytest
import torch
from own_modules import drawn
from sklearn.datasets import load_digits, load_iris
from torch import nn

from sknn import MLPTorchClassifier, TorchClassifier
from sknn._activations import ACTIVATIONS
from sknn._autograd import AutogradStep
from sknn._fused import FusedMLPStep, is_plain
from sknn._losses import LOSSES, make_loss
from sknn._samples import Samples, batch_bounds, place
from sknn._solvers import SOLVERS, Solver, SolverOptions
from sknn._steps import choose_step
from sknn.modules import MLP

N_ROWS, BLOCKS = 23, (3, 2)
PARAMETER = {"log_loss": 0.1, "focal": 1.5, "huber": 0.7, "quantile": 0.3}


def networks(n_models, activation="relu", hidden=(7, 3), n_outputs=5, dtype=torch.float64):
    return [MLP(4, n_outputs, hidden, activation, random_state=k, dtype=dtype) for k in range(n_models)]


def samples(link, *, weighted, dtype=torch.float64, n_rows=N_ROWS):
    rng = np.random.RandomState(0)
    X = rng.normal(size=(n_rows, 4))
    y = {
        "softmax": np.stack([rng.randint(n, size=n_rows) for n in BLOCKS], 1),
        "logistic": rng.randint(2, size=(n_rows, 5)).astype(float),
        "exp": rng.poisson(2, (n_rows, 5)).astype(float),
        "identity": rng.normal(size=(n_rows, 5)),
    }[link]
    placed = place(X, torch.device("cpu"), dtype)
    y = torch.from_numpy(y) if link == "softmax" else torch.from_numpy(y).to(dtype)
    return Samples(placed, y, torch.from_numpy(rng.uniform(0.1, 3, n_rows)).to(dtype) if weighted else None)


def both_steps(modules, loss, alpha):
    return AutogradStep(copy.deepcopy(modules), loss, alpha=alpha), FusedMLPStep(
        copy.deepcopy(modules), loss, alpha=alpha
    )


@pytest.mark.parametrize("n_models", [1, 3])
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize(("name", "link"), LOSSES)
def test_gradients_are_those_of_autograd(name, link, activation, n_models):
    loss = make_loss(name, link, PARAMETER.get(name, 0.0), BLOCKS)
    modules = networks(n_models, activation)
    rng = np.random.RandomState(1)
    order = torch.from_numpy(np.stack([rng.permutation(N_ROWS) for _ in range(n_models)]))
    for weighted, alpha in itertools.product([False, True], [0.0, 0.3]):
        data = samples(link, weighted=weighted)
        autograd, fused = both_steps(modules, loss, alpha)
        for start, stop in (
            (0, 10),
            (10, 20),
            (20, N_ROWS),
            (0, 10),
        ):  # full batches, a ragged one, and memory used again
            batch = data.batch(order[:, start:stop])
            torch.testing.assert_close(fused(*batch), autograd(*batch), rtol=1e-10, atol=1e-10)
            torch.testing.assert_close(fused.parameters.grad, autograd.parameters.grad, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("hidden", [(), (1,), (40,), (5, 1, 9)])
def test_sums_of_terms_are_those_of_autograd_at_every_width(hidden):
    loss = make_loss("log_loss", "softmax", 0.0, BLOCKS)
    data = samples("softmax", weighted=True)
    order = torch.arange(N_ROWS).expand(2, -1)
    total = data.weight.sum().expand(2, 1)
    gradients = []
    for step in both_steps(networks(2, "tanh", hidden), loss, 0.3):
        for gradient in step.parameters.views(step.parameters.grad):
            gradient.fill_(torch.nan)
        losses = torch.zeros(2, dtype=torch.float64)
        for start, stop in ((0, 9), (9, N_ROWS)):
            X, y, weight = data.batch(order[:, start:stop])
            losses += step.add_data_term(X, y, step.shares(weight, total), first=start == 0)
        losses = step.add_penalty(losses, step.shares(None, total))
        gradients.append((losses, step.parameters.grad.clone()))
    torch.testing.assert_close(*gradients, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("n_models", [1, 3])
@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("activation", ["relu", "gelu"])
def test_ten_updates_lead_to_the_weights_of_autograd(solver, activation, n_models):
    loss = make_loss("log_loss", "softmax", 0.0, BLOCKS)
    data = samples("softmax", weighted=True)
    learned = []
    for step in both_steps(networks(n_models, activation), loss, 0.1):
        parameters = step.parameters
        rule = Solver(solver, parameters.data, parameters.grad, parameters.weights, SolverOptions())
        order = torch.arange(N_ROWS).expand(n_models, -1)
        for _ in range(4):
            for batch in data.batches(order, batch_bounds(N_ROWS, 9)):  # 9, 9 and 5 rows
                step(*batch)
                rule.update(0.01)
        learned.append(parameters.data)
    torch.testing.assert_close(*learned, rtol=1e-9, atol=1e-9)
    assert not torch.allclose(learned[0], AutogradStep(networks(n_models, activation), loss).parameters.data, atol=1e-2)


def by_autograd(monkeypatch):
    """Let fits choose the other step from here on."""
    monkeypatch.setattr("sknn.base.choose_step", AutogradStep)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("load", "options"), [(load_iris, {}), (load_digits, {"alpha": 0.1, "solver": "sgd"})])
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_whole_fits_are_as_good(load, options, dtype, monkeypatch):
    X, y = load(return_X_y=True)
    X = (X / X.max()).astype(dtype)
    fit = functools.partial(MLPTorchClassifier((20,), max_iter=40, random_state=0, **options).fit, X, y)
    fused = copy.deepcopy(fit())
    by_autograd(monkeypatch)
    plain = fit()
    np.testing.assert_allclose(fused.loss_curve_, plain.loss_curve_, rtol=1e-3 if dtype == np.float32 else 1e-9)
    assert abs(fused.score(X, y) - plain.score(X, y)) <= 2 / len(X)


class Other(MLP):
    def forward(self, X):
        return super().forward(X) * 2


def hooked():
    module = networks(1)[0]
    module.layers[0].register_forward_hook(lambda part, given, out: out * 2)
    return module


def with_layer(i, layer):
    module = networks(1)[0]
    module.layers[i] = layer
    return module


def frozen():
    module = networks(1)[0]
    module.layers[2].weight.requires_grad_(False)
    return module


OTHERS = {
    "a subclass": lambda: Other(4, 5, random_state=0),
    "dropout": lambda: MLP(4, 5, dropout=0.5, random_state=0),
    "batch norm": lambda: MLP(4, 5, batch_norm=True, random_state=0),
    "a hook": hooked,
    "another slope": lambda: with_layer(1, nn.LeakyReLU(0.5)),
    "two activations": lambda: with_layer(1, nn.Tanh()),
    "another layer": lambda: with_layer(0, nn.Bilinear(4, 4, 7)),
    "no bias": lambda: with_layer(0, nn.Linear(4, 7, bias=False)),
    "a frozen weight": frozen,
    "another network": lambda: nn.Linear(4, 5),
}


@pytest.mark.parametrize("other", OTHERS)
def test_other_networks_are_left_to_autograd(other):
    module = drawn(OTHERS[other])
    loss = make_loss("squared_error", "identity")
    assert not is_plain(module)
    assert type(choose_step([module], loss)) is AutogradStep
    assert type(choose_step(networks(1), loss)) is FusedMLPStep
    assert type(choose_step(networks(1), loss, autocast=True)) is AutogradStep


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("hidden", [(), (3,), (3, 2)])
def test_plain_networks_are_known_with_every_activation(activation, hidden):
    assert is_plain(MLP(4, 5, hidden, activation, random_state=0))


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_a_plain_network_of_the_users_is_trained_by_hand_and_stays_as_it_is():
    X, y = load_iris(return_X_y=True)
    module = MLP(4, 3, (5,), "gelu", random_state=0)
    before = copy.deepcopy(module.state_dict())
    TorchClassifier(module, max_iter=2, n_iter_no_change=np.inf, random_state=0).fit(X, y)
    torch.testing.assert_close(module.state_dict(), before, rtol=0, atol=0)
