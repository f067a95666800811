"""Where a fit stands: what another process needs to go on with it, as tensors, numbers and lists of them."""

import functools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from sknn._fingerprint import fingerprint
from sknn._learner import TrainState
from sknn._parameters import FlatParameters, Snapshot
from sknn._solvers import Solver


@dataclass(frozen=True)
class Standing:
    """What an epoch changes in a fit of one model, beside the record of it.

    The orders of the rows are no part of it: they are drawn again.
    """

    parameters: FlatParameters
    best: Snapshot | None
    solver: Solver
    memory: TrainState
    generators: Sequence[torch.Generator]
    contents: Callable[[], Iterable[Tensor]]
    """Returns what the fit begins with: its weights and rows."""

    def state(self) -> dict[str, Any]:
        """Return copies on the CPU."""
        best = None if self.best is None else _on_cpu(self.best)
        return {
            "weights": _on_cpu(self.parameters.snapshot()),
            "best": best,
            "solver": self.solver.state(),
            "memory": asdict(self.memory),
            "generators": [generator.get_state() for generator in self.generators],
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on from what `state` returned in a fit of the same fingerprint."""
        now = self.parameters.snapshot()
        _fill(now, state["weights"])
        self.parameters.restore(now, 0)
        if self.best is not None:
            _fill(self.best, state["best"])
        self.solver.load_state(state["solver"])
        vars(self.memory).update(state["memory"])
        for generator, saved in zip(self.generators, state["generators"], strict=True):
            generator.set_state(saved)

    @functools.cached_property
    def beginning(self) -> str:
        """Tell this fit from those with other weights to begin with, another memory of fits before, or other rows."""
        return fingerprint(asdict(self.memory), self.contents())


def _on_cpu(snapshot: Snapshot) -> list[Tensor]:
    return [tensor.to("cpu", copy=True) for tensor in (snapshot.data, *snapshot.buffers[0])]


def _fill(snapshot: Snapshot, saved: list[Tensor]) -> None:
    for tensor, values in zip((snapshot.data, *snapshot.buffers[0]), saved, strict=True):
        tensor.copy_(values)
