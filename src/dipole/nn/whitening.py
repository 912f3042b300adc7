"""Whitening of channel groups."""

from typing import Any, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from dipole.errors import InputError
from dipole.losses.common import accumulate
from dipole.ops.checks import check_at_least, check_choice, check_embeddings
from dipole.ops.derivatives import first_derivative_only


def group_whiten(
    x: Float[Tensor, "n d"],
    num_groups: int,
    permutation: Int[Tensor, "d"] | None = None,
    *,
    eps: float = 0.0,
    detach: bool = True,
) -> Float[Tensor, "n d"]:
    """Whiten groups of channels, so that the covariance of each group over the batch is the identity (ZCA).

    The permuted channels are cut into G consecutive groups of k = D / G. For each group

        X̃ = X − mean(X),   Σ = X̃ᵀ X̃ / N,   Y = X̃ Σ^(−1/2)

    and the permutation is undone. Half precision is computed in float32.

    Zhuo, Sun, Wang, Zhu, Yang: *WhitenedCSE* (ACL 2023).

    Args:
        x: (N, D) batch.
        num_groups: G, a divisor of D; 1 whitens all channels together, D standardises each.
        permutation: (D,) channel at each place; the order of x if None.
        eps: eigenvalues of Σ below ε times the mean variance of all channels are raised to it. With 0 a covariance
            without full rank, as of collinear channels, gives enormous values.
        detach: treat Σ^(−1/2) as a constant in the gradient. If False the gradient is exact, and finite for equal
            eigenvalues too.

    Returns:
        (N, D), in float32 or float64.

    Raises:
        InputError: N = 1, D is no multiple of G, N ≤ k with eps = 0, or a value is not finite.

    Example:
        >>> x = torch.tensor([[1.0, 5.0], [3.0, 1.0]])
        >>> group_whiten(x, 2)  # one channel a group: standardised
        tensor([[-1.,  1.],
                [ 1., -1.]])
    """
    check_embeddings(x=x)
    check_groups(x.shape[1], num_groups)
    check_at_least(eps, 0, "eps")
    rows, width = len(x), x.shape[1] // num_groups
    if rows < 2:
        raise InputError("a batch of 1 sample has no covariance: use a batch of 2 or more.")
    if eps == 0 and rows <= width:
        raise InputError(
            f"{rows} samples in groups of {width} channels have no full covariance: use more samples or groups, or eps."
        )
    with torch.autocast(x.device.type, enabled=False):
        x = accumulate(x)
        channels = x if permutation is None else x[:, permutation]
        groups = channels.view(rows, num_groups, width).transpose(0, 1)
        centred = groups - groups.mean(dim=1, keepdim=True)
        covariance = centred.mT @ centred / rows
        root = _InverseSquareRoot.apply(covariance.detach() if detach else covariance, eps)
        whitened = (centred @ root).transpose(0, 1).reshape(rows, -1)
    if permutation is None:
        return whitened
    return whitened[:, permutation.argsort()]


class ShuffledGroupWhitening(nn.Module):
    """Whiten groups of channels, drawn anew for every view and step.

    Each view then differs from the others by the channels it was decorrelated with. In evaluation mode there is one
    permutation, and the statistics are those of all rows given. Statistics are always those of the batch, in a
    distributed run of the process's own.

    Zhuo, Sun, Wang, Zhu, Yang: *WhitenedCSE* (ACL 2023).

    Args:
        dim: D, channels.
        num_groups: G, a divisor of D.
        shuffle: draw the channels of the groups; without it they are consecutive. Irrelevant for 1 or D groups.
        eps: see `group_whiten`.
        detach: see `group_whiten`.
        layout: `"paper"`: view v is whitened over the N samples. `"official"`: the authors' code cuts the rows, all
            views of sample 0 first, into V blocks of N rows, so that a block holds all views of N / V samples.

    Raises:
        InputError: D is no multiple of G.

    Example:
        >>> whitening = ShuffledGroupWhitening(6, num_groups=3)
        >>> whitening(torch.randn(3, 8, 6)).shape
        torch.Size([3, 8, 6])
    """

    def __init__(
        self,
        dim: int,
        num_groups: int = 128,
        *,
        shuffle: bool = True,
        eps: float = 1e-5,
        detach: bool = True,
        layout: Literal["paper", "official"] = "paper",
    ) -> None:
        super().__init__()
        check_groups(dim, num_groups)
        check_at_least(eps, 0, "eps")
        check_choice(layout, ("paper", "official"), "layout")
        self.dim, self.num_groups = dim, num_groups
        self.shuffle = shuffle and 1 < num_groups < dim
        self.eps, self.detach, self.layout = eps, detach, layout

    def forward(
        self,
        x: Float[Tensor, "v n d"] | Float[Tensor, "n d"],
        permutations: Int[Tensor, "blocks d"] | None = None,
        generator: torch.Generator | None = None,
    ) -> Float[Tensor, "v n d"] | Float[Tensor, "n d"]:
        """Whiten views (V, N, D), or one (N, D).

        Args:
            x: the views.
            permutations: (V, D) in place of a draw; (1, D) in evaluation mode.
            generator: of the draw.
        """
        if x.shape[-1] != self.dim or x.ndim not in (2, 3):
            raise InputError(f"x has shape {tuple(x.shape)}: expected views (V, N, {self.dim}).")
        views = x.view(-1, *x.shape[-2:])
        official = self.layout == "official"
        blocks = views.transpose(0, 1) if official else views
        blocks = blocks.reshape(-1, self.dim)[None] if not self.training else blocks.reshape(views.shape)
        if permutations is None and self.shuffle:
            # Sorting random numbers draws all permutations at once, on the device.
            device = x.device if generator is None else generator.device
            permutations = torch.rand(len(blocks), self.dim, generator=generator, device=device).argsort(dim=1)
        whitened = torch.stack(
            [
                group_whiten(
                    block,
                    self.num_groups,
                    None if permutations is None else permutations[number].to(x.device),
                    eps=self.eps,
                    detach=self.detach,
                )
                for number, block in enumerate(blocks)
            ]
        )
        if official:
            return whitened.reshape(views.shape[1], views.shape[0], self.dim).transpose(0, 1).reshape(x.shape)
        return whitened.reshape(x.shape)

    def extra_repr(self) -> str:
        """Show the settings."""
        names = ("dim", "num_groups", "shuffle", "eps", "detach", "layout")
        return ", ".join(f"{name}={getattr(self, name)!r}" for name in names)


def check_groups(dim: int, num_groups: int) -> None:
    """Require groups of equal size.

    Raises:
        InputError: D is no multiple of G.
    """
    if num_groups < 1 or dim % num_groups:
        divisors = [number for number in range(1, dim + 1) if dim % number == 0]
        raise InputError(f"{dim} channels do not divide into num_groups={num_groups}: choose from {divisors}.")


class _InverseSquareRoot(torch.autograd.Function):
    """Σ^(−1/2) of symmetric matrices, eigenvalues λ clamped from below.

    The gradient uses the divided differences of λ^(−1/2) in closed form, −1 / (ab (a + b)) for square roots a and b,
    which unlike those of an eigendecomposition stay finite where eigenvalues meet.
    """

    @staticmethod
    def forward(ctx: Any, matrix: Tensor, eps: float) -> Tensor:
        values, vectors = torch.linalg.eigh(matrix)
        # One scale for all groups: a group of constant channels has none of its own.
        scale = values.mean()
        floor = eps * torch.where(scale > 0, scale, 1).expand_as(values)
        raised = values.maximum(floor).clamp_min(torch.finfo(values.dtype).tiny)
        ctx.save_for_backward(values, raised, vectors, floor)
        return (vectors * raised.rsqrt()[..., None, :]) @ vectors.mT

    @staticmethod
    @first_derivative_only
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        values, raised, vectors, floor = ctx.saved_tensors
        root = raised.sqrt()
        a, b = root[..., :, None], root[..., None, :]
        slope = -1 / (a * b * (a + b))
        free = values > floor
        both = free[..., :, None] & free[..., None, :]
        # With one of two clamped, the clamped difference over the real one; with both, nothing moves.
        gap = values[..., :, None] - values[..., None, :]
        share = (raised[..., :, None] - raised[..., None, :]) / torch.where(gap == 0, 1, gap)
        one = free[..., :, None] ^ free[..., None, :]
        slope = torch.where(both, slope, torch.where(one, slope * share, 0))
        inner = vectors.mT @ ((gradient + gradient.mT) / 2) @ vectors
        return vectors @ (inner * slope) @ vectors.mT, None
