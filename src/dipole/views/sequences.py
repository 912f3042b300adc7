"""Views of a user's history: cropped, masked and reordered."""

from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Int64
from torch import Tensor

from dipole.errors import InputError


class NextItem:
    """Histories as they are, with the item that follows: for recommenders that compare no views."""

    columns = ("history", "length", "target")

    def __call__(
        self, records: Mapping[str, Tensor], tokenizer: Any = None, *, generator: torch.Generator | None = None
    ) -> dict[str, Tensor]:
        """Return `history` (N, L), `length` (N,) and `target` (N,) of the records."""
        return {name: records[name] for name in self.columns}


class SequenceViews(NextItem):
    """Two views of every history, by two different operations out of crop, mask and reorder, drawn for each history.

        crop      a contiguous part of n − ⌊crop n⌋ items, for a history of n
        mask      ⌊mask n⌋ items are replaced by padding, which the encoder does not see
        reorder   ⌊reorder n⌋ contiguous items are shuffled

    A history of one item stays as it is in both views. All draws of a batch come from one generator and are made at
    once.

    Xie et al.: *Contrastive Learning for Sequential Recommendation* (ICDE 2022), as in the code of MCLRec.

    Args:
        crop: share of a history that is cut away.
        mask: share of the items that are masked.
        reorder: share of the items that are shuffled.

    Raises:
        InputError: a share is not from 0 to 1.

    Example:
        >>> records = {"history": torch.tensor([[5, 6, 7, 8]])}
        >>> records |= {"length": torch.tensor([4]), "target": torch.tensor([9])}
        >>> views = SequenceViews()(records, generator=torch.Generator().manual_seed(0))
        >>> views["views"].shape, views["view_lengths"]
        (torch.Size([2, 1, 4]), tensor([[4],
                [2]]))
    """

    def __init__(self, crop: float = 0.5, mask: float = 0.5, reorder: float = 0.8) -> None:
        for name, share in {"crop": crop, "mask": mask, "reorder": reorder}.items():
            if not 0 <= share <= 1:
                raise InputError(f"{name} is {share}: expected a share from 0 to 1.")
        self.crop, self.mask, self.reorder = crop, mask, reorder

    def __call__(
        self, records: Mapping[str, Tensor], tokenizer: Any = None, *, generator: torch.Generator | None = None
    ) -> dict[str, Tensor]:
        """Return what `NextItem` does, `views` (2, N, L) and `view_lengths` (2, N)."""
        history, length = records["history"], records["length"]
        operation = torch.rand(len(history), 3, generator=generator).argsort(dim=1)[:, :2].T  # two of three, in order
        views, lengths = [], []
        for chosen in operation:
            changed = torch.stack(
                [
                    self._crop(history, length, generator),
                    self._mask(history, length, generator),
                    self._reorder(history, length, generator),
                ]
            )
            kept = torch.stack([cropped_length(length, self.crop), length, length])
            rows = torch.arange(len(history))
            single = length <= 1
            views.append(torch.where(single[:, None], history, changed[chosen, rows]))
            lengths.append(torch.where(single, length, kept[chosen, rows]))
        return {**super().__call__(records), "views": torch.stack(views), "view_lengths": torch.stack(lengths)}

    def _crop(self, history: Tensor, length: Tensor, generator: torch.Generator | None) -> Tensor:
        """Draw where the part begins."""
        kept = cropped_length(length, self.crop)
        start = _uniform(length - kept, generator)
        return crop_sequences(history, start, kept)

    def _mask(self, history: Tensor, length: Tensor, generator: torch.Generator | None) -> Tensor:
        """Draw which items are masked."""
        rank = _random_order(length, history.shape[1], generator).argsort(dim=1)
        return history.masked_fill(rank < share_of(length, self.mask)[:, None], 0)

    def _reorder(self, history: Tensor, length: Tensor, generator: torch.Generator | None) -> Tensor:
        """Draw where the window begins and the order within."""
        window = share_of(length, self.reorder)
        start = _uniform(length - window, generator)[:, None]
        places = torch.arange(history.shape[1], dtype=torch.float64)
        inside = (places >= start) & (places < start + window[:, None])
        drawn = torch.rand(history.shape, generator=generator, dtype=torch.float64)
        # Keys of the window stay between those of its neighbours, so that it stays where it is.
        order = torch.where(inside, start + drawn * window[:, None] * 0.999, places).argsort(dim=1)
        return history.gather(1, order)


def crop_sequences(
    sequences: Int64[Tensor, "n l"], start: Int64[Tensor, " n"], kept: Int64[Tensor, " n"]
) -> Int64[Tensor, "n l"]:
    """Return the items from `start` on, `kept` of them, moved to the left.

    Args:
        sequences: (N, L), padded with 0 on the right.
        start: (N,) place of the first item that is kept.
        kept: (N,) how many.

    Example:
        >>> crop_sequences(torch.tensor([[5, 6, 7, 8]]), torch.tensor([1]), torch.tensor([2]))
        tensor([[6, 7, 0, 0]])
    """
    places = torch.arange(sequences.shape[1])
    moved = sequences.gather(1, (start[:, None] + places).clamp(max=sequences.shape[1] - 1))
    return torch.where(places < kept[:, None], moved, 0)


def cropped_length(length: Int64[Tensor, " n"], crop: float) -> Int64[Tensor, " n"]:
    """Return ⌊(1 − crop) n⌋, but 1 or more.

    Example:
        >>> cropped_length(torch.tensor([5, 1]), 0.5)
        tensor([2, 1])
    """
    return share_of(length, 1 - crop).clamp(min=1)


def share_of(length: Int64[Tensor, " n"], share: float) -> Int64[Tensor, " n"]:
    """Return ⌊share n⌋.

    Example:
        >>> share_of(torch.tensor([5, 1]), 0.5)
        tensor([2, 0])
    """
    return (length.double() * share).floor().long()


def _uniform(most: Tensor, generator: torch.Generator | None) -> Tensor:
    """Whole numbers (N,) from 0 to `most`."""
    drawn = torch.rand(most.shape, generator=generator, dtype=torch.float64)
    return (drawn * (most + 1)).long().clamp(max=most)


def _random_order(length: Tensor, width: int, generator: torch.Generator | None) -> Tensor:
    """A random order (N, L) of the places of each sequence, those of the padding last."""
    drawn = torch.rand(len(length), width, generator=generator, dtype=torch.float64)
    return drawn.masked_fill(torch.arange(width) >= length[:, None], 2.0).argsort(dim=1)
