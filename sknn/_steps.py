"""What training needs to know of K models, and the choice of who computes it."""

from collections.abc import Sequence
from typing import Any, Protocol

from torch import Tensor, nn

from sknn._autograd import AutogradStep, Shares
from sknn._fused import FusedMLPStep, is_plain
from sknn._losses import Loss
from sknn._parameters import FlatParameters
from sknn._samples import Batch
from sknn._small import SmallMLPStep


class Step(Protocol):
    """One forward and backward pass of K models over a batch: the gradient that solvers then follow."""

    parameters: FlatParameters
    modules: Sequence[nn.Module]

    def __call__(self, X: Any, y: Any, weight: Tensor | None) -> Any:
        """Set the gradient of the mean loss over a batch (K, b, ...) and return that loss (K,), tensor or array."""

    def prepared(self, X: Tensor, y: Tensor, weight: Tensor | None) -> Batch:
        """Return rows of one or more batches (K, b, ...) as the other methods read them."""

    def shares(self, weight: Tensor, total: Tensor) -> Shares:
        """Return the shares of rows of that weight (K, b), and of the penalty where all rows weigh `total` (K, 1)."""

    def add_data_term(self, X: Any, y: Any, shares: Shares, *, first: bool = False) -> Any:
        """Add the gradient of the loss over a batch, or set it, and return that part of the loss (K,)."""

    def add_penalty(self, loss: Any, shares: Shares) -> Any:
        """Add the gradient of the penalty, and return the loss (K,) with the penalty."""

    def keep(self, models: Sequence[int]) -> "Step":
        """Return the step of some of the models, whose parameters move to memory of its own."""


def choose_step(
    modules: Sequence[nn.Module],
    loss: Loss | Sequence[Loss],
    *,
    alpha: float | Sequence[float] = 0.0,
    autocast: bool = False,
    small: bool = False,
) -> Step:
    """Return the fastest step that serves these modules; `small` are batches that the CPU computes in one thread.

    `loss` and `alpha` are one for all models, or one for each.
    """
    plain = [module for module in modules if is_plain(module)]
    if len(plain) == len(modules) and not autocast:
        return (SmallMLPStep if small else FusedMLPStep)(plain, loss, alpha=alpha)
    return AutogradStep(modules, loss, alpha=alpha, autocast=autocast)
