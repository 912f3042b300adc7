"""Changes of a text as a sequence of token ids (T,). Whatever is drawn can be given instead."""

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from dipole.errors import InputError


def random_crop(
    tokens: Int[Tensor, "t"],
    *,
    ratio_min: float = 0.05,
    ratio_max: float = 0.5,
    ratio: float | None = None,
    start: int | None = None,
    generator: torch.Generator | None = None,
) -> Int[Tensor, "crop"]:
    """Cut a random span: `length = max(1, ⌊T · ratio⌋)`, ratio ~ U(r_min, r_max), start ~ U{0, …, T − length}.

    Izacard et al.: *Contriever* (TMLR 2022), independent cropping.

    Args:
        tokens: (T,).
        ratio_min: smallest share of the tokens.
        ratio_max: largest share.
        ratio: in place of a draw.
        start: in place of a draw.
        generator: source of the draws.

    Returns:
        The span; nothing of nothing.

    Raises:
        InputError: the shares are not in [0, 1] and in order, or `start` lies outside.

    Example:
        >>> random_crop(torch.arange(10), ratio=0.35, start=2)
        tensor([2, 3, 4])
    """
    check_crop(ratio_min, ratio_max)
    if ratio is None:
        ratio = ratio_min + (ratio_max - ratio_min) * float(torch.rand((), generator=generator, dtype=torch.float64))
    length = min(len(tokens), max(1, int(len(tokens) * ratio)))
    if start is None:
        start = int(torch.randint(len(tokens) - length + 1, (), generator=generator))
    if not 0 <= start <= len(tokens) - length:
        raise InputError(f"start is {start}: expected 0 to {len(tokens) - length} for a span of {length} tokens.")
    return tokens[start : start + length]


def delete_tokens(
    tokens: Int[Tensor, "t"],
    probability: float = 0.1,
    *,
    draws: Float[Tensor, "t"] | None = None,
    generator: torch.Generator | None = None,
) -> Int[Tensor, "kept"]:
    """Leave out each token with the given probability: it stays if its draw u ~ U(0, 1) is above p.

    Example:
        >>> delete_tokens(torch.arange(3), 0.5, draws=torch.tensor([0.9, 0.1, 0.6]))
        tensor([0, 2])
    """
    return tokens[_draws(tokens, probability, draws, generator) > probability]


def mask_tokens(
    tokens: Int[Tensor, "t"],
    probability: float = 0.1,
    *,
    mask_id: int,
    draws: Float[Tensor, "t"] | None = None,
    generator: torch.Generator | None = None,
) -> Int[Tensor, "t"]:
    """Replace each token by the mask with the given probability: where its draw u ≤ p.

    Example:
        >>> mask_tokens(torch.arange(3), 0.5, mask_id=9, draws=torch.tensor([0.9, 0.1, 0.6]))
        tensor([0, 9, 2])
    """
    return torch.where(_draws(tokens, probability, draws, generator) <= probability, mask_id, tokens)


def replace_tokens(
    tokens: Int[Tensor, "t"],
    probability: float = 0.1,
    *,
    vocabulary: int,
    first_id: int = 999,
    draws: Float[Tensor, "t"] | None = None,
    replacements: Int[Tensor, "replaced"] | None = None,
    generator: torch.Generator | None = None,
) -> Int[Tensor, "t"]:
    """Replace each token by a random one of {first_id, …, vocabulary − 1} with the given probability: where u ≤ p.

    Args:
        tokens: (T,).
        probability: p.
        vocabulary: number of tokens.
        first_id: smallest id that is drawn; 999 leaves out the special and unused ids of BERT.
        draws: (T,) u, in place of a draw.
        replacements: one id for each token that is replaced, in place of a draw.
        generator: source of the draws.

    Raises:
        InputError: there are no ids to draw from, or another number of replacements.

    Example:
        >>> draws, new = torch.tensor([0.9, 0.1, 0.6]), torch.tensor([7])
        >>> replace_tokens(torch.arange(3), 0.5, vocabulary=10, first_id=5, draws=draws, replacements=new)
        tensor([0, 7, 2])
    """
    check_replacement(first_id, vocabulary)
    chosen = _draws(tokens, probability, draws, generator) <= probability
    count = int(chosen.sum())
    if replacements is None:
        replacements = torch.randint(first_id, vocabulary, (count,), generator=generator)
    if len(replacements) != count:
        raise InputError(f"{len(replacements)} replacements for {count} tokens: expected one each.")
    return tokens.masked_scatter(chosen, replacements.to(tokens.dtype))


def shuffle_tokens(
    tokens: Int[Tensor, "t"],
    probability: float = 0.1,
    *,
    official_aliasing: bool = False,
    draws: Float[Tensor, "t"] | None = None,
    positions: Int[Tensor, "n"] | None = None,
    order: Int[Tensor, "n"] | None = None,
    generator: torch.Generator | None = None,
) -> Int[Tensor, "t"]:
    """Permute some tokens among each other: n = #(u < p) random positions; position j receives that of order[j].

    Args:
        tokens: (T,).
        probability: p.
        official_aliasing: as the authors' code, which reads places it has written already, so that tokens are lost and
            others doubled.
        draws: (T,) u, in place of a draw.
        positions: (n,), in place of a draw.
        order: (n,) a permutation, in place of a draw.
        generator: source of the draws.

    Example:
        >>> positions, order = torch.tensor([0, 2]), torch.tensor([1, 0])
        >>> shuffle_tokens(torch.arange(3), draws=torch.zeros(3), positions=positions, order=order)
        tensor([2, 1, 0])
        >>> shuffle_tokens(
        ...     torch.arange(3), draws=torch.zeros(3), positions=positions, order=order, official_aliasing=True
        ... )
        tensor([2, 1, 2])
    """
    count = int((_draws(tokens, probability, draws, generator) < probability).sum())
    if positions is None:
        positions = torch.randperm(len(tokens), generator=generator)[:count]
    if order is None:
        order = torch.randperm(len(positions), generator=generator)
    shuffled = tokens.clone()
    if not official_aliasing:
        shuffled[positions] = tokens[positions[order]]
        return shuffled
    for target, source in zip(positions.tolist(), positions[order].tolist(), strict=True):
        shuffled[target] = shuffled[source]
    return shuffled


def add_ends(tokens: Int[Tensor, "t"], begin: int | None, end: int | None) -> Int[Tensor, "u"]:
    """Put the token `begin` before and `end` behind, unless it is None.

    Example:
        >>> add_ends(torch.tensor([5, 6]), 1, 2)
        tensor([1, 5, 6, 2])
    """
    parts = [tokens.new_tensor([index]) for index in (begin, end) if index is not None]
    before = 0 if begin is None else 1
    return torch.cat([*parts[:before], tokens, *parts[before:]])


def pad_tokens(
    sequences: Sequence[Int[Tensor, "_"]], *, padding: int = 0, length: int | None = None
) -> tuple[Int[Tensor, "n t"], Bool[Tensor, "n t"]]:
    """Pad sequences to the longest, or to a length.

    Args:
        sequences: N of them.
        padding: id that fills up.
        length: T; longer sequences are cut. The longest sequence's if None.

    Returns:
        Ids (N, T) and a mask (N, T), False at padding.

    Example:
        >>> ids, mask = pad_tokens([torch.tensor([5]), torch.tensor([6, 7])])
        >>> ids.tolist(), mask.tolist()
        ([[5, 0], [6, 7]], [[True, False], [True, True]])
    """
    longest = max((len(tokens) for tokens in sequences), default=0) if length is None else length
    ids = torch.full((len(sequences), longest), padding, dtype=torch.long)
    mask = torch.zeros(len(sequences), longest, dtype=torch.bool)
    for row, tokens in enumerate(sequences):
        kept = tokens[:longest]
        ids[row, : len(kept)] = kept
        mask[row, : len(kept)] = True
    return ids, mask


def check_crop(ratio_min: float, ratio_max: float) -> None:
    """Require shares of a text, in order.

    Raises:
        InputError: they are not.
    """
    if not 0 <= ratio_min <= ratio_max <= 1:
        raise InputError(f"ratios from {ratio_min} to {ratio_max}: expected 0 ≤ ratio_min ≤ ratio_max ≤ 1.")


def check_replacement(first_id: int, vocabulary: int) -> None:
    """Require ids to draw from.

    Raises:
        InputError: there are none.
    """
    if not 0 <= first_id < vocabulary:
        raise InputError(f"the first replacement is {first_id} of {vocabulary} tokens: expected a smaller id.")


def check_share(value: float, name: str) -> None:
    """Require a probability.

    Raises:
        InputError: it is none.
    """
    if not 0 <= value <= 1:
        raise InputError(f"{name} is {value}: expected a probability from 0 to 1.")


def _draws(tokens: Tensor, probability: float, draws: Tensor | None, generator: torch.Generator | None) -> Tensor:
    """One uniform draw for each token."""
    check_share(probability, "probability")
    if draws is None:
        return torch.rand(len(tokens), generator=generator)
    if len(draws) != len(tokens):
        raise InputError(f"{len(draws)} draws for {len(tokens)} tokens: expected one each.")
    return draws
