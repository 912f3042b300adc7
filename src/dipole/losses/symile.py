"""Symile: the contrastive loss of three or more modalities at once.

Saporta, Puli, Goldstein, Ranganath: *Contrasting with Symile* (NeurIPS 2024).
"""

from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from dipole.errors import InputError
from dipole.losses.clip import check_modalities
from dipole.losses.common import Reduction, contrasted_rows, gathered_keys, reduce, unit_rows
from dipole.losses.info_nce import check_has_negatives
from dipole.ops import gather as gather_rows
from dipole.ops import pairwise_logsumexp
from dipole.ops.checks import check_choice, check_temperature
from dipole.ops.door import looking, public
from dipole.ops.rows import as_scalar

CANDIDATE_ENTRIES = 1 << 21  # of the products that stand in memory at a time


@public
def multilinear_inner_product(*tensors: Float[Tensor, "... d"]) -> Float[Tensor, "..."]:
    """Compute `MIP(v_1, …, v_M) = Σ_k Π_m v_m[k]`, the dot product of two vectors extended to M.

    Args:
        *tensors: (…, D), one a modality; axes before the last one are broadcast.

    Raises:
        InputError: fewer than two tensors came.

    Example:
        >>> x = torch.tensor([1.0, 2.0])
        >>> multilinear_inner_product(x, x, x)  # 1 + 8
        tensor(9.)
    """
    if len(tensors) < 2:
        raise InputError(f"{len(tensors)} tensors came: a multilinear inner product takes two or more.")
    return _product(tensors).sum(dim=-1)


@public
def symile_loss(
    modalities: Float[Tensor, "m n d"],
    *,
    temperature: float | Float[Tensor, ""] = 0.1,
    negatives: Literal["n", "n_squared"] = "n",
    permutations: Int[Tensor, "m others total"] | None = None,
    generator: torch.Generator | None = None,
    normalize: bool = True,
    gather: bool = False,
    reduction: Reduction = "mean",
) -> Float[Tensor, ""] | Float[Tensor, "n"]:
    """Compute Symile's loss: find the true tuple among tuples that share the anchor's embedding, for every anchor.

        ℓ_i = mean_a [ log( exp(MIP(r_1i, …, r_Mi) / τ) + Σ_{q∈Q_ai} exp(⟨r_ai, q⟩ / τ) ) − MIP(r_1i, …, r_Mi) / τ ]

    where a candidate q is the elementwise product of one embedding of each modality but a. The candidates Q_ai are

    - `"n"`: N − 1 tuples. The rows of each other modality are permuted, anew for every anchor, and multiplied;
      candidate i of row i is left out for the true tuple. Others may by chance hold parts of the true tuple.
    - `"n_squared"`: all N^(M−1) − 1 other tuples, as many as N² for three modalities.

    With two modalities `"n_squared"` is InfoNCE, averaged over the directions.

    Conventions: rows are normalised here (the authors leave that to the encoders); mean over the M anchors and the N
    samples. The MIP of unit vectors shrinks with M and D, so that τ must be free to become small. Neither logits nor
    all candidates are kept for the gradient.

    Args:
        modalities: (M, N, D) embeddings, two modalities or more; row i of each belongs to sample i.
        temperature: τ > 0, a number or a learnable scalar; the logit scale of the authors is 1 / τ.
        negatives: which tuples are contrasted.
        permutations: (M, M − 1, N) for `"n"` in place of a draw: the order of the rows of each other modality, in the
            order of the modalities, for each anchor. With `gather`, of the rows of all processes.
        generator: source of the draw.
        normalize: False for embeddings that end with a layer normalisation, as the authors' larger models do.
        gather: contrast against the samples of all processes; the draw of process 0 counts.
        reduction: over the samples.

    Returns:
        The loss, or (N,) values.

    Raises:
        InputError: fewer than two modalities, a value is not finite, the temperature is not positive, the permutations
            do not fit, or N = 1.

    Example:
        >>> z = torch.eye(4)
        >>> symile_loss(torch.stack([z, z, z]), temperature=1.0, negatives="n_squared")  # log(e + 15) − 1
        tensor(1.8746)
    """
    check_modalities(modalities)
    check_temperature(temperature)
    check_choice(negatives, ("n", "n_squared"), "negatives")
    if negatives == "n_squared" and permutations is not None:
        raise InputError('permutations came with negatives="n_squared", which takes all tuples: leave them out.')
    modalities = unit_rows(modalities, normalize)
    total = contrasted_rows(modalities[0], gather)
    check_has_negatives(total)
    everywhere, own = gathered_keys(modalities.transpose(0, 1), gather)
    candidates = everywhere.transpose(0, 1)
    if negatives == "n":
        if permutations is None:
            permutations = draw_permutations(len(modalities), total, generator)
        # The same on all processes: that of the first one.
        permutations = _checked(permutations, len(modalities), total).to(modalities.device, non_blocking=True)
        permutations = gather_rows(permutations)[: len(modalities)] if gather else permutations
    positive = multilinear_inner_product(*modalities) / temperature
    losses = []
    for anchor, queries in enumerate(modalities):
        others = torch.cat([candidates[:anchor], candidates[anchor + 1 :]])
        if permutations is not None:
            keys = permuted_candidates(others, permutations[anchor])
            negative = pairwise_logsumexp(queries, keys, 1 / temperature, exclude=own)
            denominator = torch.logaddexp(positive, negative)
        else:
            denominator = _all_tuples(queries, others, as_scalar(1 / temperature, queries))
        losses.append(denominator - positive)
    return reduce(torch.stack(losses).mean(dim=0), reduction)


@public
def draw_permutations(modalities: int, rows: int, generator: torch.Generator | None = None) -> Int[Tensor, "m o n"]:
    """Draw the orders of rows of `symile_loss`: (M, M − 1, N), independent for each anchor and other modality.

    Example:
        >>> draw_permutations(3, 5).shape
        torch.Size([3, 2, 5])
    """
    device = "cpu" if generator is None else generator.device
    return torch.rand(modalities, modalities - 1, rows, generator=generator, device=device).argsort(dim=-1)


@public
def permuted_candidates(others: Float[Tensor, "o n d"], permutations: Int[Tensor, "o n"]) -> Float[Tensor, "n d"]:
    """Compute the candidates of an anchor: candidate j is the product of row `permutations[q, j]` of modality q.

    Args:
        others: (M − 1, N, D) embeddings of the modalities but the anchor's.
        permutations: (M − 1, N).

    Example:
        >>> others = torch.tensor([[[1.0], [2.0]], [[3.0], [5.0]]])
        >>> permuted_candidates(others, torch.tensor([[0, 1], [1, 0]]))  # 1 · 5, 2 · 3
        tensor([[5.],
                [6.]])
    """
    return _product([rows[order] for rows, order in zip(others, permutations, strict=True)])


def _product(tensors: tuple[Tensor, ...] | list[Tensor]) -> Tensor:
    """Elementwise product, with broadcasting."""
    result = tensors[0]
    for tensor in tensors[1:]:
        result = result * tensor
    return result


def _checked(permutations: Tensor, modalities: int, rows: int) -> Tensor:
    """Require an order of the rows for each anchor and each other modality."""
    expected = (modalities, modalities - 1, rows)
    if permutations.shape != expected:
        raise InputError(f"permutations has shape {tuple(permutations.shape)}: expected {expected}.")
    every = torch.arange(rows, device=permutations.device).expand(expected)
    if looking() and not torch.equal(permutations.long().sort(dim=-1).values, every):
        raise InputError(f"permutations holds a row that is no order of the numbers 0 to {rows - 1}.")
    return permutations


def _all_tuples(queries: Tensor, others: Tensor, scale: Tensor) -> Tensor:
    """Log-sum-exp over the products of all combinations of rows, some combinations at a time."""
    first, rest = others[0], others[1:]
    rows = len(first)
    combinations = rows ** len(rest)
    step = max(1, CANDIDATE_ENTRIES // first.numel())
    sums = []
    for start in range(0, combinations, step):
        index = torch.arange(start, min(start + step, combinations), device=first.device)
        # Computed again for the gradient, so that only the results of a step are kept.
        sums.append(checkpoint(_some_tuples, queries, first, rest, index, scale, use_reentrant=False))
    return torch.stack(sums).logsumexp(dim=0)


def _some_tuples(queries: Tensor, first: Tensor, rest: Tensor, index: Tensor, scale: Tensor) -> Tensor:
    """Log-sum-exp over all rows of the first modality with the combinations of the others that `index` numbers."""
    keys = first[None]
    for number, rows in enumerate(rest):
        chosen = rows[index // len(first) ** number % len(first)]
        keys = keys * chosen[:, None]
    return pairwise_logsumexp(queries, keys.flatten(0, 1), scale)
