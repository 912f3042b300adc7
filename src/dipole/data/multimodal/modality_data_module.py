"""Rows of several modalities -> batches with views, for Lightning."""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from string import ascii_lowercase
from typing import Any

from dipole.data.multimodal.columns import Texts
from dipole.data.multimodal.modality_set import ModalitySet
from dipole.data.multimodal.registry import load_modalities
from dipole.data.multimodal.table import Reading
from dipole.data.record_data_module import RecordDataModule
from dipole.errors import InputError

logger = logging.getLogger(__name__)
MOST_LEARNED = 100_000  # rows whose texts a tokenizer is learned from
MAX_LENGTH = 512  # tokens that a learned tokenizer would keep; encoders read fewer


class ModalityDataModule(RecordDataModule):
    """Batches of several modalities; see `RecordDataModule` and `dipole.views.modalities.ModalityViews`.

    Args:
        data: a name or a path, see `load_modalities`; or a training set, and a test set or None.
        data_root: folder of the sets that are read from files.
        reading: how a table is read.
        test_fraction: share of the rows of a table that are drawn to test on.
        vocabulary: word pieces that are learned from the texts of a modality.
        given_tokenizers: by modality, in place of those that would be learned: of a model that training starts from.
        learns_tokenizer: says of a text modality whether its tokenizer is learned; it is if None.
        phrases: texts that captions will hold besides, whose words tokenizers must know.
        **options: batch size and further arguments of `RecordDataModule`.

    Example:
        >>> module = ModalityDataModule("xor", batch_size=64)
        >>> len(module.train_set), len(module.test_set), sorted(module.facts())
        (2000, 1000, ['a', 'b', 'c'])
    """

    def __init__(
        self,
        data: str | tuple[ModalitySet, ModalitySet | None],
        *,
        data_root: str | Path | None = None,
        reading: Reading | None = None,
        test_fraction: float = 0.1,
        vocabulary: int = 4000,
        learns_tokenizer: Callable[[str], bool] | None = None,
        given_tokenizers: Mapping[str, Any] | None = None,
        phrases: Sequence[str] = (),
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.data, self.data_root, self.reading, self.test_fraction = data, data_root, reading, test_fraction
        self.vocabulary = vocabulary
        self.learns_tokenizer = learns_tokenizer
        self.given_tokenizers, self.phrases = dict(given_tokenizers or {}), tuple(phrases)

    @cached_property
    def _sets(self) -> tuple[ModalitySet, ModalitySet | None]:
        """Both sets, loaded when they are first needed."""
        if not isinstance(self.data, str):
            return self.data
        return load_modalities(self.data, self.data_root, reading=self.reading, test_fraction=self.test_fraction)

    @property
    def train_set(self) -> ModalitySet:
        """The training rows."""
        return self._sets[0]

    @property
    def training_records(self) -> ModalitySet:
        """The training rows with whole photos, of which the views take their crops."""
        return self.train_set.to_train()

    @property
    def test_set(self) -> ModalitySet | None:
        """The test rows, if there are any."""
        return self._sets[1]

    @cached_property
    def tokenizers(self) -> dict[str, Any]:
        """Tokenizers that are learned from the training texts, or that a model brings along, by modality."""
        from dipole.nn.text import learn_tokenizer

        found = {}
        for name, column in self.train_set.columns.items():
            if isinstance(column, Texts) and (self.learns_tokenizer is None or self.learns_tokenizer(name)):
                if name in self.given_tokenizers:
                    found[name] = self._knowing(name)
                    continue
                # All letters: templates and queries hold words that no caption has.
                texts = sorted({" ".join(ascii_lowercase), *self.phrases, *self._texts_to_learn_from(name)})
                found[name] = learn_tokenizer(texts, self.vocabulary, MAX_LENGTH)
        return found

    def _texts_to_learn_from(self, name: str) -> Iterator[str]:
        """All training texts of a modality; those of rows that are drawn where there are very many, which is said."""
        present = self.train_set.present(name).nonzero().flatten()
        rows = self.train_set.select(present)
        if len(rows) > MOST_LEARNED:
            logger.warning(
                "%s: the tokenizer of %r is learned from %d of %d texts, drawn with seed 0, and all their letters.",
                self.train_set.name, name, MOST_LEARNED, len(rows),
            )  # fmt: skip
            yield " ".join(sorted(rows.letters(name)))
            rows = rows.sample(MOST_LEARNED)
        for cell in rows.each(name):
            yield from cell

    def _knowing(self, name: str) -> Any:
        """The tokenizer that a model brings along.

        Raises:
            InputError: it cannot spell the phrases.
        """
        tokenizer = self.given_tokenizers[name]
        unknown = [phrase for phrase in self.phrases if tokenizer.unk_token_id in tokenizer(phrase)["input_ids"]]
        if tokenizer.unk_token_id is not None and unknown:
            raise InputError(
                f"the tokenizer of {name!r} that the run starts from lacks letters of {unknown[0]!r}, so that captions "
                "of arrangements would read alike: start from a model whose captions hold more letters, or anew."
            )
        return tokenizer

    def facts(self) -> dict[str, dict[str, Any]]:
        """Return what encoders must know of each modality, the number of word pieces of learned tokenizers included."""
        sizes = {name: {"vocabulary": len(tokenizer)} for name, tokenizer in self.tokenizers.items()}
        return {name: {**facts, **sizes.get(name, {})} for name, facts in self.train_set.facts().items()}
