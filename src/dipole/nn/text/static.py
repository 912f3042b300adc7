"""A text as the weighted mean of its tokens' fixed embeddings."""

from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from dipole.errors import InputError
from dipole.losses.common import accumulate
from dipole.nn.text.encoder import (
    TextEncoder,
    check_tokenizer,
    explained,
    fitted_tokenizer,
    open_tokenizer,
    open_transformer,
)
from dipole.nn.text.pooling import Pooling


class StaticTextEncoder(TextEncoder):
    """The mean of a text's token embeddings, each times its own weight, through a linear layer:

        f(x) = W · (1/T) Σ_t exp(a_{x_t}) · dropout(E_{x_t}) + b

    Special tokens are left out; a text without any other has the zero vector. The division by T, not by the sum of
    weights, makes the encoder the plain mean of the table `exp(a) · E · Wᵀ + b`; the cosine does not see the scale.
    W starts as the identity and a, b as zero, so that an untrained encoder is the plain mean of E.

    It is thousands of times faster than a transformer and has no notion of order.

    Args:
        table: (vocabulary, D) E.
        tokenizer: a fast tokenizer whose ids are rows of the table.
        max_length: tokens of a text that are read, special tokens included.
        freeze: whether the table stays as it is.

    Raises:
        InputError: the tokenizer has more tokens than the table, or is none that can be used.
    """

    special: Tensor

    def __init__(
        self, table: Float[Tensor, "vocabulary d"], tokenizer: Any, *, max_length: int = 128, freeze: bool = True
    ) -> None:
        nn.Module.__init__(self)
        tokenizer = fitted_tokenizer(tokenizer)
        check_tokenizer(tokenizer, max_length, None)
        tokenizer.model_max_length = max_length
        if len(tokenizer) > len(table):
            raise InputError(f"the tokenizer has {len(tokenizer)} tokens and the table {len(table)} rows.")
        self.tokenizer = tokenizer
        self.width = table.shape[1]
        self.pooling: Pooling = "mean"
        self.max_length = max_length
        self.unit_length, self.prompts, self.default_prompt = False, {}, None
        self.embeddings = nn.Embedding.from_pretrained(table.clone(), freeze=freeze)
        self.log_weight = nn.Parameter(torch.zeros(len(table), dtype=table.dtype))
        self.dropout = nn.Dropout(0.0)
        self.linear = nn.Linear(self.width, self.width, dtype=table.dtype)
        nn.init.eye_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)
        special = torch.zeros(len(table), dtype=torch.bool)
        ends = (tokenizer.cls_token_id, tokenizer.sep_token_id, tokenizer.bos_token_id, tokenizer.eos_token_id)
        special[[index for index in (*ends, tokenizer.pad_token_id) if index is not None]] = True
        self.register_buffer("special", special, persistent=False)

    def forward(
        self, input_ids: Int[Tensor, "n t"], attention_mask: Int[Tensor, "n t"] | Bool[Tensor, "n t"]
    ) -> Float[Tensor, "n d"]:
        """Return embeddings (N, D), not normalised."""
        counted = attention_mask.bool() & ~self.special[input_ids]
        count = counted.sum(dim=1, keepdim=True)
        weight = self.log_weight.exp()[input_ids] * counted / count.clamp_min(1)
        if self.training and self.dropout.p > 0:
            mean = torch.einsum("nt,ntd->nd", weight, self.dropout(self.embeddings(input_ids)))
        else:
            table = self.embeddings.weight
            mean = F.embedding_bag(input_ids, table, mode="sum", per_sample_weights=weight.to(table.dtype))
        return accumulate(self.linear(mean) * (count > 0))

    def table(self) -> Float[Tensor, "vocabulary d"]:
        """Return `exp(a) · E · Wᵀ + b`: the mean of its rows over a text's tokens is the text's embedding."""
        with torch.no_grad():
            return self.linear(self.log_weight.exp()[:, None] * self.embeddings.weight)


def open_static(name: str, *, pooling: Pooling = "mean", max_length: int = 128) -> StaticTextEncoder:
    """Open the token embeddings of a folder or hub name.

    Raises:
        InputError: it is not found, or the pooling is another than the mean.
    """
    if pooling != "mean":
        raise InputError(f"pooling is {pooling!r}: a static encoder can only take the mean. Set pooling to 'mean'.")
    tokenizer = open_tokenizer(name)
    table = _stored_table(Path(name))
    if table is None:
        table = open_transformer(name).get_input_embeddings().weight.detach()
    return StaticTextEncoder(table.float(), tokenizer, max_length=max_length)


def _stored_table(folder: Path) -> Tensor | None:
    """The word embeddings in a folder's weights, without building the model; None if they have another name."""
    path = folder / "model.safetensors"
    if not path.is_file():
        return None
    from safetensors import safe_open

    with explained(str(folder)), safe_open(path, framework="pt") as weights:
        names = [name for name in weights.keys() if name.endswith("word_embeddings.weight")]  # noqa: SIM118
        return weights.get_tensor(names[0]) if len(names) == 1 else None
