"""MoCHi: MoCo with negatives that are mixed from the hardest ones."""

from collections.abc import Mapping
from typing import Any, Literal

from torch import Tensor

from dipole.card import Card
from dipole.diagnostics import proxy_accuracy
from dipole.errors import InputError
from dipole.losses import own_negatives_info_nce_loss
from dipole.methods.vision.moco import MoCo
from dipole.negatives import MixedNegatives, Queue, mix_hard_negatives
from dipole.ops.checks import check_at_least, check_choice

SAME = {"image": "index", "class": "label"}  # what of a batch says that an entry of the queue is no negative


class MoCHi(MoCo):
    """MoCo whose queries also meet negatives that are made for them, harder than those of the queue.

        1. q = network(view 1), k = momentum network(view 2)
        2. the hardest: the N entries of the queue that are most similar to q
        3. s points h = norm(α n_i + (1 − α) n_j) of two of the hardest, α ~ U(0, 1)
        4. s' points h' = norm(β q + (1 − β) n_j) of the query and one of the hardest, β ~ U(0, ½)
        5. minimise InfoNCE of (q, k) against the queue, h and h', which are constants
        6. enqueue k

    The share of queries whose positive is more similar than every negative is logged as `proxy_accuracy`.

    Args:
        num_hard: N, at most the size of the queue.
        num_pairs: s.
        num_with_query: s'.
        max_query_share: upper end of β.
        allow_repeat: whether i = j may be drawn in step 3.
        mixing_warmup_epochs: epochs of plain MoCo, in which the queue means little yet.
        query_mixing_warmup_epochs: the same for step 4, if it begins at another time.
        exclude: what of the queue is no negative of a query: `"nothing"`, entries of its own `"image"`, or of its
            `"class"`, an oracle that no training without labels has.
        **options: arguments of `MoCo` and its bases.

    Example:
        >>> import torch
        >>> method = MoCHi(image_size=8, queue_size=16, num_hard=8, num_pairs=4, num_with_query=2)
        >>> batch = {"views": torch.rand(2, 4, 3, 8, 8), "index": torch.arange(4)}
        >>> sorted(method.loss_terms(batch))
        ['loss', 'proxy_accuracy']
    """

    card = Card(
        name="mochi",
        slug="mochi",
        title="Hard Negative Mixing for Contrastive Learning",
        authors="Kalantidis, Sariyildiz, Pion, Weinzaepfel, Larlus",
        year=2020,
        venue="NeurIPS",
        arxiv="2010.01028",
        field="vision",
        summary="MoCo with further negatives, mixed from the hardest ones of the queue and from the query itself.",
        equations=("the mixtures of two negatives and of query and negative, InfoNCE with both beside the queue",),
        official_code=None,
        differences=(
            "No official code exists. The two negatives of a mixture are distinct; `allow_repeat=True` is the reading "
            "of a third party's code. As in all codes that were read, no gradient reaches the query inside a mixture.",
            "Numbers of points, warm-up and learning rate are cited from memory; `N, s, s'` are the paper's first "
            "setting for ImageNet-100.",
        ),
    )

    def __init__(
        self,
        *,
        num_hard: int = 1024,
        num_pairs: int = 1024,
        num_with_query: int = 128,
        max_query_share: float = 0.5,
        allow_repeat: bool = False,
        mixing_warmup_epochs: int = 10,
        query_mixing_warmup_epochs: int | None = None,
        exclude: Literal["nothing", "image", "class"] = "nothing",
        **options: Any,
    ) -> None:
        super().__init__(**options)
        check_choice(exclude, ("nothing", *SAME), "exclude")
        check_at_least(mixing_warmup_epochs, 0, "mixing_warmup_epochs")
        size = len(self.queue.entries)
        if not 1 <= num_hard <= size:
            raise InputError(f"num_hard is {num_hard}: expected a number from 1 to the queue's {size} entries.")
        self.num_hard, self.num_pairs, self.num_with_query = num_hard, num_pairs, num_with_query
        self.max_query_share, self.allow_repeat, self.exclude = max_query_share, allow_repeat, exclude
        self.starts = (
            mixing_warmup_epochs,
            mixing_warmup_epochs if query_mixing_warmup_epochs is None else query_mixing_warmup_epochs,
        )
        if exclude != "nothing":
            self.queue = Queue(size, self.projection_dim, with_ids=True)

    def loss_terms(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the loss of the queries of view 1 and the proxy accuracy, then enqueue the keys of view 2."""
        queries, keys = self.embed_pair(batch["views"])
        ids = self._ids(batch)
        exclude = None if ids is None or self.queue.ids is None else ids[:, None] == self.queue.ids
        mixed = self.mix(queries, exclude)
        candidates = (queries, keys, self.queue.entries, mixed.all)
        loss = own_negatives_info_nce_loss(
            *candidates, exclude=exclude, valid=mixed.valid, temperature=self.temperature
        )
        accuracy = proxy_accuracy(*candidates, exclude=exclude, valid=mixed.valid)
        self.queue.enqueue(keys, gather=self.gather, ids=ids)
        return {"loss": loss, "proxy_accuracy": accuracy}

    def mix(self, queries: Tensor, exclude: Tensor | None = None) -> MixedNegatives:
        """Return the negatives that are made for queries (N, D) in this epoch."""
        begun = [self.current_epoch >= start for start in self.starts]
        return mix_hard_negatives(
            queries,
            self.queue.entries,
            num_hard=self.num_hard,
            num_pairs=self.num_pairs * begun[0],
            num_with_query=self.num_with_query * begun[1],
            max_query_share=self.max_query_share,
            allow_repeat=self.allow_repeat,
            exclude=exclude,
        )

    def _ids(self, batch: Mapping[str, Tensor]) -> Tensor | None:
        """What two samples have in common that are no negatives of each other."""
        if self.exclude == "nothing":
            return None
        if SAME[self.exclude] not in batch:
            raise InputError(f"exclude={self.exclude!r} needs labels, which these data do not have.")
        return batch[SAME[self.exclude]]
