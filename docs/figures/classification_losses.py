import matplotlib.pyplot as plt
import numpy as np

p = np.linspace(0.01, 0.995, 200)  # of the true class, of two
right, wrong = -np.log(p), -np.log(1 - p)

_, ax = plt.subplots(figsize=(6, 3.5))
ax.plot(p, right, label="log_loss")
ax.plot(p, 0.95 * right + 0.05 * wrong, "--", label="log_loss, label_smoothing=0.1")
for gamma in (1, 2, 5):
    ax.plot(p, (1 - p) ** gamma * right, ":", label=f"focal, focal_gamma={gamma}")
ax.set(xlabel="probability of the true class", ylabel="loss", ylim=(0, 3))
ax.legend()
