import matplotlib.pyplot as plt
import numpy as np

from sknn import MLPTorchRegressor

rng = np.random.default_rng(0)
x = np.sort(rng.uniform(-2, 2, 400))
X, curve = x[:, None], np.sin(2 * x)
network = MLPTorchRegressor(activation="tanh", learning_rate="onecycle", random_state=0)
network.set_params(
    learning_rate_init=0.02, batch_size=50, max_iter=100, n_iter_no_change=99
)

_, (left, right) = plt.subplots(1, 2, figsize=(10, 3.6))
y = curve + rng.normal(scale=0.1, size=400)
y[::15] += 6
left.scatter(x, y, s=4, color="gray")
for loss in ("squared_error", "huber", "absolute_error"):
    left.plot(x, network.set_params(loss=loss).fit(X, y).predict(X), label=loss)
left.set(title="outliers, far above", ylim=(-1.5, 3))
left.legend()

y = curve + rng.normal(size=400) * (x + 2.2) / 5
right.scatter(x, y, s=4, color="gray")
for quantile in (0.9, 0.5, 0.1):
    network.set_params(loss="quantile", quantile=quantile)
    bound = network.fit(X, y).predict(X)
    right.plot(x, bound, label=f"{quantile=}: {(y < bound).mean():.2f} are below")
right.set(title="noise that grows")
right.legend()
