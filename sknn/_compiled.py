"""The pass of plain multi-layer perceptrons in C."""

import ctypes
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from sknn import _library
from sknn._batches import Passed
from sknn._devices import product_limit
from sknn._dropout import LEVELS, n_dropped, random_numbers
from sknn._fused import FusedMLPStep
from sknn._learner import Learner, Shuffled
from sknn._library import ACTIVATIONS_IN_C, Layer, Library, Model, Rows, rows_of, up_to_lanes
from sknn._samples import batch_bounds
from sknn._small import SmallMLPStep
from sknn._solvers import SCHEDULES, Solver, SolverOptions, scheduled
from sknn._sparse import MOSTLY, SparseMemory, is_mostly_zeros, sparse_memory
from sknn._steps import Step
from sknn.modules import Dropout

# The places of these are their numbers in C.
_LOSSES = ["softmax_log_loss", "logistic_log_loss", "squared_error"]
_SOLVERS = ["sgd", "adam", "adamw"]

# Work of one call, in multiply-adds: some tenths of a second, as Python waits for its end before it stops at Ctrl-C. An
# update takes as long as 100 for each parameter, and what goes on around the products of a batch as 50,000.
_WORK_OF_A_CALL = 1e10
_WORK_OF_A_PARAMETER, _WORK_OF_A_BATCH = 100, 50_000

# Random numbers that are drawn for one call at most: some megabytes.
_DRAWN = 2**21

_PlainStep = SmallMLPStep | FusedMLPStep


def compiled_pass(
    step: Step, solver: Solver, learners: Sequence[Learner], orders: Sequence[Shuffled]
) -> "CompiledPass | None":
    """Return the pass in C, or None where it is not there or does not compute all that is asked for."""
    if (
        isinstance(step, _PlainStep)
        and step.parameters.data.device.type == "cpu"
        and step.activation in ACTIVATIONS_IN_C
        and all(loss.in_c.name in _LOSSES for loss in step.losses)
        and solver.name in _SOLVERS
        and all(len({dropout.generator for dropout in _dropouts(step, k)}) <= 1 for k in range(len(learners)))
        and learners[0].recipe.max_grad_norm == np.inf
        and not any(learner.samples.may_cancel for learner in learners)
    ):
        library = _library.library(step.parameters.data.dtype)
        X = [rows for rows in (rows_of(learner.samples.X.source) for learner in learners) if rows is not None]
        if library is not None and len(X) == len(learners):
            return CompiledPass(library, step, solver, learners, orders, X)
    return None


def _dropouts(step: _PlainStep, k: int) -> list[Dropout]:
    return [dropout for dropout in step.masks.of_model(k) if dropout is not None]


class _Call(NamedTuple):
    """A call of C: where the numbers of its rows are and its rates, and how many batches end before and with it."""

    rows: int
    n_rows: int
    rates: int
    n_before: int
    n_after: int


class _Network(NamedTuple):
    """One of K models in C, the memory where it finds the rows and the rates of an epoch, and the calls of one."""

    model: Model
    rows: np.ndarray
    rates: np.ndarray
    calls: list[_Call]
    widths: list[int]
    """Of the layers with dropout."""
    generator: torch.Generator | None


class CompiledPass:
    """The pass of plain networks on the CPU: one model after the other, each from batch to batch without Python."""

    def __init__(
        self, library: Library, step: _PlainStep, solver: Solver, learners: Sequence[Learner],
        orders: Sequence[Shuffled], X: Sequence[Rows],
    ) -> None:  # fmt: skip
        recipe, n_rows = learners[0].recipe, len(learners[0].rows)
        self._step, self._solver, self._learners, self._orders = step, solver, learners, orders
        self._batch_size, self._n_batches = min(recipe.batch_size, n_rows), len(batch_bounds(n_rows, recipe.batch_size))
        weights = step.parameters.data_views[::2]
        self._sparse = self._sparse_memories(weights)
        self._turned_decayed = _turned(step.parameters.decayed, weights[0]) if any(self._sparse) else None
        self._memory = _memory(step, weights, self._batch_size, dense=None in self._sparse)
        first, *others = (weight[0].numel() for weight in weights)
        work = 3 * self._batch_size * (first * (1 if None in self._sparse else MOSTLY) + sum(others))
        work += _WORK_OF_A_PARAMETER * step.parameters.data.shape[1] + _WORK_OF_A_BATCH
        n_drawn = self._batch_size * sum(weight.shape[1] for weight in weights[:-1]) if step.masks else 0
        self._rows_of_a_call = self._batch_size * max(1, int(min(_WORK_OF_A_CALL / work, _DRAWN / max(n_drawn, 1))))
        self._targets = [learner.samples.y.contiguous() for learner in learners]
        weight_of_rows = [learner.samples.weight for learner in learners]
        self._row_weights = [None if weight is None else weight.contiguous() for weight in weight_of_rows]
        self._run_batches = library.run_batches
        self._networks = [self._network(k, self._model(k, X[k], library.product)) for k in range(len(learners))]

    def _sparse_memories(self, weights: Sequence[Tensor]) -> list[SparseMemory | None]:
        """Return the memory for entries, the same one for all models that read X so, and None for the others."""
        n_units = weights[0].shape[1] if len(weights) > 1 else 0
        X = [learner.samples.X.source for learner in self._learners]
        mostly_zeros = [
            is_mostly_zeros(X_of_model, learner.rows, n_units, self._batch_size)
            for X_of_model, learner in zip(X, self._learners, strict=True)
        ]
        if not any(mostly_zeros):
            return [None] * len(X)
        memory = sparse_memory(X, self._batch_size, n_units, weights[0].dtype, torch.get_num_threads())
        return [memory if of_model else None for of_model in mostly_zeros]

    def __call__(self) -> Passed:
        """Update the parameters once per batch; of models that have stopped nothing changes."""
        sums, last, n_updates = [], [], self._solver.steps
        for k, (network, learner) in enumerate(zip(self._networks, self._learners, strict=True)):
            if learner.state.stopped:
                sums.append(np.nan)
                last.append(np.nan)
                continue
            if self._n_batches > 1:  # else as they are
                learner.rows.take(self._orders[k].places(), out=network.rows, mode="clip")  # "raise" takes a copy
            self._set_rates(network.rates, learner, self._solver.options[k])
            run = self._run if network.model.n_threads == 1 else self._run_in_threads
            sums.append(run(network, n_updates))
            last.append(network.rates[-1])
        return Passed(sums, last)

    def _set_rates(self, rates: np.ndarray, learner: Learner, options: SolverOptions) -> None:
        """Set the rate of each batch."""
        rates[:] = learner.state.rate
        if options.learning_rate in SCHEDULES:
            first, n_steps = learner.state.n_epochs * self._n_batches, learner.recipe.max_iter * self._n_batches
            rates[:] = [scheduled(rate, options, first + i, n_steps) for i, rate in enumerate(rates.tolist())]

    def _run(self, network: _Network, n_updates: int) -> float:
        """Train on all rows after that many updates and return the sum of losses."""
        total, model = 0.0, network.model
        for rows, n_rows, rates, n_before, n_after in network.calls:
            if network.widths:
                numbers = self._random_numbers(network, n_rows)
                model.random = numbers.data_ptr()
            total += self._run_batches(model, rows, n_rows, self._batch_size, rates, n_updates + n_before)
            # Of several models, the one that is ahead.
            self._solver.count(max(0, n_updates + n_after - self._solver.steps))
        return total

    def _run_in_threads(self, network: _Network, n_updates: int) -> float:
        # BLAS needs no threads beside these: those that it has wait for work by keeping the cores busy.
        with product_limit(1):
            return self._run(network, n_updates)

    def _random_numbers(self, network: _Network, n_rows: int) -> Tensor:
        """Return what decides which elements are dropped in that many rows."""
        batches = [stop - start for start, stop in batch_bounds(n_rows, self._batch_size)]
        return random_numbers([b * width for b in batches for width in network.widths], network.generator)

    def _network(self, k: int, model: Model) -> _Network:
        rows, rates = np.array(self._learners[k].rows, np.int64), np.empty(self._n_batches)
        widths = [layer.n_out for layer in model.layers[: model.n_layers] if layer.mask]
        generator = next((dropout.generator for dropout in _dropouts(self._step, k)), None)
        return _Network(model, rows, rates, self._calls(rows, rates), widths, generator)

    def _calls(self, rows: np.ndarray, rates: np.ndarray) -> list[_Call]:
        calls = []
        for start in range(0, len(rows), self._rows_of_a_call):
            stop = min(start + self._rows_of_a_call, len(rows))
            n_before, n_after = start // self._batch_size, -(-stop // self._batch_size)
            calls.append(_Call(rows[start:].ctypes.data, stop - start, rates[n_before:].ctypes.data, n_before, n_after))
        return calls

    def _model(self, k: int, X: Rows, product: int) -> Model:
        """Return model k; everything it has the address of belongs to the pass, its step or its learner."""
        step, flat, memory, sparse = self._step, self._step.parameters, self._memory, self._sparse[k]
        options, loss = self._solver.options[k], step.losses[k].in_c
        slots = [slot[k] for slot in self._solver.slots.values()]
        arrays = {
            "y": self._targets[k],
            "weight": self._row_weights[k],
            "inputs": memory.inputs,
            **memory.of_rows,
            "data": flat.data[k],
            "grad": flat.grad[k],
            "decayed": flat.decayed if sparse is None else self._turned_decayed,
            "first_slot": slots[0],
            "second_slot": slots[-1],
        }
        return Model(
            product=product, n_threads=1 if sparse is None else torch.get_num_threads(),
            layers=_layers(step, k, memory, turned=sparse is not None), n_layers=len(memory.layers),
            activation=ACTIVATIONS_IN_C.index(step.activation), loss=_LOSSES.index(loss.name),
            solver=_SOLVERS.index(self._solver.name), nesterov=options.nesterovs_momentum,
            X=X, sparse=None if sparse is None else ctypes.pointer(sparse.struct),
            n_parameters=flat.data.shape[1], alpha=float(step.alpha[k]), label_smoothing=loss.label_smoothing,
            momentum=options.momentum, beta_1=options.beta_1, beta_2=options.beta_2, epsilon=options.epsilon,
            weight_decay=options.weight_decay,
            **{name: None if array is None else array.data_ptr() for name, array in arrays.items()},
        )  # fmt: skip


def _turned(decayed: Tensor, weight: Tensor) -> Tensor:
    """Return `decayed` (P,) where the first layer is turned: its biases come after its weights (K, n_out, n_in)."""
    n_weights, turned = weight[0].numel(), decayed.clone()
    turned[:n_weights], turned[n_weights : n_weights + weight.shape[1]] = 1, 0
    return turned


class _OfLayer(NamedTuple):
    """What a batch comes to in a layer, and the gradient there; the last two where there is dropout.

    Each has (n_out, b) numbers, or (b, n_out) with rows of whole vectors behind a layer that reads entries.
    """

    out: Tensor
    grad: Tensor
    mask: Tensor
    dropped: Tensor


class _Memory(NamedTuple):
    """What a batch of b rows is computed in; all models of a pass use the same."""

    inputs: Tensor | None  # (b, n_in)
    of_rows: dict[str, Tensor]  # (b,) each
    layers: list[_OfLayer]


def _memory(step: _PlainStep, weights: list[Tensor], n_rows: int, *, dense: bool) -> _Memory:
    new, n_drawn = step.parameters.data.new_empty, n_rows if step.masks else 0
    widths = [up_to_lanes(weight.shape[1]) for weight in weights]
    return _Memory(
        new(n_rows, weights[0].shape[2]) if dense else None,
        {name: new(n_rows) for name in ("shares", "highest", "sums")},
        [_OfLayer(*(new(width * n) for n in (n_rows, n_rows, n_drawn, n_drawn))) for width in widths],
    )


def _layers(step: _PlainStep, k: int, memory: _Memory, *, turned: bool) -> "ctypes.Array[Layer]":
    """Return the layers of model k; with `turned`, the first one is (n_in, n_out), and its biases come after it."""
    data, grad = step.parameters.data_views, step.parameters.grad_views
    dropouts = [*step.masks.of_model(k), None]
    parts = zip(data[::2], data[1::2], grad[::2], grad[1::2], memory.layers, dropouts, strict=True)
    layers = (Layer * len(dropouts))(*(_layer(k, *of_layer) for of_layer in parts))
    if turned:
        first, size = layers[0], data[0][k].numel() * data[0].itemsize
        first.bias, first.bias_grad, first.bias_stride = first.weight + size, first.weight_grad + size, 1
    return layers


def _layer(
    k: int, weight: Tensor, bias: Tensor, weight_grad: Tensor, bias_grad: Tensor, memory: _OfLayer,
    dropout: Dropout | None,
) -> Layer:  # fmt: skip
    n_levels = 0 if dropout is None else n_dropped(dropout.p)
    return Layer(
        n_in=weight.shape[2], n_out=weight.shape[1], stride=weight.stride(1), bias_stride=bias.stride(1),
        weight=weight[k].data_ptr(), bias=bias[k].data_ptr(), weight_grad=weight_grad[k].data_ptr(),
        bias_grad=bias_grad[k].data_ptr(), out=memory.out.data_ptr(), grad=memory.grad.data_ptr(),
        mask=None if dropout is None else memory.mask.data_ptr(),
        dropped=(memory.out if dropout is None else memory.dropped).data_ptr(),
        factor=LEVELS / (LEVELS - n_levels), lowest_kept=n_levels - LEVELS // 2,
    )  # fmt: skip
