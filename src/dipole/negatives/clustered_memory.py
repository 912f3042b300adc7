"""DyCE: a memory in clusters, whose nearest rows become further positives of a batch."""

from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor, nn

from dipole.errors import InputError
from dipole.ops import gather as gather_rows
from dipole.ops.checks import check_at_least, check_choice, check_embeddings
from dipole.ops.clusters import exact_kmeans
from dipole.ops.sinkhorn import sinkhorn_assign

Metric = Literal["euclidean", "cosine"]


class Enhanced(NamedTuple):
    """Attributes:

    rows: (V·B·(1 + k), D): of each view the batch in rows of length 1, then the k memory rows of each sample.
    places: (V·B, k) of the memory rows.
    """

    rows: Tensor
    places: Tensor


def memory_size(clusters: int, rows: int, scale: int = 40) -> int:
    """Return `(scale · P // rows + 1) · rows + 1`: batches fit into it, and the last row stays free.

    Args:
        clusters: P.
        rows: that are written at once, of all views.
        scale: rows for each cluster, about.

    Example:
        >>> memory_size(200, 512)
        8193
    """
    for name, value in (("clusters", clusters), ("rows", rows), ("scale", scale)):
        check_at_least(value, 1, name)
    return (scale * clusters // rows + 1) * rows + 1


def prototype_scores(rows: Tensor, prototypes: Tensor, metric: Metric) -> Tensor:
    """Compute cosines (N, P), or minus the distances, of rows and prototypes of length 1.

    Example:
        >>> prototype_scores(torch.eye(2), torch.eye(2), "cosine")
        tensor([[1., 0.],
                [0., 1.]])
    """
    check_choice(metric, ("euclidean", "cosine"), "metric")
    rows, prototypes = F.normalize(rows, dim=1), F.normalize(prototypes, dim=1)
    if metric == "cosine":
        return rows @ prototypes.T
    return -torch.cdist(rows, prototypes, compute_mode="donot_use_mm_for_euclid_dist")


class DynamicClusteredMemory(nn.Module):
    """M embeddings in P clusters. Batches are written first in, first out, and assigned by balanced transport.

    Until it is full for the first time, rows are only written. Then k-means divides them, and every batch that is
    written moves the prototypes to the means of their clusters. All state stands in buffers.

    Poulakakis-Daktylidis, Jamali-Rad: *BECLR* (ICLR 2024), algorithm 1 (DyCE). The authors' code takes a place within a
    cluster for one within the memory, so that its neighbours are rows of any cluster; `legacy_partition_indexing` does
    so too.

    Args:
        size: M, see `memory_size`.
        dim: D.
        clusters: P.
        metric: by which a batch is assigned.
        momentum: of the prototypes; 0 for the means themselves.
        epsilon: of Sinkhorn's iterations.
        iterations: of them.
        exclude_self: leave out the nearest row, which is the sample itself.
        legacy_partition_indexing: the neighbours of the authors' code.
        gather: write the rows of all processes.

    Raises:
        InputError: a setting is out of range, or more clusters than rows.

    Example:
        >>> memory = DynamicClusteredMemory(9, 2, clusters=2)
        >>> memory.update(torch.eye(2).repeat(2, 1))
        >>> bool(memory.ready)
        False
    """

    bank: Tensor
    labels: Tensor
    prototypes: Tensor
    pointer: Tensor
    ready: Tensor

    def __init__(
        self,
        size: int,
        dim: int,
        *,
        clusters: int,
        metric: Metric = "euclidean",
        momentum: float = 0.0,
        epsilon: float = 0.05,
        iterations: int = 10,
        exclude_self: bool = False,
        legacy_partition_indexing: bool = False,
        gather: bool = False,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        check_at_least(clusters, 1, "clusters")
        check_choice(metric, ("euclidean", "cosine"), "metric")
        if not 0 <= momentum < 1:
            raise InputError(f"momentum is {momentum}: expected a number from 0 to below 1.")
        if clusters > size:
            raise InputError(f"a memory of {size} rows cannot have {clusters} clusters: enlarge it, or ask for fewer.")
        self.metric: Metric = metric
        self.momentum, self.epsilon, self.iterations = momentum, epsilon, iterations
        self.exclude_self, self.legacy = exclude_self, legacy_partition_indexing
        self.gather = gather
        self.register_buffer("bank", F.normalize(torch.randn(size, dim, generator=generator), dim=1))
        self.register_buffer("labels", torch.zeros(size, dtype=torch.int64))
        self.register_buffer("prototypes", torch.zeros(clusters, dim))
        self.register_buffer("pointer", torch.zeros((), dtype=torch.int64))
        self.register_buffer("ready", torch.zeros((), dtype=torch.bool))

    @torch.no_grad()
    def update(self, batch: Float[Tensor, "n d"]) -> Int64[Tensor, "m"] | None:
        """Write a batch as it is.

        Args:
            batch: (N, D) of all views.

        Returns:
            The clusters of the rows, of all processes; None while the memory fills.

        Raises:
            InputError: more rows than the memory has, another width, or values that are not finite.
        """
        check_embeddings(bank=self.bank, batch=batch)
        rows = gather_rows(batch) if self.gather else batch
        rows = rows.to(self.bank.dtype)
        if len(rows) >= len(self.bank):
            raise InputError(f"a batch of {len(rows)} rows came for a memory of {len(self.bank)}: enlarge the memory.")
        full = int(self.pointer) + len(rows) >= len(self.bank)
        if not self.ready:
            self._write(rows, None)
            if full:
                self.recluster()
            return None
        scores = prototype_scores(rows, self.prototypes, self.metric)
        found = sinkhorn_assign(scores, epsilon=self.epsilon, iterations=self.iterations).weights.argmax(dim=1)
        self._write(rows, found)
        self._move_prototypes()
        if int(self.labels.min()) == int(self.labels.max()) and len(self.prototypes) > 1:
            self.recluster()
        return found

    def _write(self, rows: Tensor, labels: Tensor | None) -> None:
        """Put rows at the pointer; those that do not fit are dropped."""
        start = int(self.pointer)
        room = min(len(rows), len(self.bank) - start)
        self.bank[start : start + room] = rows[:room]
        if labels is not None:
            self.labels[start : start + room] = labels[:room]
        self.pointer.fill_(0 if start + len(rows) >= len(self.bank) else start + len(rows))

    def _move_prototypes(self) -> None:
        """Means of the clusters; a cluster without rows keeps its prototype."""
        counts = torch.bincount(self.labels, minlength=len(self.prototypes))[:, None]
        means = torch.zeros_like(self.prototypes).index_add(0, self.labels, self.bank) / counts.clamp_min(1)
        moved = self.momentum * self.prototypes + (1 - self.momentum) * means
        self.prototypes.copy_(torch.where(counts > 0, moved, self.prototypes))

    @torch.no_grad()
    def recluster(self, seed: int = 0) -> None:
        """Divide the memory anew by k-means of its rows in length 1; nothing changes where a cluster stays empty."""
        labels, centres = exact_kmeans(F.normalize(self.bank, dim=1), len(self.prototypes), seed=seed)
        if len(labels.unique()) < len(self.prototypes):
            return
        self.labels.copy_(labels)
        self.prototypes.copy_(centres)
        self.ready.fill_(True)

    @torch.no_grad()
    def neighbours(self, batch: Float[Tensor, "n d"], k: int, *, strict: bool = False) -> Int64[Tensor, "n k"]:
        """Return the k places of the memory nearest to each row by cosine, within the cluster of its prototype.

        A cluster of k rows or fewer is too small, then the whole memory is searched.

        Args:
            batch: (N, D).
            k: neighbours.
            strict: fewer than k rows are too small, not k rows; so the authors' code treats its second view.
        """
        k_all = k + int(self.exclude_self)
        if k_all >= len(self.bank):
            raise InputError(f"{k} neighbours were asked for in a memory of {len(self.bank)} rows: ask for fewer.")
        rows, bank = F.normalize(batch.to(self.bank.dtype), dim=1), F.normalize(self.bank, dim=1)
        cluster = (rows @ F.normalize(self.prototypes, dim=1).T).argmax(dim=1)
        members = torch.bincount(self.labels, minlength=len(self.prototypes))[cluster]
        small = members < k_all if strict else members <= k_all
        cosines = rows @ bank.T
        inside = (self.labels[None] == cluster[:, None]) | small[:, None]
        found = cosines.masked_fill(~inside, -torch.inf).topk(k_all, dim=1).indices
        if self.legacy:
            # The place within the cluster, taken for one within the memory.
            rank = inside.long().cumsum(dim=1) - 1
            found = rank.gather(1, found)
        return found[:, int(self.exclude_self) :]

    def enhance(self, batch: Float[Tensor, "n d"], k: int, *, views: int = 2) -> Enhanced:
        """Add the k neighbours of each row; gradient reaches the rows of the batch alone.

        Args:
            batch: (V·B, D), view after view.
            k: neighbours of each row.
            views: V.

        Raises:
            InputError: before the memory was full for the first time.
        """
        if not self.ready:
            raise InputError("the memory has not been full yet: update it with more batches first.")
        parts, places = [], []
        for number, view in enumerate(batch.chunk(views)):
            found = self.neighbours(view.detach(), k, strict=self.legacy and number > 0)
            parts += [F.normalize(view, dim=1), self.bank[found.flatten()].to(view.dtype)]
            places.append(found)
        return Enhanced(torch.cat(parts), torch.cat(places))
