"""Where and in which precision arrays are computed: device, dtype, threads and denormal numbers."""

import functools
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from typing import NamedTuple

import numpy as np
import torch
from threadpoolctl import LibController, OpenBLASController, ThreadpoolController

DTYPES = ("auto", "float32", "float64", "bfloat16")

# Multiply-adds of one batch below which a second thread saves too little to risk that it has to wait for a busy core.
_ONE_THREAD_WORK = 10_000_000

# Multiply-adds that take less time than a scope does.
_NO_SCOPE_WORK = 100_000


class Precision(NamedTuple):
    """The dtype of weights and predictions, and whether matrix products run in bfloat16."""

    dtype: torch.dtype
    autocast: bool


def resolve_device(device: str) -> torch.device:
    """Return the device of that name; "auto" is cuda, else mps, else cpu."""
    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if device == "auto":
        return torch.device(next(kind for kind, present in available.items() if present))
    try:
        chosen = torch.device(device)
    except RuntimeError:
        chosen = None
    if chosen is None or chosen.type not in available:
        raise ValueError(f"device must be 'auto', 'cpu', 'cuda', 'cuda:N' or 'mps', got {device!r}.")
    if not available[chosen.type] or (chosen.type == "cuda" and (chosen.index or 0) >= torch.cuda.device_count()):
        present = [kind for kind, found in available.items() if found]
        raise ValueError(f"device={device!r} was asked for, but this machine offers only {present}.")
    return chosen


def resolve_precision(dtype: str, input_dtype: np.dtype, device: torch.device) -> Precision:
    """Return what to compute in; "auto" follows float64 input on the CPU and is float32 elsewhere."""
    if dtype == "float64" and device.type == "mps":
        raise ValueError("dtype='float64' is not offered by the device 'mps'; use 'auto' or 'float32'.")
    if dtype == "auto":
        wide = device.type == "cpu" and input_dtype == np.float64
        return Precision(torch.float64 if wide else torch.float32, False)
    return Precision(torch.float64 if dtype == "float64" else torch.float32, dtype == "bfloat16")


@contextmanager
def plain_modes() -> Iterator[None]:
    """Leave the modes that a caller may have set for torch: without gradients, autocast, another default device."""
    with ExitStack() as stack:
        if torch.is_inference_mode_enabled():
            stack.enter_context(torch.inference_mode(False))
        if not torch.is_grad_enabled():
            stack.enter_context(torch.enable_grad())
        for kind in ("cpu", "cuda", "mps"):
            if torch.is_autocast_enabled(kind):
                stack.enter_context(torch.autocast(kind, enabled=False))
        if torch.empty(0).device.type != "cpu":  # sooner than asking for the default
            stack.enter_context(torch.device("cpu"))
        yield


def fits_one_thread(work: int, device: torch.device) -> bool:
    """Return whether batches of `work` multiply-adds are computed on the CPU, and too small for a second thread."""
    return device.type == "cpu" and work < _ONE_THREAD_WORK


@contextmanager
def compute_scope(work: int, device: torch.device, *, once: bool = False) -> Iterator[None]:
    """Choose threads for batches of `work` multiply-adds and flush denormals; restore both on leaving.

    The products of numpy and scipy, which compute some fits, get as many threads as torch. That takes a moment: a
    single pass, with `once`, goes without, and one that takes less time than a scope is left alone.
    """
    if device.type != "cpu" or (work < _NO_SCOPE_WORK and once):
        yield
        return
    n_threads = 1 if fits_one_thread(work, device) else None
    with _thread_limit(n_threads), nullcontext() if once else product_limit(n_threads), _flushed_denormals():
        yield


_thread_lock = threading.Lock()
_thread_scopes = 0
_threads_outside = 0


@contextmanager
def _thread_limit(n_threads: int | None) -> Iterator[None]:
    """Compute with at most that many threads, or with as many as outside.

    Scopes of several Python threads may overlap, so the number to restore is the one from before the first of them.
    """
    global _thread_scopes, _threads_outside
    entered = False
    try:
        with _thread_lock:
            if _thread_scopes == 0:
                _threads_outside = torch.get_num_threads()
            _thread_scopes, entered = _thread_scopes + 1, True
            torch.set_num_threads(min(n_threads or _threads_outside, _threads_outside))
        yield
    finally:
        with _thread_lock:
            _thread_scopes -= entered
            torch.set_num_threads(_threads_outside or torch.get_num_threads())


_product_limits: list[int] = []
_products_outside: list[int] = []


@contextmanager
def product_limit(n_threads: int | None) -> Iterator[None]:
    """Compute matrix products of numpy and scipy with at most that many threads, or as many as torch has outside.

    Of scopes that overlap the lowest number holds; the last one to end restores what was before the first.
    """
    global _products_outside
    entered = False
    try:
        with _thread_lock:
            if not _products_outside:  # else scopes are open, or an interrupt kept the last one from restoring them
                _products_outside = [pool.num_threads for pool in _product_pools()]
            limit = min([n_threads or _threads_outside, *_products_outside])
            is_lowest = limit < min(_product_limits, default=np.inf)
            _product_limits.append(limit)
            entered = True
            if is_lowest:  # else what somebody has set since stays
                _set_product_threads([limit] * len(_products_outside))
        yield
    finally:
        with _thread_lock:
            if entered:
                _product_limits.remove(limit)
            if not _product_limits:
                _set_product_threads(_products_outside)
                _products_outside = []
            elif entered and limit < min(_product_limits):
                _set_product_threads([min(_product_limits)] * len(_products_outside))


def _set_product_threads(numbers: Sequence[int]) -> None:
    with _control_of_pools():
        for pool, number in zip(_product_pools(), numbers, strict=False):  # none before the pools were looked at
            pool.set_num_threads(number)


@contextmanager
def _control_of_pools() -> Iterator[None]:
    """Let this thread set limits: from 3.8 on threadpoolctl ignores all threads but the one that set one first."""
    clear = getattr(OpenBLASController, "clear_controlling_thread", None)
    if clear is None:
        yield
        return
    clear(force=True)
    try:
        yield
    finally:
        clear(force=True)


@functools.cache
def _product_pools() -> list[LibController]:
    return ThreadpoolController().select(user_api="blas").lib_controllers  # looks through all libraries of the process


@contextmanager
def _flushed_denormals() -> Iterator[None]:
    """Treat denormal numbers as zero: the moments of inputs that stay zero decay into them, and they are slow.

    The flag is the calling thread's; torch's other threads take it over from the one that starts them, and keep it.
    """
    if torch.get_num_threads() > 1:
        torch.zeros(2**18).add_(1)  # starts them before the flag is set
    smallest = torch.full((), torch.finfo(torch.float64).tiny, dtype=torch.float64)
    flushed_outside = bool(smallest / 2 == 0)  # torch offers no way to read the flag
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(flushed_outside)
