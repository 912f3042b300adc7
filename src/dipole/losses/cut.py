"""The loss of CUT: likelihood for what is right, unlikelihood for the tokens that a judgment blames."""

import math
from collections.abc import Callable
from typing import Literal, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from dipole.errors import InputError
from dipole.losses.common import accumulate
from dipole.ops.checks import check_at_least, check_choice
from dipole.ops.door import looking, public

IGNORED = -100  # label of what is no token of the response
LARGEST_PROBABILITY = 1 - 1e-6


class ResponseTokens(NamedTuple):
    """The tokens of the responses of a batch, one after another."""

    log_probability: Tensor  # (M,)
    token: Tensor  # (M,)
    sample: Tensor  # (M,) the row that each belongs to


class CUTTerms(NamedTuple):
    """The loss of CUT and its parts."""

    loss: Tensor
    likelihood: Tensor  # L2
    unlikelihood: Tensor  # L1; 0 without an unsatisfactory response
    inappropriate: Tensor  # (M⁻,) which tokens of the unsatisfactory responses are, in order


def response_tokens(
    logits: Float[Tensor, "batch length vocabulary"], labels: Int[Tensor, "batch length"]
) -> ResponseTokens:
    """Return the log probability of every token whose label is not −100.

    Logits at position t predict the label at t + 1; other positions are not normalised at all.

    Args:
        logits: (B, T, V).
        labels: (B, T), −100 outside of the response.

    Raises:
        InputError: the probability of a token is 0 or NaN, or a label is not in the vocabulary.

    Example:
        >>> tokens = response_tokens(torch.zeros(1, 3, 4), torch.tensor([[-100, 2, 1]]))
        >>> tokens.log_probability.exp(), tokens.token
        (tensor([0.2500, 0.2500]), tensor([2, 1]))
    """
    sample, place = (labels[:, 1:] != IGNORED).nonzero(as_tuple=True)
    token = labels[sample, place + 1].long()
    if looking() and bool(((token < 0) | (token >= logits.shape[-1])).any()):
        raise InputError(f"a label is not in the vocabulary of {logits.shape[-1]}: expected token ids, or -100.")
    picked = accumulate(logits[sample, place])
    log_probability = picked.gather(1, token[:, None]).squeeze(1) - picked.logsumexp(dim=1)
    if looking() and not math.isfinite(float(log_probability.detach().sum(dtype=torch.float64))):
        raise InputError("the probability of a token is 0 or NaN: look at the model's logits and the learning rate.")
    return ResponseTokens(log_probability, token, sample)


@public
def inappropriate_tokens(
    log_p_judged: Float[Tensor, "*tokens"], log_p_plain: Float[Tensor, "*tokens"], *, threshold: float = 1.1
) -> Bool[Tensor, "*tokens"]:
    """Return which tokens a negative judgment makes more probable: `p(y | x, j⁻) > λ p(y | x)`, strictly.

    The comparison is of logarithms, and nothing can be differentiated through it.

    Xu et al.: *Reasons to Reject? Aligning Language Models with Judgments* (Findings of ACL 2024), section 4.

    Args:
        log_p_judged: log probability of each token after instruction and judgment.
        log_p_plain: log probability of the same token without the judgment.
        threshold: λ, above 0; below 1 nearly every token is inappropriate, and with a large one none.

    Raises:
        InputError: λ is not above 0.

    Example:
        >>> inappropriate_tokens(torch.tensor([0.6, 0.3]).log(), torch.tensor([0.3, 0.3]).log())
        tensor([ True, False])
    """
    _check_threshold(threshold)
    return log_p_judged.detach() - log_p_plain.detach() > math.log(threshold)


def unlikelihood(log_p: Float[Tensor, "*tokens"]) -> Float[Tensor, "*tokens"]:
    """Compute `−log(1 − p)` of tokens from log p; p counts as 1 − 10⁻⁶ at most.

    Welleck et al.: *Neural Text Generation with Unlikelihood Training* (ICLR 2020), eq. 2.

    Example:
        >>> unlikelihood(torch.tensor([0.5]).log())  # log 2
        tensor([0.6931])
    """
    return -torch.log1p(-log_p.exp().clamp_max(LARGEST_PROBABILITY))


@public
def cut_loss(
    logits_judged: Float[Tensor, "batch length vocabulary"],
    labels: Int[Tensor, "batch length"],
    logits_plain: Float[Tensor, "batch length_plain vocabulary"],
    labels_plain: Int[Tensor, "batch length_plain"],
    is_negative: Bool[Tensor, "batch"],
    *,
    alpha: float = 1.0,
    threshold: float = 1.1,
    gamma: float = 0.0,
    reduction: Literal["token", "sample"] = "token",
    combine: Literal["mean", "sum"] = "mean",
) -> Float[Tensor, ""]:
    """Compute the loss of contrastive unlikelihood training (CUT) from three alignments of responses.

        U  = {t : p⁻_t > λ p⁺_t},   p⁻ = p(y_t | y_<t, x, j⁻),   p⁺ = p(y_t | y_<t, x)
        L1 = −(Σ_{t∉U} log p⁺_t + Σ_{t∈U} α (p⁻_t)^γ log(1 − p⁺_t)) / N      of unsatisfactory responses
        L2 = −Σ_t log p(y_t | y_<t, x or x with j⁻) / N                       of all responses
        L  = (L1 + L2) / 2,   or L2 if no response is unsatisfactory

    Conventions: logits at t predict the label at t + 1, as in transformers. The defaults are those of the authors'
    code: means over all tokens of the batch, L1 over those of the unsatisfactory responses. The paper's loss is
    `reduction="sample"`, `combine="sum"`, which averages within a response first, and adds. U and the weight are
    constants: L1 reaches p⁺ alone.

    Xu, Cai, Jiang, Zhang, Chen: *Reasons to Reject? Aligning Language Models with Judgments* (Findings of ACL 2024).

    Args:
        logits_judged: (B, T, V) after instruction and judgment; after the instruction alone for satisfactory ones.
        labels: (B, T), −100 outside of the response.
        logits_plain: (B, T', V) after the instruction, with a fake positive judgment or none; not looked at for
            satisfactory responses.
        labels_plain: (B, T') of the same response.
        is_negative: (B,) whether a response is unsatisfactory.
        alpha: α, weight of the unlikelihood; authors: 1.0 online, 0.5 offline.
        threshold: λ; authors: 1.1 online, 1.2 offline.
        gamma: γ of the paper's weight; 0 in the authors' code.
        reduction: `"token"` or `"sample"`.
        combine: `"mean"` or `"sum"` of L1 and L2.

    Returns:
        The loss.

    Raises:
        InputError: no response has a token, a response differs between both prompts, a probability is 0 or NaN, or
            an argument is out of range.

    Example:
        >>> labels = torch.tensor([[-100, 0, 1]])
        >>> judged = torch.tensor([[[0.5, 0.5], [0.2, 0.8], [0.5, 0.5]]]).log()
        >>> plain = torch.full((1, 3, 2), 0.5).log()  # the judgment makes token 1 more likely
        >>> cut_loss(judged, labels, plain, labels, torch.tensor([True]))  # (log 2 + (log 2 − log 0.8) / 2) / 2
        tensor(0.5756)
    """
    _check_settings(alpha, gamma, reduction, combine)
    if not looking():
        return _unselected(
            logits_judged,
            labels,
            logits_plain,
            labels_plain,
            is_negative,
            contrast=lambda judged, plain: _contrast(judged, plain, alpha, threshold, gamma)[0],
            reduction=reduction,
            combine=combine,
        )
    negative = is_negative.nonzero().squeeze(1)
    plain = response_tokens(logits_plain[negative], labels_plain[negative])
    plain = plain._replace(sample=negative[plain.sample])
    return cut_terms(
        response_tokens(logits_judged, labels),
        plain,
        is_negative,
        alpha=alpha,
        threshold=threshold,
        gamma=gamma,
        reduction=reduction,
        combine=combine,
    ).loss


def cut_terms(
    judged: ResponseTokens,
    plain: ResponseTokens,
    is_negative: Bool[Tensor, "batch"],
    *,
    alpha: float = 1.0,
    threshold: float = 1.1,
    gamma: float = 0.0,
    reduction: Literal["token", "sample"] = "token",
    combine: Literal["mean", "sum"] = "mean",
) -> CUTTerms:
    """Compute the loss of CUT and its parts from the tokens of the responses; see `cut_loss`.

    Args:
        judged: tokens of all responses.
        plain: the same tokens, of the unsatisfactory responses alone, after the plain prompt.
        is_negative: (B,) whether a response is unsatisfactory.
        alpha: α.
        threshold: λ.
        gamma: γ.
        reduction: `"token"` or `"sample"`.
        combine: `"mean"` or `"sum"`.

    Raises:
        InputError: see `cut_loss`.

    Example:
        >>> labels, none = torch.tensor([[-100, 1]]), torch.tensor([False])
        >>> tokens = response_tokens(torch.zeros(1, 2, 2), labels)
        >>> cut_terms(tokens, ResponseTokens(*(part[:0] for part in tokens)), none).loss  # log 2
        tensor(0.6931)
    """
    _check_settings(alpha, gamma, reduction, combine)
    if len(judged.token) == 0:
        raise InputError("no response has a token: all labels are -100.")
    blamed = is_negative[judged.sample]
    if not (torch.equal(judged.token[blamed], plain.token) and torch.equal(judged.sample[blamed], plain.sample)):
        raise InputError(
            "a response differs between both prompts: the labels must hold the same tokens of the same samples. A "
            "prompt that is too long must be cut on the left."
        )
    likelihood = response_mean(-judged.log_probability, judged.sample, reduction)
    log_p, own = judged.log_probability[blamed], plain.log_probability
    values, inappropriate = _contrast(log_p, own, alpha, threshold, gamma)
    if len(plain.token) == 0:
        return CUTTerms(likelihood, likelihood, likelihood.detach() * 0, inappropriate)
    contrast = response_mean(values, plain.sample, reduction)
    total = likelihood + contrast
    return CUTTerms(total / 2 if combine == "mean" else total, likelihood, contrast, inappropriate)


def _contrast(judged: Tensor, plain: Tensor, alpha: float, threshold: float, gamma: float) -> tuple[Tensor, Tensor]:
    """The terms of L1 from the log probabilities of tokens, and which tokens are inappropriate."""
    inappropriate = inappropriate_tokens(judged, plain, threshold=threshold)
    weight = alpha * (gamma * judged.detach()).exp()
    # Each of the two logarithms only where it counts: the other one may be infinite.
    return torch.where(inappropriate, weight * unlikelihood(plain), -plain), inappropriate


def _unselected(
    logits: Tensor,
    labels: Tensor,
    logits_plain: Tensor,
    labels_plain: Tensor,
    is_negative: Tensor,
    *,
    contrast: Callable[[Tensor, Tensor], Tensor],
    reduction: Literal["token", "sample"],
    combine: Literal["mean", "sum"],
) -> Tensor:
    """`cut_loss` where it is not known how many tokens there are: all positions are normalised, and some count."""
    judged, plain, tokens = _aligned(logits, labels, logits_plain, labels_plain, is_negative)
    blamed = tokens & is_negative[:, None]
    likelihood = _masked_mean(-judged, tokens, reduction)
    total = likelihood + _masked_mean(contrast(judged, plain), blamed, reduction)
    return torch.where(blamed.any(), total / 2 if combine == "mean" else total, likelihood)


def _aligned(
    logits: Tensor, labels: Tensor, logits_plain: Tensor, labels_plain: Tensor, is_negative: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Log probabilities (B, T − 1) of tokens after both prompts, at their places after the first, and where they are.

    0 where there is no token, and after the second prompt where the response is satisfactory.
    """
    tokens, of_plain = labels[:, 1:] != IGNORED, (labels_plain[:, 1:] != IGNORED) & is_negative[:, None]
    found = []
    for given, target, kept in ((logits, labels, tokens), (logits_plain, labels_plain, of_plain)):
        rows = accumulate(torch.where(kept[..., None], given[:, :-1], 0))
        picked = rows.gather(2, torch.where(kept, target[:, 1:].long(), 0)[..., None]).squeeze(2)
        found.append(torch.where(kept, picked - rows.logsumexp(dim=2), 0))
    places = of_plain.to(torch.uint8).argsort(dim=1, descending=True, stable=True)
    number = (tokens.cumsum(dim=1) - 1).clamp(0, places.shape[1] - 1)
    return found[0], found[1].gather(1, places.gather(1, number)), tokens


def _masked_mean(values: Tensor, kept: Tensor, reduction: Literal["token", "sample"]) -> Tensor:
    """`response_mean` of the values (B, T) that are kept; 0 if none are."""
    sums, count = torch.where(kept, values, 0).sum(dim=1), kept.sum(dim=1)
    if reduction == "token":
        return sums.sum() / count.sum().clamp_min(1)
    return (sums / count.clamp_min(1)).sum() / (count > 0).sum().clamp_min(1)


def response_mean(
    values: Float[Tensor, "tokens"], sample: Int[Tensor, "tokens"], reduction: Literal["token", "sample"]
) -> Float[Tensor, ""]:
    """Average over all tokens, or within each response that has tokens and then over these.

    Example:
        >>> response_mean(torch.tensor([1.0, 1.0, 4.0]), torch.tensor([0, 0, 2]), "sample")
        tensor(2.5000)
    """
    if reduction == "token":
        return values.mean()
    _, place, count = sample.unique(return_inverse=True, return_counts=True)
    return (values.new_zeros(len(count)).index_add(0, place, values) / count).mean()


def _check_settings(alpha: float, gamma: float, reduction: str, combine: str) -> None:
    """Require settings in their ranges."""
    check_at_least(alpha, 0, "alpha")
    check_at_least(gamma, 0, "gamma")
    check_choice(reduction, ("token", "sample"), "reduction")
    check_choice(combine, ("mean", "sum"), "combine")


def _check_threshold(threshold: float) -> None:
    """Require a finite λ above 0."""
    if not (math.isfinite(threshold) and threshold > 0):
        raise InputError(f"threshold is {threshold}: expected a number above 0; 1.1 to 1.2 is usual.")
