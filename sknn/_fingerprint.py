"""What tells one fit from another, in every process alike: a digest of values, not of where they are in memory."""

import functools
import hashlib
import re
from collections.abc import Iterable, Iterator
from types import BuiltinFunctionType, CodeType, FunctionType, MethodType
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
    elif isinstance(value, np.ndarray | np.generic) and not value.dtype.hasobject:
        yield f"{value.dtype} {value.shape}".encode()
        yield value.tobytes()
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
        cells = [cell.cell_contents for cell in value.__closure__ or ()]
        return [value.__module__, value.__qualname__, value.__code__, value.__defaults__, value.__kwdefaults__, cells]
    if isinstance(value, CodeType):
        return [value.co_code, value.co_names, value.co_consts]
    if isinstance(value, MethodType):
        return [value.__func__, value.__self__]
    if isinstance(value, BuiltinFunctionType):
        return [value.__qualname__]
    return [vars(value) if hasattr(value, "__dict__") else re.sub(r" at 0x[0-9a-f]+", "", repr(value))]


def _of_tensor(tensor: Tensor) -> Iterator[bytes]:
    copied = tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
    yield f"{copied.dtype} {tuple(copied.shape)}".encode()
    yield copied.view(-1).view(torch.uint8).numpy().tobytes()
