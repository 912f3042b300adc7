"""Second derivatives of functions whose gradient is written by hand."""

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

Backward = Callable[..., Any]


def second_derivatives(plain: Callable[..., Any]) -> Callable[[Backward], Backward]:
    """Let a hand-written `backward` be differentiated: with grad mode on, the gradient is that of `plain`.

    Args:
        plain: `plain(ctx, *inputs)` gives the output(s) of the function by differentiable operations; `inputs` are as
            many of the first saved tensors, in the order of the arguments of `forward`, as it has parameters. It may
            need the memory of the whole matrix of similarities.
    """

    def decorate(backward: Backward) -> Backward:
        @functools.wraps(backward)
        def either(ctx: Any, *gradients: Tensor | None) -> Any:
            if not torch.is_grad_enabled():
                return backward(ctx, *gradients)
            count = plain.__code__.co_argcount - 1
            needed = ctx.needs_input_grad
            # Aliases, since one tensor may be two arguments.
            inputs = [None if tensor is None else tensor.view_as(tensor) for tensor in ctx.saved_tensors[:count]]
            wanted = {number: each for number, each in enumerate(inputs) if each is not None and needed[number]}
            outputs = plain(ctx, *inputs)
            outputs = outputs if isinstance(outputs, tuple) else (outputs,)
            # What a function keeps for its gradient stands behind its results.
            pairs = [(out, grad) for out, grad in zip(outputs, gradients, strict=False) if grad is not None]
            found = torch.autograd.grad(
                [out for out, _ in pairs],
                list(wanted.values()),
                [grad for _, grad in pairs],
                create_graph=True,
                allow_unused=True,
                materialize_grads=True,
            )
            result: list[Tensor | None] = [None] * len(needed)
            for number, gradient in zip(wanted, found, strict=True):
                result[number] = gradient
            return tuple(result) if len(result) > 1 else result[0]

        return either

    return decorate


def first_derivative_only(backward: Backward) -> Backward:
    """Refuse second derivatives, also where the gradient that arrives is a constant."""

    @functools.wraps(backward)
    def refusing(ctx: Any, *gradients: Tensor | None) -> Any:
        if torch.is_grad_enabled():
            raise RuntimeError(
                "dipole has no second derivative of this function: call backward() without create_graph=True."
            )
        return backward(ctx, *gradients)

    return refusing
