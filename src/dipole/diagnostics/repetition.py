"""How much generated texts repeat themselves, and how well they follow from their prefixes."""

import math
from collections.abc import Hashable, Sequence

import torch
from jaxtyping import Int
from torch import Tensor, nn

from dipole.errors import InputError
from dipole.losses.common import accumulate
from dipole.ops.door import public

Text = str | Sequence[Hashable]


@public
def rep_n(texts: Sequence[Text], n: int, *, official: bool = False) -> float:
    """Compute rep-n: `100 (1 − distinct n-grams / all n-grams)`, distinct within a text, both summed over the texts.

    Welleck et al.: *Neural Text Generation with Unlikelihood Training* (ICLR 2020); Su, Collier (TMLR 2023).

    Args:
        texts: words with white space between, or sequences of tokens.
        n: length of the n-grams.
        official: as the authors' code: without the last n-gram of every text, rounded to two decimals.

    Returns:
        Percent, from 0 (nothing twice) to nearly 100.

    Raises:
        InputError: n is below 1, or no text is long enough.

    Example:
        >>> rep_n(["to be or not to be"], 2)  # 4 of 5 bigrams are distinct
        20.0
    """
    if n < 1:
        raise InputError(f"n is {n}: expected 1 or more.")
    total = distinct = 0
    for text in texts:
        words = text.split() if isinstance(text, str) else list(text)
        count = max(len(words) - n + (0 if official else 1), 0)
        total += count
        distinct += len({tuple(words[start : start + n]) for start in range(count)})
    if total == 0:
        raise InputError(f"no text has an n-gram of {n} words to count: pass longer texts.")
    value = 100 * (total - distinct) / total
    return round(value, 2) if official else value


@public
def diversity(texts: Sequence[Text], *, official: bool = False) -> float:
    """Compute `Π_{n=2..4} (1 − rep-n / 100)`: 1 without any repetition, near 0 for loops.

    Args:
        texts: as for `rep_n`.
        official: from the rep-n of the authors' code.

    Raises:
        InputError: no text is long enough.

    Example:
        >>> diversity(["every word of this is new"])
        1.0
    """
    return math.prod(1 - rep_n(texts, n, official=official) / 100 for n in (2, 3, 4))


@public
@torch.no_grad()
def coherence(
    model: nn.Module,
    prefixes: Sequence[Int[Tensor, "_"]],
    continuations: Sequence[Int[Tensor, "_"]],
    *,
    bos_token_id: int | None = None,
) -> float:
    """Compute the mean over texts of the mean `log p(token | prefix and earlier tokens)` of the continuation.

    Su, Collier (TMLR 2023), with OPT as the model. Empty continuations do not count.

    Args:
        model: a causal language model: token ids (1, n) to an output with `logits` (1, n, V).
        prefixes: token ids (p,) of each prefix.
        continuations: token ids (c,) of each continuation.
        bos_token_id: put before each prefix, as OPT expects it.

    Returns:
        At most 0; nearer to 0 where the model finds the continuations likely.

    Raises:
        InputError: the numbers differ, all continuations are empty, or nothing stands before one.
    """
    if len(prefixes) != len(continuations):
        raise InputError(f"there are {len(prefixes)} prefixes and {len(continuations)} continuations: pass pairs.")
    values = []
    for prefix, continuation in zip(prefixes, continuations, strict=True):
        if len(continuation) == 0:
            continue
        start = [] if bos_token_id is None else [prefix.new_tensor([bos_token_id])]
        ids = torch.cat([*start, prefix, continuation])
        if len(ids) == len(continuation):
            raise InputError("a prefix is empty: pass bos_token_id, so that the first token has something before it.")
        logits = accumulate(model(ids[None]).logits[0, -len(continuation) - 1 : -1])
        values.append(logits.log_softmax(dim=-1).gather(1, continuation[:, None]).mean())
    if not values:
        raise InputError("all continuations are empty: there is nothing to measure.")
    return float(torch.stack(values).mean())
