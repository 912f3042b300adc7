"""Contrast of next-token distributions: of a model and an amateur, of layers, of both (CD, ICD, DoLa, LOL).

Li et al.: *Contrastive Decoding* (ACL 2023); Zhang et al.: *Alleviating Hallucinations of Large Language Models through
Induced Hallucinations* (ICD, Findings of NAACL 2025); Chuang et al.: *DoLa* (ICLR 2024); Chen et al.: *Lower Layers
Matter* (LOL, 2024).
"""

import math
from collections.abc import Callable
from typing import Literal, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from dipole.errors import InputError
from dipole.losses.common import accumulate
from dipole.ops.checks import check_at_least, check_choice

Divergence = Literal["official", "textbook"]


class FusedContrast(NamedTuple):
    """The steps of LOL's next-token scores, (…, V) each.

    Attributes:
        refocused: r, what the instruction makes of the model's distribution.
        final: F, contrast of the last layers.
        lower: L, contrast of lower layers, mean over them.
        fused: S = F + ω L.
        valid: the plausible tokens.
    """

    refocused: Tensor
    final: Tensor
    lower: Tensor
    fused: Tensor
    valid: Tensor

    @property
    def scores(self) -> Tensor:
        """S of plausible tokens, −∞ of all others."""
        return self.fused.masked_fill(~self.valid, -math.inf)


def plausibility_mask(
    logits: Float[Tensor, "*rows v"], alpha: float = 0.1, *, min_tokens: int = 1
) -> Bool[Tensor, "*rows v"]:
    """Return which tokens are at least α times as probable as the best one: `log p_v ≥ max log p + ln α`.

    Li et al. (ACL 2023), eq. 2.

    Args:
        logits: (…, V).
        alpha: 0 keeps all tokens with a finite logit.
        min_tokens: so many of the best are kept in any case.

    Raises:
        InputError: α is no share, or fewer than one token is to be kept.

    Example:
        >>> plausibility_mask(torch.tensor([[0.0, -1.0, -3.0]]), 0.1)
        tensor([[ True,  True, False]])
    """
    if not 0 <= alpha <= 1:
        raise InputError(f"alpha is {alpha}: expected a share from 0 to 1; 0.1 is usual.")
    check_at_least(min_tokens, 1, "min_tokens")
    log_probability = accumulate(logits).log_softmax(dim=-1)
    finite = log_probability > -math.inf
    if alpha == 0:
        return finite
    kept = log_probability.topk(min(min_tokens, log_probability.shape[-1]), dim=-1).values[..., -1:]
    limit = torch.minimum(log_probability.amax(dim=-1, keepdim=True) + math.log(alpha), kept)
    return (log_probability >= limit) & finite


def contrastive_log_probs(
    original: Float[Tensor, "*rows v"],
    amateur: Float[Tensor, "*rows v"],
    *,
    beta: float = 1.0,
    relative_top: float = 0.1,
    post_softmax: bool = True,
    fill: float = -1000.0,
) -> Float[Tensor, "*rows v"]:
    """Compute `β log p_original − log p_amateur` of plausible tokens, and `fill` for all others.

    Where both distributions are the same and β is 1, nothing would tell tokens apart: such rows are log p_original.

    Args:
        original: (…, V) logits of the model.
        amateur: (…, V) logits of the amateur.
        beta: weight of the model.
        relative_top: α of `plausibility_mask`; 0 for no mask, as in ICD's evaluation on TruthfulQA.
        post_softmax: take the log-softmax of the difference, before the mask.
        fill: for tokens that are not plausible.

    Raises:
        InputError: a value is out of range.

    Example:
        >>> contrastive_log_probs(torch.tensor([[1.0, 0.0, -9.0]]), torch.tensor([[0.0, 0.0, 0.0]])).round(decimals=3)
        tensor([[-3.1300e-01, -1.3130e+00, -1.0000e+03]])
    """
    check_at_least(beta, 0, "beta")
    valid = plausibility_mask(original, relative_top)
    base = accumulate(original).log_softmax(dim=-1)
    difference = _told_apart(beta * base - _floored(amateur), base, valid)
    if post_softmax:
        difference = difference.log_softmax(dim=-1)
    return torch.where(valid, difference, fill)


def early_exit_logits(
    hidden: Float[Tensor, "*rows width"],
    head: Callable[[Tensor], Tensor],
    norm: Callable[[Tensor], Tensor] | None = None,
) -> Float[Tensor, "*rows v"]:
    """Read a hidden state of a lower layer as logits of the next token.

    Args:
        hidden: (…, E).
        head: the model's last linear layer.
        norm: the model's last norm; without it, as in the official codes of DoLa and ICD, raw states are read.

    Example:
        >>> early_exit_logits(torch.eye(2), torch.nn.Identity())
        tensor([[1., 0.],
                [0., 1.]])
    """
    return head(hidden if norm is None else norm(hidden))


def layer_divergence(
    mature: Float[Tensor, "*rows v"],
    early: Float[Tensor, "layers *rows v"],
    *,
    jsd: Divergence = "official",
) -> Float[Tensor, "layers *rows"]:
    """Compute how far the distribution of each early layer lies from that of the last one, with M their mean:

        official: ½ [mean_v M (ln M − ln p) + mean_v M (ln M − ln q)], as DoLa's code has it
        textbook: ½ [KL(p ‖ M) + KL(q ‖ M)], the Jensen–Shannon divergence

    Args:
        mature: (…, V) logits of the last layer.
        early: (L, …, V) logits of the candidates.
        jsd: which of both.

    Raises:
        InputError: an unknown divergence.

    Example:
        >>> logits = torch.tensor([[0.0, 3.0]])
        >>> layer_divergence(logits, torch.stack([logits, -logits])).argmax(dim=0)
        tensor([1])
    """
    check_choice(jsd, ("official", "textbook"), "jsd")
    p, q = accumulate(mature).log_softmax(dim=-1), accumulate(early).log_softmax(dim=-1)
    middle = torch.logaddexp(p, q) - math.log(2)
    if jsd == "official":
        return (_weighted(middle, middle - p) + _weighted(middle, middle - q)).mean(dim=-1) / 2
    return (_weighted(p, p - middle) + _weighted(q, q - middle)).sum(dim=-1) / 2


def dola_select_layer(
    mature: Float[Tensor, "*rows v"], early: Float[Tensor, "layers *rows v"], *, jsd: Divergence = "official"
) -> Int[Tensor, "*rows"]:
    """Return the place of the early layer that differs most from the last one, see `layer_divergence`.

    Chuang et al. (ICLR 2024), DoLa.

    Example:
        >>> logits = torch.tensor([[0.0, 3.0]])
        >>> dola_select_layer(logits, torch.stack([logits, -logits]))
        tensor([1])
    """
    return layer_divergence(mature, early, jsd=jsd).argmax(dim=0)


def chosen_layer(early: Float[Tensor, "layers *rows v"], place: Int[Tensor, "*rows"]) -> Float[Tensor, "*rows v"]:
    """Take for each row the logits of one of several layers.

    Example:
        >>> chosen_layer(torch.arange(4.0).view(2, 2, 1), torch.tensor([0, 1]))
        tensor([[0.],
                [3.]])
    """
    index = place[None, ..., None].expand(1, *early.shape[1:])
    return early.gather(0, index)[0]


def lol_logits(
    original: Float[Tensor, "*rows v"],
    amateur: Float[Tensor, "*rows v"],
    original_low: Float[Tensor, "layers *rows v"],
    amateur_low: Float[Tensor, "layers *rows v"],
    guided: Float[Tensor, "*rows v"] | None = None,
    *,
    beta: float = 1.0,
    omega: float = 0.5,
    lam: float = 0.5,
    alpha: float = 0.1,
) -> FusedContrast:
    """Compute the next-token scores of LOL. With all p as log-softmax:

        r = log_softmax((1 + λ) log p(· | c) − λ log p),  log p without an instruction c      truthfulness refocused
        F = β r − log p_amateur          L = mean_n (log p^n − log p_amateur^n)               last and lower layers
        S = F + ω L,  among { v : r_v's model p(· | c) or p is at least α of its best }

    The paper's body could not be read: how its parts are put together here is a reconstruction from its abstract and
    from ICD, CAD and DoLa, and β, ω, λ and α are no values of the paper. Where all of S is 0 (the amateur is the model
    and β is 1), log p decides.

    Chen et al.: *Lower Layers Matter: Alleviating Hallucination via Multi-Layer Fusion Contrastive Decoding with
    Truthfulness Refocused* (2024).

    Args:
        original: (…, V) last logits of the model.
        amateur: (…, V) last logits of the amateur.
        original_low: (L, …, V) early logits of the model.
        amateur_low: (L, …, V) early logits of the amateur at the same layers.
        guided: (…, V) last logits of the model after an instruction to be truthful.
        beta: β, weight of the model in F.
        omega: ω, weight of the lower layers; 0 leaves ICD.
        lam: λ, how much what the instruction changes is amplified.
        alpha: α, of `plausibility_mask`.

    Raises:
        InputError: a weight is negative, or α is no share.

    Example:
        >>> uniform = torch.zeros(1, 2)
        >>> lol_logits(torch.tensor([[0.0, 1.0]]), uniform, uniform[None], uniform[None]).scores.argmax(dim=-1)
        tensor([1])
    """
    for name, value in (("beta", beta), ("omega", omega), ("lam", lam)):
        check_at_least(value, 0, name)
    plain = accumulate(original).log_softmax(dim=-1)
    refocused, reference = plain, original
    if guided is not None:
        reference = guided
        told = accumulate(guided).log_softmax(dim=-1)
        refocused = _without_nan((1 + lam) * told - lam * plain, told).log_softmax(dim=-1)  # reconstruction
    valid = plausibility_mask(reference, alpha)  # reconstruction: of the guided model where there is one
    final = beta * refocused - _floored(amateur)  # reconstruction
    lower = (_floored(original_low) - _floored(amateur_low)).mean(dim=0)  # reconstruction: several layers by their mean
    fused = _told_apart(final + omega * lower, plain, valid)  # reconstruction
    return FusedContrast(refocused, final, lower, fused, valid)


def _floored(logits: Tensor) -> Tensor:
    """Log-probabilities whose −∞ is 0: a token that one stream excludes tells nothing about the others."""
    found = accumulate(logits).log_softmax(dim=-1)
    return torch.where(found == -math.inf, 0, found)


def _without_nan(mixed: Tensor, instead: Tensor) -> Tensor:
    """The difference of two −∞ is none: what came first stands."""
    return torch.where(mixed.isnan() | (instead == -math.inf), instead, mixed)


def _told_apart(scores: Tensor, instead: Tensor, valid: Tensor) -> Tensor:
    """Scores, and others in rows in which no plausible token differs from another."""
    limits = scores.masked_fill(~valid, -math.inf).amax(-1), scores.masked_fill(~valid, math.inf).amin(-1)
    epsilon = 100 * torch.finfo(scores.dtype).eps
    alike = (limits[0] - limits[1] <= epsilon) & (valid.sum(dim=-1) > 1)
    return torch.where(alike[..., None], instead, scores)


def _weighted(log_probability: Tensor, values: Tensor) -> Tensor:
    """Probability times value, 0 where the probability is 0."""
    probability = log_probability.exp()
    return torch.where(probability > 0, probability * values, 0)
