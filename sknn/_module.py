"""What the estimators of a user's own module share: building it, its parameters by name, its input, its pickle."""

import copy
import inspect
import io
import math
import pickle
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FunctionType
from typing import Any, Self

import cloudpickle
import numpy as np
import torch
from torch import nn

from sknn._fitting import Fit
from sknn._input import to_host
from sknn._progress import Progress
from sknn.modules import MLP, Dropout

_PREFIX = "module__"
_OF_THE_USER = ("module", "module_params", "module_", "loss")
# Layers with which the same weights have another loss at each evaluation, or in each part of the rows.
_RANDOM = (nn.modules.dropout._DropoutNd, Dropout, nn.RReLU, nn.modules.batchnorm._BatchNorm)


class ModuleEstimatorMixin:
    """The network of an estimator whose module the user gives."""

    _module_constraints: dict[str, list[Any]] = {
        "module": [callable, None],
        "module_params": [dict, None],
        "input_shape": ["array-like", None],
    }

    module: Any
    module_params: dict[str, Any] | None
    input_shape: Any
    solver: str
    input_shape_: tuple[int, ...] | None
    n_features_in_: int
    module_: Any

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the parameters of this estimator.

        Parameters
        ----------
        deep : bool, default=True
            Whether to return those in `module_params` too, each as `module__<name>`.

        Returns
        -------
        dict
            Names of the parameters and their values.
        """
        own = super().get_params(deep)  # type: ignore[misc]
        inner = self.module_params if deep and isinstance(self.module_params, dict) else {}
        return own | {_PREFIX + name: value for name, value in inner.items()}

    def set_params(self, **params: Any) -> Self:
        """Set parameters of this estimator, and by `module__<name>` those of its module.

        Parameters
        ----------
        **params : dict
            Names and values.

        Returns
        -------
        self : object
            The estimator.

        Raises
        ------
        ValueError
            If there is no parameter of that name.
        """
        of_module = {name: params.pop(name) for name in list(params) if name.startswith(_PREFIX)}
        super().set_params(**params)  # type: ignore[misc]
        if of_module:
            named = {name.removeprefix(_PREFIX): value for name, value in of_module.items()}
            self._check_names(named)
            self.module_params = {**(self.module_params or {}), **named}
        return self

    def _check_names(self, named: dict[str, Any]) -> None:
        if isinstance(self.module, nn.Module):
            raise ValueError(f"module is an instance, which takes no parameters any more, got {sorted(named)}.")
        parameters = inspect.signature(self.module or MLP).parameters
        if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
            return
        for name in named.keys() - parameters.keys():
            raise ValueError(
                f"Invalid parameter {name!r} for module {_name(self.module or MLP)}. Valid parameters are:"
                f" {list(parameters)!r}."
            )

    def _as_rows(self, X: Any, *, reset: bool) -> Any:
        """Return X as rows; with `reset`, the shape in which the module takes a row is learned."""
        X = to_host(X)
        X = np.asarray(X) if isinstance(X, list | tuple) else X
        shape = tuple(X.shape[1:]) if getattr(X, "ndim", 2) > 2 else None
        if reset:
            given = None if self.input_shape is None else tuple(self.input_shape)
            if given is not None and not (given and all(isinstance(n, int | np.integer) and n > 0 for n in given)):
                raise ValueError(f"input_shape must be integers > 0, got {self.input_shape!r}.")
            self.input_shape_ = given or shape  # of plain rows it is known after their validation
        if shape is None:
            return X
        expected = self.input_shape_ or ()
        # Channels at another end, or rows and columns exchanged, have the same number of values.
        alike = len(expected) == 1 or self.input_shape is not None or _without_ones(shape) == _without_ones(expected)
        if math.prod(shape) != math.prod(expected) or not alike:
            raise ValueError(f"X of shape {X.shape} has rows of shape {shape}, expected {expected}.")
        return X.reshape(len(X), math.prod(shape))  # -1 stands for nothing where there are no rows

    def _row_shape(self) -> tuple[int, ...]:
        if self.input_shape_ is None:
            self.input_shape_ = (self.n_features_in_,)
        if math.prod(self.input_shape_) != self.n_features_in_:
            raise ValueError(f"X has {self.n_features_in_} features, but input_shape={self.input_shape_} has another.")
        return self.input_shape_

    def _make_module(self, n_outputs: int, rng: np.random.RandomState) -> nn.Module:
        with _seeded(int(rng.randint(2**31 - 1)), [torch.random.default_generator]):
            module = self._built(n_outputs)
            # Weights that are made by the first batch are made here, and a wrong shape is found before any training.
            with torch.no_grad():
                dtype = next((p.dtype for p in module.parameters() if p.is_floating_point()), torch.float32)
                raw = module.eval()(torch.zeros(2, *self._row_shape(), dtype=dtype))
        if not isinstance(raw, torch.Tensor) or raw.shape != (2, n_outputs):
            got = tuple(raw.shape) if isinstance(raw, torch.Tensor) else type(raw).__name__
            raise ValueError(
                f"module must return raw scores of shape (n, {n_outputs}) for n rows of shape {self.input_shape_}, got"
                f" {got} for two rows."
            )
        if not any(parameter.requires_grad for parameter in module.parameters()):
            raise ValueError(f"module {_name(type(module))} has no parameters to train.")
        random = sorted({type(part).__name__ for part in module.modules() if isinstance(part, _RANDOM)})
        if self.solver == "lbfgs" and random:
            raise ValueError(
                f"solver='lbfgs' needs a loss that is the same at every evaluation, but the module has {random}."
            )
        made_new = self.module is None or isinstance(self.module, type | nn.Module)
        return module if made_new else copy.deepcopy(module)  # a function may return the same one again

    def _built(self, n_outputs: int) -> nn.Module:
        """Return the module made of the parameters that its signature takes."""
        if isinstance(self.module, nn.Module):
            if self.module_params:
                self._check_names(self.module_params)
            return copy.deepcopy(self.module)
        make, given = self.module or MLP, dict(self.module_params or {})
        self._check_names(given)
        parameters = inspect.signature(make).parameters.values()
        sizes = {"n_features_in": self.n_features_in_, "n_outputs": n_outputs}
        given = {name: size for name, size in sizes.items() if name in [p.name for p in parameters]} | given
        left = [name for name in sizes if name not in given]
        # Sizes that no parameter is named after go, in order, to the first that need a value, or on to any keywords.
        for parameter in parameters:
            needs = parameter.default is parameter.empty and parameter.kind is parameter.POSITIONAL_OR_KEYWORD
            if left and needs and parameter.name not in given:
                given[parameter.name] = sizes[left.pop(0)]
        if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
            given |= {name: sizes[name] for name in left}
        try:
            inspect.signature(make).bind(**given)
        except TypeError as error:
            raise ValueError(f"module {_name(make)} cannot be called with {sorted(given)}: {error}.") from error
        module = make(**given)
        if not isinstance(module, nn.Module):
            raise TypeError(f"module must make a torch.nn.Module, got {type(module).__name__} from {_name(make)}.")
        return module

    def _check_combinations(self) -> None:
        """Leave it to the module, which is not there yet."""

    def _pass_forward(self, compute: Callable[[torch.Tensor], Any], X: Any) -> torch.Tensor:
        # The module may write to what it is given, which are the rows of the user.
        return super()._pass_forward(lambda rows: compute(rows.clone()), X)  # type: ignore[misc]

    @contextmanager
    def _scope(self, fit: Fit, progress: Progress) -> Iterator[None]:
        """Let layers that draw from torch's global generators do so without a trace, and alike in every fit."""
        seed = int(fit.rngs[0].randint(2**31 - 1)) + fit.n_seen
        with super()._scope(fit, progress), _seeded(seed, self._global_generators(fit.device)):  # type: ignore[misc]
            yield

    def _global_generators(self, device: torch.device) -> list[torch.Generator]:
        generators = [torch.random.default_generator]
        if device.type == "cuda":
            index = torch.cuda.current_device() if device.index is None else device.index
            generators.append(torch.cuda.default_generators[index])
        return generators

    def __getstate__(self) -> dict[str, Any]:
        state: dict[str, Any] = super().__getstate__()  # type: ignore[assignment]
        return state | {
            name: _ByValue(state[name]) for name in _OF_THE_USER if name in state and _has_no_address(state[name])
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        # What copy.copy passes on went through no pickle, which would have opened the values.
        opened = {name: value.value if isinstance(value, _ByValue) else value for name, value in state.items()}
        super().__setstate__(opened)  # type: ignore[misc]


@contextmanager
def _seeded(seed: int, generators: list[torch.Generator]) -> Iterator[None]:
    """Seed torch's global generators for a while, and bring them back to where they were."""
    with torch.random.fork_rng([generator.device for generator in generators if generator.device.type == "cuda"]):
        for generator in generators:
            generator.manual_seed(seed)
        yield


class _ByValue:
    """Something that a pickle stores with its code, since no other process can import it."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[bytes]]:
        return pickle.loads, (cloudpickle.dumps(self.value),)


def _has_no_address(value: Any) -> bool:
    """Return whether some class or function in it was defined in a script, a notebook or a function."""
    try:
        _Seeker(io.BytesIO()).dump(value)
    except _NoAddressError:
        return True
    except Exception:  # it has no pickle at all, and pickling it will say why
        return False
    return False


class _NoAddressError(Exception):
    """Raised where the first class or function without an address is found."""


class _Seeker(pickle.Pickler):
    """Pickles all but tensors, to see the classes and functions that a pickle would look for when it is loaded."""

    def persistent_id(self, value: Any) -> str | None:
        return "tensor" if isinstance(value, torch.Tensor) else None

    def reducer_override(self, value: Any) -> Any:
        if isinstance(value, type | FunctionType) and (value.__module__ == "__main__" or "<" in value.__qualname__):
            raise _NoAddressError
        return NotImplemented


def _without_ones(shape: tuple[int, ...]) -> list[int]:
    return [size for size in shape if size != 1]


def _name(make: Any) -> str:
    return getattr(make, "__name__", repr(make))
