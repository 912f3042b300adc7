"""Contrast of a model under an instruction and under its opposite, as MultiCSR generates sentences."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from dipole.card import Card
from dipole.decoding.context_aware import _WithAndWithoutContext
from dipole.errors import InputError
from dipole.losses.common import accumulate
from dipole.ops.checks import check_at_least


def opposing_logits(
    logits: Float[Tensor, "rows vocabulary"],
    opposite_logits: Float[Tensor, "rows vocabulary"],
    weight: float = 0.3,
    *,
    plausibility: float = 0.0,
) -> Float[Tensor, "rows vocabulary"]:
    """Compute `l − ω l̂`: what the opposite instruction would say counts against a token.

    Constants in either logits change nothing but a constant. A token with logit −∞ in `logits` stays banned; one with
    −∞ in `opposite_logits` alone keeps its logit.

    Args:
        logits: (B, V) l, next-token logits under the instruction.
        opposite_logits: (B, V) l̂, under the opposite one, after the same generated tokens.
        weight: ω; 0 leaves `logits`.
        plausibility: leave out tokens whose probability under the instruction is below this share of the best one's.

    Returns:
        (B, V) logits.

    Raises:
        InputError: an argument is out of range.

    Example:
        >>> opposing_logits(torch.tensor([[2.0, 1.5]]), torch.tensor([[3.0, 0.0]]), 0.5)
        tensor([[0.5000, 1.5000]])
    """
    check_at_least(weight, 0, "weight")
    if not 0 <= plausibility < 1:
        raise InputError(f"plausibility is {plausibility}: expected a share from 0 to below 1.")
    banned = (logits == -math.inf) | (opposite_logits == -math.inf)
    mixed = torch.where(banned, logits, logits - weight * opposite_logits)
    if not plausibility:
        return mixed
    log_probability = accumulate(logits).log_softmax(dim=-1)
    best = log_probability.amax(dim=-1, keepdim=True)
    return mixed.masked_fill(log_probability < best + math.log(plausibility), -math.inf)


class OpposingInstructions(_WithAndWithoutContext):
    """Stage 1 of MultiCSR: the next token that an instruction wants and its opposite does not.

        append argmax (l(instruction, x) − ω l(opposite instruction, x))

    `model.generate(**instructed, plain_input_ids=…, plain_attention_mask=…, custom_generate=…)`: the plain prompts
    carry the opposite instruction; each is padded on the left. `dipole generate`, which knows prompts with and without
    a context, takes the prompt alone as the opposite. The best token is taken unless the call says `do_sample=True`.

    Args:
        opposite_weight: ω.
        plausibility: see `opposing_logits`; off, as in the authors' figure.

    Raises:
        InputError: an argument is out of range.

    Example:
        >>> OpposingInstructions(opposite_weight=0.5).combine(torch.tensor([[[2.0, 1.5]], [[3.0, 0.0]]]))[0]
        tensor([[0.5000, 1.5000]])
    """

    card = Card(
        name="opposing-instructions",
        slug="multicsr",
        title="Large Language Models can Contrastively Refine their Generation for Better Sentence Representation "
        "Learning",
        authors="Wang, Li, Cheng, Soh, Bing",
        year=2024,
        venue="NAACL",
        arxiv="2310.10962",
        field="language",
        summary="What an opposite instruction would say counts against the next token.",
        equations=("stage 1 (contrastive generation)",),
        official_code="Circle-Ming/MultiCSR",
        differences=(
            "The authors' repository holds no code of this stage; the formula is that of a figure in it.",
            "ω = 0.3 is a guess: no value was found.",
            "Prompts are rows of one batch with a cache.",
        ),
    )

    def __init__(self, *, opposite_weight: float = 0.3, plausibility: float = 0.0) -> None:
        check_at_least(opposite_weight, 0, "opposite_weight")
        if not 0 <= plausibility < 1:
            raise InputError(f"plausibility is {plausibility}: expected a share from 0 to below 1.")
        self.opposite_weight, self.plausibility = opposite_weight, plausibility

    def combine(self, logits: Float[Tensor, "streams rows vocabulary"]) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the contrasted logits; there is nothing else to report."""
        return opposing_logits(logits[0], logits[1], self.opposite_weight, plausibility=self.plausibility), {}
