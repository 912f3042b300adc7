"""The fused kernels beside the tiled functions, in Triton's interpreter; prints the largest differences, as JSON.

    TRITON_INTERPRET=1 python tests/fused_kernels.py

A script of its own, since Triton decides when it is imported whether it interprets.
"""

import json
import sys
from collections.abc import Callable

import torch
from torch import Tensor

from dipole.losses import clip_loss, cloob_loss, nt_xent_loss, sup_con_loss
from dipole.ops import check_values, pairwise_logsumexp, pairwise_softmax_mean, use_fused
from dipole.ops.fused import CONFIGURATIONS, fusable

SHAPES = ((5, 7, 3), (70, 33, 20), (65, 80, 130))  # no side is a multiple of a block, no width a power of two


def difference(function: Callable[[], Tensor], *inputs: Tensor) -> float:
    """The largest difference of values and gradients, relative to 1 or to the size of what differs."""
    found = []
    for fused in (False, True):
        with use_fused(fused), check_values(not fused):
            value = function()
            upstream = torch.linspace(1, 2, value.numel()).view_as(value)
            gradients = torch.autograd.grad((torch.where(value.isfinite(), value, 0) * upstream).sum(), inputs)
            found.append((torch.where(value.isfinite(), value, -1e3), *gradients))
    return max(
        float(((a.float() - b.float()).abs() / a.float().abs().clamp_min(1)).max()) for a, b in zip(*found, strict=True)
    )


def cases(rows: int, columns: int, dim: int) -> dict[str, float]:
    """Differences by what is computed."""
    generator = torch.Generator().manual_seed(rows)
    queries, keys = (torch.randn(n, dim, generator=generator).div_(dim**0.5) for n in (rows, columns))
    scale = torch.tensor(1.3, requires_grad=True)
    inputs = queries.requires_grad_(), keys.requires_grad_(), scale
    index = torch.randint(-1, columns, (rows, 2), generator=generator)
    mask = torch.rand(rows, columns, generator=generator) < 0.3
    mask[2] = True  # nothing is left
    weights = {
        "": None,
        "per key": torch.randn(columns, generator=generator),
        "per pair": torch.randn(rows, columns, generator=generator),
    }
    found = {}
    for excluded, exclude in {"": None, "column": index[:, 0], "columns": index, "mask": mask}.items():
        for weighted, weight in weights.items():
            found[f"logsumexp, exclude {excluded}, weights {weighted}"] = difference(
                lambda e=exclude, w=weight: pairwise_logsumexp(queries, keys, scale, exclude=e, log_weight=w), *inputs
            )
        found[f"mean, exclude {excluded}"] = difference(
            lambda e=exclude: pairwise_softmax_mean(queries, keys, scale, exclude=e), *inputs
        )
        found[f"mean, weights detached, exclude {excluded}"] = difference(
            lambda e=exclude: pairwise_softmax_mean(queries, keys, 1.3, exclude=e, detach_weights=True), queries, keys
        )
    weight = torch.randn(rows, generator=generator)
    for weighted, own_weight in {"": None, "per key": weight}.items():
        found[f"symmetric, weights {weighted}"] = difference(
            lambda w=own_weight: pairwise_logsumexp(queries, queries, scale, exclude="own", log_weight=w),
            queries,
            scale,
        )
    found["symmetric mean"] = difference(
        lambda: pairwise_softmax_mean(queries, queries, scale, exclude="own"), queries, scale
    )
    return found


def losses() -> dict[str, float]:
    """Differences of losses that are made of these."""
    generator = torch.Generator().manual_seed(0)
    z1, z2 = (torch.randn(40, 24, generator=generator).requires_grad_() for _ in range(2))
    labels = torch.arange(40) % 5
    return {
        "NT-Xent": difference(lambda: nt_xent_loss(z1, z2), z1, z2),
        "CLIP": difference(lambda: clip_loss(z1, z2), z1, z2),
        "CLOOB": difference(lambda: cloob_loss(z1, z2), z1, z2),
        "SupCon": difference(lambda: sup_con_loss(z1, labels), z1),
    }


def half() -> dict[str, float]:
    """Relative error in half precision; the interpreter, which is numpy's, has no products in bfloat16."""
    generator = torch.Generator().manual_seed(0)
    queries, keys = (torch.randn(40, 33, generator=generator).div_(6).half().requires_grad_() for _ in range(2))
    with use_fused(True):
        assert fusable(queries, keys)
    return {"float16": difference(lambda: pairwise_logsumexp(queries, keys, 2.0), queries, keys)}


def compiled() -> None:
    """Build both kernels for an accelerator, which needs none."""
    from triton import compile as compile_kernel
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from dipole.ops import fused_kernels

    own, other, step, warps, stages = CONFIGURATIONS[0]
    common = {"slots": 1, "WEIGHTED": True, "EXCLUDE": "own", "MEAN": False, "TF32": True}
    common |= {"OWN": own, "OTHER": other, "STEP": step}
    sides = {"DETACHED": False, "AS_QUERY": True, "AS_KEY": True, "CHUNK": 128}
    for kernel, constants in ((fused_kernels.forward, common), (fused_kernels.backward, {**common, **sides})):
        types = {name: "*fp32" if name.endswith("_ptr") else "i32" for name in kernel.arg_names}
        built = compile_kernel(
            ASTSource(kernel, signature={**types, **dict.fromkeys(constants, "constexpr")}, constexprs=constants),
            target=GPUTarget("cuda", 90, 32),
            options={"num_warps": warps, "num_stages": stages},
        )
        assert built.asm["cubin"]
        assert "atom" not in built.asm["ptx"]  # nothing is added up in an order that could change


def main() -> None:
    """Print everything, by shape; with the argument `compile`, compile instead."""
    if sys.argv[1:] == ["compile"]:
        compiled()
        return
    found = {str(shape): cases(*shape) for shape in SHAPES}
    json.dump({**found, "losses": losses(), "half": half()}, sys.stdout)


if __name__ == "__main__":
    main()
