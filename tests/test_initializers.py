"""Initial weights: scikit-learn's own, and the deviations that the papers give."""

import numpy as np
import pytest
from sklearn.neural_network import MLPRegressor

from sknn._initializers import INITIALIZERS

FAN_IN, FAN_OUT = 300, 200
DEVIATIONS = {
    "glorot_normal": np.sqrt(2 / (FAN_IN + FAN_OUT)),
    "he_uniform": np.sqrt(2 / FAN_IN),
    "he_normal": np.sqrt(2 / FAN_IN),
    "lecun_normal": np.sqrt(1 / FAN_IN),
    "normal": 0.01,
}


@pytest.mark.parametrize("activation", ["identity", "logistic", "tanh", "relu"])
def test_glorot_uniform_is_scikit_learns(activation):
    reference = MLPRegressor("squared_error", (5, 3), activation, random_state=7)
    reference.partial_fit(np.zeros((1, 4)), [0.0])  # one step of 0.001 at most
    rng = np.random.RandomState(7)
    for coef, intercept in zip(reference.coefs_, reference.intercepts_, strict=True):
        weight, bias = INITIALIZERS["glorot_uniform"](rng, *coef.shape, activation)
        np.testing.assert_allclose(weight, coef, atol=1.1e-3)
        np.testing.assert_allclose(bias, intercept, atol=1.1e-3)


@pytest.mark.parametrize(("activation", "factor"), [("relu", 6), ("logistic", 2)])
def test_glorot_uniform_fills_its_interval(activation, factor):
    weight, bias = INITIALIZERS["glorot_uniform"](np.random.RandomState(0), FAN_IN, FAN_OUT, activation)
    bound = np.sqrt(factor / (FAN_IN + FAN_OUT))
    for drawn in (weight, bias):
        assert 0.97 * bound < np.abs(drawn).max() < bound
    assert weight.std() == pytest.approx(bound / np.sqrt(3), rel=0.02)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", DEVIATIONS)
def test_deviation(name, seed):
    weight, bias = INITIALIZERS[name](np.random.RandomState(seed), FAN_IN, FAN_OUT, "relu")
    assert weight.shape == (FAN_IN, FAN_OUT)
    assert bias.shape == (FAN_OUT,)
    assert not bias.any()
    assert weight.std() == pytest.approx(DEVIATIONS[name], rel=0.02)
    assert abs(weight.mean()) < 4 * DEVIATIONS[name] / np.sqrt(weight.size)
    beyond = (np.abs(weight) > 2 * DEVIATIONS[name]).mean()
    assert beyond == 0 if name == "he_uniform" else beyond == pytest.approx(0.0455, abs=0.004)


def test_every_initializer_is_tested():
    assert {"glorot_uniform", *DEVIATIONS} == INITIALIZERS.keys()


@pytest.mark.parametrize("name", INITIALIZERS)
def test_draws_are_float64_and_repeat(name):
    first, second = (INITIALIZERS[name](np.random.RandomState(3), 4, 5, "relu") for _ in range(2))
    for drawn, again in zip(first, second, strict=True):
        assert drawn.dtype == np.float64
        np.testing.assert_array_equal(drawn, again)
