"""A text encoder that may come from anywhere."""

from typing import Literal, NamedTuple

from dipole.nn.text import TextEncoder


class OpenedEncoder(NamedTuple):
    """A text encoder, and how its embeddings are compared.

    Attributes:
        encoder: in evaluation mode.
        similarity: `"cosine"` or `"dot"`.
    """

    encoder: TextEncoder
    similarity: Literal["cosine", "dot"]
