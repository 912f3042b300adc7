"""The training loss of SimCTG: a language model whose token representations differ."""

from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from dipole.errors import InputError
from dipole.losses.common import accumulate, unit_rows
from dipole.ops import pairwise_softmax_mean
from dipole.ops.checks import check_at_least, check_choice, check_embeddings
from dipole.ops.door import looking, public


@public
def token_contrastive_loss(
    hidden_states: Float[Tensor, "batch length width"],
    mask: Bool[Tensor, "batch length"] | None = None,
    *,
    margin: float = 0.5,
    normalize: bool = True,
    reduction: Literal["pooled", "sequence_mean"] = "pooled",
) -> Float[Tensor, ""]:
    """Compute SimCTG's contrastive term: the tokens of a sequence repel each other up to a margin.

        L_CL = Σ_i Σ_{j≠i} max(0, ρ − s(i,i) + s(i,j)) / (n (n − 1)),   s = cosine, s(i,i) = 1

    Conventions: rows are normalised here; both tokens of a pair get a gradient; with a batch, the hinges of all
    sequences are added and divided by the number of all pairs. No gradient reaches pairs with s ≤ 1 − ρ. The n×n
    matrix of a sequence is never stored.

    Su, Lan, Wang, Yogatama, Kong, Collier: *A Contrastive Framework for Neural Text Generation* (NeurIPS 2022), eq. 2.

    Args:
        hidden_states: (B, S, E) last hidden states.
        mask: (B, S), False for padding; sequences of one token have no pairs.
        margin: ρ, from 0 (no repulsion) to 2.
        normalize: False if the rows are of unit length already.
        reduction: `"pooled"` as in the authors' code, or `"sequence_mean"` as in the paper: the mean of the losses of
            the sequences. They differ when lengths do.

    Returns:
        The loss.

    Raises:
        InputError: no sequence has two tokens, a value is not finite, or an argument is out of range.

    Example:
        >>> token_contrastive_loss(torch.ones(1, 3, 4))  # all tokens alike: the whole margin
        tensor(0.5000)
        >>> token_contrastive_loss(torch.eye(4)[None])
        tensor(0.)
    """
    check_at_least(margin, 0, "margin")
    check_choice(reduction, ("pooled", "sequence_mean"), "reduction")
    if mask is not None and mask.shape != hidden_states.shape[:2]:
        raise InputError(
            f"mask has shape {tuple(mask.shape)}: expected {tuple(hidden_states.shape[:2])}, one entry for each token."
        )
    sums, pairs = [], []
    for number, sequence in enumerate(hidden_states):
        kept = None if mask is None else mask[number]
        if kept is not None and looking():
            sequence, kept = sequence[kept], None
        if len(sequence) < 2:
            continue
        check_embeddings(hidden_states=sequence)
        hinges, number_of_pairs = _hinges(sequence, kept, margin, normalize)
        sums.append(hinges)
        pairs.append(number_of_pairs)
    if not sums:
        raise InputError("no sequence has two tokens: there is nothing to contrast. Pass longer sequences.")
    total, numbers = torch.stack(sums), torch.stack(pairs)
    if reduction == "pooled":
        return total.sum() / numbers.sum().clamp_min(1)
    return (total / numbers.clamp_min(1)).sum() / (numbers > 0).sum().clamp_min(1)


def _hinges(tokens: Tensor, kept: Tensor | None, margin: float, normalize: bool) -> tuple[Tensor, Tensor]:
    """The sum of the hinges of all ordered pairs of tokens that are kept, and the number of the pairs."""
    own = torch.arange(len(tokens), device=tokens.device)
    count = torch.full_like(own[0], len(tokens)) if kept is None else kept.sum()
    left_out = own
    if kept is not None:
        tokens = torch.where(kept[:, None], tokens, 0)
        left_out = ~kept | (own[:, None] == own)
    unit = unit_rows(tokens, normalize)
    # The softmax mean with scale 0 is the plain mean over the other tokens.
    hinge = pairwise_softmax_mean(unit, unit, 0.0, lambda s: F.relu(margin - 1 + s), exclude=left_out)
    hinge = hinge if kept is None else torch.where(kept, hinge, 0)
    return hinge.sum() * (count - 1), count * (count - 1)


@public
def simctg_loss(
    hidden_states: Float[Tensor, "batch length width"],
    logits: Float[Tensor, "batch length vocabulary"],
    labels: Int[Tensor, "batch length"],
    mask: Bool[Tensor, "batch length"] | None = None,
    *,
    margin: float = 0.5,
    normalize: bool = True,
    reduction: Literal["pooled", "sequence_mean"] = "pooled",
) -> Float[Tensor, ""]:
    """Compute the loss of SimCTG: `L = L_MLE + L_CL`, next-token cross entropy plus `token_contrastive_loss`.

    Conventions: `labels[b, t]` is the token after position t, that is, already shifted; labels of −100 do not count;
    the cross entropy is the mean over all labels that do. ρ = 0 leaves the plain cross entropy.

    Su et al.: *A Contrastive Framework for Neural Text Generation* (NeurIPS 2022), eq. 3.

    Args:
        hidden_states: (B, S, E) last hidden states.
        logits: (B, S, V).
        labels: (B, S).
        mask: (B, S), False for padding.
        margin: ρ.
        normalize: False if the hidden states are of unit length already.
        reduction: of the contrastive term over the sequences.

    Returns:
        The loss.

    Raises:
        InputError: all labels are −100, or a check of `token_contrastive_loss` fails.

    Example:
        >>> hidden, logits = torch.eye(4)[None, :3], torch.zeros(1, 3, 8)
        >>> simctg_loss(hidden, logits, torch.tensor([[1, 2, -100]]))  # log 8
        tensor(2.0794)
    """
    if looking() and not bool((labels != -100).any()):
        raise InputError("all labels are -100: there is no next token to predict.")
    likelihood = F.cross_entropy(accumulate(logits).flatten(0, 1), labels.flatten().long(), ignore_index=-100)
    contrast = token_contrastive_loss(hidden_states, mask, margin=margin, normalize=normalize, reduction=reduction)
    return likelihood + contrast
