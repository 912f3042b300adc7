"""Orders in which samples are drawn: by label, balanced, in episodes, without duplicates, weighted.

An order is one list of indices for all processes. Its consecutive runs of `batch_size` indices, counted over all
processes, are the batches; `EpochSampler` gives every process its share. It is drawn from a generator that is a pure
function of seed and epoch, and from state that is part of the checkpoint, so a resumed run draws it again.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

import torch
from jaxtyping import Float, Int, Int64
from torch import Tensor

from dipole.errors import InputError
from dipole.ops.checks import check_at_least

Labels = Tensor | Callable[[], Tensor]


class Order(ABC):
    """The order of an epoch. Its length is the same in every epoch."""

    @abstractmethod
    def __len__(self) -> int:
        """Return the number of indices."""

    @abstractmethod
    def draw(self, generator: torch.Generator) -> Int64[Tensor, "n"]:
        """Return the order (n,)."""


# (training set, batch size of all processes together) -> the order of an epoch; None for a shuffled one.
Sampling = Callable[[Any, int], Order | None]


class Shuffled(Order):
    """Every sample once, in any order.

    Args:
        size: number of samples.

    Example:
        >>> sorted(Shuffled(4).draw(torch.Generator().manual_seed(0)).tolist())
        [0, 1, 2, 3]
    """

    def __init__(self, size: int) -> None:
        self.size = size

    def __len__(self) -> int:
        return self.size

    def draw(self, generator: torch.Generator) -> Int64[Tensor, "n"]:
        """Return a permutation."""
        return torch.randperm(self.size, generator=generator)


class Subset(Order):
    """Some samples, each once, in any order.

    Args:
        rows: which; a sample that is named twice is drawn twice.

    Raises:
        InputError: there is none.

    Example:
        >>> sorted(Subset(torch.tensor([5, 2])).draw(torch.Generator().manual_seed(0)).tolist())
        [2, 5]
    """

    def __init__(self, rows: Int64[Tensor, "n"]) -> None:
        if not len(rows):
            raise InputError("no sample was chosen to train on.")
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    def draw(self, generator: torch.Generator) -> Int64[Tensor, "n"]:
        """Return a permutation of the rows."""
        return self.rows[torch.randperm(len(self.rows), generator=generator)]


class OneLabel(Order):
    """Batches whose samples share a label; batches of all labels in any order.

    A label's samples are shuffled and cut into batches. What is left over is joined with samples of the same label that
    are drawn again, where it is at least half a batch, and left out where it is less.

    Args:
        labels: (N,), or what returns them at the start of an epoch; samples with a negative label are left out.
        batch_size: samples in a batch of all processes together.
        size: indices in an epoch, whole batches of them; N if None, and to be given where labels are returned.

    Raises:
        InputError: there are no samples with a label.

    Example:
        >>> order = OneLabel(torch.tensor([0, 1, 0, 1, 0, 1]), 3).draw(torch.Generator().manual_seed(0))
        >>> [sorted(part.tolist()) for part in order.split(3)] in ([[0, 2, 4], [1, 3, 5]], [[1, 3, 5], [0, 2, 4]])
        True
    """

    def __init__(self, labels: Labels, batch_size: int, size: int | None = None) -> None:
        check_at_least(batch_size, 1, "batch_size")
        self.labels, self.batch_size = labels, batch_size
        self.batches = max(1, _count(labels, size) // batch_size)

    def __len__(self) -> int:
        return self.batches * self.batch_size

    def draw(self, generator: torch.Generator) -> Int64[Tensor, "n"]:
        """Return batch after batch, of which there are always as many."""
        batches: list[Tensor] = []
        for members in _members(_now(self.labels)):
            shuffled = members[torch.randperm(len(members), generator=generator)]
            parts = list(shuffled.split(self.batch_size))
            if len(parts[-1]) < self.batch_size:
                rest = parts.pop()
                if 2 * len(rest) >= self.batch_size or not parts:
                    parts.append(_filled(rest, members, self.batch_size, generator))
            batches += parts
        places = _cycled(len(batches), self.batches, generator)
        return torch.cat([batches[place] for place in places.tolist()])


class InTurns(Order):
    """Batches whose samples share a label; the labels take turns: 0, 1, …, M − 1, 0, …, each with its next full batch.

    A label's samples are shuffled, and batches are taken from their end. What does not fill a batch is left out in this
    epoch, and so are labels of fewer samples than a batch: `dropped` is their share.

    Zhang et al.: *Learning the Unlearned: Mitigating Feature Suppression in Contrastive Learning* (ECCV 2024).

    Args:
        labels: (N,); samples with a negative label are left out.
        batch_size: samples in a batch of all processes together.

    Raises:
        InputError: no label has enough samples for a batch.

    Example:
        >>> order = InTurns(torch.tensor([0, 1, 0, 1, 0, 1, 1]), 2).draw(torch.Generator().manual_seed(0))
        >>> [sorted({(0, 1, 0, 1, 0, 1, 1)[i] for i in part.tolist()}) for part in order.split(2)]
        [[0], [1], [1]]
    """

    def __init__(self, labels: Int64[Tensor, "n"], batch_size: int) -> None:
        check_at_least(batch_size, 1, "batch_size")
        self.groups, self.batch_size = _members(labels.cpu()), batch_size
        self.size = sum(len(members) // batch_size * batch_size for members in self.groups)
        if not self.size:
            largest = max(map(len, self.groups))
            raise InputError(
                f"the largest of {len(self.groups)} labels has {largest} samples, fewer than a batch of {batch_size}: "
                "use smaller batches or fewer clusters."
            )
        self.dropped = 1 - self.size / max(1, len(labels))

    def __len__(self) -> int:
        return self.size

    def draw(self, generator: torch.Generator) -> Int64[Tensor, "n"]:
        """Return batch after batch."""
        return in_turns(
            [members[torch.randperm(len(members), generator=generator)] for members in self.groups], self.batch_size
        )


def in_turns(groups: Sequence[Int64[Tensor, "_"]], batch_size: int) -> Int64[Tensor, "n"]:
    """Return full batches of groups that take turns, each from the end of what is left of a group.

    Example:
        >>> in_turns([torch.tensor([0, 1, 2, 3, 4]), torch.tensor([5, 6])], 2).tolist()
        [2, 3, 5, 6, 0, 1]
    """
    full = [members[: len(members) // batch_size * batch_size].split(batch_size) for members in groups]
    rounds = max((len(batches) for batches in full), default=0)
    taken = [batches[-1 - turn] for turn in range(rounds) for batches in full if turn < len(batches)]
    return torch.cat(taken) if taken else torch.empty(0, dtype=torch.int64)


class ClassBalanced(Order):
    """Every class equally often: a class is drawn, then a sample of it, each sample once before any comes again.

    Args:
        labels: (N,), or what returns them; samples with a negative label are left out.
        size: indices in an epoch; N if None, and to be given where they are returned.

    Raises:
        InputError: there are no samples with a label.

    Example:
        >>> labels = torch.tensor([0, 0, 0, 0, 0, 1])
        >>> labels[ClassBalanced(labels).draw(torch.Generator().manual_seed(0))].bincount().tolist()
        [3, 3]
    """

    def __init__(self, labels: Labels, size: int | None = None) -> None:
        self.labels = labels
        self.size = _count(labels, size)

    def __len__(self) -> int:
        return self.size

    def draw(self, generator: torch.Generator) -> Int64[Tensor, "n"]:
        """Return samples of classes that take turns in a shuffled order."""
        groups = _members(_now(self.labels))
        classes = _cycled(len(groups), self.size, generator)
        order = torch.empty(self.size, dtype=torch.int64)
        for number, members in enumerate(groups):
            places = (classes == number).nonzero().flatten()
            order[places] = members[_cycled(len(members), len(places), generator)]
        return order


class Episodes(Order):
    """Episodes of few-shot learning: some classes, and of each some samples; class after class.

    Args:
        labels: (N,), or what returns them; samples with a negative label are left out.
        ways: classes in an episode.
        samples: of each class, shots and queries together.
        episodes: in an epoch.

    Raises:
        InputError: fewer classes than ways have so many samples.

    Example:
        >>> order = Episodes(torch.arange(20) % 5, ways=2, samples=3, episodes=4)
        >>> order.draw(torch.Generator().manual_seed(0)).view(4, 2, 3).remainder(5).diff(dim=2).abs().sum().item()
        0
    """

    def __init__(self, labels: Labels, *, ways: int, samples: int, episodes: int) -> None:
        for name, value in (("ways", ways), ("samples", samples), ("episodes", episodes)):
            check_at_least(value, 1, name)
        self.labels, self.ways, self.samples, self.episodes = labels, ways, samples, episodes
        if isinstance(labels, Tensor):
            self._groups()

    def __len__(self) -> int:
        return self.episodes * self.ways * self.samples

    def _groups(self) -> list[Tensor]:
        """Classes that have enough samples."""
        groups = _members(_now(self.labels))
        fitting = [members for members in groups if len(members) >= self.samples]
        if len(fitting) < self.ways:
            raise InputError(
                f"an episode of {self.ways} classes with {self.samples} samples each was asked for, and {len(fitting)} "
                f"of {len(groups)} classes have so many: ask for fewer ways or fewer shots."
            )
        return fitting

    def draw(self, generator: torch.Generator) -> Int64[Tensor, "n"]:
        """Return episode after episode."""
        groups = self._groups()
        order: list[Tensor] = []
        for _ in range(self.episodes):
            for way in torch.randperm(len(groups), generator=generator)[: self.ways].tolist():
                members = groups[way]
                order.append(members[torch.randperm(len(members), generator=generator)[: self.samples]])
        return torch.cat(order)


class Distinct(Order):
    """Every sample once, and no two of a batch with the same key, as far as that can be.

    A text that stands twice in a batch would be its own negative. A sample whose key is in the batch already waits for
    the next one; what still waits at the end comes last.

    Args:
        keys: of the samples; equal keys are duplicates.
        batch_size: samples in a batch of all processes together.

    Example:
        >>> order = Distinct(["a", "a", "b", "b"], 2).draw(torch.Generator().manual_seed(0))
        >>> sorted(("a", "a", "b", "b")[place] for place in order[:2].tolist())
        ['a', 'b']
    """

    def __init__(self, keys: Sequence[object], batch_size: int) -> None:
        check_at_least(batch_size, 1, "batch_size")
        self.keys, self.batch_size = keys, batch_size

    def __len__(self) -> int:
        return len(self.keys)

    def draw(self, generator: torch.Generator) -> Int64[Tensor, "n"]:
        """Return a permutation in which duplicates were moved behind."""
        order: list[int] = []
        batch: set[object] = set()
        waiting: list[int] = []
        for index in torch.randperm(len(self.keys), generator=generator).tolist():
            waiting.append(index)
            still: list[int] = []
            for place in waiting:
                if len(batch) == self.batch_size:
                    batch = set()
                if self.keys[place] in batch:
                    still.append(place)
                else:
                    batch.add(self.keys[place])
                    order.append(place)
            waiting = still
        return torch.tensor(order + waiting, dtype=torch.int64)


class Weighted(Order):
    """Samples by weight, with replacement.

    Args:
        weights: (N,) of 0 or more, or what returns them.
        size: indices in an epoch; N if None, and to be given where they are returned.

    Raises:
        InputError: no weight is above 0, or one is negative or not finite.

    Example:
        >>> Weighted(torch.tensor([0.0, 1.0]), 3).draw(torch.Generator().manual_seed(0)).tolist()
        [1, 1, 1]
    """

    def __init__(self, weights: Float[Tensor, "n"] | Callable[[], Tensor], size: int | None = None) -> None:
        self.weights = weights
        self.size = _count(weights, size)

    def __len__(self) -> int:
        return self.size

    def draw(self, generator: torch.Generator) -> Int64[Tensor, "n"]:
        """Return samples drawn by their weights."""
        weights = _now(self.weights).double()
        if not bool((weights >= 0).all()) or not 0 < float(weights.sum()) < torch.inf:
            raise InputError("weights must be finite, 0 or more, and some above 0: check what they are computed from.")
        # torch.multinomial takes at most 2²⁴ categories.
        places = torch.rand(self.size, dtype=torch.float64, generator=generator) * weights.sum()
        return torch.searchsorted(weights.cumsum(0), places, right=True).clamp_max(len(weights) - 1)


def _count(values: Tensor | Callable[[], Tensor], size: int | None) -> int:
    """Number of indices: what is returned later may not be there yet."""
    if size is None and not isinstance(values, Tensor):
        raise InputError("say with size=… how many indices an epoch has where labels or weights are not known yet.")
    return len(values) if size is None and isinstance(values, Tensor) else int(size or 0)


def _now(values: Tensor | Callable[[], Tensor]) -> Tensor:
    """The values as they are at this moment."""
    found = values() if callable(values) and not isinstance(values, Tensor) else values
    assert isinstance(found, Tensor)
    return found.cpu()


def _members(labels: Int[Tensor, "n"]) -> list[Tensor]:
    """Indices of the samples of each label."""
    found = [(labels == value).nonzero().flatten() for value in labels[labels >= 0].unique().tolist()]
    if not found:
        raise InputError("no sample has a label: there is nothing to draw by.")
    return found


def _cycled(count: int, size: int, generator: torch.Generator) -> Tensor:
    """`size` numbers below `count`: permutations one after another."""
    rounds = -(-size // count)
    return (
        torch.cat([torch.randperm(count, generator=generator) for _ in range(rounds)])[:size]
        if size
        else (torch.empty(0, dtype=torch.int64))
    )


def _filled(rest: Tensor, members: Tensor, size: int, generator: torch.Generator) -> Tensor:
    """A batch that is not full, filled with samples of the same label; itself again where there are no others."""
    others = members[~torch.isin(members, rest)]
    pool = others if len(others) else members
    return torch.cat([rest, pool[_cycled(len(pool), size - len(rest), generator)]])
