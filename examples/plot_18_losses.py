"""
Lesson 18: what a loss asks for
===============================

A network predicts what makes its loss small: the squared error asks for the mean, the absolute error for the median,
the quantile loss for any quantile, and the Poisson loss for the mean of counts. Huber's loss is the squared error of
small mistakes and the absolute error of large ones. The data are made here, so that we know what is right.
"""

import matplotlib.pyplot as plt
import numpy as np

from sknn import MLPTorchRegressor

plt.style.use("petroff10")  # colours that the colour-blind can tell apart
rng = np.random.default_rng(0)


def learn(X, y, loss, hidden_layer_sizes=(50, 50), **parameters):
    recipe = {"learning_rate": "onecycle", "learning_rate_init": 0.02, "batch_size": 64, "max_iter": 30}
    return MLPTorchRegressor(loss, hidden_layer_sizes, "tanh", random_state=0, **recipe, **parameters).fit(X, y)


X = rng.uniform(-3, 3, (2000, 1))
grid = np.linspace(-3, 3, 200)[:, None]
styles = ("-", "--", "-.")

# %%
# Outliers
# --------
# A curve with a little noise, and one value in ten far above it. The mean follows those, the median hardly.

y = np.sin(X[:, 0]) + rng.normal(scale=0.1, size=len(X))
y = y + np.where(rng.uniform(size=len(X)) < 0.1, rng.uniform(2, 8, len(X)), 0)
figure, ax = plt.subplots(layout="constrained")
ax.scatter(X[::2], y[::2], s=4, color="gray", alpha=0.4)
for (loss, parameters), style in zip(
    {"squared_error": {}, "huber": {"huber_delta": 0.2}, "absolute_error": {}}.items(), styles, strict=True
):
    curve = learn(X, y, loss, **parameters).predict(grid)
    print(f"{loss}: on average {np.abs(curve - np.sin(grid[:, 0])).mean():.3f} off the true curve")
    ax.plot(grid, curve, style, label=loss)
ax.set(title="one value in ten is an outlier", xlabel="x", ylabel="y")
ax.legend()

# %%
# A band
# ------
# Noise that grows with x. Between the quantiles 0.05 and 0.95 should lie nine of ten values, and of those that the
# networks have never seen. On either side of x = 0 it should be nine of ten as well.


def noisy(X):
    return np.sin(X[:, 0]) + rng.normal(size=len(X)) * (0.1 + 0.15 * (X[:, 0] + 3))


X_new = rng.uniform(-3, 3, (5000, 1))
y, y_new = noisy(X), noisy(X_new)
low, median, high = (learn(X, y, "quantile", quantile=q) for q in (0.05, 0.5, 0.95))
inside = (low.predict(X_new) <= y_new) & (y_new <= high.predict(X_new))
print(f"coverage of the band on new rows: {inside.mean():.3f}")
print(f"coverage where x < 0: {inside[X_new[:, 0] < 0].mean():.3f}, where x > 0: {inside[X_new[:, 0] > 0].mean():.3f}")

figure, ax = plt.subplots(layout="constrained")
ax.scatter(X[::2], y[::2], s=4, color="gray", alpha=0.4)
ax.fill_between(grid[:, 0], low.predict(grid), high.predict(grid), alpha=0.3, label="quantiles 0.05 to 0.95")
ax.plot(grid, median.predict(grid), label="quantile 0.5")
ax.set(title=f"a band around {100 * inside.mean():.0f} % of new values", xlabel="x", ylabel="y")
ax.legend(loc="upper left")

# %%
# Counts
# ------
# How often something happens is never below zero. The Poisson loss predicts through an exponential. Here the logarithm
# of the mean is a line, so that a single layer finds it, with a weight of one; the squared error gets a straight line.

y = rng.poisson(np.exp(X[:, 0]))
figure, ax = plt.subplots(layout="constrained")
ax.scatter(X[::2], y[::2], s=4, color="gray", alpha=0.4)
for loss, style in zip(("squared_error", "poisson"), styles, strict=False):
    layer = learn(X, y, loss, ())
    print(f"{loss} of counts: {100 * (layer.predict(X_new) < 0).mean():.0f} % of predictions are below zero")
    print(f"   weight that {loss} found: {layer.coefs_[0].item():.2f}")
    ax.plot(grid, layer.predict(grid), style, label=loss)
ax.plot(grid, np.exp(grid[:, 0]), ":", color="black", label="true mean")
ax.set(title="counts, without hidden layers", xlabel="x", ylabel="count", ylim=(-4, 25))
ax.legend()
plt.show()
