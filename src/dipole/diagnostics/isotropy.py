"""How evenly a language model's hidden states use their space."""

from collections.abc import Sequence
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from dipole.errors import InputError
from dipole.losses.common import unit_rows
from dipole.ops.checks import check_choice, check_embeddings
from dipole.ops.door import public


@public
@torch.no_grad()
def isotropy(
    hidden_states: Sequence[Tensor], *, reduction: Literal["pooled", "sequence_mean"] = "pooled"
) -> Float[Tensor, ""]:
    """Compute 1 − the mean cosine similarity of different tokens of a text.

        1 − Σ_texts Σ_{i≠j} cos(h_i, h_j) / Σ_texts n (n − 1)

    1 means that the tokens of a text point everywhere, 0 that all point one way; contrastive search needs room to tell
    candidates apart. Similarities are pooled over all texts, so that long ones count more. Rows are normalised here.
    Costs O(n E), for Σ_{i≠j} cos = ‖Σ_i h_i‖² − n.

    Su, Collier: *Contrastive Search Is What You Need For Neural Text Generation* (TMLR 2023), section 3; the authors
    round to two decimals.

    Args:
        hidden_states: last hidden states (n, E) of each text; texts of one token have no pairs and do not count.
        reduction: `"pooled"`, or `"sequence_mean"` for the mean of the values of the texts.

    Returns:
        A float64 scalar.

    Raises:
        InputError: there is no text of two tokens, or a value is not finite.

    Example:
        >>> isotropy([torch.eye(3), torch.ones(2, 3)])  # 6 pairs at 0, 2 at 1
        tensor(0.7500, dtype=torch.float64)
    """
    check_choice(reduction, ("pooled", "sequence_mean"), "reduction")
    sums, pairs = [], []
    for states in hidden_states:
        check_embeddings(hidden_states=states)
        count = len(states)
        if count < 2:
            continue
        sums.append(unit_rows(states.double()).sum(dim=0).square().sum() - count)
        pairs.append(count * (count - 1))
    if not sums:
        raise InputError("isotropy compares tokens of a text: pass a text of two tokens or more.")
    total, number = torch.stack(sums), torch.tensor(pairs, device=sums[0].device)
    return 1 - (total.sum() / number.sum() if reduction == "pooled" else (total / number).mean())
