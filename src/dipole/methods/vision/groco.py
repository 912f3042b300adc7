"""GroCo: learning by sorting."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from dipole.card import Card
from dipole.losses import groco_loss
from dipole.losses.sorting import Distribution, NetworkName, check_sorting
from dipole.methods.joint_embedding import JointEmbedding
from dipole.ops.checks import check_at_least
from dipole.views import DINOViews


class GroCo(JointEmbedding):
    """Every other view of an image should be more similar to it than the hardest negatives: a matter of order.

        1. draw K + 1 views of every image        2. z = projector(encoder(view)); each view is anchor in turn
        3. s = [k largest cosines with the same view of other images, ascending; cosines with the K other views]
        4. sort s by a differentiable network: P(i → p), the probability that value i ends at position p
        5. minimise −mean_i log Σ_{p in the group of i} P(i → p), the groups being k lower and K upper positions

    The loss is flat and needs a large learning rate: the authors' is 24, by SGD with batches of 1024.

    Args:
        num_positives: K, positives of each view; authors: 1 or 3.
        top_k: k, negatives that are sorted.
        steepness: β of the sorting network.
        network: `"odd_even"` or `"bitonic"`.
        distribution: how comparators swap; see `differentiable_sort`.
        stop_gradient: treat positives and negatives of an anchor as constants.
        projector_layers: linear layers of the projector.
        projector_final_norm: end the projector with batch normalisation.
        **options: arguments of `JointEmbedding` and `Method`.

    Example:
        >>> import torch
        >>> method = GroCo(image_size=8, top_k=2)
        >>> batch = {"views": torch.rand(2, 4, 3, 8, 8), "index": torch.arange(4)}
        >>> sorted(method.loss_terms(batch))
        ['loss']
    """

    card = Card(
        name="groco",
        slug="groco",
        title="Learning by Sorting: Self-supervised Learning with Group Ordering Constraints",
        authors="Shvetsova, Petersen, Kukleva, Schiele, Kuehne",
        year=2023,
        venue="ICCV",
        arxiv="2301.02009",
        field="vision",
        summary="A differentiable sorting network ranks the positives of an image above its hardest negatives.",
        equations=(
            "group ordering loss over odd-even and bitonic sorting networks with six relaxations",
            "positives from full crops only (loss)",
        ),
        official_code="ninatu/learning_by_sorting",
        differences=(
            "Fewer negatives than `top_k` all count, with a warning; the authors' code would sort −∞.",
            "The gaussian relaxation has a gradient; that of the authors' sorting package does not run on current "
            "PyTorch.",
            "Without the stop-gradient, several processes exchange the gradients of the negatives; the authors' gather "
            "keeps the local part alone.",
            "The six small crops of the multi-crop runs are not drawn: all views have one size. The loss takes them "
            "(`num_positive_views`).",
            "Crops are resampled bilinearly with antialiasing, the authors' bicubically.",
            "The projector's last linear layer has no bias; the authors' is frozen, and the normalisation behind it "
            "removes it.",
            "The recipe for digits trains a small ConvNet; the authors train a ResNet-50 with a projection of 2048.",
        ),
    )
    views_class = DINOViews

    def __init__(
        self,
        *,
        num_positives: int = 1,
        top_k: int = 10,
        steepness: float = 1.0,
        network: NetworkName = "odd_even",
        distribution: Distribution = "cauchy",
        stop_gradient: bool = True,
        projector_layers: int = 3,
        projector_final_norm: bool = True,
        **options: Any,
    ) -> None:
        super().__init__(projector_layers=projector_layers, projector_final_norm=projector_final_norm, **options)
        check_at_least(num_positives, 1, "num_positives")
        check_at_least(top_k, 1, "top_k")
        check_sorting(network, distribution, steepness)
        self.num_positives, self.top_k, self.stop_gradient = num_positives, top_k, stop_gradient
        self.sorting: dict[str, Any] = {"steepness": steepness, "network": network, "distribution": distribution}

    @property
    def num_views(self) -> int:
        """K + 1."""
        return self.num_positives + 1

    def loss_terms(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the group ordering loss of all views."""
        z = self.project(batch["views"])
        loss = groco_loss(z, top_k=self.top_k, stop_gradient=self.stop_gradient, gather=self.gather, **self.sorting)
        return {"loss": loss}
