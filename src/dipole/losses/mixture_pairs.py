"""Sums over the pairs of rows whose mixtures have the label of an anchor (SupReMix)."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from dipole.ops.door import traced
from dipole.ops.groups import counts_of_labels

ENTRIES_AT_ONCE = 2**22  # of anchors and pairs
Sums = tuple[Tensor, Tensor, Tensor]  # Σ exp(shifted logit), Σ shifted logit and the number of pairs, of each anchor


class FoundPairs:
    """Pairs that were found: the anchor and the logit of each."""

    def __init__(self, anchor: Tensor, logits: Tensor, anchors: int) -> None:
        self.anchor, self.logits, self.anchors = anchor, logits, anchors

    def highest(self) -> Tensor:
        """The largest logit of each anchor, 0 at least."""
        nothing = self.logits.new_zeros(self.anchors)
        return nothing.scatter_reduce(0, self.anchor, self.logits.detach(), "amax")

    def sums(self, shift: Tensor) -> Sums:
        """The sums of logits of which the shift of their anchor is taken off."""
        shifted, nothing = self.logits - shift[self.anchor], torch.zeros_like(shift)
        return (
            nothing.index_add(0, self.anchor, shifted.exp()),
            nothing.index_add(0, self.anchor, shifted),
            counts_of_labels(self.anchor, self.anchors),
        )


class AllPairs:
    """The same where it is not known which pairs count: all are looked at, those of some anchors at a time.

    Args:
        labels: y (M,).
        below, above: (M, M) which rows j and k may make a pair (j, k) of anchor i.
        similarity: (M, M) of anchor i with row k.
    """

    def __init__(self, labels: Tensor, below: Tensor, above: Tensor, similarity: Tensor) -> None:
        self.labels, self.below, self.above, self.similarity = labels, below, above, similarity

    def highest(self) -> Tensor:
        """The largest logit of each anchor, 0 at least."""
        with torch.no_grad():
            (found,) = self._of_anchors(lambda logits, kept: (torch.where(kept, logits, 0).amax(dim=(1, 2)),))
        return found

    def sums(self, shift: Tensor) -> Sums:
        """The sums of logits of which the shift of their anchor is taken off."""

        def of_tile(logits: Tensor, kept: Tensor, shift: Tensor) -> tuple[Tensor, ...]:
            # −inf would be multiplied by 0 in the gradient.
            shifted = torch.where(kept, logits - shift[:, None, None], 0)
            return torch.where(kept, shifted.exp(), 0).sum(dim=(1, 2)), shifted.sum(dim=(1, 2))

        total, attracted = self._of_anchors(of_tile, shift)
        return total, attracted, self.below.sum(dim=1) * self.above.sum(dim=1)

    def _of_anchors(self, reduce: Callable[..., tuple[Tensor, ...]], *of_anchor: Tensor) -> tuple[Tensor, ...]:
        """What a function makes of the logits (n, M, M) of n anchors and of which of them count."""
        y, parts = self.labels, []

        def part(rows: Tensor, similarity: Tensor, *given: Tensor) -> tuple[Tensor, ...]:
            kept = self.below[rows][:, :, None] & self.above[rows][:, None, :]
            low = (y - y[rows, None])[:, None, :] / torch.where(kept, y - y[:, None], 1)  # share of j
            return reduce(low * similarity[:, :, None] + (1 - low) * similarity[:, None, :], kept, *given)

        every = torch.arange(len(y), device=y.device)
        for rows in every.split(max(1, ENTRIES_AT_ONCE // len(y) ** 2)):
            whole = len(rows) == len(every) or traced() or not torch.is_grad_enabled()
            given = (rows, self.similarity[rows], *(each[rows] for each in of_anchor))
            parts.append(part(*given) if whole else checkpoint(part, *given, use_reentrant=False))
        return tuple(torch.cat(each) for each in zip(*parts, strict=True))
