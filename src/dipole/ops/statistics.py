"""Ways to compute statistics of rows, with gradients written by hand."""

from typing import Any

from torch import Tensor
from torch.autograd import Function


class Statistic:
    """A way to compute a statistic: the three methods of a function of autograd, which an operator can call, too."""

    @staticmethod
    def forward(*arguments: Any) -> tuple[Tensor | None, ...]:
        """The results, then what the gradient needs beside them."""
        raise NotImplementedError

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        """Save for the gradient."""
        raise NotImplementedError

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> tuple[Tensor | None, ...]:
        """A gradient, or None, for each argument."""
        raise NotImplementedError


Choice = tuple[type[Statistic], tuple[Any, ...]]  # a way, and what to apply it to


class _Applied(Function):
    """A statistic as a function of autograd. (PyTorch's own call of `setup_context` takes longer than a small one.)"""

    @staticmethod
    def forward(ctx: Any, *given: Any) -> tuple[Tensor | None, ...]:
        *arguments, ctx.statistic = given
        output: tuple[Tensor | None, ...] = ctx.statistic.forward(*arguments)
        ctx.statistic.setup_context(ctx, tuple(arguments), output)
        return output

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        arrived = any(gradient is not None for gradient in gradients)
        found = ctx.statistic.backward(ctx, *gradients) if arrived else ()
        return *found, *[None] * (len(ctx.needs_input_grad) - len(found))


def apply(statistic: type[Statistic], *arguments: Any) -> tuple[Any, ...]:
    """All that a statistic returns, with gradients."""
    output: tuple[Any, ...] = _Applied.apply(*arguments, statistic)
    return output
