import matplotlib.pyplot as plt
import numpy as np

p = np.linspace(0.01, 0.995, 200)  # of the true class, of two
_, ax = plt.subplots(figsize=(6, 3.5))
ax.plot(p, -np.log(p), label="log_loss")
ax.plot(p, -0.95 * np.log(p) - 0.05 * np.log(1 - p), "--", label="log_loss, label_smoothing=0.1")
for gamma in (1, 2, 5):
    ax.plot(p, -((1 - p) ** gamma) * np.log(p), ":", label=f"focal, focal_gamma={gamma}")
ax.set(xlabel="probability of the true class", ylabel="loss", ylim=(0, 3))
ax.legend()
