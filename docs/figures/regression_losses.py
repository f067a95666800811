import matplotlib.pyplot as plt
import numpy as np

from sknn import MLPTorchRegressor

rng = np.random.default_rng(0)
x = np.sort(rng.uniform(-2, 2, 400))
X, common = x[:, None], {"activation": "tanh", "learning_rate": "onecycle", "learning_rate_init": 0.02, "max_iter": 200}
_, (left, right) = plt.subplots(1, 2, figsize=(10, 3.6))

y = np.sin(2 * x) + rng.normal(scale=0.1, size=400)
y[::15] += 6
left.scatter(x, y, s=4, color="gray")
for loss in ("squared_error", "huber", "absolute_error"):
    left.plot(x, MLPTorchRegressor(loss, random_state=0, **common).fit(X, y).predict(X), label=loss)
left.set(title="outliers", ylim=(-1.5, 3))
left.legend()

y = np.sin(2 * x) + rng.normal(size=400) * (x + 2.2) / 5
right.scatter(x, y, s=4, color="gray")
for quantile in (0.9, 0.5, 0.1):
    network = MLPTorchRegressor("quantile", quantile=quantile, random_state=0, **common).fit(X, y)
    right.plot(x, network.predict(X), label=f"quantile={quantile}: {(y < network.predict(X)).mean():.2f} are below")
right.set(title="noise that grows")
right.legend()
