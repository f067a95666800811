"""Several networks as one module: what they predict is averaged."""

import copy
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Ensemble(nn.Module):
    """Networks of the same shape, whose predictions are averaged.

    Parameters
    ----------
    members : iterable of Module
        The networks; each returns raw scores of shape (n_samples, n_outputs).
    link : {"identity", "exp", "logistic", "softmax"}, default="identity"
        The function from raw scores to predictions.
    blocks : sequence of int, default=()
        The number of classes of each softmax.

    Attributes
    ----------
    members : ModuleList
        The networks.

    Examples
    --------
    >>> import torch
    >>> from sknn.modules import MLP, Ensemble
    >>> members = [MLP(4, 3, (5,), random_state=seed) for seed in range(8)]
    >>> ensemble, X = Ensemble(members, "softmax", [3]), torch.ones(2, 4)
    >>> mean = torch.stack([member(X).softmax(1) for member in members]).mean(0)
    >>> torch.allclose(ensemble(X).softmax(1), mean)
    True
    """

    def __init__(self, members: Iterable[nn.Module], link: str = "identity", blocks: Sequence[int] = ()) -> None:
        super().__init__()
        if link not in _MEANS:
            raise ValueError(f"link must be one of {sorted(_MEANS)}, got {link!r}.")
        self.members = nn.ModuleList(members)
        self.link, self.blocks = link, list(blocks)

    def forward(self, X: Tensor) -> Tensor:
        """Return the raw scores of which the link is the members' mean prediction.

        Parameters
        ----------
        X : Tensor of shape (n_samples, n_features)
            The rows.

        Returns
        -------
        Tensor of shape (n_samples, n_outputs)
            The raw scores.
        """
        raw = torch.stack([member(X) for member in self.members])  # (n_members, n, n_outputs)
        parts = raw.split(self.blocks, dim=-1) if self.link == "softmax" else (raw,)
        return torch.cat([_MEANS[self.link](part) for part in parts], dim=-1)

    def linear_layers(self) -> list[nn.Linear]:
        """Return the linear layers of the first member, from input to output.

        Returns
        -------
        list of Linear
            The layers.
        """
        first: Any = self.members[0]
        layers: list[nn.Linear] = first.linear_layers()
        return layers

    def extra_repr(self) -> str:
        """Return the link for the module's repr.

        Returns
        -------
        str
            The text between the brackets of the repr.
        """
        return f"link={self.link!r}"


def members_of(module: nn.Module) -> list[nn.Module]:
    """Return the networks that are trained: the members of an ensemble, or the module itself."""
    return list(module.members) if isinstance(module, Ensemble) else [module]


def member_rngs(rng: np.random.RandomState, n_members: int) -> list[np.random.RandomState]:
    """Return a source of randomness for each member; the first has that of a network alone."""
    if n_members == 1:
        return [rng]
    seeds = copy.deepcopy(rng).randint(2**31 - 1, size=n_members - 1)
    return [rng, *map(np.random.RandomState, seeds)]


def _log_mean(logarithms: Tensor) -> Tensor:
    return logarithms.logsumexp(0) - math.log(len(logarithms))


# Means over the members of what a link makes of raw scores (n_members, n, n_outputs), as raw scores again.
_MEANS: dict[str, Callable[[Tensor], Tensor]] = {
    "identity": lambda raw: raw.mean(0),
    "exp": _log_mean,
    "logistic": lambda raw: F.logsigmoid(raw).logsumexp(0) - F.logsigmoid(-raw).logsumexp(0),
    "softmax": lambda raw: _log_mean(raw.log_softmax(-1)),
}
