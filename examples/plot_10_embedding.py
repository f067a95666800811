"""
Lesson 10: categories have places
=================================

A column of categories has no numbers to multiply. An embedding gives each category a few numbers of its own, which are
learned like weights: categories that act alike come to lie close together. The data are made here, so that we know what
there is to find: taxi rides whose speed depends on hour and district.
"""

import warnings

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from sklearn.compose import make_column_transformer
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import Ridge
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler
from torch import nn

from sknn import TorchRegressor

# The number of epochs is a choice here, not a limit that the fit ran into.
warnings.filterwarnings("ignore", category=ConvergenceWarning)

# %%
# The data
# --------
# A ride takes as long as its distance divided by the speed. Districts slow it down by how busy they are, hours by how
# busy everyone is, and the two multiply.

rng = np.random.default_rng(0)
districts = np.array(["harbour", "market", "old town", "park", "station", "suburb", "university", "woods"])
busy_district = pd.Series([0.3, 1.0, 0.9, 0.1, 1.0, 0.2, 0.6, 0.0], index=districts)
hours = np.arange(24)
busy_hour = np.exp(-((hours - 8.0) ** 2) / 5) + np.exp(-((hours - 17.0) ** 2) / 8)

rides = pd.DataFrame({
    "district": pd.Categorical(rng.choice(districts, 4000)),
    "hour": pd.Categorical(rng.choice(hours, 4000)),
    "distance": rng.uniform(0.5, 5, 4000),
})  # fmt: skip
busy = busy_district[rides["district"]].to_numpy() * busy_hour[rides["hour"].astype(int)]
minutes = rides["distance"] * 2 * (1 + 2 * busy) + rng.normal(scale=0.5, size=len(rides))
train, test, y_train, y_test = train_test_split(rides, minutes, random_state=0)

# %%
# The module
# ----------
# The first columns of X are codes of categories, the others numbers.


class Embedded(nn.Module):
    def __init__(self, n_features_in, n_outputs, n_categories=(8, 24), size=2, width=32):
        super().__init__()
        self.tables = nn.ModuleList([nn.Embedding(n, size) for n in n_categories])
        for table in self.tables:
            nn.init.normal_(table.weight, std=0.01)  # all in one place to begin with
        n_numbers = n_features_in - len(n_categories)
        self.dense = nn.Sequential(
            nn.Linear(size * len(n_categories) + n_numbers, width), nn.SiLU(),
            nn.Linear(width, width), nn.SiLU(),
            nn.Linear(width, n_outputs),
        )  # fmt: skip

    def forward(self, X):  # (n, n_features_in)
        codes, numbers = X[:, : len(self.tables)].long(), X[:, len(self.tables) :]
        places = [table(column) for table, column in zip(self.tables, codes.T, strict=True)]  # (n, size) each
        return self.dense(torch.cat([*places, numbers], dim=1))


# %%
# A pipeline from the table to the network
# ----------------------------------------
# Beside it a linear model, with a number for each district and each hour: it adds what multiplies.

categories = ["district", "hour"]
linear = make_pipeline(
    make_column_transformer((OneHotEncoder(), categories), (StandardScaler(), ["distance"])), Ridge()
)
print(f"R2 of a linear model: {linear.fit(train, y_train).score(test, y_test):.4f}")

network = TorchRegressor(
    Embedded, learning_rate="onecycle", learning_rate_init=0.02, batch_size=64, max_iter=20, random_state=0
)
model = make_pipeline(
    make_column_transformer((OrdinalEncoder(), categories), (StandardScaler(), ["distance"])), network
)
print(f"R2 with embeddings: {model.fit(train, y_train).score(test, y_test):.4f}")

# %%
# What it found
# -------------
# Two numbers for each district. The direction in which they differ most is how busy a district is, up to its sign.

places = network.module_.tables[0].weight.detach().cpu().numpy()
centred = places - places.mean(axis=0)
main = centred @ np.linalg.svd(centred)[2][0]
print(f"correlation with how busy districts are: {abs(np.corrcoef(main, busy_district)[0, 1]):.3f}")

figure, axis = plt.subplots(figsize=(6, 4), layout="constrained")
axis.scatter(*places.T, c=busy_district)
for name, place in zip(districts, places, strict=True):
    axis.annotate(name, place)
axis.set(title="districts, brighter where busier", xlabel="first number", ylabel="second number")
plt.show()
