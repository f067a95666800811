"""How the weights and biases of a layer are drawn before training, by name."""

import math
from collections.abc import Callable
from typing import Protocol

import numpy as np

Array = np.ndarray


class Initializer(Protocol):
    """Draws the weights (n_in, n_out) and the biases (n_out,) of a layer.

    A convolution has as many inputs as its kernel covers, and each input reaches `n_places` places of every output.
    """

    def __call__(
        self, rng: np.random.RandomState, n_in: int, n_out: int, activation: str, n_places: int = 1
    ) -> tuple[Array, Array]: ...


def _glorot_uniform(
    rng: np.random.RandomState, n_in: int, n_out: int, activation: str, n_places: int = 1
) -> tuple[Array, Array]:
    """Draw weights and biases as scikit-learn's MLP does, in the same order (Glorot and Bengio, 2010)."""
    factor = 2.0 if activation == "logistic" else 6.0
    bound = math.sqrt(factor / (n_in + n_out * n_places))
    weight = rng.uniform(-bound, bound, (n_in, n_out))
    return weight, rng.uniform(-bound, bound, n_out)


def _normal(deviation: Callable[[int, int], float]) -> Initializer:
    """Make an initializer of normal weights with that standard deviation, and zero biases."""

    def draw(
        rng: np.random.RandomState, n_in: int, n_out: int, activation: str, n_places: int = 1
    ) -> tuple[Array, Array]:
        return rng.normal(0.0, deviation(n_in, n_out * n_places), (n_in, n_out)), np.zeros(n_out)

    return draw


def _uniform(bound: Callable[[int, int], float]) -> Initializer:
    """Make an initializer of uniform weights within that bound, and zero biases."""

    def draw(
        rng: np.random.RandomState, n_in: int, n_out: int, activation: str, n_places: int = 1
    ) -> tuple[Array, Array]:
        limit = bound(n_in, n_out * n_places)
        return rng.uniform(-limit, limit, (n_in, n_out)), np.zeros(n_out)

    return draw


INITIALIZERS: dict[str, Initializer] = {
    "glorot_uniform": _glorot_uniform,
    "glorot_normal": _normal(lambda fan_in, fan_out: math.sqrt(2.0 / (fan_in + fan_out))),
    "he_uniform": _uniform(lambda fan_in, fan_out: math.sqrt(6.0 / fan_in)),
    "he_normal": _normal(lambda fan_in, fan_out: math.sqrt(2.0 / fan_in)),
    "lecun_normal": _normal(lambda fan_in, fan_out: math.sqrt(1.0 / fan_in)),
    "normal": _normal(lambda fan_in, fan_out: 0.01),
}
