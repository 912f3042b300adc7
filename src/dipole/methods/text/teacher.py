"""A frozen encoder that judges texts for a method that is trained."""

import copy

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from dipole.errors import InputError
from dipole.losses.common import accumulate
from dipole.nn.text import TextEncoder, build_text_encoder


class Teacher:
    """A text encoder in evaluation mode, without gradient, and no part of the weights of the method that asks it.

    It is opened when it is first needed, so that a trained method can be used where its teacher is not.

    Args:
        source: what `build_text_encoder` takes; None for a copy of the trained encoder as it is when training begins.

    Example:
        >>> Teacher("bert-base-uncased").opened
        False
    """

    def __init__(self, source: str | nn.Module | None) -> None:
        self.source = source
        self._encoder: TextEncoder | None = None

    @property
    def opened(self) -> bool:
        """Whether it has been opened."""
        return self._encoder is not None

    def open(self, student: TextEncoder) -> TextEncoder:
        """Open it for a student, and return its encoder.

        Raises:
            InputError: it is not found, or reads other tokens than its student.
        """
        if self._encoder is None:
            found = copy.deepcopy(student) if self.source is None else build_text_encoder(self.source)
            if found.tokenizer is not None and found.tokenizer.get_vocab() != student.tokenizer.get_vocab():
                raise InputError(
                    f"the teacher {self.source!r} has another tokenizer than the encoder: it must read the same "
                    "tokens. Use one of the same family, or leave teacher out."
                )
            self._encoder = found.eval().requires_grad_(False)
        return self._encoder

    @torch.no_grad()
    def embed(
        self, student: TextEncoder, input_ids: Int[Tensor, "n t"], attention_mask: Int[Tensor, "n t"]
    ) -> Float[Tensor, "n d"]:
        """Return its embeddings (N, D) of tokens, on their device."""
        encoder = self.open(student).to(input_ids.device)
        return accumulate(encoder(input_ids, attention_mask))
