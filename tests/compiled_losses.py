"""Compile every loss on the arguments of its own example; `python tests/compiled_losses.py`."""

import inspect
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

import dipole.losses
from recorded_calls import recorded_call

# How many rows they work on depends on values, or they draw from a generator of numpy.
BY_VALUES = {"cut_loss", "disentangled_sepclr_loss", "episode_loss", "hard_negative_clap_loss", "mix_positive_index"}
BY_VALUES |= {"modular_clap_loss", "select_confident", "sepclr_loss", "sup_con_distillation_loss"}
DRAWN = {"draw_transform", "sample_mixing_coefficients"}
LOSSES = sorted(
    name
    for name in dipole.losses.__all__
    if inspect.isfunction(getattr(dipole.losses, name)) and name != "multilinear_inner_product"
)


def tensors_of(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Mapping):
        for entry in value.values():
            yield from tensors_of(entry)
    elif isinstance(value, tuple | list):
        for entry in value:
            yield from tensors_of(entry)


def compile_all() -> int:
    count = 0
    for name in sorted(set(LOSSES) - BY_VALUES - DRAWN):
        torch._dynamo.reset()
        function = getattr(dipole.losses, name)
        arguments = recorded_call(name, function)
        torch.manual_seed(0)
        expected = list(tensors_of(function(**arguments)))
        torch.manual_seed(0)
        found = list(tensors_of(compiled(lambda function=function, arguments=arguments: function(**arguments))()))
        assert len(found) == len(expected), name
        for one, other in zip(found, expected, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6, msg=lambda text, name=name: f"{name}: {text}")
        count += 1
    return count


def compare_gradients() -> None:
    drawn = torch.Generator().manual_seed(0)
    views = [torch.randn(40, 8, generator=drawn, requires_grad=True) for _ in range(2)]
    for loss in (dipole.losses.nt_xent_loss, dipole.losses.clip_loss, dipole.losses.siglip_loss):
        expected = torch.autograd.grad(loss(*views, temperature=0.2), views)
        found = torch.autograd.grad(compiled(loss)(*views, temperature=0.2), views)
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-7)


def compiled(function: Any) -> Any:
    return torch.compile(function, fullgraph=True, backend="aot_eager")


if __name__ == "__main__":
    compare_gradients()
    print(f"{compile_all()} losses compile")
