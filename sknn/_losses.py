"""Losses on raw scores, each value beside its gradient."""

import copy
import functools
import itertools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

# exp(50) = 5e21 is past every count; beyond it the Poisson loss continues as its tangent and stays finite.
_LARGEST_LOG_RATE = 50.0


class LossInC(NamedTuple):
    """The name of a loss in `_c/epoch.c`, or "" if it is not there, and its parameter if it has one."""

    name: str = ""
    label_smoothing: float = 0.0


class Loss(NamedTuple):
    """A loss of every row and its gradient with respect to the raw scores.

    `value` maps raw scores (..., c) and encoded targets to (...); `gradient` maps them to (..., c).
    """

    value: Callable[[Tensor, Tensor], Tensor]
    gradient: Callable[[Tensor, Tensor], Tensor]
    on_host: "HostLoss | None" = None
    """The two at once for `SmallMLPStep`, where that is faster."""
    in_c: LossInC = LossInC()


class HostLoss(NamedTuple):
    """The sums (K,) of loss times share over the rows of a batch, and their gradient, in few calls of numpy.

    `sums` maps scores (K, c, b), prepared targets (K, b, c) and shares (K, 1, b) to the sums and the gradient
    (K, c, b). `targets` prepares targets (K, b, ...), whatever the loss's parameter is; the other argument are zeros
    (K, b, c) to write to.
    """

    sums: Callable[[Tensor, np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]
    targets: Callable[[np.ndarray, np.ndarray], np.ndarray] = lambda y, zeros: y


def joint_loss(losses: Sequence[Loss]) -> Loss:
    """Return the loss of K models of which each has its own: one call serves all neighbours with the same one."""
    runs = [(loss, len(list(of_loss))) for loss, of_loss in itertools.groupby(losses)]
    if len(runs) == 1:
        return losses[0]
    sizes, each = [n for _, n in runs], [loss for loss, _ in runs]
    on_host = [host_loss(loss) for loss in each]

    def value(raw: Tensor, y: Tensor) -> Tensor:
        return torch.cat([loss.value(*of) for loss, *of in zip(each, raw.split(sizes), y.split(sizes), strict=True)])

    def gradient(raw: Tensor, y: Tensor) -> Tensor:
        return torch.cat([loss.gradient(*of) for loss, *of in zip(each, raw.split(sizes), y.split(sizes), strict=True)])

    def sums(scores: Tensor, y: np.ndarray, share: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        ends = np.cumsum(sizes)[:-1]
        parts = zip(on_host, scores.split(sizes), np.split(y, ends), np.split(share, ends), strict=True)
        values, gradients = zip(*(loss.sums(*of) for loss, *of in parts), strict=True)
        return np.concatenate(values), np.concatenate(gradients)

    return Loss(value, gradient, HostLoss(sums, on_host[0].targets))


def host_loss(loss: Loss) -> HostLoss:
    """Return any loss in that form."""

    def sums(scores: Tensor, y: np.ndarray, share: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        raw, targets = scores.mT, torch.from_numpy(y)
        value, gradient = loss.value(raw, targets).numpy(), loss.gradient(raw, targets).numpy()
        return (value * share[:, 0]).sum(1), gradient.mT * share

    return loss.on_host or HostLoss(sums)


def make_loss(
    name: str | Callable[..., Tensor], link: str, parameter: float = 0.0, blocks: tuple[int, ...] = ()
) -> Loss:
    """Return the loss of that name, or of the user's own, for outputs behind that link.

    `parameter` is the loss's one number: label smoothing, focusing exponent, Huber's delta or the quantile.
    `blocks` are the numbers of classes of each softmax; other links do not read them.
    """
    blocks = blocks if link == "softmax" else (1,)
    if callable(name):
        return _over_blocks(_own(name), blocks)
    if (name, link) not in LOSSES:
        valid = sorted({loss for loss, _ in LOSSES})
        raise ValueError(f"loss must be one of {valid}, got {name!r}.")
    return _named(name, link, float(parameter), blocks)


@functools.lru_cache
def _named(name: str, link: str, parameter: float, blocks: tuple[int, ...]) -> Loss:
    """Return a loss by name, the same object each time: by that it is seen which models have the same one."""
    return _over_blocks(LOSSES[name, link](parameter), blocks)


def _over_blocks(loss: Loss, blocks: tuple[int, ...]) -> Loss:
    """Apply a softmax loss to each block of raw scores: one block for each column of y."""

    def pairs(raw: Tensor, y: Tensor) -> list[tuple[Tensor, Tensor]]:
        return list(zip(raw.split(blocks, -1), y.split(1, -1), strict=True))  # (..., c_j), (..., 1)

    def value(raw: Tensor, y: Tensor) -> Tensor:
        return torch.stack([loss.value(z, t) for z, t in pairs(raw, y)]).sum(0)

    def gradient(raw: Tensor, y: Tensor) -> Tensor:
        return torch.cat([loss.gradient(z, t) for z, t in pairs(raw, y)], -1)

    return loss if len(blocks) == 1 else Loss(value, gradient)


def _by_model(loss: Loss) -> Loss:
    """Compute each of several models by itself, as for one that knows of no others."""

    def each(function: Callable[[Tensor, Tensor], Tensor]) -> Callable[[Tensor, Tensor], Tensor]:
        def computed(raw: Tensor, y: Tensor) -> Tensor:
            if raw.ndim < 3:
                return function(raw, y)
            return torch.stack([function(*of_model) for of_model in zip(raw, y, strict=True)])

        return computed

    return Loss(each(loss.value), each(loss.gradient))


def _own(function: Callable[..., Tensor]) -> Loss:
    """Return the loss of a user's function or module of raw scores and targets, its gradient by autograd."""
    if isinstance(function, type):
        raise ValueError(f"loss must be an instance, such as {function.__name__}(), got the class.")
    if isinstance(function, nn.Module):
        function = copy.deepcopy(function)
        if hasattr(function, "reduction"):
            function.__dict__["reduction"] = "none"  # weights multiply the loss of each row

    def value(raw: Tensor, y: Tensor) -> Tensor:
        if isinstance(function, nn.Module):
            function.to(raw)
        flat = raw.shape[-1] == 1
        values = function(raw.squeeze(-1) if flat else raw, y.squeeze(-1) if flat or not y.is_floating_point() else y)
        if not isinstance(values, Tensor) or values.shape[:1] != raw.shape[:1]:
            got = f"the shape {tuple(values.shape)}" if isinstance(values, Tensor) else type(values).__name__
            raise ValueError(
                f"loss must return a value for each of {len(raw)} rows, got {got}; for functions of torch,"
                " reduction='none' does that."
            )
        return values.reshape(len(raw), -1).sum(-1)

    def gradient(raw: Tensor, y: Tensor) -> Tensor:
        with torch.enable_grad():
            leaf = raw.detach().requires_grad_()
            return torch.autograd.grad(value(leaf, y).sum(), leaf)[0]

    return _by_model(Loss(value, gradient))


def _softmax_log_loss(smoothing: float) -> Loss:
    """Cross-entropy of softmax outputs against class indices y (..., 1), smoothed as Szegedy et al. (2016)."""

    def value(raw: Tensor, y: Tensor) -> Tensor:
        log_p = raw.log_softmax(-1)
        loss = -log_p.gather(-1, y).squeeze(-1)
        return loss if smoothing == 0 else torch.lerp(loss, -log_p.mean(-1), smoothing)

    def gradient(raw: Tensor, y: Tensor) -> Tensor:
        p = raw.softmax(-1) - smoothing / raw.shape[-1]
        return p.scatter_(-1, y, smoothing - 1, reduce="add")

    def sums(scores: Tensor, y: np.ndarray, share: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        log_p = scores.log_softmax(1).numpy()
        wanted = np.multiply(y.mT, share, order="C")
        if smoothing:
            wanted *= 1 - smoothing
            wanted += smoothing / wanted.shape[1] * share
        loss = -np.vecdot(log_p.reshape(len(y), -1), wanted.reshape(len(y), -1))
        p = np.exp(log_p, out=log_p)
        p *= share
        p -= wanted
        return loss, p

    def targets(y: np.ndarray, zeros: np.ndarray) -> np.ndarray:
        np.put_along_axis(zeros, y, 1, -1)
        return zeros

    return Loss(value, gradient, HostLoss(sums, targets), LossInC("softmax_log_loss", smoothing))


def _logistic_log_loss(smoothing: float) -> Loss:
    """Cross-entropy of independent logistic outputs against y in {0, 1}, summed over the outputs."""

    def smooth(y: Tensor) -> Tensor:
        return y if smoothing == 0 else y * (1 - smoothing) + smoothing / 2

    def value(raw: Tensor, y: Tensor) -> Tensor:
        # The shorter forms lose their digits in one of the two terms where the loss is small.
        target = smooth(y)
        return -torch.lerp(F.logsigmoid(-raw), F.logsigmoid(raw), target).sum(-1)

    def gradient(raw: Tensor, y: Tensor) -> Tensor:
        return raw.sigmoid() - smooth(y)

    def sums(scores: Tensor, sign: np.ndarray, share: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        # With the sign turned by the label, the loss is log(1 + exp(z)) for either, and its slope exp(z - loss).
        z = scores.numpy() * sign.mT
        loss = np.logaddexp(0, z)
        slope = np.exp(z - loss)
        if smoothing:
            loss -= smoothing / 2 * z
            slope -= smoothing / 2
        slope *= sign.mT
        return (loss * share).sum((1, 2)), np.multiply(slope, share, out=slope)

    on_host = HostLoss(sums, lambda y, zeros: np.subtract(1, 2 * y, out=zeros))
    return Loss(value, gradient, on_host, LossInC("logistic_log_loss", smoothing))


def _softmax_focal(gamma: float) -> Loss:
    """Focal loss (1 - p)^gamma (-log p) of softmax outputs against class indices (Lin et al., 2017)."""

    def value(raw: Tensor, y: Tensor) -> Tensor:
        log_p = raw.log_softmax(-1).gather(-1, y)
        return ((-torch.expm1(log_p)) ** gamma * -log_p).squeeze(-1)

    def gradient(raw: Tensor, y: Tensor) -> Tensor:
        log_p = raw.log_softmax(-1).gather(-1, y)
        rest = -torch.expm1(log_p)  # 1 - p without cancellation
        # -log(p) / (1 - p) tends to 1 at p = 1, where the factor rest**gamma is zero anyway.
        ratio = -log_p / rest.clamp_min(torch.finfo(raw.dtype).tiny)
        slope = rest**gamma * (gamma * log_p.exp() * ratio + 1)  # = -p d(loss)/dp
        return (raw.softmax(-1) * slope).scatter_add(-1, y, -slope)

    return Loss(value, gradient)


def _logistic_focal(gamma: float) -> Loss:
    """Focal loss of independent logistic outputs against y in {0, 1}, summed over the outputs."""

    def value(raw: Tensor, y: Tensor) -> Tensor:
        p = raw.sigmoid()
        q = (-raw).sigmoid()
        return -(y * q**gamma * F.logsigmoid(raw) + (1 - y) * p**gamma * F.logsigmoid(-raw)).sum(-1)

    def gradient(raw: Tensor, y: Tensor) -> Tensor:
        p = raw.sigmoid()
        q = (-raw).sigmoid()
        of_one = -(q**gamma) * (q - gamma * p * F.logsigmoid(raw))
        of_zero = p**gamma * (p - gamma * q * F.logsigmoid(-raw))
        return y * of_one + (1 - y) * of_zero

    return Loss(value, gradient)


def _squared_error(_: float) -> Loss:
    """Half the squared error, summed over the outputs."""

    def sums(scores: Tensor, y: np.ndarray, share: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        error = scores.numpy() - y.mT
        grad = error * share
        return 0.5 * np.multiply(error, grad, out=error).sum((1, 2)), grad

    def value(raw: Tensor, y: Tensor) -> Tensor:
        return 0.5 * (raw - y).square().sum(-1)

    return Loss(value, lambda raw, y: raw - y, HostLoss(sums), LossInC("squared_error"))


def _absolute_error(_: float) -> Loss:
    return Loss(lambda raw, y: (raw - y).abs().sum(-1), lambda raw, y: (raw - y).sign())


def _huber(delta: float) -> Loss:
    """Half the squared error within delta of the target, linear outside (Huber, 1964)."""

    def value(raw: Tensor, y: Tensor) -> Tensor:
        error = (raw - y).abs()
        inside = error.clamp_max(delta)
        return (inside * (error - 0.5 * inside)).sum(-1)

    return Loss(value, lambda raw, y: (raw - y).clamp(-delta, delta))


def _quantile(level: float) -> Loss:
    """Pinball loss, whose minimum is that quantile of y (Koenker and Bassett, 1978)."""

    def value(raw: Tensor, y: Tensor) -> Tensor:
        error = y - raw
        return torch.maximum(level * error, (level - 1) * error).sum(-1)

    def gradient(raw: Tensor, y: Tensor) -> Tensor:
        error = y - raw
        return (error < 0).to(raw.dtype) * (1 - level) - (error > 0).to(raw.dtype) * level

    return Loss(value, gradient)


def _poisson(_: float) -> Loss:
    """Half the Poisson deviance of the rate exp(raw), summed over the outputs."""

    def value(raw: Tensor, y: Tensor) -> Tensor:
        capped = raw.clamp_max(_LARGEST_LOG_RATE)
        rate = capped.exp() * (1 + raw - capped)
        return (torch.xlogy(y, y) - y * raw - y + rate).sum(-1)

    def gradient(raw: Tensor, y: Tensor) -> Tensor:
        return raw.clamp_max(_LARGEST_LOG_RATE).exp() - y

    return Loss(value, gradient)


LOSSES: dict[tuple[str, str], Callable[[float], Loss]] = {
    ("log_loss", "softmax"): _softmax_log_loss,
    ("log_loss", "logistic"): _logistic_log_loss,
    # Powers round by how their numbers fill the vectors of the CPU, and so by how many models there are.
    ("focal", "softmax"): lambda gamma: _by_model(_softmax_focal(gamma)),
    ("focal", "logistic"): lambda gamma: _by_model(_logistic_focal(gamma)),
    ("squared_error", "identity"): _squared_error,
    ("absolute_error", "identity"): _absolute_error,
    ("huber", "identity"): _huber,
    ("quantile", "identity"): _quantile,
    ("poisson", "exp"): _poisson,
}
