"""The hand-written steps, of torch and of numpy, against the one that autograd differentiates."""

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
from sknn._samples import Samples, batch_bounds, gather, place
from sknn._small import SmallMLPStep
from sknn._solvers import SOLVERS, Solver, SolverOptions
from sknn._steps import choose_step
from sknn.modules import MLP, Dropout

N_ROWS, BLOCKS = 23, (3, 2)
PARAMETER = {"log_loss": 0.1, "focal": 1.5, "huber": 0.7, "quantile": 0.3}


DROPOUTS = (0.5, 0.0, 0.3)  # of three models in one step


def networks(n_models, activation="relu", hidden=(7, 3), n_outputs=5, dtype=torch.float64, dropouts=(0, 0, 0)):
    return [
        MLP(4, n_outputs, hidden, activation, dropout=dropouts[k], random_state=k, dtype=dtype) for k in range(n_models)
    ]


def samples(link, *, weighted, dtype=torch.float64, n_rows=N_ROWS, n_columns=2):
    rng = np.random.RandomState(0)
    X = rng.normal(size=(n_rows, 4))
    y = {
        "softmax": np.stack([rng.randint(n, size=n_rows) for n in (BLOCKS if n_columns == 2 else (5,))], 1),
        "logistic": rng.randint(2, size=(n_rows, 5)).astype(float),
        "exp": rng.poisson(2, (n_rows, 5)).astype(float),
        "identity": rng.normal(size=(n_rows, 5)),
    }[link]
    placed = place(X, torch.device("cpu"), dtype)
    y = torch.from_numpy(y) if link == "softmax" else torch.from_numpy(y).to(dtype)
    return Samples(placed, y, torch.from_numpy(rng.uniform(0.1, 3, n_rows)).to(dtype) if weighted else None)


STEPS = (AutogradStep, FusedMLPStep, SmallMLPStep)


def every_step(modules, loss, alpha):
    steps = [step(copy.deepcopy(modules), loss, alpha=alpha) for step in STEPS]
    for step in steps:
        for k, module in enumerate(step.modules):
            generator = torch.Generator().manual_seed(k)
            for dropout in (part for part in module.modules() if isinstance(part, Dropout)):
                dropout.generator = generator
    return steps


def assert_same(values):
    """Let values of the hand-written steps be those of autograd."""
    for value in values[1:]:
        torch.testing.assert_close(value, values[0], rtol=1e-10, atol=1e-10)


def gradients(step):
    return step.parameters.views(step.parameters.grad)


@pytest.mark.parametrize("n_models", [1, 3])
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize(("name", "link"), LOSSES)
def test_gradients_are_those_of_autograd(name, link, activation, n_models):
    modules, rng = networks(n_models, activation), np.random.RandomState(1)
    order = torch.from_numpy(np.stack([rng.permutation(N_ROWS) for _ in range(n_models)]))
    blocks = [BLOCKS, (5,)] if link == "softmax" else [()]
    for of_softmax, weighted, alpha in itertools.product(blocks, [False, True], [0.0, 0.3]):
        loss = make_loss(name, link, PARAMETER.get(name, 0.0), of_softmax)
        data = samples(link, weighted=weighted, n_columns=len(of_softmax))
        steps = every_step(modules, loss, alpha)
        # Full batches, a ragged one, and memory used again.
        for start, stop in ((0, 10), (10, 20), (20, N_ROWS), (0, 10)):
            batch = data.batch(order[:, start:stop])
            assert_same([torch.as_tensor(step(*step.prepared(*batch))) for step in steps])
            assert_same([gradients(step) for step in steps])


@pytest.mark.parametrize("n_models", [1, 3])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_gradients_through_dropout_are_those_of_autograd(activation, n_models):
    loss, data = make_loss("squared_error", "identity"), samples("identity", weighted=True)
    steps = every_step(networks(n_models, activation, dropouts=DROPOUTS), loss, 0.3)
    order, seen = torch.arange(N_ROWS).expand(n_models, -1), []
    for start, stop in ((0, 10), (0, 10), (10, 20), (20, N_ROWS)):
        batch = data.batch(order[:, start:stop])
        assert_same([torch.as_tensor(step(*step.prepared(*batch))) for step in steps])
        assert_same([gradients(step) for step in steps])
        seen.append(steps[1].parameters.grad.clone())
    differs = (seen[0] != seen[1]).any(1)  # the same rows, but another mask
    np.testing.assert_array_equal(differs, [bool(p) for p in DROPOUTS[:n_models]])


@pytest.mark.parametrize(("name", "link"), LOSSES)
def test_each_model_may_have_a_loss_of_its_own(name, link):
    parameters = [0.3, 0.3, 0.7, 0.0] if name != "huber" else [0.3, 0.3, 0.7, 0.1]
    losses = [make_loss(name, link, parameter, BLOCKS) for parameter in parameters]
    data, order = samples(link, weighted=True), torch.arange(N_ROWS).expand(4, -1)
    steps = every_step(networks(4, dropouts=[0] * 4), losses, 0.3)
    for kept in (range(4), [0, 2, 3]):
        steps = [step.keep(list(kept)) for step in steps]
        batch = data.batch(order[: len(kept)])
        values = [torch.as_tensor(step(*step.prepared(*batch))) for step in steps]
        assert_same(values)
        assert_same([gradients(step) for step in steps])
        for k, of_all in enumerate(kept):
            one = AutogradStep([steps[0].modules[k]], losses[of_all], alpha=0.3)
            torch.testing.assert_close(one(*data.batch(order[:1]))[0], values[0][k])


@pytest.mark.parametrize("n_outputs", [1, 5])
@pytest.mark.parametrize("link", ["softmax", "logistic", "identity"])
@pytest.mark.parametrize("hidden", [(), (1,), (40,), (5, 1, 9)])
def test_sums_of_terms_are_those_of_autograd_at_every_width(hidden, link, n_outputs):
    loss = make_loss("squared_error" if link == "identity" else "log_loss", link, 0.0, (n_outputs,))
    data = samples(link, weighted=True, n_columns=1)
    data = data._replace(y=data.y[:, :n_outputs].clamp_max(n_outputs - 1 if link == "softmax" else np.inf))
    order = torch.arange(N_ROWS).expand(2, -1)
    total = data.weight.sum().expand(2, 1)
    found = []
    for step in every_step(networks(2, "tanh", hidden, n_outputs), loss, 0.3):
        for gradient in gradients(step):
            gradient.fill_(torch.nan)
        losses = 0
        for start, stop in ((0, 9), (9, N_ROWS)):
            X, y, weight = step.prepared(*data.batch(order[:, start:stop]))
            losses = losses + step.add_data_term(X, y, step.shares(weight, total), first=start == 0)
        found.append([torch.as_tensor(step.add_penalty(losses, step.shares(total, total))), *gradients(step)])
    assert_same(found)


def weights_after_ten_updates(modules, loss, data, solver, alpha):
    """Return the weights of each step after batches of 12 and 11 rows, five times."""
    learned, n_models = [], len(modules)
    for step in every_step(modules, loss, alpha):
        parameters = step.parameters
        options = [SolverOptions(weight_decay=0.1 if solver == "adamw" else 0.0)] * n_models
        rule = Solver(solver, parameters.data, parameters.grad, parameters.decayed, options)
        order = torch.arange(N_ROWS).expand(n_models, -1)
        for _ in range(5):
            for batch in gather(data.batch, order, batch_bounds(N_ROWS, 12), 4):
                step(*step.prepared(*batch))
                rule.update([0.01] * n_models)
        learned.append(parameters.data_views)
    return learned


def assert_weights_of_autograd(learned, modules):
    for by_hand in learned[1:]:
        torch.testing.assert_close(by_hand, learned[0], rtol=1e-9, atol=1e-9)
    assert not torch.allclose(learned[0][0][0], next(modules[0].parameters()), rtol=0, atol=1e-4)


@pytest.mark.parametrize("n_models", [1, 3])
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("solver", SOLVERS)
def test_ten_updates_lead_to_the_weights_of_autograd(solver, activation, n_models):
    modules = networks(n_models, activation)
    for name, link in LOSSES:
        loss = make_loss(name, link, PARAMETER.get(name, 0.0), BLOCKS if link == "softmax" else ())
        for weighted, alpha in [(False, 0.0), (True, 0.1)]:
            data = samples(link, weighted=weighted)
            assert_weights_of_autograd(weights_after_ten_updates(modules, loss, data, solver, alpha), modules)


@pytest.mark.parametrize("n_models", [1, 3])
@pytest.mark.parametrize("solver", SOLVERS)
def test_ten_updates_through_dropout_lead_to_the_weights_of_autograd(solver, n_models):
    modules, loss = networks(n_models, "tanh", dropouts=DROPOUTS), make_loss("log_loss", "softmax", 0.0, BLOCKS)
    learned = weights_after_ten_updates(modules, loss, samples("softmax", weighted=True), solver, 0.1)
    assert_weights_of_autograd(learned, modules)


def by_autograd(monkeypatch):
    """Let fits choose the other step from here on."""

    def choose(modules, loss, *, small, **options):
        return AutogradStep(modules, loss, **options)

    monkeypatch.setattr("sknn._fitting.choose_step", choose)


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


def torchs_dropout():
    module = networks(1)[0]
    module.layers.insert(2, nn.Dropout())
    return module


def frozen():
    module = networks(1)[0]
    module.layers[2].weight.requires_grad_(False)
    return module


OTHERS = {
    "a subclass": lambda: Other(4, 5, random_state=0),
    "torch's dropout": torchs_dropout,
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
    for small in (False, True):
        assert type(choose_step([module], loss, small=small)) is AutogradStep
        assert type(choose_step(networks(1), loss, autocast=True, small=small)) is AutogradStep
    assert type(choose_step(networks(1), loss)) is FusedMLPStep
    assert type(choose_step(networks(1), loss, small=True)) is SmallMLPStep


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("hidden", [(), (3,), (3, 2)])
@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_plain_networks_are_known_with_every_activation(activation, hidden, dropout):
    assert is_plain(MLP(4, 5, hidden, activation, dropout=dropout, random_state=0))


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_a_plain_network_of_the_users_is_trained_by_hand_and_stays_as_it_is():
    X, y = load_iris(return_X_y=True)
    module = MLP(4, 3, (5,), "gelu", random_state=0)
    before = copy.deepcopy(module.state_dict())
    TorchClassifier(module, max_iter=2, n_iter_no_change=np.inf, random_state=0).fit(X, y)
    torch.testing.assert_close(module.state_dict(), before, rtol=0, atol=0)
