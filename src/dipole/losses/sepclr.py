"""SepCLR: what two populations share, what only one has, and no information between the two."""

import math
from typing import Literal, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from dipole.errors import InputError
from dipole.losses.common import accumulate, unit_rows
from dipole.ops.checks import check_at_least, check_choice, check_same_rows, check_temperature
from dipole.ops.door import looking, public
from dipole.ops.plain import logsumexp

Leakage = Literal["jem", "kernel_mi", "none"]
DISCRETE_SCALE = 1e-5  # of the kernel that is 1 where attributes are equal


class SepCLRTerms(NamedTuple):
    """The loss and its parts."""

    loss: Tensor
    common_alignment: Tensor
    common_uniformity: Tensor
    salient_alignment: Tensor
    salient_uniformity: Tensor
    information_less: Tensor
    leakage: Tensor


class DisentangledTerms(NamedTuple):
    """The loss of the supervised variant and its parts."""

    loss: Tensor
    common: Tensor
    salient: Tensor
    leakage: Tensor


def log_kernel(x: Tensor, tau: float) -> Tensor:
    """Compute `−‖x_i − x_j‖² / 2τ` of all pairs (N, N), with a gradient of 0 where rows are equal.

    Example:
        >>> log_kernel(torch.tensor([[0.0], [2.0]]), 0.5)
        tensor([[-0., -4.],
                [-4., -0.]])
    """
    # Not by inner products, whose differences lose the digits of close rows; its gradient at 0 is 0.
    distances = torch.cdist(x, x, compute_mode="donot_use_mm_for_euclid_dist")
    return -distances.square() / (2 * tau)


@public
def alignment_loss(
    x: Float[Tensor, "n d"], y: Float[Tensor, "n d"], *, alpha: float = 2.0, tau: float = 0.5
) -> Float[Tensor, ""]:
    """Compute `mean_i ‖x_i − y_i‖^α / 2τ`; 0 without rows.

    Wang, Isola: *Alignment and Uniformity on the Hypersphere* (ICML 2020), eq. 4, on rows as they are.

    Args:
        x: (N, D), as it is.
        y: (N, D).
        alpha: α, 1 or more.
        tau: τ.

    Raises:
        InputError: shapes differ, or a setting out of range.

    Example:
        >>> alignment_loss(torch.zeros(2, 2), torch.ones(2, 2))
        tensor(2.)
    """
    check_at_least(alpha, 1, "alpha")
    if x.shape != y.shape:
        raise InputError(f"x has shape {tuple(x.shape)}, y {tuple(y.shape)}: row i of each must belong to a sample i.")
    return _alignment(accumulate(x), accumulate(y), tau, alpha=alpha)


def _alignment(x: Tensor, y: Tensor, tau: float, among: Tensor | None = None, alpha: float = 2.0) -> Tensor:
    """Alignment of the rows `among` all; 0 without rows."""
    check_temperature(tau, "tau")
    square = (x - y).square().sum(dim=1)
    if alpha != 2:
        # The root of 0 has no finite gradient.
        square = torch.where(square > 0, square.clamp_min(torch.finfo(x.dtype).tiny) ** (alpha / 2), square)
    return _mean_among(square, among) / (2 * tau)


def _mean_among(values: Tensor, among: Tensor | None) -> Tensor:
    """Mean of the values that count, of all if `among` is None; 0 without any."""
    if among is None:
        return values.mean() if values.numel() else values.sum()
    return torch.where(among, values, 0).sum() / among.sum().clamp_min(1)


@public
def uniformity_loss(x: Float[Tensor, "n d"], *, tau: float = 0.5) -> Float[Tensor, ""]:
    """Compute `log mean_{i<j} exp(−‖x_i − x_j‖² / 2τ)`; 0 of a single row.

    Wang, Isola: *Alignment and Uniformity on the Hypersphere* (ICML 2020), eq. 5, on rows as they are.

    Args:
        x: (N, D), as it is.
        tau: τ.

    Example:
        >>> uniformity_loss(torch.tensor([[0.0], [1.0]]))
        tensor(-1.)
    """
    return _uniformity(accumulate(x), tau, None)


def _uniformity(x: Tensor, tau: float, same: Tensor | None) -> Tensor:
    """Uniformity; without the pairs within `same`, if it is given."""
    check_temperature(tau, "tau")
    rows, columns = torch.triu_indices(len(x), len(x), offset=1, device=x.device)
    if not len(rows):
        return x.sum() * 0
    pairs = log_kernel(x, tau)[rows, columns]
    if same is None:
        return pairs.logsumexp(dim=0) - math.log(len(rows))
    kept = ~(same[rows] & same[columns])
    count = kept.sum()
    mean = logsumexp(pairs.masked_fill(~kept, -math.inf), dim=0) - count.clamp_min(1).log()
    return torch.where(count > 0, mean, 0)


@public
def joint_entropy_loss(
    common: Float[Tensor, "n d"], salient: Float[Tensor, "n e"], *, tau: float = 0.5
) -> Float[Tensor, ""]:
    """Compute `mean_i log mean_j k(c_i, c_j) k(s_i, s_j)` with a Gaussian kernel, j = i included (k-JEM).

    It is minus the estimate of the joint entropy H(c, s) by kernel densities: the smaller it is, the less common and
    salient part tell of each other while each keeps its own entropy.

    Louiset, Duchesnay, Grigis, Gori: *Separating common from salient patterns with Contrastive Representation Learning*
    (ICLR 2024).

    Args:
        common: (N, D), as it is.
        salient: (N, E), as it is.
        tau: τ.

    Raises:
        InputError: other numbers of rows.

    Example:
        >>> joint_entropy_loss(torch.zeros(2, 1), torch.zeros(2, 1))
        tensor(0.)
    """
    check_temperature(tau, "tau")
    common, salient = accumulate(common), accumulate(salient)
    if len(common) != len(salient) or not len(common):
        raise InputError(f"{len(common)} common and {len(salient)} salient rows came: expected one of each.")
    joint = log_kernel(common, tau) + log_kernel(salient, tau)
    return joint.logsumexp(dim=1).mean() - math.log(len(common))


@public
def kernel_entropy(x: Float[Tensor, "n d"], *, tau: float = 0.5) -> Float[Tensor, ""]:
    """Compute `H(x) = −mean_i log mean_j k(x_i, x_j)`, up to a constant of the kernel.

    Args:
        x: (N, D), as it is.
        tau: τ.

    Example:
        >>> kernel_entropy(torch.tensor([[0.0], [100.0]]))  # log 2
        tensor(0.6931)
    """
    check_temperature(tau, "tau")
    if not len(x):
        raise InputError("no rows came: an entropy needs one at least.")
    return math.log(len(x)) - log_kernel(accumulate(x), tau).logsumexp(dim=1).mean()


@public
def kernel_mutual_information(
    common: Float[Tensor, "n d"], salient: Float[Tensor, "n e"], *, tau: float = 0.5
) -> Float[Tensor, ""]:
    """Compute `H(c) + H(s) − H(c, s)` with the entropies of `kernel_entropy` and `joint_entropy_loss`.

    Args:
        common: (N, D), as it is.
        salient: (N, E), as it is.
        tau: τ.

    Example:
        >>> x = torch.tensor([[0.0], [100.0]])
        >>> kernel_mutual_information(x, x)  # all of log 2
        tensor(0.6931)
    """
    joint = joint_entropy_loss(common, salient, tau=tau)
    return kernel_entropy(common, tau=tau) + kernel_entropy(salient, tau=tau) + joint


@public
def gate_salient(salient: Float[Tensor, "n e"], target: Bool[Tensor, "n"]) -> Float[Tensor, "n e"]:
    """Return salient rows of the target population, and zeros, without gradient, for the background.

    Args:
        salient: (N, E).
        target: (N,) True for the target population.

    Example:
        >>> gate_salient(torch.ones(2, 1), torch.tensor([True, False])).flatten()
        tensor([1., 0.])
    """
    return torch.where(target[:, None], salient, 0)


@public
def sepclr_loss(
    common1: Float[Tensor, "n d"],
    common2: Float[Tensor, "n d"],
    salient1: Float[Tensor, "n e"],
    salient2: Float[Tensor, "n e"],
    target: Bool[Tensor, "n"] | Int[Tensor, "n"],
    *,
    salient_weight: float = 1.0,
    information_weight: float = 1.0,
    leakage_weight: float = 10.0,
    uniformity_weight: float = 2.0,
    tau: float = 0.5,
    leakage: Leakage = "jem",
    background_pairs: bool = True,
) -> SepCLRTerms:
    """Compute SepCLR's loss of two views, with gated salient rows s̃ (zeros for the background):

        align(c) + γ unif(c) + λ_S [align(s of targets) + γ unif(s̃)] + λ_R mean ‖s of background‖² + λ_J jem(c, s̃)

    Conventions: common rows are normalised here, salient ones are not; γ is the uniformity's weight, whose two views
    are averaged, as are those of the last two terms. A part without samples is 0.

    Louiset et al.: *SepCLR* (ICLR 2024), section 3.

    Args:
        common1: (N, D) common embeddings of view 1.
        common2: of view 2.
        salient1: (N, E) salient embeddings of view 1.
        salient2: of view 2.
        target: (N,) 1 or True for the target population, 0 for the background.
        salient_weight: λ_S.
        information_weight: λ_R.
        leakage_weight: λ_J.
        uniformity_weight: γ.
        tau: τ of all kernels.
        leakage: `"jem"`, `"kernel_mi"` (the kernel estimate of mutual information) or `"none"`.
        background_pairs: count pairs of two background samples, which are constant, in the salient uniformity, as the
            authors' code does.

    Raises:
        InputError: shapes differ, a population that is neither 0 nor 1, or a setting out of range.

    Example:
        >>> c, s = torch.eye(4), torch.zeros(4, 2)
        >>> found = sepclr_loss(c, c, s, s, torch.tensor([0, 0, 1, 1]))
        >>> found.common_alignment, found.common_uniformity.round(decimals=4)
        (tensor(0.), tensor(-2.))
    """
    check_same_rows(common1=common1, common2=common2)
    check_same_rows(salient1=salient1, salient2=salient2)
    check_choice(leakage, ("jem", "kernel_mi", "none"), "leakage")
    for name, value in (
        ("salient_weight", salient_weight),
        ("information_weight", information_weight),
        ("leakage_weight", leakage_weight),
        ("uniformity_weight", uniformity_weight),
    ):
        check_at_least(value, 0, name)
    if target.shape != common1.shape[:1] or (looking() and not bool(((target == 0) | (target == 1)).all())):
        raise InputError(f"target has shape {tuple(target.shape)}: expected 0 (background) or 1 for each row.")
    of_target = target.bool()
    commons = [unit_rows(common1), unit_rows(common2)]
    salients = [accumulate(salient1), accumulate(salient2)]
    gated = [gate_salient(rows, of_target) for rows in salients]
    apart = None if background_pairs else ~of_target
    common_alignment = alignment_loss(*commons, tau=tau)
    common_uniformity = _mean([_uniformity(rows, tau, None) for rows in commons])
    salient_alignment = _alignment(salients[0], salients[1], tau, of_target)
    salient_uniformity = _mean([_uniformity(rows, tau, apart) for rows in gated])
    information = _mean([_alignment(torch.zeros_like(rows), rows, tau, ~of_target) for rows in salients])
    measure = {"jem": joint_entropy_loss, "kernel_mi": kernel_mutual_information}.get(leakage)
    between = commons[0].new_zeros(())
    if measure is not None:
        between = _mean([measure(c, s, tau=tau) for c, s in zip(commons, gated, strict=True)])
    total = (
        common_alignment
        + uniformity_weight * common_uniformity
        + salient_weight * (salient_alignment + uniformity_weight * salient_uniformity)
        + information_weight * information
        + leakage_weight * between
    )
    return SepCLRTerms(
        total,
        common_alignment,
        common_uniformity,
        salient_alignment,
        salient_uniformity,
        information,
        between,
    )


def _mean(values: list[Tensor]) -> Tensor:
    """Mean of scalars."""
    return torch.stack(values).mean()


@public
def supervised_alignment_loss(
    x: Float[Tensor, "n"],
    y: Float[Tensor, "n"],
    *,
    tau: float = 0.025,
    discrete: bool = False,
    discrete_scale: float = DISCRETE_SCALE,
) -> Float[Tensor, ""]:
    """Compute `mean_{i<j} k(y_i, y_j) (x_i − x_j)²`: a dimension is close where an attribute is.

    Args:
        x: (N,) a salient dimension.
        y: (N,) the attribute that it encodes.
        tau: of the kernel `exp(−(y_i − y_j)² / 2τ)`.
        discrete: the kernel `exp(−(y_i − y_j)² / scale)` instead, 1 where attributes are equal and else next to 0.
        discrete_scale: of that kernel.

    Raises:
        InputError: the scale of the kernel is not above 0.

    Example:
        >>> supervised_alignment_loss(torch.tensor([0.0, 1.0]), torch.tensor([3.0, 3.0]))
        tensor(1.)
    """
    check_temperature(discrete_scale if discrete else tau, "discrete_scale" if discrete else "tau")
    return _supervised_alignment(x, y, discrete_scale if discrete else 2 * tau)


def _supervised_alignment(x: Tensor, y: Tensor, scale: float, among: Tensor | None = None) -> Tensor:
    """Supervised alignment of the rows `among` all; 0 with less than two."""
    rows, columns = torch.triu_indices(len(x), len(x), offset=1, device=x.device)
    kernel = (-(y[rows] - y[columns]).square() / scale).exp()
    both = None if among is None else among[rows] & among[columns]
    return _mean_among(kernel * (x[rows] - x[columns]).square(), both)


@public
def disentangled_sepclr_loss(
    common1: Float[Tensor, "n d"],
    common2: Float[Tensor, "n d"],
    salient: Float[Tensor, "n a"],
    attributes: Float[Tensor, "n a"],
    target: Bool[Tensor, "n"] | Int[Tensor, "n"],
    *,
    salient_weight: float = 100.0,
    leakage_weight: float = 10.0,
    tau: float = 0.5,
    attribute_tau: float = 0.025,
    discrete: int = 1,
    discrete_scale: float = DISCRETE_SCALE,
) -> DisentangledTerms:
    """Compute the supervised variant: salient dimension a encodes attribute a of the targets.

        align(c) + mean unif(c) + λ_S · mean_a { unif(s̃_a) + ½ [supervised alignment + align(0, s_a of background)] }
        + λ_J · jem(c¹, s̃)

    Louiset et al.: *SepCLR* (ICLR 2024), as in the authors' code for dSprites, which divides by 5 attributes.

    Args:
        common1: (N, D) common embeddings of the plain images.
        common2: of a view of them.
        salient: (N, A) salient embeddings of the plain images.
        attributes: (N, A), read where targets.
        target: (N,) 1 or True for the target population.
        salient_weight: λ_S.
        leakage_weight: λ_J.
        tau: τ of the kernels.
        attribute_tau: τ of continuous attributes, also for their background.
        discrete: the first so many attributes are compared by equality.
        discrete_scale: see `supervised_alignment_loss`.

    Raises:
        InputError: shapes do not fit, or a setting out of range.

    Example:
        >>> c, s = torch.eye(4), torch.zeros(4, 2)
        >>> disentangled_sepclr_loss(c, c, s, s, torch.tensor([0, 0, 1, 1])).salient
        tensor(0.)
    """
    check_same_rows(common1=common1, common2=common2)
    check_same_rows(salient=salient, attributes=attributes)
    check_temperature(discrete_scale, "discrete_scale")
    check_temperature(attribute_tau, "attribute_tau")
    of_target = target.bool()
    c1, c2, s = unit_rows(common1), unit_rows(common2), accumulate(salient)
    gated = gate_salient(s, of_target)
    common = alignment_loss(c1, c2, tau=tau) + _mean([uniformity_loss(rows, tau=tau) for rows in (c1, c2)])
    parts = []
    for number in range(s.shape[1]):
        category, dimension = number < discrete, s[:, number : number + 1]
        known = torch.where(of_target, attributes[:, number], 0).to(s.dtype)  # of the background it may be anything
        aligned = _supervised_alignment(
            s[:, number], known, discrete_scale if category else 2 * attribute_tau, of_target
        )
        null_tau = tau if category else attribute_tau
        null = _alignment(torch.zeros_like(dimension), dimension, null_tau, ~of_target)
        parts.append(uniformity_loss(gated[:, number : number + 1], tau=tau) + (aligned + null) / 2)
    of_salient, between = _mean(parts), joint_entropy_loss(c1, gated, tau=tau)
    total = common + salient_weight * of_salient + leakage_weight * between
    return DisentangledTerms(total, common, of_salient, between)
