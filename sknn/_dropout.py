"""The masks of dropout, from a random generator of their own."""

from collections.abc import Sequence

import torch
from torch import Tensor

# Of each 16 random bits comes one mask: probabilities are multiples of 1 / 2**16.
LEVELS = 2**16


def dropout_factors(p: float, like: Tensor, generator: torch.Generator | None) -> Tensor:
    """Return zero with probability p, and else 1 / (1 - p), for each element of a tensor (Srivastava et al., 2014)."""
    if like.device.type != "cpu":
        return torch.empty_like(like).bernoulli_(1 - p, generator=generator).div_(1 - p)
    kept = random_numbers([like.numel()], generator)[: like.numel()] >= n_dropped(p) - LEVELS // 2
    return kept.view(like.shape).to(like.dtype).mul_(LEVELS / (LEVELS - n_dropped(p)))


def n_dropped(p: float) -> int:
    """Return how many of the levels drop an element with that probability: the lowest ones."""
    return min(round(p * LEVELS), LEVELS - 1)


def random_numbers(sizes: Sequence[int], generator: torch.Generator | None) -> Tensor:
    """Return as many numbers of 16 bits for each of the sizes, rounded up to fours, one behind the other."""
    # torch's own draw of one mask takes eight times as long.
    n_draws = sum(-(-size // 4) for size in sizes)
    return torch.empty(n_draws, dtype=torch.int64).random_(-(2**63), None, generator=generator).view(torch.int16)
