"""Contrast of series with views that are made by hand."""

from collections.abc import Mapping
from typing import Any, ClassVar

from torch import Tensor

from dipole.card import Card
from dipole.methods.timeseries.embedding import SeriesEmbedding
from dipole.views.timeseries import SeriesViews


class SeriesContrast(SeriesEmbedding):
    """The encoder of AutoTCL, trained by the same losses with fixed augmentations: noise, scaling, cut-outs.

        1. v = an augmentation of x, drawn by chance
        2. minimise InfoNCE between x and v, and between neighbouring segments of x
        3. average the weights over all steps, for use after training

    Example:
        >>> import torch
        >>> method = SeriesContrast(channels=2, hidden=4, depth=1, features=8, longest_kernel=2)
        >>> series = torch.randn(4, 32, 2)
        >>> batch = {"series": series, "views": SeriesViews()(series), "index": torch.arange(4)}
        >>> sorted(method.loss_terms(batch))
        ['global', 'local', 'loss']
    """

    card = Card(
        name="series-contrast",
        slug="autotcl",
        title="Time Series Contrastive Learning with Information-Aware Augmentations",
        authors="Luo, Cheng, Wang, Xu, Ni, Yu, Zhang, Liu, Chen, Chen, Zhang",
        year=2023,
        venue="AAAI",
        arxiv="2303.11911",
        field="timeseries",
        summary="Series attract views made by hand, and neighbouring segments each other: the baseline of AutoTCL.",
        equations=("global and local contrast",),
        official_code="chengw07/InfoTS",
        differences=(
            "InfoTS chooses among augmentations by an information criterion; here they are fixed, and nothing is taken "
            "from its code.",
            "Encoder, losses and averaging are those of AutoTCL, so that both differ in the augmentation alone.",
        ),
    )
    views_class: ClassVar[type[SeriesViews]] = SeriesViews

    def loss_terms(self, batch: Mapping[str, Any]) -> dict[str, Tensor]:
        """Return the loss of series and their views."""
        return self.contrast(batch["series"], batch["views"])
