"""Update rules of the weights and schedules of the learning rate, by name, over the flat buffer of K models."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.optim.adagrad import adagrad
from torch.optim.nadam import nadam
from torch.optim.rmsprop import rmsprop

# One rate for all models, or one for each as a tensor (K, 1), which only "sgd" takes.
Rate = float | Tensor


@dataclass(frozen=True)
class SolverOptions:
    """The numbers that update rules read, under scikit-learn's names."""

    momentum: float = 0.9
    nesterovs_momentum: bool = True
    beta_1: float = 0.9
    beta_2: float = 0.999
    epsilon: float = 1e-8
    weight_decay: float = 0.0


@dataclass(frozen=True)
class Rule:
    """An update rule: what it remembers in tensors of the buffer's shape, and its step in place."""

    slots: tuple[str, ...]
    update: Callable[["Solver", Rate], None]
    counts_on_device: bool = False
    """Whether it reads its steps there; the other rules would wait for the device at every update."""


class Solver:
    """One update rule over the parameters of K models, with all that it remembers.

    The rules are what the classes of `torch.optim` call, fused kernels where there are some: constructing the first of
    those imports torch's compiler, which takes longer than many a small fit. Rows of `data` have to be whole vectors of
    the CPU, as those of `FlatParameters` are, for a model to be trained among others as it is alone.
    """

    def __init__(self, name: str, data: Tensor, grad: Tensor, decayed: Tensor, options: SolverOptions) -> None:
        self._rule = SOLVERS[name]
        self.data, self.grad, self.options = data, grad, options
        self._decayed = decayed  # (P,), 1 for the columns of `data` that decay and 0 for the others
        self.steps = 0
        self.slots = {slot: torch.zeros_like(data) for slot in self._rule.slots}
        where = data.device if self._rule.counts_on_device else torch.device("cpu")
        # The steps again, as torch's rules want them.
        self.count = torch.zeros((), dtype=torch.float32, device=where)
        self._counter: Any = self.count.numpy() if where.type == "cpu" else self.count  # the same memory, sooner
        self.mu_product = torch.ones((), dtype=torch.float32, device=where)

    def update(self, learning_rate: Rate) -> None:
        """Move the parameters along their gradient, which may be overwritten."""
        self.steps += 1
        if self.options.weight_decay:
            self.data.mul_(1 - learning_rate * self.options.weight_decay * self._decayed)
        self._rule.update(self, learning_rate)

    def count_up(self) -> None:
        """Count a step in the tensor that torch's rules read."""
        self._counter += 1

    def state(self) -> dict[str, Any]:
        """Return copies on the CPU of all that the rule remembers."""
        tensors = {**self.slots, "count": self.count, "mu_product": self.mu_product}
        return {"steps": self.steps, **{name: tensor.to("cpu", copy=True) for name, tensor in tensors.items()}}

    def load_state(self, state: dict[str, Any]) -> None:
        """Continue from what `state` returned."""
        self.steps = state["steps"]
        for name, tensor in {**self.slots, "count": self.count, "mu_product": self.mu_product}.items():
            tensor.copy_(state[name])


def _sgd(solver: Solver, learning_rate: Rate) -> None:
    # The rate scales the gradient before it enters the velocity, as in scikit-learn: when the rate changes, the
    # velocity keeps the old one. torch.optim scales after it.
    solver.grad.mul_(learning_rate)
    momentum = solver.options.momentum
    velocity = solver.slots["velocity"] if momentum else None
    nesterov = solver.options.nesterovs_momentum and momentum > 0
    velocities = [] if velocity is None else [velocity]
    torch._fused_sgd_([solver.data], [solver.grad], velocities, lr=1.0, momentum=momentum, nesterov=nesterov,
                      dampening=0.0, weight_decay=0.0, maximize=False, is_first_step=False)  # fmt: skip


def _adam(solver: Solver, learning_rate: Rate, epsilon: float | None = None) -> None:
    options, slots = solver.options, solver.slots
    if epsilon is None:
        # scikit-learn adds epsilon before the second moment is corrected for its bias, torch after it.
        epsilon = options.epsilon / math.sqrt(1 - options.beta_2**solver.steps)
    solver.count_up()
    torch._fused_adam_([solver.data], [solver.grad], [slots["mean"]], [slots["square"]], [], [solver.count],
                       lr=float(learning_rate), beta1=options.beta_1, beta2=options.beta_2, weight_decay=0.0,
                       eps=epsilon, amsgrad=False, maximize=False)  # fmt: skip


def _adamw(solver: Solver, learning_rate: Rate) -> None:
    _adam(solver, learning_rate, solver.options.epsilon)


def _nadam(solver: Solver, learning_rate: Rate) -> None:
    options, slots = solver.options, solver.slots
    nadam([solver.data], [solver.grad], [slots["mean"]], [slots["square"]], [solver.mu_product], [solver.count],
          lr=float(learning_rate), beta1=options.beta_1, beta2=options.beta_2, eps=options.epsilon, momentum_decay=4e-3,
          weight_decay=0.0, foreach=False)  # fmt: skip


def _rmsprop(solver: Solver, learning_rate: Rate) -> None:
    rmsprop([solver.data], [solver.grad], [solver.slots["square"]], [], [], [solver.count], lr=float(learning_rate),
            alpha=0.99, eps=solver.options.epsilon, momentum=0.0, centered=False, weight_decay=0.0,
            foreach=False)  # fmt: skip


def _adagrad(solver: Solver, learning_rate: Rate) -> None:
    adagrad([solver.data], [solver.grad], [solver.slots["square"]], [solver.count], lr=float(learning_rate),
            lr_decay=0.0, eps=solver.options.epsilon, weight_decay=0.0, maximize=False, foreach=False)  # fmt: skip


def _cosine(step: float, n_steps: float) -> float:
    """Half a cosine from 1 to 0 (Loshchilov and Hutter, 2017)."""
    return 0.5 * (1 + math.cos(math.pi * min(step / n_steps, 1.0)))


def _onecycle(step: float, n_steps: float) -> float:
    """Up from 1/25 over the first 30 % of the steps and down to 1/250,000, along cosines (Smith and Topin, 2018)."""
    start, end = 1 / 25, 1 / 250_000
    top, last = 0.3 * n_steps - 1, n_steps - 1
    if step <= top:
        return 1 + (start - 1) * _cosine(step, top)
    return end + (1 - end) * _cosine(step - top, last - top) if last > top else end


SOLVERS: dict[str, Rule] = {
    "sgd": Rule(("velocity",), _sgd),
    "adam": Rule(("mean", "square"), _adam, counts_on_device=True),
    "adamw": Rule(("mean", "square"), _adamw, counts_on_device=True),
    "nadam": Rule(("mean", "square"), _nadam),
    "rmsprop": Rule(("square",), _rmsprop),
    "adagrad": Rule(("square",), _adagrad),
}

# Factors of `learning_rate_init` by step; the schedules not here change between epochs.
SCHEDULES: dict[str, Callable[[float, float], float]] = {"cosine": _cosine, "onecycle": _onecycle}
