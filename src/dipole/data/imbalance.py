"""Class-imbalanced subsets of balanced sets."""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Int64
from torch import Tensor

from dipole.errors import InputError


def imbalanced_sizes(counts: Sequence[int], profile: str = "linear", groups: int | None = None) -> list[int]:
    """How many images of every class an imbalanced subset keeps.

    Class i of n with N_i images keeps floor(N_i (i + 1) / n) ("linear") or floor(N_i e^(i + 1) / e^n)
    ("exponential"). With `groups`, each run of `groups` classes shares its step: i becomes i // groups and n the
    number of groups. The last class always keeps everything; early classes of the exponential profile may keep none.

    Args:
        counts: images of every class, in the order of the class indices.
        profile: `"linear"` or `"exponential"`.
        groups: classes in a group, e.g. 10 for CIFAR-100; `None` treats every class alone.

    Returns:
        The sizes, in the order of `counts`.

    Raises:
        InputError: no classes, a negative count, an unknown profile or a group size below 1.

    Source: the imbalanced CIFAR-10 and CIFAR-100 of CACR (Zheng et al.).

    Example:
        >>> imbalanced_sizes([5000] * 10, "exponential")
        [0, 1, 4, 12, 33, 91, 248, 676, 1839, 5000]
        >>> imbalanced_sizes([500] * 4, "linear", groups=2)
        [250, 250, 500, 500]
    """
    size = 1 if groups is None else groups
    if not counts or min(counts) < 0 or size < 1:
        raise InputError(
            f"counts is {list(counts)} and groups {groups}: expected one count of 0 or more a class and a group size "
            "of 1 or more."
        )
    steps = -(-len(counts) // size)
    if profile == "linear":
        return [count * (i // size + 1) // steps for i, count in enumerate(counts)]
    if profile == "exponential":
        return [int(np.floor(count * np.exp(i // size + 1 - steps))) for i, count in enumerate(counts)]
    raise InputError(f"profile is {profile!r}: expected 'linear' or 'exponential'.")


def imbalanced_indices(
    labels: Int64[Tensor, " n"], profile: str = "linear", groups: int | None = None, seed: int = 2021
) -> Int64[Tensor, " m"]:
    """Indices of an imbalanced subset: of every class the first images of a seeded shuffle.

    Args:
        labels: class of every image, 0..n-1.
        profile: see `imbalanced_sizes`.
        groups: see `imbalanced_sizes`.
        seed: same seed, same subset.

    Returns:
        The kept indices, increasing. `image_set.select(...)` makes the subset.

    Raises:
        InputError: as `imbalanced_sizes`, or a negative label.

    Example:
        >>> labels = torch.arange(4).repeat_interleave(8)
        >>> torch.bincount(labels[imbalanced_indices(labels)])
        tensor([2, 4, 6, 8])
    """
    if len(labels) == 0 or int(labels.min()) < 0:
        raise InputError(f"labels hold {len(labels)} values: expected class indices of 0 or more for every image.")
    rng = np.random.default_rng(seed)
    sizes = imbalanced_sizes(torch.bincount(labels).tolist(), profile, groups)
    kept = [rng.permutation(np.flatnonzero(labels.numpy() == value))[:size] for value, size in enumerate(sizes)]
    return torch.from_numpy(np.sort(np.concatenate(kept))).long()


def long_tail_sizes(largest: int, ratio: float, classes: int) -> list[int]:
    """Return `⌊n_max · ρ^(−c / (C − 1))⌋` for the classes c = 0 … C − 1, and 1 at least.

    Cao et al.: *Label-Distribution-Aware Margin Loss* (NeurIPS 2019), the long-tailed CIFAR of the field.

    Args:
        largest: n_max.
        ratio: ρ, of the largest to the smallest class.
        classes: C.

    Raises:
        InputError: a ratio below 1, or no classes.

    Example:
        >>> long_tail_sizes(100, 10.0, 3)
        [100, 31, 10]
    """
    if classes < 1 or largest < 1 or not 1 <= ratio < float("inf"):
        raise InputError(f"imbalance is {ratio} for {classes} classes of {largest}: expected a ratio of 1 or more.")
    steps = max(1, classes - 1)
    # The last size is a whole number that powers of fractions miss by an ulp.
    return [max(1, int(largest * ratio ** (-number / steps) + 1e-9)) for number in range(classes)]


def long_tail_indices(
    labels: Int64[Tensor, " n"], ratio: float, *, known: int | None = None, seed: int = 0
) -> Int64[Tensor, " m"]:
    """Return the indices of a long-tailed subset: class 0 keeps as many as the smallest class has, the last 1/ρ of it.

    Args:
        labels: class of every image; negative ones are left out.
        ratio: ρ.
        known: the first so many classes and the others have a tail each; one tail if None.
        seed: of the draw.

    Raises:
        InputError: a class without images, or a ratio below 1.

    Example:
        >>> labels = torch.arange(4).repeat_interleave(8)
        >>> labels[long_tail_indices(labels, 8.0)].bincount().tolist()
        [8, 4, 2, 1]
    """
    counts = torch.bincount(labels[labels >= 0])
    if not len(counts) or int(counts.min()) < 1:
        raise InputError("a long tail was asked for, and a class has no training images.")
    parts = [len(counts)] if known is None else [known, len(counts) - known]
    sizes = [size for part in parts for size in long_tail_sizes(int(counts.min()), ratio, part)]
    generator = torch.Generator().manual_seed(seed)
    kept = []
    for value, size in enumerate(sizes):
        members = (labels == value).nonzero().flatten()
        kept.append(members[torch.randperm(len(members), generator=generator)[:size]])
    return torch.cat(kept).sort().values
