"""Update rules of the weights and schedules of the learning rate, by name, over the flat buffer of K models."""

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.optim.adagrad import adagrad
from torch.optim.nadam import nadam
from torch.optim.rmsprop import rmsprop


class SolverOptions(NamedTuple):
    """What update rules read, under scikit-learn's names; learning rates that change between epochs are "constant"."""

    learning_rate: str = "constant"
    momentum: float = 0.9
    nesterovs_momentum: bool = True
    beta_1: float = 0.9
    beta_2: float = 0.999
    epsilon: float = 1e-8
    weight_decay: float = 0.0


class Rule(NamedTuple):
    """An update rule: what it remembers in tensors of the buffer's shape, and its step in place."""

    slots: tuple[str, ...]
    update: Callable[["_Part", float], None]
    counts_on_device: bool = False
    """Whether it reads its steps there; the other rules would wait for the device at every update."""
    counts: bool = False
    """Whether it counts its steps itself."""


class _Part(NamedTuple):
    """Neighbouring models that one call updates, as their options and rates are the same: rows of the buffers."""

    data: Tensor
    grad: Tensor
    slots: dict[str, Tensor]
    rate: float
    options: SolverOptions
    decay: Tensor | None
    mu_products: Tensor
    steps: "_Steps"


@dataclass
class _Steps:
    """The number of updates, and the same number as torch's rules want it."""

    number: int
    count: Tensor


class Solver:
    """One update rule over the parameters of K models, each with options of its own, with all that it remembers.

    The rules are what the classes of `torch.optim` call, fused kernels where there are some: constructing the first of
    those imports torch's compiler, which takes longer than many a small fit. Rows of `data` have to be whole vectors of
    the CPU, as those of `FlatParameters` are, for a model to be trained among others as it is alone. One call updates
    all neighbours with the same options and rates.
    """

    def __init__(
        self, name: str, data: Tensor, grad: Tensor, decayed: Tensor, options: Sequence[SolverOptions]
    ) -> None:
        self.name, self.data, self.grad, self.options = name, data, grad, list(options)
        self._rule = SOLVERS[name]
        self._decayed = decayed  # (P,), 1 for the columns of `data` that decay and 0 for the others
        self.slots = {slot: torch.zeros_like(data) for slot in self._rule.slots}
        where = data.device if self._rule.counts_on_device else torch.device("cpu")
        self._steps = _Steps(0, torch.zeros((), dtype=torch.float32, device=where))
        self._mu_products = torch.ones(len(data), dtype=torch.float32)  # what "nadam" remembers beside its slots
        # The same memory, where numpy is there sooner.
        self._counter: Any = self._steps.count.numpy() if where.type == "cpu" else self._steps.count
        self._rates: list[float] = []
        self._parts: list[_Part] = []

    @property
    def steps(self) -> int:
        """Number of updates."""
        return self._steps.number

    def update(self, rates: Sequence[float], step: float = 0, n_steps: float = 1) -> None:
        """Move the parameters along their gradient, which may be overwritten, by the models' rates at that step."""
        if rates != self._rates:
            self._rates, self._parts = list(rates), self._split(rates)
        self.count(1)
        for part in self._parts:
            self._counter[...] = self.steps - self._rule.counts
            rate = scheduled(part.rate, part.options, step, n_steps)
            if part.decay is not None:
                part.data.mul_(1 - rate * part.decay)
            self._rule.update(part, rate)

    def count(self, n_updates: int) -> None:
        """Count updates, such as those that are made elsewhere."""
        self._steps.number += n_updates

    def keep(self, models: Sequence[int], data: Tensor, grad: Tensor) -> "Solver":
        """Return the solver of some of the models, whose parameters and gradients are now elsewhere."""
        kept = Solver(self.name, data, grad, self._decayed, [self.options[k] for k in models])
        state = self.state()
        of_models = {name: state[name][list(models)] for name in (*self.slots, "mu_products")}
        kept.load_state({**state, **of_models})
        return kept

    def state(self) -> dict[str, Any]:
        """Return copies on the CPU of all that the rule remembers."""
        return {"steps": self.steps, **{name: tensor.to("cpu", copy=True) for name, tensor in self._tensors().items()}}

    def load_state(self, state: dict[str, Any]) -> None:
        """Continue from what `state` returned."""
        self._steps.number = state["steps"]
        for name, tensor in self._tensors().items():
            tensor.copy_(state[name])

    def _tensors(self) -> dict[str, Tensor]:
        return {**self.slots, "mu_products": self._mu_products}

    def _split(self, rates: Sequence[float]) -> list[_Part]:
        alike = itertools.groupby(range(len(rates)), key=lambda k: (rates[k], self.options[k]))
        return [
            self._part(slice(first, first + len([*others]) + 1), rate, options)
            for (rate, options), (first, *others) in alike
        ]

    def _part(self, models: slice, rate: float, options: SolverOptions) -> _Part:
        slots = {name: slot[models] for name, slot in self.slots.items()}
        decay = options.weight_decay * self._decayed if options.weight_decay else None
        return _Part(
            self.data[models], self.grad[models], slots, rate, options, decay, self._mu_products[models], self._steps
        )


def scheduled(rate: float, options: SolverOptions, step: float, n_steps: float) -> float:
    """Return the rate at that step of so many."""
    schedule = SCHEDULES.get(options.learning_rate)
    return rate * schedule(step, n_steps) if schedule else rate


def _sgd(part: _Part, rate: float) -> None:
    # The rate scales the gradient before it enters the velocity, as in scikit-learn: when the rate changes, the
    # velocity keeps the old one. torch.optim scales after it.
    part.grad.mul_(rate)
    momentum = part.options.momentum
    nesterov = part.options.nesterovs_momentum and momentum > 0
    velocities = [part.slots["velocity"]] if momentum else []
    torch._fused_sgd_([part.data], [part.grad], velocities, lr=1.0, momentum=momentum, nesterov=nesterov,
                      dampening=0.0, weight_decay=0.0, maximize=False, is_first_step=False)  # fmt: skip


def _adam(part: _Part, rate: float, epsilon: float | None = None) -> None:
    options, slots = part.options, part.slots
    if epsilon is None:
        # scikit-learn adds epsilon before the second moment is corrected for its bias, torch after it.
        epsilon = options.epsilon / math.sqrt(1 - options.beta_2**part.steps.number)
    torch._fused_adam_([part.data], [part.grad], [slots["mean"]], [slots["square"]], [], [part.steps.count],
                       lr=rate, beta1=options.beta_1, beta2=options.beta_2, weight_decay=0.0, eps=epsilon,
                       amsgrad=False, maximize=False)  # fmt: skip


def _adamw(part: _Part, rate: float) -> None:
    _adam(part, rate, part.options.epsilon)


def _nadam(part: _Part, rate: float) -> None:
    options, slots, product = part.options, part.slots, part.mu_products[0]
    nadam([part.data], [part.grad], [slots["mean"]], [slots["square"]], [product], [part.steps.count], lr=rate,
          beta1=options.beta_1, beta2=options.beta_2, eps=options.epsilon, momentum_decay=4e-3, weight_decay=0.0,
          foreach=False)  # fmt: skip
    part.mu_products.fill_(product)


def _rmsprop(part: _Part, rate: float) -> None:
    rmsprop([part.data], [part.grad], [part.slots["square"]], [], [], [part.steps.count], lr=rate, alpha=0.99,
            eps=part.options.epsilon, momentum=0.0, centered=False, weight_decay=0.0, foreach=False)  # fmt: skip


def _adagrad(part: _Part, rate: float) -> None:
    adagrad([part.data], [part.grad], [part.slots["square"]], [part.steps.count], lr=rate, lr_decay=0.0,
            eps=part.options.epsilon, weight_decay=0.0, maximize=False, foreach=False)  # fmt: skip


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
    "nadam": Rule(("mean", "square"), _nadam, counts=True),
    "rmsprop": Rule(("square",), _rmsprop, counts=True),
    "adagrad": Rule(("square",), _adagrad, counts=True),
}

# Factors of `learning_rate_init` by step; the schedules not here change between epochs.
SCHEDULES: dict[str, Callable[[float, float], float]] = {"cosine": _cosine, "onecycle": _onecycle}
