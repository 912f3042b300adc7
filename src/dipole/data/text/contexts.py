"""Fine-tuning records with passages: `{question, positive_ctxs, negative_ctxs, hard_negative_ctxs}`."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from dipole.data.text.passages import passage_text
from dipole.errors import InputError


def negative_counts(
    uniform: Float[Tensor, " n"], hard_pool: int, random_pool: int, hard_ratio: float
) -> tuple[int, int]:
    """Divide the n negatives of a question between hard and random ones.

    `n_hard = min(#(u_j < hard_ratio), hard_pool)`, `n_random = min(n - n_hard, random_pool)`.

    Args:
        uniform: (n,) numbers u drawn from [0, 1), one a negative.
        hard_pool: number of hard negatives to choose from.
        random_pool: number of random negatives to choose from.
        hard_ratio: probability that a negative is a hard one.

    Returns:
        n_hard and n_random.

    Source: Izacard et al. (TMLR 2022), and their code.

    Example:
        >>> negative_counts(torch.tensor([0.01, 0.7, 0.05]), hard_pool=1, random_pool=9, hard_ratio=0.1)
        (1, 2)
    """
    hard = min(int((uniform < hard_ratio).sum()), hard_pool)
    return hard, min(len(uniform) - hard, random_pool)


def sample_contexts(
    record: Mapping[str, Any],
    negatives: int = 1,
    *,
    hard_ratio: float = 0.0,
    hard_min_index: int = 0,
    generator: torch.Generator | None = None,
    uniform: Float[Tensor, " n"] | None = None,
) -> dict[str, Any]:
    """Choose the passages that a question is trained with.

    One positive is drawn uniformly; the negatives without repetition, hard ones first. There are fewer than asked for
    if the record has not enough: batches whose rows must be equal in number need records with enough of them.

    Args:
        record: `question`, `positive_ctxs` and, if negatives are wanted, `negative_ctxs` and `hard_negative_ctxs`; a
            passage is `{"title": ..., "text": ...}`.
        negatives: n, the number of negatives.
        hard_ratio: probability that a negative is a hard one.
        hard_min_index: hard negatives before this one are left out: those a search ranks first are often unjudged
            positives.
        generator: of the random choices.
        uniform: (n,) the numbers that decide between hard and random; drawn from `generator` by default.

    Returns:
        `{"question": str, "positive": str, "negatives": list of str}`.

    Raises:
        InputError: the record has no question or no positive, or a setting is out of range.

    Source: Izacard et al. (TMLR 2022), and their code.

    Example:
        >>> record = {"question": "Who dances?", "positive_ctxs": [{"title": "Bees", "text": "They dance."}],
        ...           "negative_ctxs": [{"title": "", "text": "Stones rest."}]}
        >>> sample_contexts(record)
        {'question': 'Who dances?', 'positive': 'Bees They dance.', 'negatives': ['Stones rest.']}
    """
    if not record.get("question") or not record.get("positive_ctxs"):
        raise InputError(
            f"a record has the keys {', '.join(record)}: expected a question and one passage or more in positive_ctxs."
        )
    if negatives < 0 or hard_min_index < 0 or not 0 <= hard_ratio <= 1:
        raise InputError(
            f"negatives={negatives}, hard_min_index={hard_min_index}, hard_ratio={hard_ratio}: expected 0 or more, 0 "
            "or more, 0 to 1."
        )
    if uniform is None:
        uniform = torch.rand(negatives, generator=generator)
    elif len(uniform) != negatives:
        raise InputError(f"{len(uniform)} uniform numbers for {negatives} negatives: give one each.")
    hard_pool = list(record.get("hard_negative_ctxs") or [])[hard_min_index:]
    random_pool = list(record.get("negative_ctxs") or [])
    hard, random = negative_counts(uniform, len(hard_pool), len(random_pool), hard_ratio)
    (positive,) = _draw(record["positive_ctxs"], 1, generator)
    chosen = [*_draw(hard_pool, hard, generator), *_draw(random_pool, random, generator)]
    return {
        "question": record["question"],
        "positive": passage_text(positive),
        "negatives": [passage_text(passage) for passage in chosen],
    }


def _draw(pool: Sequence[Any], count: int, generator: torch.Generator | None) -> list[Any]:
    """Draw without repetition."""
    return [pool[index] for index in torch.randperm(len(pool), generator=generator)[:count].tolist()]
