"""What tells one fit from another, in every process alike: a digest of values, not of where they are in memory."""

import functools
import hashlib
import re
from collections.abc import Iterable, Iterator
from types import FunctionType
from typing import Any

import numpy as np
import torch
from torch import Tensor


def fingerprint(value: Any, tensors: Iterable[Tensor] = ()) -> str:
    """Return a digest of a value, by its content however deep, and of tensors."""
    digest = hashlib.sha256()
    for part in _parts(value, set()):
        digest.update(part)
    for tensor in tensors:
        for part in _of_tensor(tensor):
            digest.update(part)
    return digest.hexdigest()


def _parts(value: Any, above: set[int]) -> Iterator[bytes]:
    """Yield bytes for a value; what it is itself a part of is named only."""
    yield f"{type(value).__module__}.{type(value).__qualname__}(".encode()
    if id(value) in above:
        return
    inside = above | {id(value)}
    if value is None or isinstance(value, bool | int | float | complex | str | bytes):
        yield repr(value).encode()
    elif isinstance(value, Tensor):
        yield from _of_tensor(value)
    elif isinstance(value, np.ndarray | np.generic) and not np.asarray(value).dtype.hasobject:
        yield from _of_tensor(torch.frombuffer(bytearray(np.asarray(value).tobytes() or b"\0"), dtype=torch.uint8))
        yield f"{np.asarray(value).dtype} {np.shape(value)}".encode()
    elif isinstance(value, set | frozenset):
        yield from sorted(fingerprint(element).encode() for element in value)
    elif isinstance(value, type):
        yield f"{value.__module__}.{value.__qualname__}".encode()
    else:
        for content in _contents(value):
            yield from _parts(content, inside)
    yield b")"


def _contents(value: Any) -> Iterable[Any]:
    """Return the values that a value consists of."""
    if isinstance(value, dict):
        return [content for item in value.items() for content in item]
    if isinstance(value, list | tuple):
        return list(value)
    if isinstance(value, np.ndarray):
        return [value.shape, value.ravel().tolist()]
    if isinstance(value, functools.partial):
        return [value.func, value.args, value.keywords]
    if isinstance(value, FunctionType):
        code = value.__code__
        constants = [constant for constant in code.co_consts if not hasattr(constant, "co_code")]
        cells = [cell.cell_contents for cell in value.__closure__ or ()]
        return [value.__module__, value.__qualname__, code.co_code, constants, value.__defaults__, cells]
    if hasattr(value, "__self__") and hasattr(value, "__name__"):  # a method, or a function of a library
        return [value.__name__]
    return [vars(value) if hasattr(value, "__dict__") else re.sub(r" at 0x[0-9a-f]+", "", repr(value))]


def _of_tensor(tensor: Tensor) -> Iterator[bytes]:
    copied = tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
    yield f"{copied.dtype} {tuple(copied.shape)}".encode()
    yield copied.view(-1).view(torch.uint8).numpy().tobytes()
