"""Symile."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from dipole.card import Card
from dipole.evaluation.zero_shot import multilinear_scores
from dipole.losses import symile_loss
from dipole.losses.common import accumulate
from dipole.losses.symile import draw_permutations
from dipole.methods.multimodal.base import ModalityEmbedding, rows
from dipole.nn import MissingModalityProjector
from dipole.ops import gather as gather_rows
from dipole.ops.checks import check_choice


class Symile(ModalityEmbedding):
    """All modalities of a sample together, in one inner product of several vectors.

        1. r_m = encoder and projection of modality m          2. MIP(v_1, …, v_M) = Σ_k Π_m v_m[k]
        3. for each modality: find the sample's own tuple among tuples that share its r_m, by MIP / τ; mean over m

    The other tuples are made of permuted rows of the batch (`"n"`), or of all their combinations (`"n_squared"`). What
    is missing has a learned stand-in, as in the authors' code, so that a sample with two modalities or more takes part.

    Args:
        negatives: `"n"` or `"n_squared"`.
        missing: `"indicator"` for the stand-in, or `"complete"` to leave incomplete samples out.
        unit_length: normalise embeddings; False ends the projection with a layer normalisation instead, as the
            authors' larger models do.
        temperature: τ at the start; the authors' logit scale of exp(−0.3) is τ = 1.35.
        weight_decay: of matrices.
        **options: arguments of `ModalityEmbedding` and `Method`.

    Example:
        >>> import torch
        >>> vector = {"kind": "vector", "mean": [0.5], "std": [0.5], "width": 1, "missing": False}
        >>> method = Symile(modalities={name: vector for name in "abc"}, vector_encoder="identity")
        >>> present = {name: torch.ones(4, dtype=torch.bool) for name in "abc"}
        >>> views = {"inputs": {name: torch.rand(4, 1) for name in "abc"}, "present": present}
        >>> sorted(method.loss_terms({"views": views, "index": torch.arange(4)}))
        ['logit_scale', 'loss']
    """

    card = Card(
        name="symile",
        slug="symile",
        title="Contrasting with Symile: Simple Model-Agnostic Representation Learning for Unlimited Modalities",
        authors="Saporta, Puli, Goldstein, Ranganath",
        year=2024,
        venue="NeurIPS",
        arxiv="2411.01053",
        field="multimodal",
        summary="All modalities of a sample are contrasted at once, by a multilinear inner product.",
        equations=("the multilinear inner product", "the loss with N or N² negatives", "indicators of what is missing"),
        official_code="rajesh-lab/symile",
        differences=(
            "A sample with a single modality is left out of the loss; in the authors' code its stand-ins take part.",
            "The stand-in of a missing modality is the mean of vectors that are handed on as they are, and 0 for "
            "features that are learned, together with a learned indicator; the authors' features are precomputed.",
            "1 / τ never decays; in the authors' code it decays with the weights.",
            'Negatives "n_squared" also work for two modalities.',
            "With several processes the samples of all of them are candidates.",
        ),
    )
    logit_scale_bounds: ClassVar[tuple[float | None, float | None]] = (None, None)
    projection_bias: ClassVar[bool] = True

    def __init__(
        self,
        *,
        negatives: Literal["n", "n_squared"] = "n",
        missing: Literal["indicator", "complete"] = "indicator",
        unit_length: bool = True,
        temperature: float = 1.35,
        weight_decay: float = 0.01,
        **options: Any,
    ) -> None:
        check_choice(negatives, ("n", "n_squared"), "negatives")
        check_choice(missing, ("indicator", "complete"), "missing")
        self._missing, self._unit_length = missing, unit_length
        super().__init__(temperature=temperature, weight_decay=weight_decay, **options)
        self.negatives = negatives

    def _projection(self, name: str, projected: bool) -> nn.Module:
        """From features to embeddings; with a stand-in where the data have missing cells."""
        facts = self.modalities[name]
        width = int(self.encoders[name].width)  # type: ignore[arg-type]
        if projected and facts.get("missing") and self._missing == "indicator":
            # Only features that stay as they are have a mean that is known before training.
            known = (
                facts["kind"] == "vector" and width == len(facts["mean"]) and not list(self.encoders[name].parameters())
            )
            return MissingModalityProjector(width, self.embedding_dim, torch.tensor(facts["mean"]) if known else None)
        projection = super()._projection(name, projected)
        return projection if self._unit_length else nn.Sequential(projection, nn.LayerNorm(self.embedding_dim))

    def project(self, name: str, features: Float[Tensor, "n f"], present: Bool[Tensor, "n"]) -> Float[Tensor, "n d"]:
        """Project the features of a modality; its stand-in, if it has one, where it is missing."""
        projection = self.projections[name]
        if isinstance(projection, MissingModalityProjector):
            return accumulate(projection(features, ~present))
        return super().project(name, features, present)

    def loss_terms(self, batch: Mapping[str, Any]) -> dict[str, Tensor]:
        """Return Symile's loss of the samples that have what it needs."""
        z = self.encode(batch["views"])
        present = torch.stack(list(z.present.values()))
        stands_in = torch.tensor(
            [isinstance(self.projections[name], MissingModalityProjector) for name in z.present], device=present.device
        )
        kept = (present.sum(dim=0) > 1) & (present | stands_in[:, None]).all(dim=0)
        modalities, gather = self.joined(list(z.embeddings.values()), kept)
        loss = self.nothing(*modalities)
        if rows(modalities[0], gather) > 1:
            loss = symile_loss(
                torch.stack(modalities),
                temperature=self.temperature,
                negatives=self.negatives,
                permutations=None if gather else self._permutations(modalities),
                normalize=self._unit_length,
                gather=gather,
            )
        return {"loss": loss, "logit_scale": self.logit_scale().detach()}

    def _permutations(self, modalities: Sequence[Tensor]) -> Tensor | None:
        """The orders of the rows, those of the first process where all compute the same loss."""
        if self.negatives != "n":
            return None
        drawn = draw_permutations(len(modalities), len(modalities[0])).to(modalities[0].device)
        return gather_rows(drawn)[: len(modalities)] if self.gather else drawn

    def comparable(self, embeddings: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
        """Return embeddings as the loss compares them."""
        return F.normalize(embeddings, dim=-1) if self._unit_length else embeddings

    @torch.no_grad()
    def missing_embedding(self, name: str) -> Float[Tensor, "d"] | None:
        """Return the stand-in of a modality, as the loss compares it; None if there is none."""
        projection = self.projections[name]
        if not isinstance(projection, MissingModalityProjector):
            return None
        nothing = torch.zeros(1, len(projection.mean), device=projection.mean.device)
        stand_in: Tensor = projection(nothing, torch.ones(1, dtype=torch.bool, device=projection.mean.device))
        return self.comparable(stand_in)[0]

    def score(self, queries: Sequence[Tensor], candidates: Float[Tensor, "c d"]) -> Float[Tensor, "n c"]:
        """Score candidates by the multilinear inner product with all of the query."""
        return multilinear_scores(queries, candidates)
