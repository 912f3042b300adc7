"""AMCL."""

from collections.abc import Callable, Mapping
from typing import Any, Literal

import torch
from torch import Tensor, nn

from dipole.card import Card
from dipole.errors import InputError
from dipole.losses.amcl import amcl_barlow_loss, amcl_loss, amcl_queue_loss, amcl_simsiam_loss
from dipole.methods.vision.barlow_twins import BarlowTwins
from dipole.methods.vision.moco import MoCo
from dipole.methods.vision.simclr import SimCLR
from dipole.methods.vision.simsiam import SimSiam
from dipole.methods.wrapping import Wrapping
from dipole.negatives import Queue
from dipole.nn import MomentumEncoder
from dipole.nn.pair_temperature import MultiHeadProjector, PairTemperature, by_head
from dipole.ops.checks import check_at_least, check_choice

FEATURE_CODE = 16  # numbers that stand for a feature where temperatures are those of pairs of features


class AMCL(Wrapping):
    """Several heads in place of one, and a temperature for each pair in each head, in SimCLR and its relatives.

        1. z^c = head_c(encoder(view)) for c = 1 … C          2. τ_ij = network(z_i, z_j), shared by the heads
        3. minimise Σ_c {−s⁺/τ⁺ + βΩ(τ⁺) + log Σ_n exp(s_n/τ_n − βΩ(τ_n))} (SimCLR, MoCo), or the forms of the paper for
           SimSiam, whose predictors are the heads, and Barlow Twins, whose pairs are pairs of features

    Args:
        base: `simclr`, `moco`, `simsiam` or `barlow-twins`.
        heads: C.
        beta: β, weight of the regulariser Ω.
        lower: smallest temperature.
        upper: largest temperature.
        mode: `"logsumexp"`, or `"max"`, the hardest candidate only, as the paper prints it.
        include_positive: whether the positive is a candidate, too (eq. 2.4, not 2.1).
        temperature_hidden: features of the temperature network.

    Example:
        >>> method = AMCL(base=SimCLR(image_size=8), heads=2)
        >>> batch = {"views": torch.rand(2, 4, 3, 8, 8), "index": torch.arange(4)}
        >>> sorted(method.loss_terms(batch))
        ['loss', 'temperature', 'temperature_deviation']
    """

    card = Card(
        name="amcl",
        slug="amcl",
        title="Adaptive Multi-head Contrastive Learning",
        authors="Wang, Koniusz, Gedeon, Zheng",
        year=2024,
        venue="ECCV",
        arxiv="2310.05615",
        field="vision",
        summary="Several heads and a learned temperature for each pair, around another method.",
        equations=("table 2: eq. 2.1 to 2.4, and the smooth form that they approximate",),
        official_code="LeiWangR/cl",
        differences=(
            "The part of the authors' code on AMCL cannot run; the tables of the paper are followed.",
            "The smooth form is the default: the maximum over negatives trained clearly worse.",
            "Temperatures are at least 0.05; the authors' bound of 1e-5 lets 1/τ grow to 1e5.",
            "One temperature network for all heads, as the README says; the code builds one for each.",
            "Temperatures of Barlow Twins' pairs of features, which the paper leaves open, come from a learned code of "
            "each feature.",
            "In several processes each contrasts within its own batch.",
        ),
    )
    wraps = (SimCLR, MoCo, SimSiam, BarlowTwins)

    def __init__(
        self,
        *,
        base: Any,
        heads: int = 3,
        beta: float = 0.1,
        lower: float = 0.05,
        upper: float = 2.0,
        mode: Literal["logsumexp", "max"] = "logsumexp",
        include_positive: bool = True,
        temperature_hidden: int = 128,
    ) -> None:
        super().__init__(base=base)
        check_at_least(heads, 1, "heads")
        check_at_least(beta, 0, "beta")
        check_choice(mode, ("logsumexp", "max"), "mode")
        if type(base) not in self.wraps:
            raise InputError(f"amcl cannot change {base.card.name!r}: choose simclr, moco, simsiam or barlow-twins.")
        self.heads, self.beta, self.mode, self.include_positive = heads, beta, mode, include_positive
        dim = base.projection_dim
        if isinstance(base, SimSiam):
            base.predictor = MultiHeadProjector(dim, dim, heads)  # type: ignore[assignment]
        else:
            base.network.projector = MultiHeadProjector(base.encoder.width, dim, heads)
        if isinstance(base, MoCo):
            base.momentum_network = MomentumEncoder(base.network, base.momentum_network.momentum)
            base.queue = Queue(len(base.queue.entries), heads * dim)
        compared = FEATURE_CODE if isinstance(base, BarlowTwins) else dim
        self.temperatures = PairTemperature(compared, temperature_hidden, lower, upper)
        if isinstance(base, BarlowTwins):
            self.feature_codes = nn.Parameter(torch.randn(heads, dim, FEATURE_CODE))

    def project(self, views: Tensor) -> Tensor:
        """Embed views for diagnostics: heads of length 1 side by side, so that a cosine is the mean of the heads'."""
        z: Tensor = self.base.project(views)  # type: ignore[operator]
        if isinstance(self.base, SimSiam):
            return z
        heads = z.unflatten(-1, (self.heads, -1))
        return nn.functional.normalize(heads, dim=-1).flatten(-2)

    def loss_terms(self, batch: Mapping[str, Any]) -> dict[str, Tensor]:
        """Return the loss of the heads, and the mean and the deviation of the temperatures of positive pairs."""
        losses: dict[type, Callable[[Tensor], tuple[Tensor, Tensor]]] = {
            SimCLR: self._simclr,
            MoCo: self._moco,
            SimSiam: self._simsiam,
            BarlowTwins: self._barlow,
        }
        loss, temperatures = losses[type(self.base)](batch["views"])
        shown = temperatures.detach()
        return {
            "loss": loss,
            "temperature": shown.mean(),
            "temperature_deviation": shown.std(correction=0),
        }

    def _of_unit(self, z1: Tensor, z2: Tensor) -> Tensor:
        """Temperatures (C, N) of rows of length 1."""
        return self.temperatures.pairs(nn.functional.normalize(z1, dim=-1), nn.functional.normalize(z2, dim=-1))

    @property
    def _options(self) -> dict[str, Any]:
        """How candidates are weighed."""
        return {"beta": self.beta, "mode": self.mode, "include_positive": self.include_positive}

    def _simclr(self, views: Tensor) -> tuple[Tensor, Tensor]:
        z1, z2 = by_head(self.base.project(views), self.heads)  # type: ignore[operator]
        return amcl_loss(z1, z2, self.temperatures, **self._options), self._of_unit(z1, z2)

    def _moco(self, views: Tensor) -> tuple[Tensor, Tensor]:
        base: Any = self.base
        queries = by_head(base.project(views[:1])[0], self.heads)
        keys = nn.functional.normalize(by_head(base.project_keys(views[1:])[0], self.heads), dim=-1)
        queue = by_head(base.queue.entries, self.heads)
        loss = amcl_queue_loss(queries, keys, queue, self.temperatures, **self._options)
        base.queue.enqueue(keys.transpose(0, 1).flatten(1), gather=base.gather)
        return loss, self._of_unit(queries, keys)

    def _simsiam(self, views: Tensor) -> tuple[Tensor, Tensor]:
        base: Any = self.base
        targets1, targets2 = base.project(views)
        p1, p2 = (by_head(base.predictor(z), self.heads) for z in (targets1, targets2))
        first, second = (
            self._of_unit(p, targets.detach().expand_as(p)) for p, targets in ((p1, targets2), (p2, targets1))
        )
        return amcl_simsiam_loss(p1, p2, targets1, targets2, first, second, beta=self.beta), first

    def _barlow(self, views: Tensor) -> tuple[Tensor, Tensor]:
        z1, z2 = by_head(self.base.project(views), self.heads)  # type: ignore[operator]
        tau = self.temperatures(self.feature_codes, self.feature_codes)
        weight = self.base.off_diagonal_weight
        loss = amcl_barlow_loss(z1, z2, tau, beta=self.beta, off_diagonal_weight=weight)  # type: ignore[arg-type]
        return loss, tau.diagonal(dim1=1, dim2=2)
