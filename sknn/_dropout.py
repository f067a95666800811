"""The masks of dropout, from a random generator of their own."""

import torch
from torch import Tensor

# Of each 16 random bits comes one mask: probabilities are multiples of 1 / 2**16.
_LEVELS = 2**16


def dropout_factors(p: float, like: Tensor, generator: torch.Generator | None) -> Tensor:
    """Return zero with probability p, and else 1 / (1 - p), for each element of a tensor (Srivastava et al., 2014)."""
    if like.device.type != "cpu":
        return torch.empty_like(like).bernoulli_(1 - p, generator=generator).div_(1 - p)
    # torch's own draw of one mask takes eight times as long.
    n_dropped = min(round(p * _LEVELS), _LEVELS - 1)
    numbers = torch.empty(-(-like.numel() // 4), dtype=torch.int64).random_(-(2**63), None, generator=generator)
    kept = numbers.view(torch.int16)[: like.numel()] >= n_dropped - _LEVELS // 2
    return kept.view(like.shape).to(like.dtype).mul_(_LEVELS / (_LEVELS - n_dropped))
