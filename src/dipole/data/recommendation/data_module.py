"""Histories and next items -> batches, for Lightning."""

from dipole.data.recommendation.interactions import Interactions
from dipole.data.recommendation.sequence_set import split_sequences
from dipole.data.record_data_module import RecordDataModule, Views


class InteractionDataModule(RecordDataModule):
    """Batches of rows (history, next item) of a table of interactions, the last two rows of every user left out.

    Args:
        interactions: the table.
        max_length: items of a history.
        batch_size: rows in a batch (of each process), 2 or more.
        views: `(records, tokenizer, *, generator) -> {"history": ..., ...}`, such as `SequenceViews`.
        num_workers: processes that load batches, besides the one that trains.
        seed: 0 or more.

    Raises:
        InputError: a setting is out of range, or no user has two interactions.

    Example:
        >>> from dipole.data.recommendation import toy_interactions
        >>> module = InteractionDataModule(toy_interactions(), batch_size=64)
        >>> batch = next(iter(module.train_dataloader()))
        >>> batch["records"]["history"].shape
        torch.Size([64, 50])
    """

    def __init__(
        self,
        interactions: Interactions,
        *,
        max_length: int = 50,
        batch_size: int = 256,
        views: Views | None = None,
        num_workers: int = 0,
        seed: int = 0,
    ) -> None:
        train, self.validation_set, self.test_set = split_sequences(interactions, max_length=max_length)
        super().__init__(train, batch_size=batch_size, views=views, num_workers=num_workers, seed=seed)
        self.interactions = interactions
