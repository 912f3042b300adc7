"""Texts -> batches with views, for Lightning."""

from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any

from torch.utils.data import DataLoader

from dipole.data.record_data_module import Batch, Collate, InOrder, PlacedRecords, RecordDataModule, Views
from dipole.data.text.registry import load_texts
from dipole.data.text.text_set import TextSet
from dipole.errors import InputError


class TextDataModule(RecordDataModule):
    """Batches of texts as token ids.

    A training batch is a dictionary: `index` (N,) and `views`, which is what the callable of that name returns:
    `input_ids` int64 (V, N, T) and `attention_mask` (V, N, T). Without views, and for embedding, a batch is `index` and
    `records`, a list of N dictionaries. Views are made, and texts tokenised, in the processes that load batches.

    Everything random is a pure function of `seed` and the progress of the run: the order of an epoch of (seed, epoch),
    the views of a batch of (seed, epoch, number of batches before it in the epoch, rank). A run that resumes at the
    start of an epoch or within it repeats the rest bit for bit, with any number of workers.

    Training leaves out a last batch that is not full, because the number of negatives would change with it; the
    texts it would have held differ from epoch to epoch. A set smaller than one batch is one batch.

    Args:
        data: a name or a path, see `load_texts`; or a training set; or a training set and a test set or None.
        data_root: folder of the sets that are read from files.
        column: which column of a table is the main text, see `load_texts`; for names and paths alone.
        batch_size: texts in a batch (of each process), 2 or more.
        views: `(records, tokenizer, *, generator) -> {"input_ids": ..., "attention_mask": ...}`. If it has an attribute
            `columns`, the training set must have these. May be set later, before training starts.
        tokenizer: handed to the views. May be set later, as well.
        num_workers: processes that load batches, besides the one that trains.
        seed: 0 or more.

    Raises:
        InputError: a setting is out of range; and, when the sets are first needed, whatever `load_texts` refuses.

    Example:
        >>> module = TextDataModule("toy-sentences", batch_size=64)
        >>> batch = next(iter(module.train_dataloader()))
        >>> batch["index"].shape, sorted(batch["records"][0])
        (torch.Size([64]), ['text', 'topic'])
    """

    def __init__(
        self,
        data: str | TextSet | tuple[TextSet, TextSet | None] = "toy-sentences",
        *,
        data_root: str | Path | None = None,
        column: str | None = None,
        batch_size: int = 128,
        views: Views | None = None,
        tokenizer: Any = None,
        num_workers: int = 0,
        seed: int = 0,
    ) -> None:
        super().__init__(batch_size=batch_size, views=views, tokenizer=tokenizer, num_workers=num_workers, seed=seed)
        if column is not None and not isinstance(data, str):
            raise InputError(f"column={column!r} goes with a name or a path: choose it where the texts are loaded.")
        self.data = data
        self.data_root = data_root
        self.column = column
        # Turns the texts into what is trained on, where a method learns from something made of them.
        self.expand: Callable[[TextSet], TextSet] | None = None

    @cached_property
    def _sets(self) -> tuple[TextSet, TextSet | None]:
        """Both sets, loaded when they are first needed."""
        if isinstance(self.data, str):
            return load_texts(self.data, self.data_root, column=self.column), None
        return self.data if isinstance(self.data, tuple) else (self.data, None)

    @property
    def train_set(self) -> TextSet:
        """The training texts, or what `expand` makes of them."""
        return self._sets[0] if self.expand is None else self._expanded

    @cached_property
    def _expanded(self) -> TextSet:
        """What is made of the training texts, once."""
        assert self.expand is not None
        return self.expand(self._sets[0])

    @property
    def test_set(self) -> TextSet | None:
        """The test texts, if there are any."""
        return self._sets[1]

    def embed_dataloader(self, which: str = "test") -> DataLoader[Batch]:
        """Every text once, in the order of the set: `index` and `records`.

        Args:
            which: `"train"` or `"test"`.

        Raises:
            InputError: another part, or there are no test texts.
        """
        if which not in ("train", "test"):
            raise InputError(f"which is {which!r}: expected 'train' or 'test'.")
        texts = self.train_set if which == "train" else self.test_set
        if texts is None:
            raise InputError("there are no test texts: ask for 'train', or give a training and a test set.")
        collate = Collate(None, None, self.batch_size, self.seed, 0)
        return self._loader(PlacedRecords(texts), collate, sampler=InOrder(len(texts)))
