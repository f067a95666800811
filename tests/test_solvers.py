"""Every update rule against torch.optim or scikit-learn, every schedule against torch's, and states that go on."""

import numpy as np
import pytest
import torch
from sklearn.neural_network._stochastic_optimizers import AdamOptimizer, SGDOptimizer

from sknn._solvers import SCHEDULES, SOLVERS, Solver, SolverOptions

N_MODELS, N_PARAMETERS, N_WEIGHTS, N_STEPS = 3, 48, 37, 50  # 48: whole vectors, as FlatParameters has them
START = np.random.default_rng(0).normal(size=(N_MODELS, N_PARAMETERS))
GRADIENTS = np.random.default_rng(1).normal(size=(N_STEPS, N_MODELS, N_PARAMETERS))
RATES = np.linspace(0.1, 0.002, N_STEPS)
CLOSE = {"rtol": 1e-12, "atol": 1e-12}


def make(name, models=slice(None), dtype=torch.float64, **options):
    data = torch.tensor(START[models], dtype=dtype)
    decayed = (torch.arange(N_PARAMETERS) < N_WEIGHTS).to(dtype)
    return Solver(name, data, torch.zeros_like(data), decayed, [SolverOptions(**options)] * len(data))


def run(solver, rates=RATES, models=slice(None), first=0):
    for i, rate in enumerate(rates, start=first):
        solver.grad.copy_(torch.from_numpy(GRADIENTS[i, models]))
        solver.update(rate if isinstance(rate, list) else [float(rate)] * len(solver.data))
    return solver.data.clone()


REFERENCES = {
    "adamw": (torch.optim.AdamW, {}, {"betas": (0.8, 0.99), "eps": 1e-6}),
    "nadam": (torch.optim.NAdam, {}, {"betas": (0.8, 0.99), "eps": 1e-6}),
    "rmsprop": (torch.optim.RMSprop, {}, {"alpha": 0.99, "eps": 1e-6}),
    "adagrad": (torch.optim.Adagrad, {}, {"eps": 1e-6}),
    "sgd": (torch.optim.SGD, {"momentum": 0.0}, {}),
    "sgd-momentum": (torch.optim.SGD, {"momentum": 0.7, "nesterovs_momentum": False}, {"momentum": 0.7}),
    "sgd-nesterov": (torch.optim.SGD, {"momentum": 0.7}, {"momentum": 0.7, "nesterov": True}),
}


@pytest.mark.parametrize("weight_decay", [0.0, 0.3])
@pytest.mark.parametrize("case", REFERENCES)
def test_rule_is_torch_optims(case, weight_decay):
    name = case.split("-")[0]
    optimizer_class, ours, theirs = REFERENCES[case]
    # torch's momentum takes the gradient in before the rate scales it, so that a changing rate sets the two apart.
    rates = np.full(N_STEPS, 0.05) if name == "sgd" else RATES
    options = {"beta_1": 0.8, "beta_2": 0.99, "epsilon": 1e-6, "weight_decay": weight_decay, **ours}
    computed = run(make(name, **options), rates)

    weight = torch.nn.Parameter(torch.from_numpy(START[:, :N_WEIGHTS].copy()))
    bias = torch.nn.Parameter(torch.from_numpy(START[:, N_WEIGHTS:].copy()))
    decays = optimizer_class is torch.optim.AdamW
    groups = [{"params": [weight], **({"weight_decay": weight_decay} if decays else {})}]
    groups += [{"params": [bias], **({"weight_decay": 0.0} if decays else {})}]
    optimizer = optimizer_class(groups, lr=0.1, **theirs)
    for rate, gradient in zip(rates, torch.from_numpy(GRADIENTS), strict=True):
        weight.grad, bias.grad = gradient[:, :N_WEIGHTS].clone(), gradient[:, N_WEIGHTS:].clone()
        for group in optimizer.param_groups:
            group["lr"] = rate
        if weight_decay and not decays:  # the same decay beside the rule
            weight.data.mul_(1 - rate * weight_decay)
        optimizer.step()
    torch.testing.assert_close(computed, torch.cat([weight, bias], 1).detach(), **CLOSE)


@pytest.mark.parametrize("momentum", [0.0, 0.7, 1.0])
@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize("changing", [False, True])
def test_sgd_is_scikit_learns(momentum, nesterov, changing):
    rates = RATES if changing else np.full(N_STEPS, 0.05)
    computed = run(make("sgd", momentum=momentum, nesterovs_momentum=nesterov), rates)
    parameters = START.copy()
    optimizer = SGDOptimizer([parameters], momentum=momentum, nesterov=nesterov)
    for rate, gradient in zip(rates, GRADIENTS, strict=True):
        optimizer.learning_rate = rate
        optimizer.update_params([parameters], [gradient])
    np.testing.assert_allclose(computed, parameters, **CLOSE)


@pytest.mark.parametrize("epsilon", [1e-8, 0.1])
@pytest.mark.parametrize("changing", [False, True])
def test_adam_is_scikit_learns(epsilon, changing):
    """Where epsilon stands matters from 1e-2 on: torch adds it to the second moment corrected for its bias."""
    rates = RATES if changing else np.full(N_STEPS, 0.05)
    computed = run(make("adam", beta_1=0.8, beta_2=0.99, epsilon=epsilon), rates)
    parameters = START.copy()
    optimizer = AdamOptimizer([parameters], beta_1=0.8, beta_2=0.99, epsilon=epsilon)
    for rate, gradient in zip(rates, GRADIENTS, strict=True):
        optimizer.learning_rate_init = rate
        optimizer.update_params([parameters], [gradient])
    np.testing.assert_allclose(computed, parameters, **CLOSE)


@pytest.mark.parametrize("name", SOLVERS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_models_together_equal_models_alone_bit_for_bit(name, dtype):
    together = run(make(name, dtype=dtype, weight_decay=0.1))
    for k in range(N_MODELS):
        one = slice(k, k + 1)
        alone = run(make(name, one, dtype=dtype, weight_decay=0.1), models=one)
        assert torch.equal(alone[0], together[k])


OF_MODELS = [
    {"momentum": 0.9, "beta_1": 0.8, "epsilon": 1e-6},
    {"momentum": 0.9, "beta_1": 0.8, "epsilon": 1e-6},
    {"momentum": 0.5, "beta_2": 0.99, "weight_decay": 0.1, "nesterovs_momentum": False},
]


@pytest.mark.parametrize("name", SOLVERS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("until", [N_STEPS, 20])
def test_each_model_has_its_own_rate_and_options(name, dtype, until):
    """The first two models share a rate for a while; from step `until` on, the last two go on without the first."""
    rates = [[rate, rate if i < 10 else rate / 5, rate / 25] for i, rate in enumerate(RATES.tolist())]
    together = make(name, dtype=dtype)
    together.options = [SolverOptions(**options) for options in OF_MODELS]
    data = run(together, rates[:until])
    if until < N_STEPS:
        rest = together.keep([1, 2], together.data[1:].clone(), together.grad[1:].clone())
        data[1:] = run(rest, [of_models[1:] for of_models in rates[until:]], slice(1, 3), first=until)
    for k in range(until < N_STEPS, N_MODELS):
        one = slice(k, k + 1)
        alone = run(make(name, one, dtype=dtype, **OF_MODELS[k]), [[of_models[k]] for of_models in rates], one)
        assert torch.equal(alone[0], data[k])


def test_each_model_follows_its_own_schedule():
    solver = make("sgd")
    solver.options = [SolverOptions(schedule, momentum=0.0) for schedule in ("constant", *SCHEDULES)]
    solver.grad.fill_(1.0)
    solver.update([0.1, 0.2, 0.3], 3, 10)
    steps = [0.1, 0.2 * SCHEDULES["cosine"](3, 10), 0.3 * SCHEDULES["onecycle"](3, 10)]
    torch.testing.assert_close(solver.data, torch.from_numpy(START) - torch.tensor(steps, dtype=torch.float64)[:, None])


@pytest.mark.parametrize("name", SOLVERS)
def test_state_goes_on_bit_for_bit(name):
    solver, resumed, forgetful = make(name), make(name), make(name)
    middle = run(solver, RATES[:20])
    resumed.data.copy_(middle)
    resumed.load_state(solver.state())
    forgetful.data.copy_(middle)
    expected = run(solver, RATES[20:], first=20)
    assert torch.equal(run(resumed, RATES[20:], first=20), expected)
    assert resumed.steps == N_STEPS
    assert not torch.equal(run(forgetful, RATES[20:], first=20), expected)


@pytest.mark.parametrize("name", SOLVERS)
def test_state_is_a_copy(name):
    solver = make(name)
    run(solver, RATES[:3])
    state = solver.state()
    before = {key: value.clone() if isinstance(value, torch.Tensor) else value for key, value in state.items()}
    run(solver, RATES[3:6], first=3)
    assert state.keys() == {"steps", "mu_products", *SOLVERS[name].slots}
    for key, value in before.items():
        assert torch.equal(torch.as_tensor(state[key]), torch.as_tensor(value))


@pytest.mark.parametrize("name", SOLVERS)
def test_decay_leaves_biases_alone(name):
    decayed, plain = run(make(name, weight_decay=0.5)), run(make(name))
    assert torch.equal(decayed[:, N_WEIGHTS:], plain[:, N_WEIGHTS:])
    assert (decayed[:, :N_WEIGHTS].abs().mean() < plain[:, :N_WEIGHTS].abs().mean()).all()


@pytest.mark.parametrize("n_steps", [2, 3, 7, 100])
def test_cosine_is_torchs(n_steps):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=n_steps)
    assert_schedule_is("cosine", n_steps, optimizer, schedule)
    assert SCHEDULES["cosine"](n_steps, n_steps) == 0


@pytest.mark.parametrize("n_steps", [1, 2, 3, 4, 7, 100])
def test_onecycle_is_torchs(n_steps):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=1.0, total_steps=n_steps, cycle_momentum=False)
    assert_schedule_is("onecycle", n_steps, optimizer, schedule)


def assert_schedule_is(name, n_steps, optimizer, schedule):
    for step in range(n_steps):
        assert SCHEDULES[name](step, n_steps) == pytest.approx(optimizer.param_groups[0]["lr"], abs=1e-12)
        optimizer.step()
        if step + 1 < n_steps:
            schedule.step()


@pytest.mark.parametrize("name", SCHEDULES)
def test_schedule_ends_low_and_stays_there(name):
    """`partial_fit` may be called more often than `max_iter` epochs."""
    factors = [SCHEDULES[name](step, 10) for step in (10, 11, 1000)]
    assert factors == [factors[0]] * 3
    assert 0 <= factors[0] < 1e-5
