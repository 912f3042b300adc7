"""A gate that selects the features in which two classes are alike."""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from dipole.errors import InputError
from dipole.losses.common import accumulate
from dipole.nn.modes import undisturbed
from dipole.ops.door import looking


class PairGate(nn.Module):
    """The feature filter of Hydra: a gate in (0, 1)^D for a pair of classes.

        u = (e[y₁] + e[y₂]) / 2,    g = σ(MLP(u))
        MLP = ReLU → batch norm → linear → ReLU → batch norm → linear

    It is symmetric in the two classes. Batch normalisation sees the pairs of the batch. Not fused, g is the product of
    the gates of the single classes, σ(MLP(e[y₁])) ⊙ σ(MLP(e[y₂])).

    Wu et al.: *Rethinking Positive Pairs in Contrastive Learning* (arXiv 2410.18200), the feature filter.

    Args:
        num_classes: C.
        dim: D, dimensions of the embeddings that are gated.
        embed_dim: dimensions of the embedding e of a class.
        hidden_dim: width of the hidden layer.
        fuse: average the embeddings of the classes; False multiplies their gates.

    Raises:
        InputError: a size is below 1.

    Example:
        >>> gate = PairGate(10, 8, embed_dim=4, hidden_dim=16).eval()
        >>> y1, y2 = torch.tensor([0, 1]), torch.tensor([3, 1])
        >>> gate(y1, y2).shape, torch.equal(gate(y1, y2), gate(y2, y1))
        (torch.Size([2, 8]), True)
    """

    def __init__(
        self, num_classes: int, dim: int, *, embed_dim: int = 512, hidden_dim: int = 1024, fuse: bool = True
    ) -> None:
        super().__init__()
        sizes = {"num_classes": num_classes, "dim": dim, "embed_dim": embed_dim, "hidden_dim": hidden_dim}
        for name, size in sizes.items():
            if size < 1:
                raise InputError(f"{name} of a gate is {size}: expected 1 or more.")
        self.fuse = fuse
        self.embedding = nn.Embedding(num_classes, embed_dim)
        self.mlp = nn.Sequential(
            nn.ReLU(),
            nn.BatchNorm1d(embed_dim),
            nn.Linear(embed_dim, hidden_dim),
            nn.ReLU(),
            nn.BatchNorm1d(hidden_dim),
            nn.Linear(hidden_dim, dim),
        )

    def forward(self, y1: Int[Tensor, "n"], y2: Int[Tensor, "n"] | None = None) -> Float[Tensor, "n d"]:
        """Return the gates (N, D) of pairs of classes, or of single classes if y₂ is None.

        Raises:
            InputError: an unknown class, or one pair alone in training.
        """
        for labels in (y1,) if y2 is None else (y1, y2):
            self._check(labels)
        if y2 is None:
            return self._gate(self.embedding(y1))
        if self.fuse:
            return self._gate((self.embedding(y1) + self.embedding(y2)) / 2)
        return self._gate(self.embedding(y1)) * self._gate(self.embedding(y2))

    @torch.no_grad()
    def of_classes(self) -> Float[Tensor, "c d"]:
        """Return the gates (C, D) of all single classes, with the running statistics; the gate is left as it was."""
        with undisturbed(self):
            gates: Tensor = self(torch.arange(self.embedding.num_embeddings, device=self.embedding.weight.device))
        return gates

    def _gate(self, codes: Tensor) -> Tensor:
        """Open a gate by the code of a class or a pair."""
        return accumulate(self.mlp(codes)).sigmoid()

    def _check(self, labels: Tensor) -> None:
        """Require classes that have an embedding, and statistics of more than one pair."""
        known = self.embedding.num_embeddings
        if looking():
            lowest, highest = (int(value) for value in labels.aminmax())
            if lowest < 0 or highest >= known:
                raise InputError(f"classes range from {lowest} to {highest}: the gate knows {known}, numbered from 0.")
        if self.training and len(labels) < 2:
            raise InputError("one pair alone has no batch statistics: use a batch of 2 or more, or .eval().")


class GateStatistics(NamedTuple):
    """How far the gates are open."""

    activation: Float[Tensor, ""]  # mean over the gates of Σ_d g_d: features that are let through
    entropy: Float[Tensor, ""]  # mean over all entries of −g log g − (1 − g) log(1 − g)


def gate_statistics(gates: Float[Tensor, "n d"]) -> GateStatistics:
    """Compute how many features gates let through, and how undecided they are (log 2 at g = ½, 0 at 0 and 1).

    Example:
        >>> gate_statistics(torch.tensor([[0.5, 1.0], [0.5, 0.0]]))
        GateStatistics(activation=tensor(1.), entropy=tensor(0.3466))
    """
    gates = accumulate(gates)
    return GateStatistics(gates.sum(dim=1).mean(), (torch.special.entr(gates) + torch.special.entr(1 - gates)).mean())
