"""What all text views share: texts out of records, token ids out of texts."""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

from dipole.errors import InputError
from dipole.ops.checks import check_at_least


class TextViews:
    """Base of all text views: `views(records, tokenizer, generator=…)` gives token ids and masks.

    Args:
        num_views: V, views of each record.
        max_length: tokens of a view, special tokens included.

    Attributes:
        columns: what a record must have.
        column_choices: forms of records, of which one will do; empty if there is no choice.

    Raises:
        InputError: `num_views` is below 1 or `max_length` below 2.
    """

    columns: tuple[str, ...] = ()
    column_choices: tuple[tuple[str, ...], ...] = ()

    def __init__(self, *, num_views: int = 2, max_length: int = 128) -> None:
        check_at_least(num_views, 1, "num_views")
        check_at_least(max_length, 2, "max_length")
        self.num_views, self.max_length = num_views, max_length

    def __call__(
        self, records: list[dict[str, Any]], tokenizer: Any, *, generator: torch.Generator | None = None
    ) -> dict[str, Tensor]:
        """Make the views of N records.

        Args:
            records: values by the name of their column.
            tokenizer: a fast tokenizer of transformers.
            generator: source of randomness; torch's global one if None.

        Returns:
            `input_ids` and `attention_mask`, both int64 (V, N, T), unless the class says otherwise.
        """
        raise NotImplementedError(f"{type(self).__name__} does not define __call__(records, tokenizer).")


def text_of(record: dict[str, Any], column: str) -> str:
    """Return the text in a column of a record.

    Raises:
        InputError: there is no such column, or it holds no text.

    Example:
        >>> text_of({"text": "a few words"}, "text")
        'a few words'
    """
    if column not in record:
        raise InputError(f"a record has no column {column!r}: it has {', '.join(map(repr, record))}. Set column.")
    value = record[column]
    if not isinstance(value, str):
        raise InputError(f"column {column!r} holds a {type(value).__name__}: expected a text.")
    return value


def encode_batch(
    texts: Sequence[str], tokenizer: Any, *, max_length: int, fixed_length: bool = False
) -> dict[str, Tensor]:
    """Tokenise texts with special tokens, cut to a length and padded to the longest, or to the length.

    Returns:
        `input_ids` and `attention_mask`, both int64 (N, T).
    """
    encoded = tokenizer(
        list(texts),
        truncation=True,
        max_length=max_length,
        padding="max_length" if fixed_length else "longest",
        return_token_type_ids=False,
        return_tensors="pt",
    )
    return {"input_ids": encoded["input_ids"], "attention_mask": encoded["attention_mask"]}


def end_ids(tokenizer: Any) -> tuple[int | None, int | None]:
    """Return the tokens that begin and end a text; of BERT [CLS] and [SEP]."""
    begin = tokenizer.bos_token_id if tokenizer.cls_token_id is None else tokenizer.cls_token_id
    end = tokenizer.eos_token_id if tokenizer.sep_token_id is None else tokenizer.sep_token_id
    return begin, end


def token_ids(records: list[dict[str, Any]], column: str, tokenizer: Any) -> list[Int[Tensor, "_"]]:
    """Return the tokens of each record without special ones: those in its column `tokens`, or those of its text.

    Raises:
        InputError: a record has neither.
    """
    if all("tokens" in record for record in records):
        return [torch.as_tensor(record["tokens"], dtype=torch.long) for record in records]
    texts = [text_of(record, column) for record in records]
    found = tokenizer(texts, add_special_tokens=False, return_attention_mask=False, verbose=False)["input_ids"]
    return [torch.tensor(ids, dtype=torch.long) for ids in found]
