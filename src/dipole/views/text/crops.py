"""Independent crops of a document."""

from typing import Any, Literal, get_args

import torch
from torch import Tensor

from dipole.errors import InputError
from dipole.ops.checks import check_at_least, check_choice
from dipole.views.text.records import TextViews, end_ids, token_ids
from dipole.views.text.tokens import (
    add_ends,
    check_crop,
    check_replacement,
    check_share,
    delete_tokens,
    mask_tokens,
    pad_tokens,
    random_crop,
    replace_tokens,
    shuffle_tokens,
)

Augmentation = Literal["delete", "mask", "replace", "shuffle", "shuffle_official", "none"]


class RandomCrops(TextViews):
    """Views are spans of a document, each drawn alone, with some tokens left out.

        1. take a random window of `chunk_length` tokens, if the document is longer
        2. of each view: a span of a random length at a random place     3. change tokens with probability p
        4. put [CLS] before and [SEP] behind

    Izacard et al.: *Contriever* (TMLR 2022).

    Args:
        num_views: V.
        ratio_min: smallest share of the chunk that a span holds; authors: 0.05 (script and paper), 0.1 (their README).
        ratio_max: largest share.
        augmentation: what happens to a chosen token: `"delete"`, `"mask"`, `"replace"` by a random one, `"shuffle"`
            among the chosen, `"shuffle_official"` as the authors' code does (tokens are lost), or `"none"`.
        probability: p of a token being chosen.
        chunk_length: tokens of a chunk.
        max_length: tokens of a view, special tokens included; longer ones are cut.
        replacement_start: smallest id that replaces a token; 999 leaves out BERT's special and unused ids.
        column: of the records that holds the text, unless they have their token ids under `tokens`.

    Raises:
        InputError: an unknown augmentation or a number out of range.

    Example:
        >>> import tempfile
        >>> from dipole.nn.text import build_text_encoder, new_bert
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     tokenizer = build_text_encoder(str(new_bert(["a few words"], folder, width=8))).tokenizer
        >>> views = RandomCrops(ratio_min=0.5)([{"text": "a few words"}], tokenizer)
        >>> views["input_ids"].shape[:2]
        torch.Size([2, 1])
    """

    def __init__(
        self,
        *,
        num_views: int = 2,
        ratio_min: float = 0.05,
        ratio_max: float = 0.5,
        augmentation: Augmentation = "delete",
        probability: float = 0.1,
        chunk_length: int = 256,
        max_length: int = 512,
        replacement_start: int = 999,
        column: str = "text",
    ) -> None:
        super().__init__(num_views=num_views, max_length=max_length)
        check_crop(ratio_min, ratio_max)
        check_choice(augmentation, get_args(Augmentation), "augmentation")
        check_share(probability, "probability")
        check_at_least(chunk_length, 1, "chunk_length")
        self.ratio_min, self.ratio_max = ratio_min, ratio_max
        self.augmentation, self.probability = augmentation, probability
        self.chunk_length, self.replacement_start, self.column = chunk_length, replacement_start, column

    def __call__(
        self, records: list[dict[str, Any]], tokenizer: Any, *, generator: torch.Generator | None = None
    ) -> dict[str, Tensor]:
        """Return `input_ids` and `attention_mask` (V, N, T)."""
        if self.augmentation == "mask" and tokenizer.mask_token_id is None:
            raise InputError("the tokenizer has no mask token: choose another augmentation.")
        if self.augmentation == "replace":
            check_replacement(self.replacement_start, len(tokenizer))
        chunks = [self._window(tokens, generator) for tokens in token_ids(records, self.column, tokenizer)]
        ends = end_ids(tokenizer)
        room = self.max_length - len([index for index in ends if index is not None])
        spans = [
            add_ends(self._change(self._crop(chunk, generator), tokenizer, generator)[:room], *ends)
            for _ in range(self.num_views)
            for chunk in chunks
        ]
        ids, mask = pad_tokens(spans, padding=tokenizer.pad_token_id)
        shape = (self.num_views, len(records))
        return {"input_ids": ids.unflatten(0, shape), "attention_mask": mask.long().unflatten(0, shape)}

    def _window(self, tokens: Tensor, generator: torch.Generator | None) -> Tensor:
        """A random chunk of a document."""
        if len(tokens) <= self.chunk_length:
            return tokens
        start = int(torch.randint(len(tokens) - self.chunk_length + 1, (), generator=generator))
        return tokens[start : start + self.chunk_length]

    def _crop(self, chunk: Tensor, generator: torch.Generator | None) -> Tensor:
        """A random span of a chunk."""
        return random_crop(chunk, ratio_min=self.ratio_min, ratio_max=self.ratio_max, generator=generator)

    def _change(self, tokens: Tensor, tokenizer: Any, generator: torch.Generator | None) -> Tensor:
        """Change tokens at random."""
        p = self.probability
        if self.augmentation == "delete":
            return delete_tokens(tokens, p, generator=generator)
        if self.augmentation == "mask":
            return mask_tokens(tokens, p, mask_id=tokenizer.mask_token_id, generator=generator)
        if self.augmentation == "replace":
            size, first = len(tokenizer), self.replacement_start
            return replace_tokens(tokens, p, vocabulary=size, first_id=first, generator=generator)
        if self.augmentation == "none":
            return tokens
        aliased = self.augmentation == "shuffle_official"
        return shuffle_tokens(tokens, p, official_aliasing=aliased, generator=generator)
