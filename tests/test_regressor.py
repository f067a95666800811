"""What the regressor offers beyond scikit-learn's MLP: losses, several columns, dtypes."""

import numpy as np
import pytest
from sklearn.datasets import load_diabetes
from sklearn.linear_model import HuberRegressor, PoissonRegressor, QuantileRegressor, Ridge

from sknn import MLPTorchRegressor

X, Y = load_diabetes(return_X_y=True)
X, Y = X[:, :4] * 20, Y / 100
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def linear(loss="squared_error", **parameters):
    parameters = {"solver": "lbfgs", "alpha": 0.0, "max_iter": 20_000, "max_fun": 50_000, "tol": 1e-9, **parameters}
    return MLPTorchRegressor(loss, hidden_layer_sizes=(), random_state=0, **parameters).fit(X, Y)


def test_squared_error_without_hidden_layers_is_ridge_regression():
    reference = Ridge(alpha=3.0).fit(X, Y)
    np.testing.assert_allclose(linear(alpha=3.0).coefs_[0].ravel(), reference.coef_, rtol=1e-4)


def test_poisson_without_hidden_layers_is_poisson_regression():
    reference = PoissonRegressor(alpha=0.0, tol=1e-10, max_iter=1000).fit(X, Y)
    network = linear("poisson")
    np.testing.assert_allclose(network.predict(X), reference.predict(X), rtol=1e-4)
    assert network.out_activation_ == "exp"


def test_huber_lies_between_its_neighbours():
    squared, absolute = linear(), linear("absolute_error")
    near_squared, near_absolute = linear("huber", huber_delta=100.0), linear("huber", huber_delta=1e-3)
    np.testing.assert_allclose(near_squared.predict(X), squared.predict(X), atol=1e-4)
    np.testing.assert_allclose(near_absolute.predict(X), absolute.predict(X), atol=0.05)


def test_huber_resists_outliers_like_scikit_learns():
    y = Y.copy()
    y[::20] += 50.0
    reference = HuberRegressor(alpha=0.0, max_iter=1000).fit(X, y)
    delta = reference.epsilon * reference.scale_
    network = MLPTorchRegressor("huber", (), solver="lbfgs", alpha=0.0, huber_delta=delta, max_iter=5000, tol=1e-9)
    network.set_params(random_state=0).fit(X, y)
    np.testing.assert_allclose(network.predict(X), reference.predict(X), atol=1e-3)


@pytest.mark.parametrize("quantile", [0.1, 0.5, 0.9])
def test_quantile_covers_that_share_of_the_rows(quantile):
    network = linear("quantile", quantile=quantile)
    reference = QuantileRegressor(quantile=quantile, alpha=0.0).fit(X, Y)

    def pinball(predicted):
        error = Y - predicted
        return np.maximum(quantile * error, (quantile - 1) * error).mean()

    assert (network.predict(X) >= Y).mean() == pytest.approx(quantile, abs=0.03)
    assert pinball(network.predict(X)) == pytest.approx(pinball(reference.predict(X)), rel=2e-3)


def test_median_is_the_absolute_error():
    median, absolute = linear("quantile", quantile=0.5), linear("absolute_error")
    np.testing.assert_allclose(median.predict(X), absolute.predict(X), atol=0.02)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n_columns", [0, 1, 3])
def test_shape_and_dtype_of_predictions(dtype, n_columns):
    y = Y if n_columns == 0 else np.stack([Y] * n_columns, axis=1)
    network = MLPTorchRegressor(hidden_layer_sizes=(5,), max_iter=2, random_state=0)
    if n_columns == 1:
        with pytest.warns(UserWarning, match="column-vector y was passed"):
            network.fit(X.astype(dtype), y)
    else:
        network.fit(X.astype(dtype), y)
    assert network.predict(X.astype(dtype)).shape == ((len(X),) if n_columns < 2 else (len(X), 3))
    assert network.predict(X.astype(dtype)).dtype == dtype


def test_poisson_predictions_stay_finite_far_away():
    network = linear("poisson")
    assert np.isfinite(network.predict(X * 1e6)).all()


@pytest.mark.parametrize("loss", ["squared_error", "absolute_error", "huber", "poisson", "quantile"])
def test_each_loss_learns_with_adam(loss):
    network = MLPTorchRegressor(loss, (20,), max_iter=200, learning_rate_init=0.01, random_state=0).fit(X, Y)
    assert network.score(X, Y) > 0.3
    assert network.loss_curve_[-1] < network.loss_curve_[0]
