"""The pairwise sigmoid loss of two towers (SigLIP)."""

from typing import Literal

from jaxtyping import Float
from torch import Tensor

from dipole.losses.common import gathered_keys, unit_rows
from dipole.ops import pairwise_softplus_sum
from dipole.ops.checks import check_choice, check_same_rows, check_temperature
from dipole.ops.door import public


@public
def siglip_loss(
    image: Float[Tensor, "n d"],
    text: Float[Tensor, "n d"],
    *,
    temperature: float | Float[Tensor, ""] = 0.1,
    bias: float | Float[Tensor, ""] = -10.0,
    normalize: bool = True,
    gather: bool = False,
    reduction: Literal["mean", "sum"] = "mean",
) -> Float[Tensor, ""]:
    """Compute the sigmoid loss, a decision for every image and every text of whether they belong together:

        L = −1/N Σ_i Σ_j log σ(z_ij (⟨x_i, y_j⟩ / τ + b)),   z_ii = 1, z_ij = −1

    No row is normalised over the others. So a batch of one sample is a batch, and nothing but the texts has to be known
    to all processes. The N × N similarities are never stored whole, and computed once for the value and the gradient.

    Conventions: rows are normalised here; one decision a pair serves both directions; the sum over the N texts, the
    mean over the N images.

    Zhai, Mustafa, Kolesnikov, Beyer: *Sigmoid Loss for Language Image Pre-Training* (ICCV 2023), sec. 3.2,
    algorithm 1.

    Args:
        image: (N, D).
        text: (N, D); row i belongs to row i of `image`.
        temperature: τ = 1 / t > 0, a number or a learnable scalar; the paper starts from t = 10.
        bias: b, a number or a learnable scalar; −10 lets training begin where nearly no pair belongs together.
        normalize: False if the rows are of unit length already.
        gather: also decide about the texts of the other processes.
        reduction: over the images.

    Raises:
        InputError: shapes differ, a value is not finite, or the temperature is not positive.

    Example:
        >>> import torch
        >>> siglip_loss(torch.eye(2), torch.eye(2), temperature=1.0, bias=0.0)  # 2 log 2 + log(1 + 1/e) − log 2
        tensor(1.0064)
    """
    check_same_rows(image=image, text=text)
    check_temperature(temperature)
    check_choice(reduction, ("mean", "sum"), "reduction")
    image, text = unit_rows(image, normalize), unit_rows(text, normalize)
    # −log σ(−s) = softplus(s) and −log σ(s) = softplus(s) − s.
    positives = ((image * text).sum(dim=1) / temperature + bias).sum()
    total = pairwise_softplus_sum(image, gathered_keys(text, gather)[0], 1 / temperature, bias) - positives
    return total / len(image) if reduction == "mean" else total
