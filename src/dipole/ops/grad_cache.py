"""Large contrastive batches through an encoder that only fits a small one."""

import math
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from dipole.errors import InputError


class GradCache:
    """Encode a batch in chunks; only the embeddings are kept, and each chunk is encoded again for its gradient.

    In-batch losses need all embeddings at once but the encoder's activations only chunk by chunk. The result and the
    gradients are those of `encode(inputs)` for encoders that treat rows independently; batch normalisation sees one
    chunk at a time. In the second pass randomness (dropout) is replayed and the encoder's buffers (running statistics)
    are left alone.

    Gao, Zhang, Han, Callan: *Scaling Deep Contrastive Learning Batch Size under Memory Limited Setup* (RepL4NLP 2021).

    Args:
        encode: module or function from a tensor of rows to a tensor of rows.
        chunk_size: largest number of rows encoded at a time, in chunks of even
            size; this bounds the memory for activations.

    Raises:
        InputError: `chunk_size` is below 1.

    Example:
        >>> encoder = torch.nn.Linear(3, 2)
        >>> inputs = torch.randn(5, 3)
        >>> torch.allclose(GradCache(encoder, chunk_size=2)(inputs), encoder(inputs))
        True
    """

    def __init__(self, encode: Callable[[Tensor], Tensor], chunk_size: int) -> None:
        if chunk_size < 1:
            raise InputError(f"chunk_size is {chunk_size}: expected 1 or more rows at a time.")
        self.encode = encode
        self.chunk_size = chunk_size

    def __call__(self, inputs: Tensor) -> Tensor:
        """Encode `inputs` (N, …) to embeddings (N, …)."""
        parts = inputs.tensor_split(max(1, math.ceil(len(inputs) / self.chunk_size)))
        if len(inputs) > 1 and len(parts[-1]) == 1 and _uses_batch_statistics(self.encode):
            raise InputError(
                f"{len(inputs)} rows in chunks of {self.chunk_size} leave a chunk of one row, of which batch "
                "normalisation has no statistics: use a chunk_size of 3 or more, or an even number of rows."
            )
        chunks = [checkpoint(self.encode, chunk, use_reentrant=False, context_fn=self._contexts) for chunk in parts]
        return torch.cat(chunks)

    def _contexts(self) -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
        """What the first and the second pass run in."""
        return nullcontext(), _kept_buffers(self.encode)


def _uses_batch_statistics(encode: Callable[[Tensor], Tensor]) -> bool:
    """Whether a module normalises by the statistics of what it is given."""
    modules = encode.modules() if isinstance(encode, nn.Module) else ()
    return any(isinstance(module, nn.modules.batchnorm._BatchNorm) and module.training for module in modules)


@contextmanager
def _kept_buffers(encode: Callable[[Tensor], Tensor]) -> Iterator[None]:
    """Put a module's buffers back afterwards; the first pass has updated them already."""
    buffers = list(encode.buffers()) if isinstance(encode, nn.Module) else []
    before = [buffer.clone() for buffer in buffers]
    try:
        yield
    finally:
        for buffer, value in zip(buffers, before, strict=True):
            buffer.copy_(value)
