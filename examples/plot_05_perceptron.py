"""
Lesson 5: what a perceptron cannot learn
========================================

A network without hidden layers, the perceptron, decides by a straight line. One line is enough for the logical gates
AND, NAND and OR, but no line parts the cases of XOR. A hidden layer does it, as XOR is (a OR b) AND (a NAND b).
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.inspection import DecisionBoundaryDisplay

from sknn import MLPTorchClassifier

# %%
# Four gates
# ----------
# A gate has two inputs and one output, so four rows say all of it.

inputs = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
gates = {"AND": [0, 0, 0, 1], "NAND": [1, 1, 1, 0], "OR": [0, 1, 1, 1], "XOR": [0, 1, 1, 0]}

# %%
# Learning them
# -------------
# ``hidden_layer_sizes=()`` is a network without hidden layers. L-BFGS, which looks at all rows at once and chooses
# its steps itself, is the solver for so few.


def learn(gate, hidden_layer_sizes):
    network = MLPTorchClassifier(hidden_layer_sizes, "tanh", solver="lbfgs", random_state=0)
    return network.fit(inputs, gates[gate])


networks = {gate: learn(gate, ()) for gate in gates}
networks["XOR with a hidden layer"] = learn("XOR", (4,))

for name, network in networks.items():
    gate = name.split()[0]
    n_right = int((network.predict(inputs) == gates[gate]).sum())
    print(f"{name}: {n_right} of 4 right, {network.predict(inputs)} for {gates[gate]}")

# %%
# The lines
# ---------
# The network says 1 where it is red, 0 where it is blue, and does not know where it is white.

figure, axes = plt.subplots(1, 5, figsize=(14, 3.2), layout="constrained")
for ax, (name, network) in zip(axes, networks.items(), strict=True):
    DecisionBoundaryDisplay.from_estimator(
        network, inputs, response_method="predict_proba", cmap="RdBu_r", vmin=0, vmax=1, eps=0.5, ax=ax
    )
    ax.scatter(*inputs.T, c=gates[name.split()[0]], cmap="RdBu_r", edgecolors="black", s=120)
    ax.set(title=name, xticks=[0, 1], yticks=[0, 1])
plt.show()
