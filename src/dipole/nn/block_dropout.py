"""Dropout at the input of every block of an encoder, for some of its calls."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch.nn.functional as F
from torch import nn

from dipole.errors import InputError


def block_dropout(encoder: nn.Module, probability: float) -> Any:
    """Drop entries of the states that enter each block of an encoder, within a `with`.

    Blocks are the entries of its longest list of modules.

    Args:
        encoder: a transformer.
        probability: of an entry; 0 to change nothing.

    Raises:
        InputError: the encoder has no blocks.

    Example:
        >>> import torch
        >>> encoder = nn.Module()
        >>> encoder.blocks = nn.ModuleList([nn.Identity()])
        >>> with block_dropout(encoder, 1.0):
        ...     encoder.blocks[0](torch.ones(2))
        tensor([0., 0.])
    """
    lists = [module for module in encoder.modules() if isinstance(module, nn.ModuleList) and len(module)]
    if probability and not lists:
        raise InputError(
            f"the text encoder {type(encoder).__name__} has no blocks to drop states of: set text_dropout to 0."
        )
    return _dropping(max(lists, key=len) if lists else nn.ModuleList(), probability)


@contextmanager
def _dropping(blocks: nn.ModuleList, probability: float) -> Iterator[None]:
    def drop(module: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        return (F.dropout(inputs[0], probability), *inputs[1:])

    hooks = [block.register_forward_pre_hook(drop) for block in blocks] if probability else []
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
