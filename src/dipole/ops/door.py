"""The door of every public function: arrays become tensors, what cannot be right is refused by name."""

import functools
import inspect
import math
import threading
from collections.abc import Callable, Iterable, Mapping
from typing import Any, ParamSpec, TypeVar, get_args

import numpy as np
import torch
from torch import Tensor

from dipole.errors import InputError

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")

# Errors by which torch, numpy and Python say that arguments do not fit together.
MISFIT = (RuntimeError, TypeError, ValueError, IndexError, KeyError, AttributeError, OverflowError, ZeroDivisionError)
UNLIMITED = {"pairwise_logsumexp", "pairwise_logsumexp_both", "weighted_knn_log_scores"}  # −inf says: nothing is left


class _State(threading.local):
    """Whether a public function is at work: what it calls has been checked by it."""

    inside = False


_STATE = _State()
_looking = True


class check_values:  # noqa: N801 - used as torch.set_grad_enabled is
    """Switch on or off, from here on or within a `with` block, that functions look at the values of their arguments.

    A look at a value makes the processor wait for the accelerator. Without it shapes and types are checked as ever, but
    NaN, indices out of range and numbers that cannot be right are not refused, and statistics of rows are shifted by
    their largest logit whether or not it is needed. Results are the same to rounding.

    Args:
        enabled: whether values are looked at.

    Example:
        >>> with check_values(False):
        ...     looking()
        False
        >>> looking()
        True
    """

    def __init__(self, enabled: bool) -> None:
        global _looking
        self._before, _looking = _looking, bool(enabled)

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: Any) -> None:
        global _looking
        _looking = self._before


def looking() -> bool:
    """Whether values of tensors are known and may be looked at; see `traced` and `check_values`."""
    return _looking and not traced()


def asked_to_look() -> bool:
    """Whether values may be looked at where they are known; see `check_values`."""
    return _looking


def traced() -> bool:
    """Whether the values are unknown now, or derivatives are not those of a plain backward pass.

    So it is inside `torch.compile`, `torch.func` transforms and forward-mode differentiation. Functions written for
    speed give way to plain ones there.
    """
    return torch.compiler.is_compiling() or transformed()


def transformed() -> bool:
    """Whether a transform of `torch.func` or forward-mode differentiation is at work."""
    return torch._C._are_functorch_transforms_active() or torch.autograd.forward_ad._current_level >= 0


def public(function: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """Let a function of tensors take numpy arrays and lists too, and answer with a finite result or an `InputError`.

    Arguments annotated as tensors are converted; a scalar tensor of shape (1,) or (1, 1) becomes one of shape ().
    Sparse, complex and meta tensors and numbers that are not finite are refused. Errors of torch about arguments that
    do not fit together are told as an `InputError` that names the arguments.

    Example:
        >>> @public
        ... def total(x: Tensor) -> Tensor:
        ...     return x.sum()
        >>> total([1.0, 2.0])
        tensor(3.)
    """
    signature = inspect.signature(function)
    names = tuple(signature.parameters)
    of_tensors = {
        name: "Tensor" in str(parameter.annotation) and "Callable" not in str(parameter.annotation)
        for name, parameter in signature.parameters.items()
    }
    scalars = {
        name
        for name, parameter in signature.parameters.items()
        if any(
            kind is float or getattr(kind, "dim_str", None) == ""
            for kind in (parameter.annotation, *get_args(parameter.annotation))
        )
    }
    # Nothing that only counts or names has a gradient.
    whole = {
        name
        for name, parameter in signature.parameters.items()
        if any(
            isinstance(dtypes := getattr(kind, "dtypes", None), list | tuple) and "float" not in str(dtypes)
            for kind in (parameter.annotation, *get_args(parameter.annotation))
        )
    }
    sequences = {
        name
        for name, parameter in signature.parameters.items()
        if any(word in str(parameter.annotation) for word in ("Sequence", "list[", "Iterable", "tuple["))
    }
    name_of = getattr(function, "__name__", "function")

    def admit(name: str, value: Any) -> Any:
        value = admitted(value, name, of_tensors.get(name, False), name in scalars, name in sequences)
        return value.detach() if name in whole and isinstance(value, Tensor) and value.requires_grad else value

    @functools.wraps(function)
    def checked(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        if torch.compiler.is_compiling() or _STATE.inside:
            return function(*args, **kwargs)
        _STATE.inside = True
        try:
            values = [admit(name, value) for name, value in zip(names, args, strict=False)] + list(args[len(names) :])
            named = {name: admit(name, value) for name, value in kwargs.items()}
            result = function(*values, **named)
        except (InputError, torch.OutOfMemoryError):
            raise
        except MISFIT as error:
            if type(error).__module__.startswith("jaxtyping"):
                raise
            given = [*zip(names, args, strict=False), *kwargs.items()]
            came = ", ".join(f"{name} {_shown(value)}" for name, value in given)
            reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
            raise InputError(f"{name_of} cannot use its arguments ({came}): {reason}") from error
        finally:
            _STATE.inside = False
        for name, value in (*zip(names, args, strict=False), *kwargs.items()):
            if isinstance(value, float) and not math.isfinite(value):
                raise InputError(f"{name} is {value}: expected a finite number.")
        if looking():
            try:
                _check_result(result, name_of)
            except InputError:
                check_finite(zip(names, args, strict=False))
                check_finite(kwargs.items())
                raise
        return result

    return checked


def check_finite(arguments: Iterable[tuple[str, Any]]) -> None:
    """Refuse tensors that hold NaN or infinity.

    Raises:
        InputError: one does; the message names it.
    """
    for name, value in arguments if looking() else ():
        if isinstance(value, Tensor) and value.is_floating_point() and not bool(value.isfinite().all()):
            raise InputError(
                f"{name} contains NaN or infinite values: look at the encoder's output and the learning rate."
            )


def admitted(value: Any, name: str, of_tensors: bool = True, scalar: bool = False, several: bool = False) -> Any:
    """The argument, or what a function that was handed in returns, as a public function takes it; see `public`.

    Args:
        value: anything.
        name: what to call it in an error.
        of_tensors: arrays and lists of numbers become tensors.
        scalar: a tensor of one number becomes one of shape ().
        several: a sequence stays a sequence.

    Raises:
        InputError: a tensor is sparse, complex or without values, or a table holds no numbers.
    """
    if isinstance(value, Tensor):
        if value.layout != torch.strided or value.is_meta or value.is_complex():
            kind = "sparse" if value.layout != torch.strided else "on the device 'meta'" if value.is_meta else "complex"
            raise InputError(f"{name} is {kind}: expected a dense real tensor with values; call .to_dense() or .real.")
        return value.reshape(()) if scalar and value.ndim and value.numel() == 1 else value
    if not of_tensors or value is None or isinstance(value, (str, int, float, torch.nn.Module)):
        return value
    if isinstance(value, Mapping):
        return {key: admitted(entry, f"{name}[{key!r}]", True, scalar) for key, entry in value.items()}
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return value
    if isinstance(value, (list, tuple)) and (
        several or any(isinstance(entry, (Tensor, np.ndarray)) for entry in value)
    ):
        return type(value)(admitted(e, name, True, scalar) if isinstance(e, (Tensor, np.ndarray)) else e for e in value)
    if isinstance(value, (np.ndarray, np.generic, list, tuple)):
        return admitted(_as_tensor(value, name), name, True, scalar)
    return value


def _as_tensor(value: Any, name: str) -> Tensor:
    """Numbers as a tensor: whole numbers and decisions as they are, floating point as it is."""
    array = np.asarray(value) if not _ragged(value) else None
    if array is None or array.dtype.kind not in "bifu":
        raise InputError(
            f"{name} is a {type(value).__name__} that is no table of numbers: expected a tensor or an array."
        )
    if isinstance(value, (list, tuple)) and array.dtype == np.float64:
        array = array.astype(np.float32)  # as torch.tensor does with Python's numbers
    if array.dtype.kind == "u" and array.dtype != np.uint8:
        array = array.astype(np.int64)
    return torch.from_numpy(np.array(array, order="C", copy=True))


def _ragged(value: Any) -> bool:
    """Whether a list has no one shape."""
    try:
        np.asarray(value)
    except ValueError:
        return True
    return False


def _shown(value: Any) -> str:
    """An argument in a few words."""
    if isinstance(value, Tensor):
        return f"{str(value.dtype).removeprefix('torch.')} {tuple(value.shape)}"
    text = repr(value) if isinstance(value, (int, float, str, bool, type(None))) else type(value).__name__
    return text if len(text) < 40 else text[:36] + " ..."


def _check_result(result: Any, name: str) -> None:
    """Require finite results."""
    if isinstance(result, tuple):
        for part in result:
            _check_result(part, name)
    elif isinstance(result, float):
        if not math.isfinite(result):
            raise InputError(f"{name} has no finite result for these values: its arguments are too large or too small.")
    elif isinstance(result, Tensor) and result.is_floating_point() and not result.is_meta:
        detached = result.detach()
        if math.isfinite(float(detached.sum())):
            return
        wrong = ~detached.isfinite()
        if name in UNLIMITED:
            wrong &= detached != -math.inf
        if bool(wrong.any()):
            raise InputError(
                f"{name} has no finite result for these values: its arguments are too large, too small, or not finite "
                "(a temperature below 1e-4, rows that are not of unit length with normalize=False)."
            )
