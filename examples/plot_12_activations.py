"""
Lesson 12: what bends between the layers
========================================

Without an activation function a network of any depth is a linear map. Which one stands there matters little in a
network of one hidden layer, and much in a deep one: going back, the gradient is multiplied by a derivative at each
layer, and that of the logistic function is never above 1/4.
"""

import warnings

import matplotlib.pyplot as plt
import torch
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split

from sknn import MLPTorchClassifier
from sknn.inspection import ActivationDisplay
from sknn.modules import MLP

# The number of epochs is a choice here, not a limit that the fit ran into.
warnings.filterwarnings("ignore", category=ConvergenceWarning)
plt.style.use("petroff10")  # colours that the colour-blind can tell apart

# %%
# Ten functions
# -------------
# All values of the parameter ``activation``, each with its derivative.

display = ActivationDisplay.from_names()
print(f"largest derivative of the logistic function: {display.derivatives['logistic'].max():.2f}")

# %%
# The way back
# ------------
# Eight hidden layers as they are drawn, before any training, and the gradient of the loss at the weights of each.

X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X / 8 - 1, y, stratify=y, random_state=0)

shown = {"relu": "-", "tanh": "--", "logistic": ":"}
hidden = (32,) * 8
gradients = {}
for activation in shown:
    network = MLP(64, 10, hidden, activation, random_state=0, dtype=torch.float64)
    scores = network(torch.from_numpy(X_train))
    torch.nn.functional.cross_entropy(scores, torch.from_numpy(y_train)).backward()
    gradients[activation] = [layer.weight.grad.norm().item() for layer in network.linear_layers()]
    share = gradients[activation][0] / gradients[activation][-1]
    print(f"{activation}: the gradient of the first layer is {share:.1e} of that of the last")

# %%
# What it does to a fit
# ---------------------

fits = {
    (activation, depth): MLPTorchClassifier(
        hidden[:depth], activation, learning_rate_init=0.003, batch_size=64, max_iter=30, random_state=0
    ).fit(X_train, y_train)
    for activation in shown
    for depth in (1, 8)
}
for (activation, depth), network in fits.items():
    print(f"{activation}, hidden layers: {depth}, test accuracy: {network.score(X_test, y_test):.4f}")

# %%
figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
for activation, style in shown.items():
    left.semilogy(range(1, 10), gradients[activation], style, marker=".", label=activation)
    losses = fits[activation, 8].loss_curve_
    right.plot(range(1, len(losses) + 1), losses, style, label=activation)
left.set(title="gradient before training", xlabel="layer", ylabel="Euclidean norm")
right.set(title="eight hidden layers", xlabel="epoch", ylabel="training loss")
left.legend()
right.legend()
plt.show()
