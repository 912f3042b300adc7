"""AdaInf."""

from collections.abc import Mapping
from typing import Any, Literal

from torch import Tensor

from dipole.card import Card
from dipole.errors import InputError
from dipole.losses import same_index_nt_xent_loss
from dipole.methods.base import Method
from dipole.methods.joint_embedding import JointEmbedding
from dipole.methods.vision.barlow_twins import BarlowTwins
from dipole.methods.vision.byol import BYOL
from dipole.methods.vision.simclr import SimCLR
from dipole.methods.wrapping import Wrapping
from dipole.ops.checks import check_choice
from dipole.views.presets import augmentation_preset


class AdaInf(Wrapping):
    """Any method on real and generated images, with the real ones drawn more often and with weaker augmentation.

        1. draw each real image ten times for every time that a generated one is drawn (`loading.generated`)
        2. weaken the augmentation: larger crops, and colours that change more rarely and less
        3. minimise the loss of the base

    Args:
        base: the method.
        copies: what two copies of a real image in one batch are to each other: `"apart"`, negatives like any others,
            as in the authors' code; `"together"`, positives (SimCLR only).

    Example:
        >>> import torch
        >>> method = AdaInf(base=SimCLR(image_size=8), copies="together")
        >>> batch = {"views": torch.rand(2, 4, 3, 8, 8), "index": torch.tensor([0, 0, 1, 2])}
        >>> sorted(method.loss_terms(batch))
        ['loss']
    """

    card = Card(
        name="adainf",
        slug="adainf",
        title="Do Generated Data Always Help Contrastive Learning?",
        authors="Wang, Zhang, Wang",
        year=2024,
        venue="ICLR",
        arxiv="2403.12448",
        field="vision",
        summary="Generated images join the real ones, which are drawn ten times as often; augmentation is weakened.",
        equations=("theorem 3.1: the distance of the mixture from the real images",),
        official_code="PKU-ML/adainf",
        differences=(
            "Copies of a real image are drawn, not stored; they share an index.",
            "Warm-up and schedule follow the steps of the run; the authors' fixed 1000 of 100,000 steps. Compare runs "
            "of as many steps: `loading.drawing: sampler` keeps the length of an epoch.",
            "Generated images are read as RGB; the authors' converter stores BGR.",
            "Both views have the same distribution, also around BYOL and Barlow Twins, whose second view the authors "
            "solarise.",
        ),
    )
    wraps = JointEmbedding

    def __init__(self, *, base: Any, copies: Literal["apart", "together"] = "apart") -> None:
        super().__init__(base=base)
        check_choice(copies, ("apart", "together"), "copies")
        if copies == "together" and not isinstance(base, SimCLR):
            raise InputError(f"copies='together' is for simclr: use 'apart' with {base.card.name!r}.")
        self.copies = copies

    @classmethod
    def view_changes(cls, base: type[Method]) -> dict[str, Any]:
        """The authors' weakened augmentation, as far as the base's views have it."""
        kind = "asymmetric" if issubclass(base, BYOL | BarlowTwins) else "symmetric"
        preset = augmentation_preset(f"{kind}_adainf")
        weakened = ("crop_scale", "jitter", "brightness", "contrast", "saturation", "hue")
        return {name: preset[name] for name in weakened}

    def loss_terms(self, batch: Mapping[str, Any]) -> dict[str, Tensor]:
        """Return the loss of the base, or one in which copies are positives."""
        if self.copies == "apart":
            return super().loss_terms(batch)
        base: Any = self.base
        z = base.project(batch["views"]).flatten(0, 1)
        index = batch["index"].repeat(len(batch["views"])).to(z.device)
        return {"loss": same_index_nt_xent_loss(z, index, temperature=base.temperature, gather=base.gather)}
