"""
Lesson 8: a network of your own
===============================

Any ``torch.nn.Module`` is an estimator in the hands of ``TorchClassifier`` and ``TorchRegressor``. Here it is a
residual network: every block adds something to its input instead of replacing it, so that the gradient has a straight
way back through all of them. Depth and width are chosen by cross-validation, as those of any other estimator.
"""

import warnings

import matplotlib.pyplot as plt
import torch
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler
from torch import nn

from sknn import TorchClassifier, check_gradients

# The number of epochs is a choice here, not a limit that the fit ran into.
warnings.filterwarnings("ignore", category=ConvergenceWarning)

# %%
# The module
# ----------
# The estimator calls it with the sizes that the data have, ``n_features_in`` and ``n_outputs``. Everything else is
# a parameter. It returns raw scores; softmax and loss are the estimator's.


class Block(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.change = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width))

    def forward(self, X):
        return X + self.change(X)


class ResidualMLP(nn.Module):
    def __init__(self, n_features_in, n_outputs, width=32, n_blocks=2):
        super().__init__()
        self.enter = nn.Linear(n_features_in, width)
        self.blocks = nn.Sequential(*[Block(width) for _ in range(n_blocks)])
        self.leave = nn.Linear(width, n_outputs)

    def forward(self, X):  # (n, n_features_in)
        return self.leave(self.blocks(self.enter(X)))  # (n, n_outputs)


# %%
# A search over its parameters
# ----------------------------
# ``module__width`` is a parameter of the estimator now, in a pipeline too.

X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X, y, stratify=y, random_state=0)

network = TorchClassifier(
    ResidualMLP, learning_rate="onecycle", learning_rate_init=0.01, batch_size=64, max_iter=15, random_state=0
)
model = make_pipeline(MinMaxScaler(), network)
grid = {"torchclassifier__module__width": [16, 64], "torchclassifier__module__n_blocks": [0, 2]}
search = GridSearchCV(model, grid, cv=3).fit(X_train, y_train)

for parameters, score in zip(search.cv_results_["params"], search.cv_results_["mean_test_score"], strict=True):
    n_blocks, width = parameters.values()
    print(f"{n_blocks} blocks of width {width}: {score:.4f}")
print(f"the best has {search.best_params_['torchclassifier__module__n_blocks']} blocks")
print(f"test accuracy: {search.score(X_test, y_test):.4f}")

# %%
# Are its gradients right?
# ------------------------
# What PyTorch differentiates needs no check. A backward pass that you write yourself does.

check = check_gradients(network, X_train[:20] / 16, y_train[:20])
print(f"largest difference from central differences: {check.max_absolute_error:.1e}")

# %%
# How much each block changes what it is given: the length of the change over that of its input.

fitted = search.best_estimator_[-1].module_
shares = []
with torch.no_grad():
    state = fitted.enter(torch.from_numpy(MinMaxScaler().fit(X_train).transform(X_test)))
    for block in fitted.blocks:
        shares.append((block.change(state).norm() / state.norm()).item())
        state = block(state)

figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.5), layout="constrained")
left.plot(search.best_estimator_[-1].loss_curve_)
left.set(title="the best network", xlabel="epoch", ylabel="loss")
right.bar(range(1, len(shares) + 1), shares)
right.set(title="size of each block's change", xlabel="block", ylabel="of the size of its input")
plt.show()
