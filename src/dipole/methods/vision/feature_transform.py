"""Feature transformation (FT): MoCo with extrapolated positives and interpolated negatives."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from dipole.card import Card
from dipole.diagnostics.score_recorder import score_statistics
from dipole.losses import info_nce_loss
from dipole.losses.feature_transform import (
    Granularity,
    Target,
    TransformDraws,
    draw_transform,
    transform_features,
)
from dipole.methods.vision.moco import MoCo
from dipole.ops.checks import check_at_least, check_choice, check_temperature


class FeatureTransform(MoCo):
    """MoCo whose positives are pushed apart and whose negatives are mixed with each other, in feature space.

        1. q = network(view 1), k = momentum network(view 2)
        2. λ_ex ~ 1 + Beta(α_ex, α_ex);   q̂ = λ_ex q + (1 − λ_ex) k,   k̂ = λ_ex k + (1 − λ_ex) q
        3. λ_in ~ Beta(α_in, α_in), π a permutation of the queue;   n̂_j = λ_in n_j + (1 − λ_in) n_π(j)
        4. minimise InfoNCE of (q̂, k̂) against n̂; gradient reaches q through k̂, too
        5. enqueue k, as it is

    Means and variances of the scores that the loss has seen are logged: `seen_positive_mean`, `seen_positive_variance`,
    `seen_negative_mean`, `seen_negative_variance`.

    Args:
        target: `"posneg"`, or `"pos"` or `"neg"` for step 2 or step 3 alone.
        pos_alpha: α_ex.
        neg_alpha: α_in.
        granularity: `"scalar"`: one λ for all; `"dimension"`: one of each entry; `"pos"` or `"neg"`: of each entry of
            that side alone.
        post_norm: scale q̂ and k̂ to length 1.
        start_epoch: epochs of plain MoCo before.
        **options: arguments of `MoCo` and its bases.

    Example:
        >>> import torch
        >>> method = FeatureTransform(image_size=8, queue_size=16)
        >>> batch = {"views": torch.rand(2, 4, 3, 8, 8), "index": torch.arange(4)}
        >>> sorted(method.loss_terms(batch))[0]
        'loss'
    """

    card = Card(
        name="feature-transform",
        slug="feature-transform",
        title="Improving Contrastive Learning by Visualizing Feature Transformation",
        authors="Zhu, Zhao, Liu, Sun, Chen",
        year=2021,
        venue="ICCV",
        arxiv="2108.02982",
        field="vision",
        summary="MoCo with positives that are extrapolated apart and negatives that are mixed with each other.",
        equations=("extrapolation of positives, interpolation of negatives, the recorder of scores",),
        official_code="DTennant/CL-Visualizing-Feature-Transformation",
        differences=(
            "One λ for all entries is the default, as in the authors' commands; their paper prefers a λ of each "
            'dimension (cited from memory): `granularity="dimension"`.',
            "`start_epoch` works by itself; in the authors' code, only together with the recorder of scores.",
            "Scores are recorded in float32, not in half precision; the queue always takes the keys as they were.",
        ),
    )

    def __init__(
        self,
        *,
        target: Target = "posneg",
        pos_alpha: float = 2.0,
        neg_alpha: float = 1.6,
        granularity: Granularity = "scalar",
        post_norm: bool = False,
        start_epoch: int = 0,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        check_choice(target, ("posneg", "pos", "neg"), "target")
        check_choice(granularity, ("scalar", "dimension", "pos", "neg"), "granularity")
        check_temperature(pos_alpha, "pos_alpha")
        check_temperature(neg_alpha, "neg_alpha")
        check_at_least(start_epoch, 0, "start_epoch")
        self.target, self.pos_alpha, self.neg_alpha = target, pos_alpha, neg_alpha
        self.granularity, self.post_norm, self.start_epoch = granularity, post_norm, start_epoch

    def loss_terms(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the loss of the queries of view 1 and statistics of scores, then enqueue the keys of view 2."""
        queries, keys = self.embed_pair(batch["views"])
        draws = self.draw(len(queries), queries.shape[1])
        seen = transform_features(queries, keys, self.queue.entries, draws, post_norm=self.post_norm)
        loss = info_nce_loss(*seen, temperature=self.temperature, normalize=False)
        statistics = score_statistics(*seen, temperature=self.temperature, normalize=False)
        self.queue.enqueue(keys, gather=self.gather)
        return {
            "loss": loss,
            "seen_positive_mean": statistics[:, 2].mean(),
            "seen_positive_variance": statistics[:, 2].var(correction=0),
            "seen_negative_mean": statistics[:, 0].mean(),
            "seen_negative_variance": statistics[:, 1].mean(),
        }

    def draw(self, rows: int, dim: int) -> TransformDraws:
        """Draw the transformation of a step."""
        if self.current_epoch < self.start_epoch:
            return TransformDraws(None, None, None)
        return draw_transform(
            rows,
            len(self.queue.entries),
            dim,
            target=self.target,
            pos_alpha=self.pos_alpha,
            neg_alpha=self.neg_alpha,
            granularity=self.granularity,
        )
