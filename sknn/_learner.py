"""One of K models as training sees it: its rows, how it learns from them, and what it remembers."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from sknn._samples import Order, Samples

# scikit-learn's bound below which the "adaptive" learning rate stops the fit instead of shrinking again.
_SMALLEST_RATE = 1e-6


class Recipe(NamedTuple):
    """How to train, every choice resolved: no "auto" and no None."""

    batch_size: int
    learning_rate: str
    learning_rate_init: float
    lowers_rate: bool
    """Whether "invscaling" and "adaptive" apply: scikit-learn reads them for plain gradient descent only."""
    power_t: float
    max_iter: int
    max_fun: int
    shuffle: bool
    tol: float
    n_iter_no_change: float
    max_grad_norm: float
    stop_on_score: bool
    pairs: bool
    """Whether a batch needs two rows at the least, as batch normalisation does."""


@dataclass
class TrainState:
    """What training remembers of one model from epoch to epoch, beside its parameters and the solver."""

    rate: float
    best_loss: float = math.inf
    best_score: float = -math.inf
    no_improvement: int = 0
    stopped: bool = False
    n_seen: int = 0
    n_epochs: int = 0

    def memory(self, *, with_loss: bool) -> dict[str, Any]:
        """Return what the next fit of a warm start goes on from."""
        kept = {"no_improvement": self.no_improvement, "n_seen": self.n_seen}
        return {**kept, "best_loss": self.best_loss} if with_loss else kept

    def observe(self, recipe: Recipe, loss: float, score: float | None) -> bool:
        """Bring the best value and the count up to date; return whether this is the best so far."""
        if recipe.stop_on_score and score is not None:
            stale, improved = score < self.best_score + recipe.tol, score > self.best_score
            self.best_score = score if improved else self.best_score
        else:
            stale, improved = loss > self.best_loss - recipe.tol, loss < self.best_loss
            self.best_loss = loss if improved else self.best_loss
        self.no_improvement = self.no_improvement + 1 if stale else 0
        return improved

    def act_on_plateau(self, recipe: Recipe) -> str:
        """Stop a model that makes no progress, or lower its learning rate, and return what to say of it."""
        if recipe.lowers_rate and recipe.learning_rate == "invscaling":
            self.rate = recipe.learning_rate_init / (self.n_seen + 1) ** recipe.power_t
        if self.no_improvement <= recipe.n_iter_no_change:
            return ""
        what = "Validation score" if recipe.stop_on_score else "Training loss"
        message = (
            f"{what} did not improve more than tol={recipe.tol:f} for {recipe.n_iter_no_change} consecutive epochs."
        )
        if not recipe.lowers_rate or recipe.learning_rate != "adaptive":
            self.stopped = True
            return message + " Stopping."
        if self.rate <= _SMALLEST_RATE:
            self.stopped = True
            return message + " Learning rate too small. Stopping."
        self.rate /= 5
        self.no_improvement = 0
        return message + f" Setting learning rate to {self.rate:f}"


class Learner(NamedTuple):
    """One of K models."""

    samples: Samples
    rows: np.ndarray
    recipe: Recipe
    state: TrainState
    rng: np.random.RandomState
    score: Callable[[], float] | None = None
    """Returns the validation score of the model as it stands."""


class Shuffled:
    """A learner's rows in the order of the epoch that comes next."""

    def __init__(self, learner: Learner) -> None:
        self._learner, self._n_drawn = learner, learner.state.n_epochs
        self._order = Order(len(learner.rows), learner.rng)

    def places(self) -> np.ndarray:
        """Return the places (n,) of the rows among `learner.rows`; where one batch holds all rows, as they are."""
        recipe, n_epochs = self._learner.recipe, self._learner.state.n_epochs
        while self._n_drawn <= n_epochs:  # once, but where another process ran the epochs before
            self._n_drawn += 1
            if recipe.shuffle and len(self._order.places) > recipe.batch_size:
                self._order.shuffle()
        return self._order.places
