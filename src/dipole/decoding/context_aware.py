"""Context-aware decoding (CAD) and its adaptive form (AdaCAD): contrast of a model with and without a context.

Wang, Prasad, Stengel-Eskin, Bansal: *AdaCAD: Adaptively Decoding to Balance Conflicts between Contextual and Parametric
Knowledge* (NAACL 2025); Shi, Han, Lewis, Tsvetkov, Zettlemoyer, Yih: *Trusting Your Evidence: Hallucinate Less with
Context-aware Decoding* (NAACL 2024).
"""

import math
from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from dipole.card import Card
from dipole.decoding.base import check_prompt
from dipole.decoding.loop import Call, StreamDecoder
from dipole.decoding.streams import Prompt
from dipole.errors import InputError
from dipole.losses.common import accumulate
from dipole.ops.checks import check_at_least


def jensen_shannon(
    logits_p: Float[Tensor, "rows vocabulary"],
    logits_q: Float[Tensor, "rows vocabulary"],
    *,
    log_base: float = math.e,
) -> Float[Tensor, "rows"]:
    """Compute the Jensen–Shannon divergence of two next-token distributions, row by row.

        JSD = ½ Σ p log(p / m) + ½ Σ q log(q / m),   m = (p + q) / 2,   0 · log 0 = 0

    Args:
        logits_p: (B, V).
        logits_q: (B, V).
        log_base: e for nats, from 0 to ln 2; 2 for bits, from 0 to 1.

    Returns:
        (B,) divergences.

    Raises:
        InputError: the base is not above 1.

    Example:
        >>> logits = torch.tensor([[0.0, -1e9], [1.0, 2.0]])
        >>> jensen_shannon(logits, logits.flip(1).masked_fill(logits == 1, 0), log_base=2)[0]  # disjoint: one bit
        tensor(1.)
    """
    if not log_base > 1:
        raise InputError(f"log_base is {log_base}: expected a number above 1, e for nats or 2 for bits.")
    p, q = accumulate(logits_p).log_softmax(dim=-1), accumulate(logits_q).log_softmax(dim=-1)
    middle = torch.logaddexp(p, q) - math.log(2)
    divergence = (_expected(p, p - middle) + _expected(q, q - middle)) / 2
    return divergence.clamp_min(0) / math.log(log_base)


def _expected(log_probability: Tensor, values: Tensor) -> Tensor:
    """The mean of values under a distribution, in which what has probability 0 does not count even if it is NaN."""
    probability = log_probability.exp()
    return torch.where(probability > 0, probability * values, 0).sum(dim=-1)


def context_aware_logits(
    logits_context: Float[Tensor, "rows vocabulary"],
    logits_plain: Float[Tensor, "rows vocabulary"],
    weight: float | Float[Tensor, "rows"],
) -> Float[Tensor, "rows vocabulary"]:
    """Compute `(1 + α) l_context − α l_plain`: what the context adds counts α times more.

    A token with logit −∞ in `logits_context` stays banned; one with −∞ in `logits_plain` alone keeps its logit.

    Args:
        logits_context: (B, V) next-token logits after context and query.
        logits_plain: (B, V) logits after the query alone.
        weight: α, one number or one a row; 0 leaves `logits_context`.

    Returns:
        (B, V) logits.

    Example:
        >>> context_aware_logits(torch.tensor([[2.0, 1.0]]), torch.tensor([[1.0, 1.0]]), 0.5)
        tensor([[2.5000, 1.0000]])
    """
    alpha = weight[:, None] if isinstance(weight, Tensor) else weight
    mixed = (1 + alpha) * logits_context - alpha * logits_plain
    banned = (logits_context == -math.inf) | (logits_plain == -math.inf)
    return torch.where(banned, logits_context, mixed)


def nucleus_mask(logits: Float[Tensor, "rows vocabulary"], top_p: float) -> Bool[Tensor, "rows vocabulary"]:
    """Return which tokens belong to the nucleus: while the probability of all more probable tokens is below `top_p`.

    The most probable token always belongs to it.

    Args:
        logits: (B, V).
        top_p: the share, from 0; everything is kept from 1 on.

    Returns:
        (B, V), True in the nucleus.

    Example:
        >>> nucleus_mask(torch.tensor([[0.5, 0.3, 0.2]]).log(), 0.6)
        tensor([[ True,  True, False]])
    """
    # Rounding can bring the running sum to 1 before the last token.
    if top_p >= 1:
        return torch.ones_like(logits, dtype=torch.bool)
    probability, order = accumulate(logits).softmax(dim=-1).sort(dim=-1, descending=True)
    before = probability.cumsum(dim=-1) - probability
    keep = before < top_p
    keep[..., 0] = True
    return torch.zeros_like(keep).scatter(-1, order, keep)


class _WithAndWithoutContext(StreamDecoder):
    """Two streams: the prompt with its context, and the query alone."""

    uses_context = True

    def __call__(
        self,
        model: nn.Module,
        input_ids: Int[Tensor, "rows length"],
        logits_processor: Callable[..., Tensor],
        stopping_criteria: Callable[..., Tensor],
        generation_config: Any,
        streamer: Any = None,
        plain_input_ids: Tensor | None = None,
        plain_attention_mask: Tensor | None = None,
        **model_kwargs: Any,
    ) -> Any:
        """Generate; called by transformers with what it has prepared.

        Args:
            model: the language model.
            input_ids: (B, P) prompts with context.
            logits_processor: applied to the combined logits.
            stopping_criteria: of the call.
            generation_config: of the call.
            streamer: receives the tokens.
            plain_input_ids: (B, P') the same prompts without context, padded on the left.
            plain_attention_mask: (B, P'), 0 for padding.
            **model_kwargs: of the call.

        Raises:
            InputError: the prompts without context are missing or do not belong to the others.
        """
        if plain_input_ids is None:
            raise InputError(f"{self.card.name} compares two prompts: pass the one without context as plain_input_ids.")
        check_prompt(plain_input_ids, plain_attention_mask, "plain_input_ids")
        # As often as transformers has repeated the rows of input_ids.
        copies = max(generation_config.num_return_sequences or 1, generation_config.num_beams or 1)
        if len(plain_input_ids) * copies != len(input_ids):
            raise InputError(
                f"plain_input_ids has {len(plain_input_ids)} rows and input_ids {len(input_ids) // copies}: row i of "
                "both must belong to the same query."
            )
        plain = Prompt(
            plain_input_ids.to(input_ids.device).repeat_interleave(copies, dim=0),
            None
            if plain_attention_mask is None
            else plain_attention_mask.to(input_ids.device).repeat_interleave(copies, dim=0),
        )
        prompt = Prompt(input_ids, model_kwargs.get("attention_mask"))
        call = Call(logits_processor, stopping_criteria, generation_config, streamer, model_kwargs)
        return self.decode(model, [prompt, plain], call)


class ContextAwareDecoding(_WithAndWithoutContext):
    """CAD: contrast the model that reads the context with the model that does not, by a fixed weight.

        append argmax softmax((1 + α) l(query with context) − α l(query))

    `model.generate(**with_context, plain_input_ids=…, plain_attention_mask=…, custom_generate=…)`, each padded on the
    left. The best token is taken unless the call says `do_sample=True`.

    Args:
        context_weight: α; the authors use 1.0 for questions and 0.5 for summaries.

    Raises:
        InputError: α is negative.

    Example:
        >>> ContextAwareDecoding(context_weight=0.5).combine(torch.tensor([[[2.0, 1.0]], [[1.0, 1.0]]]))
        (tensor([[2.5000, 1.0000]]), {'context_weight': tensor([0.5000])})
    """

    card = Card(
        name="cad",
        slug="adacad",
        title="Trusting Your Evidence: Hallucinate Less with Context-aware Decoding",
        authors="Shi, Han, Lewis, Tsvetkov, Zettlemoyer, Yih",
        year=2024,
        venue="NAACL",
        arxiv="2305.14739",
        field="language",
        summary="What the context adds to the next token's logits counts more, by a fixed weight.",
        equations=("eq. 3 (context-aware decoding)",),
        official_code="xhan77/context-aware-decoding",
        differences=("Both prompts are rows of one batch; the authors run a process for each.",),
    )

    def __init__(self, *, context_weight: float = 1.0) -> None:
        check_at_least(context_weight, 0, "context_weight")
        self.context_weight = context_weight

    def combine(self, logits: Float[Tensor, "streams rows vocabulary"]) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the contrasted logits and the weight."""
        weight = logits.new_full((logits.shape[1],), self.context_weight)
        return context_aware_logits(logits[0], logits[1], weight), {"context_weight": weight}


class AdaCAD(_WithAndWithoutContext):
    """CAD whose weight is, token by token, how much the model's answers with and without the context disagree.

        1. α = max(JSD(p with context, q without), λ), for each row
        2. append argmax softmax((1 + α) l(query with context) − α l(query))

    `model.generate(**with_context, plain_input_ids=…, plain_attention_mask=…, custom_generate=…)`, each padded on the
    left. The best token is taken unless the call says `do_sample=True`. With `return_dict_in_generate=True` the output
    also holds `context_weight`, α of every token.

    Args:
        warmup: λ, the smallest weight: 0 for short answers, 0.3 for summaries.
        log_base: of the divergence: e as in the authors' code, or 2, which the paper's range from 0 to 1 suggests.
        context_top_p: leave out of the contrast what lies outside of this nucleus of the model with context.
        plain_top_p: push down what lies outside of this nucleus of the model without context.

    Raises:
        InputError: an argument is out of its range.

    Example:
        >>> logits = torch.tensor([[[9.0, 0.0]], [[0.0, 9.0]]])  # a clear conflict: nearly ln 2
        >>> AdaCAD().combine(logits)[1]
        {'context_weight': tensor([0.6919])}
    """

    card = Card(
        name="adacad",
        slug="adacad",
        title="AdaCAD: Adaptively Decoding to Balance Conflicts between Contextual and Parametric Knowledge",
        authors="Wang, Prasad, Stengel-Eskin, Bansal",
        year=2025,
        venue="NAACL",
        arxiv="2409.07394",
        field="language",
        summary="What the context adds to the next token's logits counts the more, the more it conflicts with memory.",
        equations=("AdaCAD with the Jensen–Shannon weight and its warm-up", "CAD (`cad`)", "nucleus filters"),
        official_code="HanNight/AdaCAD",
        differences=(
            "The divergence is in nats, as in the authors' code, though the paper takes it to lie in [0, 1]; "
            "`log_base=2` is that reading.",
            "The weight is one for each row; the authors decode one prompt at a time.",
            "Both prompts are rows of one batch; the authors run a process for each.",
            "0 · log 0 is 0; the authors clamp probabilities at 1e-9.",
        ),
    )

    def __init__(
        self,
        *,
        warmup: float = 0.0,
        log_base: float = math.e,
        context_top_p: float = 1.0,
        plain_top_p: float = 1.0,
    ) -> None:
        check_at_least(warmup, 0, "warmup")
        if not log_base > 1:
            raise InputError(f"log_base is {log_base}: expected a number above 1, e for nats or 2 for bits.")
        for name, value in (("context_top_p", context_top_p), ("plain_top_p", plain_top_p)):
            if not 0 < value <= 1:
                raise InputError(f"{name} is {value}: expected a share above 0 and at most 1.")
        self.warmup, self.log_base = warmup, log_base
        self.context_top_p, self.plain_top_p = context_top_p, plain_top_p

    def weight(self, logits: Float[Tensor, "2 rows vocabulary"]) -> Float[Tensor, "rows"]:
        """Return α (B,) of logits with and without context."""
        return jensen_shannon(logits[0], logits[1], log_base=self.log_base).clamp_min(self.warmup)

    def filtered(self, logits: Float[Tensor, "2 rows vocabulary"]) -> Float[Tensor, "2 rows vocabulary"]:
        """Return the logits with everything outside of the nuclei at −1000 (context) and +1000 (plain)."""
        context, plain = logits[0], logits[1]
        return torch.stack(
            [
                context.masked_fill(~nucleus_mask(context, self.context_top_p), -1000.0),
                plain.masked_fill(~nucleus_mask(plain, self.plain_top_p), 1000.0),
            ]
        )

    def combine(self, logits: Float[Tensor, "2 rows vocabulary"]) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the contrasted logits and the weight, which is computed before the filters."""
        weight = self.weight(logits)
        context, plain = self.filtered(logits)
        return context_aware_logits(context, plain, weight), {"context_weight": weight}
