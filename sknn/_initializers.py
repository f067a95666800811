"""How the weights and biases of a layer are drawn before training, by name."""

import math
from collections.abc import Callable

import numpy as np

Array = np.ndarray
Initializer = Callable[[np.random.RandomState, int, int, str], tuple[Array, Array]]


def _glorot_uniform(rng: np.random.RandomState, fan_in: int, fan_out: int, activation: str) -> tuple[Array, Array]:
    """Draw weights and biases as scikit-learn's MLP does, in the same order (Glorot and Bengio, 2010)."""
    factor = 2.0 if activation == "logistic" else 6.0
    bound = math.sqrt(factor / (fan_in + fan_out))
    weight = rng.uniform(-bound, bound, (fan_in, fan_out))
    return weight, rng.uniform(-bound, bound, fan_out)


def _normal(deviation: Callable[[int, int], float]) -> Initializer:
    """Make an initializer of normal weights with that standard deviation, and zero biases."""

    def draw(rng: np.random.RandomState, fan_in: int, fan_out: int, activation: str) -> tuple[Array, Array]:
        return rng.normal(0.0, deviation(fan_in, fan_out), (fan_in, fan_out)), np.zeros(fan_out)

    return draw


def _uniform(bound: Callable[[int, int], float]) -> Initializer:
    """Make an initializer of uniform weights within that bound, and zero biases."""

    def draw(rng: np.random.RandomState, fan_in: int, fan_out: int, activation: str) -> tuple[Array, Array]:
        limit = bound(fan_in, fan_out)
        return rng.uniform(-limit, limit, (fan_in, fan_out)), np.zeros(fan_out)

    return draw


INITIALIZERS: dict[str, Initializer] = {
    "glorot_uniform": _glorot_uniform,
    "glorot_normal": _normal(lambda fan_in, fan_out: math.sqrt(2.0 / (fan_in + fan_out))),
    "he_uniform": _uniform(lambda fan_in, fan_out: math.sqrt(6.0 / fan_in)),
    "he_normal": _normal(lambda fan_in, fan_out: math.sqrt(2.0 / fan_in)),
    "lecun_normal": _normal(lambda fan_in, fan_out: math.sqrt(1.0 / fan_in)),
    "normal": _normal(lambda fan_in, fan_out: 0.01),
}
