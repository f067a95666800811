"""
Lesson 14: a table with words in it
===================================

Tables have columns of numbers, columns of words, and gaps. A ``ColumnTransformer`` makes numbers of all of them, and in
a pipeline with the network it is one estimator, which takes the table as it is. The data are made here, so that we know
what there is to find: prices of used cars, in which the colour has no part.
"""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.compose import TransformedTargetRegressor, make_column_selector, make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.inspection import permutation_importance
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from sknn import MLPTorchRegressor

plt.style.use("petroff10")  # colours that the colour-blind can tell apart

# %%
# The table
# ---------
# A car loses a share of its price each year. How large the share is depends on what it runs on, which a linear model
# cannot say, as it adds what each column is worth. One mileage in ten is not known.

rng = np.random.default_rng(0)
n = 3000
new_price = pd.Series({"Alto": 18, "Brio": 25, "Corsa": 32, "Duna": 45})
kept_a_year = pd.Series({"petrol": 0.9, "diesel": 0.86, "electric": 0.78})
cars = pd.DataFrame({
    "model": pd.Categorical(rng.choice(new_price.index.to_numpy(), n)),
    "fuel": pd.Categorical(rng.choice(kept_a_year.index.to_numpy(), n)),
    "colour": pd.Categorical(rng.choice(["black", "red", "white"], n)),
    "age": rng.uniform(0, 12, n).round(1),
})  # fmt: skip
cars["mileage"] = (cars["age"] * rng.uniform(5, 25, n)).round()
factor = kept_a_year[cars["fuel"]].to_numpy() ** cars["age"] * 0.998 ** cars["mileage"]
price = new_price[cars["model"]].to_numpy() * factor * rng.lognormal(sigma=0.05, size=n)
cars.loc[rng.uniform(size=n) < 0.1, "mileage"] = np.nan

train, test, y_train, y_test = train_test_split(cars, price, random_state=0)
print(train.head(3))

# %%
# From the table to the network
# -----------------------------
# Words become a column for each category, numbers are scaled, and a gap is filled with the median and told of in a
# column of its own. The price is scaled too, and predictions come back in thousands.


def with_table(regressor):
    columns = make_column_transformer(
        (OneHotEncoder(handle_unknown="ignore"), make_column_selector(dtype_include="category")),
        (make_pipeline(SimpleImputer(strategy="median", add_indicator=True), StandardScaler()), ["age", "mileage"]),
    )
    return TransformedTargetRegressor(make_pipeline(columns, regressor), transformer=StandardScaler())


network = MLPTorchRegressor(
    hidden_layer_sizes=(50, 50),
    learning_rate="onecycle",
    learning_rate_init=0.01,
    batch_size=64,
    max_iter=25,
    random_state=0,
)
model = with_table(network).fit(train, y_train)
linear = with_table(LinearRegression()).fit(train, y_train)
print(f"R2 of a linear model: {linear.score(test, y_test):.4f}")
print(f"R2 of the network: {model.score(test, y_test):.4f}")

# %%
# Columns are found by their names, wherever they stand. A category that was never seen has zeros in all its columns.

turned = test[test.columns[::-1]]
print(f"largest difference, columns turned round: {np.abs(model.predict(turned) - model.predict(test)).max():.1e}")
unknown = test.head(1).assign(model=pd.Categorical(["Elan"]))
print(f"an unknown model: {model.predict(unknown)[0]:.1f} thousand")

# %%
# What it goes by
# ---------------
# By how much R2 falls when one column is shuffled.

importance = permutation_importance(model, test, y_test, n_repeats=5, random_state=0)
for name, mean in zip(test.columns, importance.importances_mean, strict=True):
    print(f"importance of {name}: {mean:.3f}")

# %%
figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
order = np.argsort(importance.importances_mean)
left.barh(test.columns[order], importance.importances_mean[order], xerr=importance.importances_std[order])
left.set(title="which columns matter", xlabel="fall of R2 when the column is shuffled")
ages = np.linspace(0, 12, 25)
for fuel, style in zip(kept_a_year.index, ("-", "--", ":"), strict=True):
    car = pd.DataFrame({"model": "Brio", "fuel": fuel, "colour": "red", "age": ages, "mileage": 15 * ages})
    right.plot(ages, model.predict(car), style, color="C0", label=f"{fuel}, predicted")
    right.plot(ages, new_price["Brio"] * kept_a_year[fuel] ** ages * 0.998 ** car["mileage"], color="black", alpha=0.3)
right.set(title="a Brio, and in gray what is true", xlabel="age in years", ylabel="price in thousands")
right.legend()
plt.show()
