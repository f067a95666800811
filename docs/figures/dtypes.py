import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits

from sknn import MLPTorchClassifier

X, y = load_digits(return_X_y=True)
network = MLPTorchClassifier(learning_rate="cosine", max_iter=40, device="cpu", random_state=0)
curves = {
    dtype: np.array(network.set_params(dtype=dtype).fit(X / 16, y).loss_curve_)
    for dtype in ("float64", "float32", "bfloat16")
}
_, ax = plt.subplots(figsize=(6, 3.5))
for dtype in ("float32", "bfloat16"):
    ax.semilogy(range(1, 41), np.abs(curves[dtype] / curves["float64"] - 1), label=dtype)
ax.set(xlabel="epoch", ylabel="relative difference of the loss from float64's")
ax.legend()
