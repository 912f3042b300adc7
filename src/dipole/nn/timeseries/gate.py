"""A gate that opens and closes by chance, and passes gradients."""

from jaxtyping import Float
from torch import Tensor

from dipole.errors import InputError
from dipole.ops.checks import check_at_least, check_temperature


def hard_concrete(
    logits: Float[Tensor, "*gates"],
    uniform: Float[Tensor, "*gates"] | None = None,
    *,
    bias: float = 0.4,
    gamma: float = 0.005,
    zeta: float = 1.0,
    temperature: float = 1.0,
    hard: bool = True,
) -> Float[Tensor, "*gates"]:
    """Draw gates in [0, 1] from the stretched and clipped concrete distribution:

        ε = (1 − b) − (1 − 2b) u,    s = σ((log ε − log(1 − ε) + logit) / τ)
        m = clip((ζ + γ) s − γ, 0, 1)

    A hard gate is 1 where m > ½ and 0 elsewhere; its gradient is that of m. Without noise s = σ(logit), whatever τ.

    Louizos, Welling, Kingma: *Learning Sparse Neural Networks through L0 Regularization* (ICLR 2018), with the noise of
    Zheng et al.: *Parametric Augmentation for Time Series Contrastive Learning* (ICLR 2024).

    Args:
        logits: log odds of being open.
        uniform: u from [0, 1), of the same shape; without noise if None.
        bias: b from above 0 to ½; keeps the noise finite. At ½ there is none.
        gamma: γ ≥ 0, how far below 0 the distribution is stretched.
        zeta: ζ ≥ 1, up to where it is stretched.
        temperature: τ > 0.
        hard: 0 or 1, with the gradient of the soft gate.

    Raises:
        InputError: an argument is out of range.

    Example:
        >>> import torch
        >>> hard_concrete(torch.tensor([-2.0, 0.0, 2.0]), hard=False)
        tensor([0.1148, 0.4975, 0.8802])
        >>> hard_concrete(torch.tensor([-2.0, 0.0, 2.0]))
        tensor([0., 0., 1.])
    """
    check_temperature(temperature)
    if not 0 < bias <= 0.5:
        raise InputError(f"bias is {bias}: expected a number from above 0 to 0.5, or the noise is infinite.")
    if not 0 <= gamma < 1:
        raise InputError(f"gamma is {gamma}: expected a number from 0 to below 1.")
    check_at_least(zeta, 1, "zeta")
    if uniform is not None:
        logits = (logits + ((1 - bias) - (1 - 2 * bias) * uniform).logit()) / temperature
    soft = ((zeta + gamma) * logits.sigmoid() - gamma).clamp(0, 1)
    return (soft > 0.5).to(soft.dtype) + (soft - soft.detach()) if hard else soft
