"""The statistics of rows as operators of `torch.library`.

A statistic is computed in one of several ways, chosen by what its arguments allow. `torch.compile` cannot look into
that choice, which depends on values, nor into tiles: it sees one operator for the statistic and one for its gradient,
in which the same choice is made when the graph runs. Results and memory are those of eager mode.
"""

from collections.abc import Callable, Sequence
from itertools import zip_longest
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.library import custom_op

from dipole.ops.door import asked_to_look, check_values, transformed
from dipole.ops.fused import fusable
from dipole.ops.rows import Exclusion
from dipole.ops.statistics import Choice, apply

DENSE_ENTRIES = 1 << 15  # up to so many similarities the loops that a compiler writes are faster than tiles

INPUTS = "Tensor queries, Tensor keys, Tensor scale, Tensor? bias, Tensor? exclude, Tensor? log_weight"
INPUTS += ", SymInt[] groups, str words"
OF_GRADIENT = f"(Tensor?[] gradients, Tensor[] outputs, {INPUTS}) -> Tensor[]"
DIFFERENTIABLE = ("queries", "keys", "scale", "bias")


class Arguments(NamedTuple):
    """What a statistic is computed from: checked, and of one type."""

    queries: Tensor
    keys: Tensor
    scale: Tensor
    bias: Tensor | None
    exclude: Exclusion
    log_weight: Tensor | None
    needs: tuple[bool, ...]  # whether queries, keys, scale and bias want a gradient
    fused: bool
    constant_weights: bool
    groups: tuple[int, ...] = ()  # numbers of keys, those of one group side by side

    @property
    def differentiable(self) -> tuple[Tensor | None, ...]:
        """The arguments that a gradient can reach."""
        return self.queries, self.keys, self.scale, self.bias


Shape = tuple[int, ...]


def dense(queries: Tensor, keys: Tensor) -> bool:
    """Whether the whole matrix is written: within a transform of functions, and where a compiler sees a small one."""
    return transformed() or (torch.compiler.is_compiling() and len(queries) * len(keys) <= DENSE_ENTRIES)


class Operator:
    """A statistic of the rows of `scale · queries @ keys.T`, which a compiler sees as `torch.ops.dipole.<name>`.

    Args:
        name: of the operator.
        choose: gives the way to compute it for some arguments, and what to apply it to.
        shapes: of all that any of these ways returns for such arguments.
        outputs: how many they are.
        results: how many of them are results.
    """

    def __init__(
        self,
        name: str,
        choose: Callable[[Arguments], Choice],
        shapes: Callable[[Arguments], Sequence[Shape]],
        outputs: int,
        results: int = 1,
    ) -> None:
        self.choose, self.shapes, self.results = choose, shapes, results
        schema = f"({INPUTS}) -> ({', '.join(['Tensor'] * outputs)})"
        self.operator = custom_op(f"dipole::{name}", self._forward, mutates_args=(), schema=schema)
        self.operator.register_fake(self._blank)
        self.operator.register_autograd(self._differentiate, setup_context=self._keep)
        self.gradient = custom_op(f"dipole::{name}_backward", self._backward, mutates_args=(), schema=OF_GRADIENT)
        self.gradient.register_fake(self._blank_gradients)

    def __call__(
        self,
        queries: Tensor,
        keys: Tensor,
        scale: Tensor,
        *,
        bias: Tensor | None = None,
        exclude: Exclusion = None,
        log_weight: Tensor | None = None,
        constant_weights: bool = False,
        groups: Sequence[int] = (),
    ) -> tuple[Tensor, ...]:
        """The results of the statistic."""
        needs = tuple(part is not None and part.requires_grad for part in (queries, keys, scale, bias))
        fused = fusable(queries, keys)
        found: tuple[Tensor, ...]
        if not torch.compiler.is_compiling():
            statistic, chosen = self.choose(
                Arguments(
                    queries, keys, scale, bias, exclude, log_weight, needs, fused, constant_weights, tuple(groups)
                )
            )
            found = apply(statistic, *chosen)
            return found[: self.results]
        same = queries is keys
        wanted = (
            name for name, need in zip(DIFFERENTIABLE, needs, strict=True) if need and not (same and name == "keys")
        )
        holds = {
            "same": same,
            "own": isinstance(exclude, str),
            "fused": fused,
            "constant_weights": constant_weights,
            "look": asked_to_look(),
        }
        words = " ".join([*wanted, *(word for word, held in holds.items() if held)])
        columns = None if isinstance(exclude, str) else exclude
        found = self.operator(queries, keys, scale, bias, columns, log_weight, groups, words)
        return found[: self.results]

    def _forward(self, *inputs: Any) -> tuple[Tensor, ...]:
        """All outputs; those that the chosen way does not have are left blank."""
        arguments = _understood(*inputs)
        with torch.no_grad(), check_values("look" in inputs[-1].split()):
            statistic, chosen = self.choose(arguments)
            found = statistic.forward(*chosen)
        blanks = self._blank(*inputs)
        return tuple(blank if part is None else part for part, blank in zip_longest(found, blanks))

    def _blank(self, *inputs: Any) -> tuple[Tensor, ...]:
        """Tensors of the shapes of the outputs."""
        arguments = _understood(*inputs)
        dtype = torch.promote_types(arguments.queries.dtype, torch.float32)
        return tuple(arguments.queries.new_empty(shape, dtype=dtype) for shape in self.shapes(arguments))

    def _keep(self, ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        *tensors, ctx.groups, ctx.words = inputs
        ctx.save_for_backward(*tensors, *output)
        ctx.mark_non_differentiable(*output[self.results :])
        ctx.set_materialize_grads(False)

    def _differentiate(self, ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        if all(gradient is None for gradient in gradients):
            return (None,) * (len(DIFFERENTIABLE) + 4)
        inputs, outputs = ctx.saved_tensors[:6], list(ctx.saved_tensors[6:])
        found = iter(self.gradient(list(gradients[: self.results]), outputs, *inputs, ctx.groups, ctx.words))
        wanted = [name in ctx.words.split() for name in DIFFERENTIABLE]
        return *(next(found) if want else None for want in wanted), None, None, None, None

    def _backward(self, gradients: list[Tensor | None], outputs: list[Tensor], *inputs: Any) -> list[Tensor]:
        """The gradients of those arguments that want one."""
        arguments = _understood(*inputs)
        wanting = {id(part) for part in _wanting(arguments)}
        with torch.no_grad(), check_values("look" in inputs[-1].split()):
            statistic, chosen = self.choose(arguments)
            ctx = _Context(tuple(id(part) in wanting for part in chosen))
            statistic.setup_context(ctx, chosen, tuple(outputs))
            found = statistic.backward(ctx, *gradients)
        totals: dict[int, Tensor] = {}
        for part, gradient in zip(chosen, found, strict=True):
            if gradient is not None:
                totals[id(part)] = totals[id(part)] + gradient if id(part) in totals else gradient
        return [totals[id(part)].to(part.dtype) for part in _wanting(arguments)]

    def _blank_gradients(self, gradients: list[Tensor | None], outputs: list[Tensor], *inputs: Any) -> list[Tensor]:
        """Tensors of the shapes of the gradients."""
        return [
            torch.empty_like(part, memory_format=torch.contiguous_format) for part in _wanting(_understood(*inputs))
        ]


class _Context:
    """What stands in an operator for the context of autograd."""

    def __init__(self, needs_input_grad: tuple[bool, ...]) -> None:
        self.needs_input_grad = needs_input_grad
        self.saved_tensors: tuple[Tensor | None, ...] = ()

    def save_for_backward(self, *tensors: Tensor | None) -> None:
        self.saved_tensors = tensors

    def mark_non_differentiable(self, *tensors: Tensor) -> None:
        """Nothing is differentiated here."""

    def set_materialize_grads(self, value: bool) -> None:
        """No gradient is made up here."""


def _understood(*inputs: Any) -> Arguments:
    """The inputs of an operator as the arguments of a statistic."""
    queries, keys, scale, bias, exclude, log_weight, groups, words = inputs
    said = words.split()
    if "same" in said:
        keys = queries
        said += ["keys"] * ("queries" in said)
    columns: Exclusion = "own" if "own" in said else exclude
    needs = tuple(name in said for name in DIFFERENTIABLE)
    fused, constant_weights = "fused" in said, "constant_weights" in said
    return Arguments(queries, keys, scale, bias, columns, log_weight, needs, fused, constant_weights, tuple(groups))


def _wanting(arguments: Arguments) -> list[Tensor]:
    """The arguments that want a gradient, each once."""
    pairs = zip(arguments.differentiable, arguments.needs, strict=True)
    return list({id(part): part for part, need in pairs if need and part is not None}.values())
