"""Time to accuracy of LeNet on MNIST, side by side with the usual loop of PyTorch.

Every round is one seed: first an epoch of one side, then of the other, and so on, so that both meet the same machine.
MNIST is read from SKNN_DATA_HOME, scikit-learn's data folder, or the network.
"""

import argparse
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from report import machine, publish, spread, table
from sklearn.datasets import load_digits
from sklearn.metrics import log_loss
from sklearn.model_selection import StratifiedKFold, cross_val_score
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from sknn import LeNetClassifier
from sknn.datasets import fetch_fashion_mnist, fetch_mnist

RECIPE = {
    "solver": "sgd", "momentum": 0, "alpha": 0, "learning_rate": "constant", "learning_rate_init": 0.01,
    "batch_size": 128,
}  # fmt: skip
ACCURATE = {
    "n_ensemble": 3, "max_iter": 20, "learning_rate_init": 0.005, "batch_norm": True, "random_shift": 1,
    "random_rotation": 10,
}  # fmt: skip


class Reference:
    """LeNet-5 as tutorials train it: padded float images, a DataLoader, SGD."""

    def __init__(self, images: np.ndarray, labels: np.ndarray, seed: int) -> None:
        torch.manual_seed(seed)
        self.module = nn.Sequential(
            nn.Conv2d(1, 6, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2),
            nn.Flatten(), nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 10),
        )  # fmt: skip
        dataset = TensorDataset(self.prepared(images), torch.from_numpy(labels))
        self.loader = DataLoader(dataset, batch_size=128, shuffle=True)
        self.optimizer = torch.optim.SGD(self.module.parameters(), lr=0.01)

    @staticmethod
    def prepared(images: np.ndarray) -> torch.Tensor:
        pixels = torch.from_numpy(images.reshape(-1, 1, 28, 28)).float().div_(255)
        return nn.functional.pad((pixels - 0.1307) / 0.3081, (2, 2, 2, 2))

    def epoch(self) -> None:
        self.module.train()
        for X, y in self.loader:
            self.optimizer.zero_grad()
            nn.functional.cross_entropy(self.module(X), y).backward()
            self.optimizer.step()

    @torch.inference_mode()
    def score(self, images: np.ndarray, labels: np.ndarray) -> float:
        predicted = torch.cat([self.module.eval()(part).argmax(1) for part in self.prepared(images).split(1000)])
        return float((predicted.numpy() == labels).mean())


def seconds(function, *args, **kwargs) -> float:
    start = time.perf_counter()
    function(*args, **kwargs)
    return time.perf_counter() - start


class Turns:
    """A callback that lets the reference run an epoch after each of ours, and times both."""

    def __init__(self, reference: Reference) -> None:
        self.reference, self.theirs, self.ours = reference, [], []

    def setup(self, estimator, context) -> None: ...

    def teardown(self, estimator, context) -> None: ...

    def on_fit_task_begin(self, estimator, context) -> None:
        self.started = time.perf_counter()

    def on_fit_task_end(self, estimator, context) -> None:
        if context.task_name == "epoch":
            self.ours.append(time.perf_counter() - self.started)
            self.theirs.append(seconds(self.reference.epoch))


def race(train, test, seed: int, n_epochs: int) -> dict[str, float]:
    """Time both sides from one seed; their epochs take turns."""
    labels = train.target.astype(np.int64)
    turns, figures = Turns(Reference(train.data, labels, seed)), {}
    LeNetClassifier(**RECIPE, max_iter=3, random_state=seed).set_callbacks(turns).fit(train.data, labels)
    for name, parameters in (("one epoch", {"max_iter": 1}), ("default", {})):
        network = LeNetClassifier(**parameters, random_state=seed)
        figures[f"{name}: seconds"] = seconds(network.fit, train.data, labels)
        figures[f"{name}: accuracy"] = network.score(test.data, test.target)
        figures[f"{name}: log loss"] = log_loss(test.target, network.predict_proba(test.data))
        figures[f"{name}: epochs"] = network.n_iter_
    figures["reference: epoch"], figures["recipe: epoch"] = np.median(turns.theirs), np.median(turns.ours)
    figures["ratio of epochs"] = figures["reference: epoch"] / figures["recipe: epoch"]
    figures["ratio to the reference"] = n_epochs * figures["reference: epoch"] / figures["one epoch: seconds"]
    return figures


def race_text(train, test, options: argparse.Namespace) -> str:
    rounds = []
    for seed in range(options.seeds):
        rounds.append(race(train, test, seed, options.epochs))
        print(f"seed {seed}: " + ", ".join(f"{name} {value:.4g}" for name, value in rounds[-1].items()), flush=True)

    def over_seeds(name: str, digits: int) -> str:
        return spread((figures[name] for figures in rounds), digits)

    rows = [
        ["plain loop, SGD 0.01, batches of 128, an epoch", over_seeds("reference: epoch", 2), "", ""],
        ["the same recipe as parameters, an epoch", over_seeds("recipe: epoch", 2), "", ""],
        ["`LeNetClassifier(max_iter=1)`", over_seeds("one epoch: seconds", 2), over_seeds("one epoch: accuracy", 4),
         over_seeds("one epoch: log loss", 4)],
        [f"`LeNetClassifier()`, {rounds[0]['default: epochs']} epochs", over_seeds("default: seconds", 2),
         over_seeds("default: accuracy", 4), over_seeds("default: log loss", 4)],
    ]  # fmt: skip
    return "\n\n".join([
        table(["MNIST", "seconds", "test accuracy", "test log loss"], rows),
        f"One epoch of the recipe is {over_seeds('ratio of epochs', 2)} times as fast as the plain loop's;"
        f" `LeNetClassifier(max_iter=1)` takes 1 / {over_seeds('ratio to the reference', 0)} of the time of the plain"
        f" loop's {options.epochs} epochs.",
        measured(options.seeds),
    ])  # fmt: skip


def recipe_text(train, test, options: argparse.Namespace) -> str:
    labels, scores = train.target.astype(np.int64), {"reference": [], "recipe": []}
    for seed in range(options.seeds):
        recipe = LeNetClassifier(**RECIPE, max_iter=options.epochs, n_iter_no_change=np.inf, random_state=seed)
        scores["recipe"].append(recipe.fit(train.data, labels).score(test.data, test.target))
        reference = Reference(train.data, labels, seed)
        for _ in range(options.epochs):
            reference.epoch()
        scores["reference"].append(reference.score(test.data, test.target))
        print(f"seed {seed}: {scores}", flush=True)
    return (
        f"After {options.epochs} epochs, the plain loop reaches {spread(scores['reference'], 4)}, the same recipe as"
        f" parameters {spread(scores['recipe'], 4)}. {measured(options.seeds)}"
    )


def accurate_text(train, test, options: argparse.Namespace) -> str:
    scores, times = [], []
    for seed in range(options.seeds):
        network = LeNetClassifier(**ACCURATE, random_state=seed)
        times.append(seconds(network.fit, train.data, train.target))
        scores.append(network.score(test.data, test.target))
        print(f"seed {seed}: {scores[-1]:.4f} in {times[-1]:.0f} s", flush=True)
    arguments = ", ".join(f"{name}={value}" for name, value in ACCURATE.items())
    return (
        f"`LeNetClassifier({arguments})` reaches {spread(scores, 4)} on MNIST in {spread(times, 0)} s."
        f" {measured(options.seeds)}"
    )


def clothes_text(train, test, options: argparse.Namespace) -> str:
    networks = [LeNetClassifier(random_state=seed).fit(train.data, train.target) for seed in range(options.seeds)]
    scores = (network.score(test.data, test.target) for network in networks)
    return f"`LeNetClassifier()` on Fashion-MNIST: {spread(scores, 4)}. {measured(options.seeds)}"


def digits_text(X, y, options: argparse.Namespace) -> str:
    folds = [StratifiedKFold(5, shuffle=True, random_state=seed) for seed in range(options.seeds)]
    scores = [cross_val_score(LeNetClassifier(random_state=seed), X, y, cv=cv).mean() for seed, cv in enumerate(folds)]
    name = "`LeNetClassifier()` on scikit-learn's digits, five shuffled folds"
    return f"{name}: {spread(scores, 4)}. {measured(options.seeds)}"


def measured(n: int) -> str:
    return f"Medians (smallest to largest) over n = {n} seeds; {torch.get_num_threads()} threads; {machine()}."


def parts_of(fetch: Callable) -> tuple[Any, Any]:
    return fetch(subset="train"), fetch(subset="test")


MNIST, CLOTHES = partial(parts_of, fetch_mnist), partial(parts_of, fetch_fashion_mnist)
PARTS = {
    "lenet": (MNIST, race_text), "lenet-recipe": (MNIST, recipe_text), "lenet-accurate": (MNIST, accurate_text),
    "lenet-clothes": (CLOTHES, clothes_text), "lenet-digits": (partial(load_digits, return_X_y=True), digits_text),
}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", default=list(PARTS), help=f"of {list(PARTS)}; all of them if none is given")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=30, help="of the reference recipe")
    options = parser.parse_args()
    for name in options.parts:
        load, text = PARTS[name]
        publish(name, text(*load(), options))


if __name__ == "__main__":
    main()
