"""Losses in which the number of rows depends on values, as one operator of a compiled graph."""

import ast
import functools
import inspect
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ParamSpec

import torch
from torch import Tensor
from torch.library import custom_op

Arguments = ParamSpec("Arguments")

INPUTS = "Tensor[] tensors, str[] names, str options, bool[] needs"


def one_operator(function: Callable[Arguments, Tensor]) -> Callable[Arguments, Tensor]:
    """Let a compiler see a function of tensors and settings, whose result is a number, as `torch.ops.dipole.<name>`.

    A compiler cannot look into a function whose shapes depend on values. The operator runs it as it is; its gradient
    runs it once more. Outside of a compiler nothing is changed.

    Example:
        >>> @one_operator
        ... def sum_of_positive(x: Tensor, *, factor: float = 1.0) -> Tensor:
        ...     return factor * x[x > 0].sum()
        >>> compiled = torch.compile(sum_of_positive, fullgraph=True, backend="aot_eager")
        >>> compiled(torch.tensor([1.0, -1.0]), factor=2.0)
        tensor(2.)
    """
    parameters = tuple(inspect.signature(function).parameters)
    label = f"dipole::{function.__name__}"

    def value_of(tensors: list[Tensor], names: list[str], options: str) -> Tensor:
        given: dict[str, Any] = {**dict(zip(names, tensors, strict=True)), **ast.literal_eval(options)}
        return function(**given)  # type: ignore[call-arg]

    def forward(tensors: list[Tensor], names: list[str], options: str, needs: list[bool]) -> Tensor:
        with torch.no_grad():
            return value_of(tensors, names, options).clone()

    def backward(
        gradient: Tensor, tensors: list[Tensor], names: list[str], options: str, needs: list[bool]
    ) -> list[Tensor]:
        leaves = [part.detach().requires_grad_(need) for part, need in zip(tensors, needs, strict=True)]
        wanted = [leaf for leaf, need in zip(leaves, needs, strict=True) if need]

        def found() -> list[Tensor]:
            value = value_of(leaves, names, options)
            if not value.requires_grad:
                return [torch.zeros_like(leaf) for leaf in wanted]
            return list(torch.autograd.grad(value, wanted, gradient, allow_unused=True, materialize_grads=True))

        # Autograd is out of reach within an operator, but not in a thread beside it.
        with ThreadPoolExecutor(1, initializer=_on_stream, initargs=(gradient.device, _stream(gradient))) as beside:
            return beside.submit(found).result()

    operator = custom_op(label, forward, mutates_args=(), schema=f"({INPUTS}) -> Tensor")
    of_gradient = custom_op(
        f"{label}_backward", backward, mutates_args=(), schema=f"(Tensor gradient, {INPUTS}) -> Tensor[]"
    )

    def keep(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        tensors, ctx.names, ctx.options, ctx.needs = inputs
        ctx.save_for_backward(*tensors)

    def differentiate(ctx: Any, gradient: Tensor) -> tuple[Any, ...]:
        found = iter(of_gradient(gradient, list(ctx.saved_tensors), ctx.names, ctx.options, ctx.needs))
        return [next(found) if need else None for need in ctx.needs], None, None, None

    operator.register_fake(lambda tensors, names, options, needs: tensors[0].new_empty((), dtype=_raised(tensors)))
    of_gradient.register_fake(
        lambda gradient, tensors, names, options, needs: [
            torch.empty_like(part) for part, need in zip(tensors, needs, strict=True) if need
        ]
    )
    operator.register_autograd(differentiate, setup_context=keep)

    @functools.wraps(function)
    def either(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Tensor:
        if not torch.compiler.is_compiling():
            return function(*args, **kwargs)
        given = dict(zip(parameters, args, strict=False)) | kwargs
        tensors = {name: value for name, value in given.items() if isinstance(value, Tensor)}
        options = {name: value for name, value in given.items() if name not in tensors}
        needs = [value.requires_grad for value in tensors.values()]
        result: Tensor = operator(list(tensors.values()), list(tensors), repr(options), needs)
        return result

    return either


def _stream(like: Tensor) -> torch.Stream | None:
    """The stream on which an accelerator works now."""
    return torch.accelerator.current_stream(like.device) if like.device.type != "cpu" else None


def _on_stream(device: torch.device, stream: torch.Stream | None) -> None:
    """Let a new thread go on with the stream of another one."""
    if stream is not None:
        torch.accelerator.set_device_index(device)
        torch.accelerator.set_stream(stream)


def _raised(tensors: list[Tensor]) -> torch.dtype:
    """The type in which a loss of these tensors is computed."""
    kinds = [part.dtype for part in tensors if part.is_floating_point()]
    return functools.reduce(torch.promote_types, kinds, torch.float32)
