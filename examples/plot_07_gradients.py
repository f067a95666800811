"""
Lesson 7: are the gradients right?
==================================

Training follows the gradient of the loss, which backpropagation computes. There is a way to get it without any
mathematics: move one weight a little to both sides and see how the loss changes, (f(w + h) - f(w - h)) / 2h. It is
much too slow to train with, and just right for checking. Without the files of MNIST
(``sknn.datasets.fetch_mnist()`` brings them once) the lesson takes the 8 x 8 digits that scikit-learn ships.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits

from sknn import MLPTorchClassifier, MLPTorchRegressor, check_gradients
from sknn.datasets import fetch_mnist

# %%
# A few images are enough.

try:
    X, y = fetch_mnist(subset="test", return_X_y=True, download_if_missing=False)
    data, white = "MNIST", 255
except FileNotFoundError:
    X, y = load_digits(return_X_y=True)
    data, white = "scikit-learn's digits", 16
X, y = X[:20] / (white / 2) - 1, y[:20]
print(f"{len(X)} images of {data}")

# %%
# Every loss, with h = 1e-4
# -------------------------
# Two hundred weights of each network, drawn at random. The loss includes the penalty, ``alpha``.

classifier = MLPTorchClassifier((50,), "tanh", alpha=0.1, random_state=0)
networks = [
    classifier,
    MLPTorchClassifier((50,), "logistic", label_smoothing=0.1, random_state=0),
    MLPTorchClassifier((50, 50), "gelu", loss="focal", random_state=0),
    MLPTorchRegressor("squared_error", (50,), "silu", alpha=0.1, random_state=0),
    MLPTorchRegressor("huber", (50,), "softplus", random_state=0),
    MLPTorchRegressor("poisson", (50,), "elu", batch_norm=True, random_state=0),
]
for network in networks:
    check = check_gradients(network, X, y, h=1e-4)
    print(f"{network.loss} with {network.activation}: largest difference {check.max_absolute_error:.1e}")

# %%
# Why h = 1e-4
# ------------
# A large h sees the curve of the loss, and its error falls with the square of h. A small h subtracts two numbers that
# are almost the same, and their rounding is divided by h. The best lies between. Fifty weights show it.

steps = np.logspace(-1, -9, 9)
errors = [check_gradients(classifier, X, y, h=h, max_parameters=50).max_absolute_error for h in steps]
best = steps[np.argmin(errors)]
print(f"smallest difference {min(errors):.1e} with h = {best:.0e}")

# %%
check = check_gradients(classifier, X, y)
figure, (left, right) = plt.subplots(1, 2, figsize=(9, 4), layout="constrained")
left.plot(check.analytic, check.numerical, ".")
left.axline((0, 0), slope=1, linewidth=0.5, color="black")
left.set(title="200 derivatives", xlabel="by backpropagation", ylabel="by central differences")
right.loglog(steps, errors, ".-")
right.set(title="largest difference between the two", xlabel="h")
plt.show()
