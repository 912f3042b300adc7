"""Weights divided between processes (FSDP2)."""

import torch
from torch import nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import FSDPModule, fully_shard, register_fsdp_forward_method
from torch.distributed.tensor import DTensor

BLOCK = 100_000  # parameters from which an entry of a list of layers is gathered by itself


def shard(method: nn.Module, mesh: DeviceMesh) -> None:
    """Divide the weights of a method between the processes of a mesh, in place, once.

    Args:
        method: with the same weights on every process.
        mesh: of one dimension.
    """
    if isinstance(method, FSDPModule):
        return
    for weight in method.parameters():
        weight.data = weight.data.contiguous()  # filters may lie channels last
    for container in [module for module in method.modules() if isinstance(module, nn.ModuleList | nn.Sequential)]:
        for layer in container:
            divided = any(isinstance(weight, DTensor) for weight in layer.parameters())  # with a list around this one
            if not divided and sum(weight.numel() for weight in layer.parameters()) >= BLOCK:
                fully_shard(layer, mesh=mesh)
    fully_shard(method, mesh=mesh)
    register_fsdp_forward_method(method, "training_step")  # what Lightning calls in place of forward


@torch.no_grad()
def unshard(method: nn.Module, keep: bool) -> None:
    """Put the weights together again, in place; all processes call it, after training.

    Args:
        method: that `shard` has divided.
        keep: hold the weights, on the CPU; False leaves empty ones.
    """
    whole: dict[int, nn.Parameter] = {}
    for module in method.modules():
        for name, weight in module._parameters.items():
            if isinstance(weight, DTensor):
                if id(weight) not in whole:
                    full = weight.full_tensor().cpu()
                    whole[id(weight)] = nn.Parameter(full if keep else full[:0], requires_grad=weight.requires_grad)
                module._parameters[name] = whole[id(weight)]
        if isinstance(module, FSDPModule):
            module.__class__ = type(module).__mro__[2]  # which `fully_shard` has put behind its own
