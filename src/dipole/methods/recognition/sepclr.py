"""SepCLR."""

import copy
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import Tensor, nn

from dipole.card import Card
from dipole.errors import InputError
from dipole.losses.sepclr import sepclr_loss
from dipole.methods.joint_embedding import JointEmbedding, project_views
from dipole.nn import ImageEncoder, mlp
from dipole.ops.checks import check_at_least, check_choice


class SepCLR(JointEmbedding):
    """Two populations, two encoders: one for what both share, one for what only the target population has.

        1. draw two views of every image          2. c = common head, s = salient head of a view
        3. s̃ = s of the target population, 0 of the background
        4. align and spread c; align and spread s̃; draw s of the background to 0
        5. lower what c and s̃ tell of each other, by the kernel estimate of their joint entropy

    Which images are the background says `--loading.background COLUMN=VALUE`. Embeddings are the common part, then the
    salient one.

    Args:
        common_dim: numbers of the common part.
        salient_dim: numbers of the salient part.
        salient_weight: λ_S.
        information_weight: λ_R, of the background's salient part.
        leakage_weight: λ_J.
        uniformity_weight: γ.
        tau: of the Gaussian kernels.
        leakage: `"jem"`, `"kernel_mi"` or `"none"`, see `sepclr_loss`.
        background_pairs: count pairs of background images in the salient spread, as the authors' code does.
        head_hidden: width of the hidden layer of both projectors.
        **options: arguments of `JointEmbedding` and `Method`; its projector is not used.

    Example:
        >>> import torch
        >>> method = SepCLR(image_size=8)
        >>> population = torch.tensor([0, 0, 1, 1])
        >>> batch = {"views": torch.rand(2, 4, 3, 8, 8), "index": torch.arange(4), "population": population}
        >>> sorted(method.loss_terms(batch))
        ['common_alignment', 'common_uniformity', 'information_less', 'leakage', 'loss', 'salient_alignment', \
'salient_uniformity']
    """

    card = Card(
        name="sepclr",
        slug="sepclr",
        title="Separating common from salient patterns with Contrastive Representation Learning",
        authors="Louiset, Duchesnay, Grigis, Gori",
        year=2024,
        venue="ICLR",
        arxiv="2402.11928",
        field="recognition",
        summary="One encoder for what two populations share, one for what only one has, and no information between.",
        equations=(
            "the common, salient and information-less terms, k-JEM",
            "the supervised disentangled variant (function only)",
        ),
        official_code="neurospin-projects/2024_rlouiset_sep_clr",
        differences=(
            "The paper's text could not be read in full; formulas are those of the authors' code.",
            "A batch without one of the populations leaves out its terms; they are NaN in the authors' code.",
            "The recipe trains small ConvNets; the authors train two ResNet-18.",
            "Views are SimCLR's; of the authors' rotations and vertical flips there are none.",
            "The bounds of mutual information with which the paper compares are not there, but the kernel estimate.",
            "In several processes each contrasts within its own batch.",
        ),
    )
    views_share_batch_norm = True

    def __init__(
        self,
        *,
        common_dim: int = 32,
        salient_dim: int = 32,
        salient_weight: float = 1.0,
        information_weight: float = 10.0,
        leakage_weight: float = 10.0,
        uniformity_weight: float = 2.0,
        tau: float = 0.5,
        leakage: Literal["jem", "kernel_mi", "none"] = "jem",
        background_pairs: bool = True,
        head_hidden: int = 128,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        for name, value in (("common_dim", common_dim), ("salient_dim", salient_dim), ("head_hidden", head_hidden)):
            check_at_least(value, 1, name)
        check_choice(leakage, ("jem", "kernel_mi", "none"), "leakage")
        if not tau > 0:
            raise InputError(f"tau is {tau}: expected a number above 0.")
        self.settings: dict[str, Any] = {
            "salient_weight": salient_weight,
            "information_weight": information_weight,
            "leakage_weight": leakage_weight,
            "uniformity_weight": uniformity_weight,
            "tau": tau,
            "leakage": leakage,
            "background_pairs": background_pairs,
        }
        for name in ("salient_weight", "information_weight", "leakage_weight", "uniformity_weight"):
            check_at_least(self.settings[name], 0, name)
        backbone = self.encoder
        self.common_dim = common_dim
        salient = _fresh(copy.deepcopy(backbone))
        self.network = _branch(backbone, common_dim, head_hidden)
        self.salient_network = _branch(salient, salient_dim, head_hidden)

    def before_training(self, training_set: Any) -> None:
        """Require two populations.

        Raises:
            InputError: they are not named.
        """
        if "population" not in training_set.labels:
            raise InputError(
                f"sepclr compares two populations: name the background with --loading.background COLUMN=VALUE, where "
                f"a column is one of --labels, or of {', '.join(training_set.labels) or 'no labels that the set has'}."
            )

    def loss_terms(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the loss and its parts."""
        c1, c2 = self.project(batch["views"])
        s1, s2 = project_views(self.salient_network, batch["views"], self.views_share_batch_norm)
        return sepclr_loss(c1, c2, s1, s2, batch["population"], **self.settings)._asdict()

    def embed_parts(self, inputs: Tensor) -> dict[str, Tensor]:
        """Return the common part (N, D) and the salient part (N, E) of images, before the projectors."""
        branches: dict[str, Any] = {"common": self.network, "salient": self.salient_network}
        return {name: branch.representation(branch.encoder(inputs)).float() for name, branch in branches.items()}

    def embed(self, inputs: Tensor) -> Tensor:
        """Return both parts (N, D + E), the common one first."""
        return torch.cat(list(self.embed_parts(inputs).values()), dim=1)


def _branch(encoder: ImageEncoder, dim: int, hidden: int) -> Any:
    """Encoder, representation of `dim` numbers, projector."""
    return nn.Sequential(
        OrderedDict(encoder=encoder, representation=nn.Linear(encoder.width, dim), projector=mlp(dim, hidden, dim))
    )


def _fresh(module: ImageEncoder) -> ImageEncoder:
    """The same network with weights of its own, where its layers can draw new ones."""
    for layer in module.modules():
        if hasattr(layer, "reset_parameters"):
            layer.reset_parameters()  # type: ignore[operator]
    return module
