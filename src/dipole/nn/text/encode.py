"""Texts -> embeddings, for inference."""

from collections.abc import Iterator, Sequence
from typing import Any, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from dipole.errors import InputError
from dipole.nn.modes import undisturbed
from dipole.nn.text.encoder import TextEncoder
from dipole.ops.checks import check_at_least, check_choice

BLOCK = 16384  # texts tokenised and sorted by length together: bounds the memory for token ids
CACHED_TOKENS = 1024  # of a batch per CPU thread: the activations of a layer stay in the cache


def encode_texts(
    encoder: TextEncoder,
    texts: Sequence[str],
    *,
    prompt: str | None = None,
    batch_size: int = 32,
    device: torch.device | str | None = None,
    precision: Literal["32-true", "bf16"] = "32-true",
    normalize: bool = False,
    progress: bool = False,
) -> Float[Tensor, "n d"]:
    """Embed texts in evaluation mode, in their order.

    Texts of similar length share a batch, so that little is computed for padding. With the pooling
    `"mean_with_padding"` all are padded to the encoder's `max_length`, on which its embeddings depend.

    Args:
        encoder: the encoder; its mode is put back afterwards.
        texts: N texts; longer ones than `encoder.max_length` tokens are cut.
        prompt: name of the prompt that stands before every text, such as `"query"`; the encoder's default one if it has
            none of that name.
        batch_size: texts of full length in a batch; of shorter ones proportionally more. On a CPU it is an upper bound:
            small batches, which its caches hold, are faster.
        device: where to compute, to which the encoder moves; where it is if None.
        precision: `"bf16"` multiplies matrices in bfloat16 (autocast), for processors that are fast at it.
        normalize: scale the embeddings to length 1.
        progress: whether to show a progress bar.

    Returns:
        (N, D) in float32 (float64 for an encoder in float64) on the CPU.

    Raises:
        InputError: one text instead of a sequence, an entry that is no text, or an argument out of range.

    Example:
        >>> import tempfile
        >>> from dipole.nn.text import build_text_encoder, new_bert
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     encoder = build_text_encoder(str(new_bert(["a few words"], folder, width=8)), max_length=16)
        >>> encode_texts(encoder, ["words", "a few words"]).shape
        torch.Size([2, 8])
    """
    check_texts(texts)
    check_at_least(batch_size, 1, "batch_size")
    check_choice(precision, ("32-true", "bf16"), "precision")
    if device is not None:
        encoder.to(device)
    starts: Any = range(0, len(texts), BLOCK)
    if progress:
        from rich.console import Console
        from rich.progress import track

        starts = track(starts, description="encoding texts", console=Console(stderr=True))
    dtype = next(encoder.parameters()).dtype
    found = torch.empty(len(texts), encoder.width, dtype=torch.float64 if dtype == torch.float64 else torch.float32)
    where = next(encoder.parameters()).device
    budget = batch_size * encoder.max_length
    if where.type == "cpu":
        budget = min(budget, CACHED_TOKENS * torch.get_num_threads())
    half = torch.autocast(where.type, torch.bfloat16, enabled=precision == "bf16")
    with undisturbed(encoder), torch.inference_mode(), half:
        for start in starts:
            tokens = tokenize(encoder, texts[start : start + BLOCK], prompt)
            for rows, input_ids, mask in _batches(encoder, tokens, budget):
                embedded = encoder(input_ids.to(where), mask.to(where)).to(found.dtype)
                found[start + rows] = (F.normalize(embedded, dim=1) if normalize else embedded).cpu()
    return found


def tokenize(encoder: TextEncoder, texts: Sequence[str], prompt: str | None = None) -> list[list[int]]:
    """Return the token ids of texts, special tokens included, cut to the encoder's length."""
    return encoder.tokenizer(
        encoder.prompted(texts, prompt),
        truncation=True,
        max_length=encoder.max_length,
        return_attention_mask=False,
        return_token_type_ids=False,
    )["input_ids"]


def check_texts(texts: Sequence[str]) -> None:
    """Require a sequence of texts.

    Raises:
        InputError: it is one text, or an entry is none.
    """
    if isinstance(texts, str):
        raise InputError("texts is one text: expected a sequence, e.g. [text].")
    for position, text in enumerate(texts):
        if not isinstance(text, str):
            raise InputError(f"text {position} is a {type(text).__name__}: expected a text. Leave out missing values.")


def _batches(encoder: TextEncoder, tokens: list[list[int]], budget: int) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Rows, token ids and masks of batches of at most `budget` tokens, the longest texts first."""
    lengths = torch.tensor([len(ids) for ids in tokens])
    order = lengths.argsort(descending=True, stable=True)
    start = 0
    while start < len(order):
        length = max(1, int(lengths[order[start]]))
        if encoder.pooling == "mean_with_padding":
            length = encoder.max_length
        rows = order[start : start + max(1, budget // length)]
        start += len(rows)
        padding = encoder.tokenizer.pad_token_id
        padded = [tokens[row] + [padding] * (length - len(tokens[row])) for row in rows.tolist()]
        yield rows, torch.tensor(padded), (torch.arange(length) < lengths[rows, None]).to(torch.long)
