"""Temporal noise-contrastive estimation: pairs of sounds in several arrangements in time (TeminAL, TACT)."""

import math
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from dipole.errors import InputError
from dipole.losses.common import both_directions, contrasted_rows, unit_rows
from dipole.ops.checks import check_choice, check_embeddings, check_temperature
from dipole.ops.door import looking, public

Weights = float | Float[Tensor, "b b"]


@public
def tnce_loss(
    audio: Float[Tensor, "b n d"],
    text: Float[Tensor, "b n d"],
    *,
    temperature: float | Float[Tensor, ""] = 0.07,
    alpha_same: Weights = 1.0,
    alpha_cross: Weights = 1.0,
    beta: float | Float[Tensor, "b"] = 1.0,
    normalize: bool = True,
    gather: bool = False,
    reduction: Literal["sum", "weighted_mean", "none"] = "sum",
) -> Float[Tensor, ""] | Float[Tensor, "b n"]:
    """Compute CLIP's loss over blocks of arrangements, in which other arrangements of a pair of sounds are negatives.

    Block 0 holds the pairs as they are, block 1 in inverted order, block 2 overlaid. For anchor k of block b towards
    the other modality y, with s = cos / τ:

        ℓ_bk = −s(x_k^b, y_k^b) + log( Σ_m exp s(x_k^b, y_m^b)
               + Σ_{c≠b} [ α_same^bc exp s(x_k^b, y_k^c) + α_cross^bc Σ_{m≠k} exp s(x_k^b, y_m^c) ] )

        part_b = mean_k (ℓ of sounds towards texts + ℓ of texts towards sounds),   loss = Σ_b β_b part_b

    α_same weighs the same pair in another arrangement, α_cross the other pairs' arrangements. One block, or α = 0 and
    β = 0 but for block 0, is twice CLIP's loss.

    Conventions: rows are normalised here; **sum** of the two directions; mean over the pairs. Of N pairs, no matrix of
    (B N)² similarities is stored.

    TeminAL (arXiv 2408.09269), stage B. No code of it was found: the coupling of the overlaid block is inferred from
    the loss of its parent, Bagad, Tapaswi, Snoek: *Test of Time* (CVPR 2023), which has two blocks.

    Args:
        audio: (B, N, D) embeddings of the sounds, a block for each arrangement.
        text: (B, N, D) embeddings of their captions.
        temperature: τ > 0, a number or a learnable scalar.
        alpha_same: of all pairs of blocks, or (B, B), row of the anchor's block; the diagonal counts for nothing.
        alpha_cross: likewise.
        beta: of every block but the first, whose weight is 1; or (B,) of all.
        normalize: False if the rows are of unit length already.
        gather: contrast against the pairs of all processes.
        reduction: `"sum"` over the blocks, `"weighted_mean"`, which divides by Σ β, or `"none"`: (B, N), without β.

    Returns:
        The loss, or (B, N) values.

    Raises:
        InputError: shapes differ, a value is not finite, the temperature is not positive, a weight is negative, or
            there is one block of one pair.

    Example:
        >>> z = torch.eye(6).view(3, 2, 6)  # two pairs in three arrangements
        >>> tnce_loss(z, z, temperature=1.0)  # 3 · 2 · (log(e + 5) − 1)
        tensor(6.2616)
        >>> tnce_loss(z, z, temperature=1.0, alpha_same=0.0, alpha_cross=0.0, beta=0.0)  # 2 · (log(e + 1) − 1)
        tensor(0.6265)
    """
    if audio.shape != text.shape or audio.ndim != 3:
        raise InputError(f"audio is {tuple(audio.shape)}, text {tuple(text.shape)}: expected (B, N, D) of both.")
    check_embeddings(audio=audio.flatten(0, 1), text=text.flatten(0, 1))
    check_temperature(temperature)
    check_choice(reduction, ("sum", "weighted_mean", "none"), "reduction")
    blocks = len(audio)
    same, cross = _matrix(alpha_same, blocks, "alpha_same"), _matrix(alpha_cross, blocks, "alpha_cross")
    weight = _of_blocks(beta, blocks).to(audio.device, non_blocking=True)
    audio, text = unit_rows(audio, normalize), unit_rows(text, normalize)
    if blocks == 1 and contrasted_rows(audio[0], gather) < 2:
        raise InputError("one pair in one arrangement has no negatives: give two pairs, or a second block.")
    of_audio: list[list[Tensor]] = [[] for _ in range(blocks)]  # terms of the denominators, by block of the anchor
    of_text: list[list[Tensor]] = [[] for _ in range(blocks)]
    own: list[Tensor] = []
    for b in range(blocks):
        for c in range(blocks):
            logit = (audio[b] * text[c]).sum(dim=1) / temperature
            if b == c:
                denominators = both_directions(audio[b], text[b], temperature, gather)
                of_audio[b].append(denominators.queries)
                of_text[b].append(denominators.keys)
                own.append(-2 * logit)
                continue
            # A weight of 0 leaves the term out: log 0 has no place in a sum of half precision.
            if same[b][c]:
                of_audio[b].append(logit + math.log(same[b][c]))
            if same[c][b]:
                of_text[c].append(logit + math.log(same[c][b]))
            if not (cross[b][c] or cross[c][b]) or contrasted_rows(logit, gather) < 2:
                continue
            denominators = both_directions(audio[b], text[c], temperature, gather, exclude_own=True)
            if cross[b][c]:
                of_audio[b].append(denominators.queries + math.log(cross[b][c]))
            if cross[c][b]:
                of_text[c].append(denominators.keys + math.log(cross[c][b]))
    values = torch.stack(own) + torch.stack(
        [torch.stack(of_audio[b]).logsumexp(dim=0) + torch.stack(of_text[b]).logsumexp(dim=0) for b in range(blocks)]
    )
    if reduction == "none":
        return values
    loss = (weight.to(values.dtype) * values.mean(dim=1)).sum()
    return loss / weight.sum().to(values.dtype) if reduction == "weighted_mean" else loss


def _matrix(weights: Weights, blocks: int, name: str) -> list[list[float]]:
    """Weights of every pair of blocks."""
    if isinstance(weights, int | float) and math.isfinite(weights) and weights >= 0:
        return [[float(weights)] * blocks for _ in range(blocks)]
    values = torch.as_tensor(weights, dtype=torch.float64).detach()
    if values.ndim == 0:
        values = values.expand(blocks, blocks)
    if values.shape != (blocks, blocks) or (looking() and not bool((values.isfinite() & (values >= 0)).all())):
        raise InputError(f"{name} is {weights}: expected a number of at least 0, or ({blocks}, {blocks}) of them.")
    found: list[list[float]] = values.tolist()
    return found


def _of_blocks(beta: float | Tensor, blocks: int) -> Tensor:
    """Weights of the blocks."""
    values = torch.as_tensor(beta, dtype=torch.float64).detach()
    if values.ndim == 0:
        values = torch.cat([values.new_ones(1), values.expand(blocks - 1)])
    usable = (values.isfinite() & (values >= 0)).all() & (values.sum() > 0)
    if values.shape != (blocks,) or (looking() and not bool(usable)):
        raise InputError(f"beta is {beta}: expected a number of at least 0, or {blocks} of them, not all 0.")
    return values
