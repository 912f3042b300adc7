"""Pairs of texts of one domain."""

from typing import Any

import torch
from torch import Tensor

from dipole.errors import InputError
from dipole.views.text.passages import TrainingPassages
from dipole.views.text.records import text_of


class DomainPairs(TrainingPassages):
    """Two texts that belong together, and their domain; which of them comes first is drawn.

    Args:
        swap: let the two change places with probability ½, each pair by itself.
        domain_column: of the records that holds the name of the domain.
        query_length: tokens of a text; longer ones are cut.
        max_length: bound of it.

    Example:
        >>> DomainPairs().negatives
        0
    """

    column_choices = (("text", "positive", "domain"),)

    def __init__(
        self, *, swap: bool = True, domain_column: str = "domain", query_length: int = 512, max_length: int = 512
    ) -> None:
        super().__init__(
            negatives=0, query_length=query_length, passage_length=query_length, max_length=max_length, normalize=False
        )
        self.swap, self.domain_column = swap, domain_column
        self.column_choices = (("text", "positive", domain_column),)
        self.domains: list[str] = []

    def __call__(
        self, records: list[dict[str, Any]], tokenizer: Any, *, generator: torch.Generator | None = None
    ) -> dict[str, Tensor]:
        """Return the pairs of N records.

        Returns:
            What `TrainingPassages` returns, and `domain` (N,).
        """
        numbers = {name: number for number, name in enumerate(self.domains)}
        names = [text_of(record, self.domain_column) for record in records]
        unknown = sorted(set(names) - set(numbers))
        if unknown:
            raise InputError(f"domain {unknown[0]!r} is none of the encoder's {', '.join(self.domains)}: add it there.")
        turned = torch.rand(len(records), generator=generator) < 0.5
        if self.swap:
            records = [
                {**record, "text": record["positive"], "positive": record["text"]} if turn else record
                for record, turn in zip(records, turned.tolist(), strict=True)
            ]
        views = super().__call__(records, tokenizer, generator=generator)
        return {**views, "domain": torch.tensor([numbers[name] for name in names])}
