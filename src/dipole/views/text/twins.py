"""Views of a text that are the text itself: told apart by dropout, or by a masked span."""

from typing import Any

import torch
from torch import Tensor

from dipole.errors import InputError
from dipole.ops.checks import check_at_least
from dipole.views.text.records import TextViews, encode_batch, text_of
from dipole.views.text.strings import span_mask

SEPARATOR = "||"


class DropoutTwins(TextViews):
    """The same text V times; dropout in the encoder makes the views differ.

    Gao, Yao, Chen: *SimCSE* (EMNLP 2021).

    Args:
        num_views: V.
        max_length: tokens of a text, special tokens included; longer texts are cut.
        column: of the records that holds the text.

    Example:
        >>> import tempfile
        >>> from dipole.nn.text import build_text_encoder, new_bert
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     tokenizer = build_text_encoder(str(new_bert(["a few words"], folder, width=8))).tokenizer
        >>> DropoutTwins(num_views=3)([{"text": "a few"}, {"text": "words"}], tokenizer)["input_ids"].shape
        torch.Size([3, 2, 4])
    """

    def __init__(self, *, num_views: int = 2, max_length: int = 32, column: str = "text") -> None:
        super().__init__(num_views=num_views, max_length=max_length)
        self.column = column
        self.columns = (column,)

    def __call__(
        self, records: list[dict[str, Any]], tokenizer: Any, *, generator: torch.Generator | None = None
    ) -> dict[str, Tensor]:
        """Return `input_ids` and `attention_mask` (V, N, T)."""
        texts = [text_of(record, self.column) for record in records]
        encoded = encode_batch(texts, tokenizer, max_length=self.max_length)
        return {name: values.repeat(self.num_views, 1, 1) for name, values in encoded.items()}


class SpanMaskedTwins(TextViews):
    """View 0 is the text, every other one the text with a random span of characters masked.

    Liu, Vulić, Korhonen, Collier: *Mirror-BERT* (EMNLP 2021).

    Args:
        num_views: V.
        span_chars: k, characters of the span; authors: 5 for English sentences, 2 for Chinese, 0 for words.
        min_chars: shortest text that is changed.
        mask_token: what stands for the span; authors: "[MASK]" for every model.
        official_first_occurrence: mask where the drawn characters stand first, as the authors' code does.
        max_length: tokens of a text, special tokens included; authors: 50 for sentences, 25 for words.
        fixed_length: pad every batch to `max_length`, which the pooling `mean_with_padding` needs.
        pairs: a record holds two different texts of one meaning, under `first` and `second`, or as
            `text1||text2` under `column`.
        column: of the records that holds the text.

    Example:
        >>> import tempfile
        >>> from dipole.nn.text import build_text_encoder, new_bert
        >>> text = "a sentence of more than thirty characters"
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     tokenizer = build_text_encoder(str(new_bert([text], folder, width=8))).tokenizer
        >>> views = SpanMaskedTwins()([{"text": text}], tokenizer, generator=torch.Generator().manual_seed(0))
        >>> tokenizer.decode(views["input_ids"][1, 0])
        '[CLS] a senten [MASK] more than thirty characters [SEP]'
    """

    def __init__(
        self,
        *,
        num_views: int = 2,
        span_chars: int = 5,
        min_chars: int = 30,
        mask_token: str = "[MASK]",
        official_first_occurrence: bool = False,
        max_length: int = 50,
        fixed_length: bool = False,
        pairs: bool = False,
        column: str = "text",
    ) -> None:
        super().__init__(num_views=num_views, max_length=max_length)
        check_at_least(span_chars, 0, "span_chars")
        check_at_least(min_chars, 0, "min_chars")
        if pairs and num_views != 2:
            raise InputError(f"num_views is {num_views} and pairs is True: a pair has 2.")
        self.span_chars, self.min_chars, self.mask_token = span_chars, min_chars, mask_token
        self.official_first_occurrence = official_first_occurrence
        self.fixed_length, self.pairs, self.column = fixed_length, pairs, column
        self.columns = () if pairs else (column,)

    def __call__(
        self, records: list[dict[str, Any]], tokenizer: Any, *, generator: torch.Generator | None = None
    ) -> dict[str, Tensor]:
        """Return `input_ids` and `attention_mask` (V, N, T)."""
        if self.pairs:
            views = [list(side) for side in zip(*(pair_of(record, self.column) for record in records), strict=True)]
        else:
            views = [[text_of(record, self.column) for record in records]] * self.num_views
        for number in range(1, self.num_views):
            views[number] = [self._mask(text, generator) for text in views[number]]
        texts = [text for view in views for text in view]
        encoded = encode_batch(texts, tokenizer, max_length=self.max_length, fixed_length=self.fixed_length)
        return {name: values.unflatten(0, (self.num_views, -1)) for name, values in encoded.items()}

    def _mask(self, text: str, generator: torch.Generator | None) -> str:
        """Mask a span with the settings of this object."""
        return span_mask(
            text,
            span_chars=self.span_chars,
            min_chars=self.min_chars,
            mask_token=self.mask_token,
            official_first_occurrence=self.official_first_occurrence,
            generator=generator,
        )


def pair_of(record: dict[str, Any], column: str = "text") -> tuple[str, str]:
    """Return the two texts of a record: `first` and `second`, or the halves of `text1||text2`.

    Raises:
        InputError: it holds no two texts.

    Example:
        >>> pair_of({"text": "a cat||a kitten"})
        ('a cat', 'a kitten')
    """
    if "first" in record and "second" in record:
        return text_of(record, "first"), text_of(record, "second")
    parts = text_of(record, column).split(SEPARATOR)
    if len(parts) != 2:
        raise InputError(
            f"{text_of(record, column)[:60]!r} is no pair: expected exactly one '||'. Leave such lines out."
        )
    return parts[0], parts[1]
