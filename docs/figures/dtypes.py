import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits

from sknn import MLPTorchClassifier

X, y = load_digits(return_X_y=True)
network = MLPTorchClassifier(learning_rate="cosine", max_iter=40, random_state=0)
network.set_params(device="cpu")
losses = {}
for dtype in ("float64", "float32", "bfloat16"):
    losses[dtype] = np.array(network.set_params(dtype=dtype).fit(X / 16, y).loss_curve_)

_, ax = plt.subplots(figsize=(6, 3.5))
for dtype in ("float32", "bfloat16"):
    difference = np.abs(losses[dtype] / losses["float64"] - 1)
    ax.semilogy(range(1, 41), difference, label=dtype)
ax.set(xlabel="epoch", ylabel="relative difference of the loss")
ax.legend()
