"""Methods that bring views of an image together: one encoder, or a second one that follows it."""

from collections import OrderedDict
from typing import Any, ClassVar, Literal

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from dipole.methods.base import Method
from dipole.nn import ImageEncoder, MomentumEncoder, build_encoder, cosine_momentum, mlp
from dipole.ops import GradCache
from dipole.ops.checks import check_at_least
from dipole.views import ImageViews, SimCLRViews


class JointEmbedding(Method):
    """An encoder and a projector that embed V views of every image.

    Args:
        encoder: name of an image encoder (`convnet4`, `small-alexnet`, any timm model) or a module.
        image_size: height and width of the views, in pixels.
        pretrained: start from timm's weights.
        weights: a .safetensors file that the encoder starts from, with timm's names or those of a saved model.
        projection_dim: D, dimensions of the embedding in which the loss is computed.
        projector_hidden: width of the projector's hidden layers; the encoder's width if it is None.
        projector_layers: linear layers of the projector.
        projector_final_norm: end the projector with batch normalisation without an affine map.
        gather: contrast against the embeddings of all processes.
        chunk_size: encode this many images at a time and again for the gradient (GradCache); all at once if None.
        **optimization: arguments of `Method`.
    """

    views_class: ClassVar[type[ImageViews]] = SimCLRViews
    # Whether batch normalisation sees all views of a batch together (SimCLR's code) or each alone (MoCo's, CACR's).
    views_share_batch_norm: ClassVar[bool] = False

    def __init__(
        self,
        *,
        encoder: str | nn.Module = "convnet4",
        image_size: int = 32,
        pretrained: bool = False,
        weights: str | None = None,
        projection_dim: int = 128,
        projector_hidden: int | None = None,
        projector_layers: int = 2,
        projector_final_norm: bool = False,
        gather: bool = True,
        chunk_size: int | None = None,
        **optimization: Any,
    ) -> None:
        super().__init__(**optimization)
        if chunk_size is not None:
            check_at_least(chunk_size, 1, "chunk_size")
        backbone = build_encoder(encoder, image_size=image_size, pretrained=pretrained, weights=weights)
        width = backbone.width
        projector = mlp(
            width,
            width if projector_hidden is None else projector_hidden,
            projection_dim,
            projector_layers,
            final_norm=projector_final_norm,
        )
        self.network = nn.Sequential(OrderedDict(encoder=backbone, projector=projector))
        self.projection_dim = projection_dim
        self.gather = gather
        self.chunk_size = chunk_size

    @property
    def encoder(self) -> ImageEncoder:
        """The network up to the features that are kept."""
        return self.network.encoder  # type: ignore[return-value]

    @property
    def num_views(self) -> int:
        """Number of views that the loss needs of every image."""
        return 2

    def project(self, views: Float[Tensor, "v n 3 h w"]) -> Float[Tensor, "v n d"]:
        """Embed views (V, N, 3, H, W) for the loss: (V, N, D) in float32, not normalised."""
        encode = self.network if self.chunk_size is None else GradCache(self.network, self.chunk_size)
        return project_views(encode, views, self.views_share_batch_norm)

    def embed(self, inputs: Float[Tensor, "n 3 h w"] | UInt8[Tensor, "n 3 h w"]) -> Float[Tensor, "n f"]:
        """Return the encoder's features (N, F) of images in [0, 1] or uint8."""
        return self.encoder(inputs).float()


class MomentumJointEmbedding(JointEmbedding):
    """A joint embedding whose keys come from a momentum encoder.

    Args:
        encoder_momentum: m of the momentum encoder.
        encoder_momentum_schedule: `"constant"`, or `"cosine"` from m to 1 over training (MoCo v3).
        **options: arguments of `JointEmbedding`.
    """

    def __init__(
        self,
        *,
        encoder_momentum: float = 0.999,
        encoder_momentum_schedule: Literal["constant", "cosine"] = "constant",
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.momentum_network = MomentumEncoder(self.network, encoder_momentum)
        self.encoder_momentum_schedule = encoder_momentum_schedule

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        """Update the momentum encoder before the keys of the batch are computed."""
        momentum = self.momentum_network.momentum
        if self.encoder_momentum_schedule == "cosine":
            momentum = cosine_momentum(self.global_step / self.trainer.estimated_stepping_batches, momentum)
        self.momentum_network.update(self.network, momentum)

    def project_keys(self, views: Float[Tensor, "v n 3 h w"]) -> Float[Tensor, "v n d"]:
        """Embed views with the momentum encoder: (V, N, D), without gradient."""
        return project_views(self.momentum_network, views, self.views_share_batch_norm)


def project_views(network: Any, views: Tensor, together: bool) -> Tensor:
    """Apply a network to views (V, N, …) in one pass, or in one pass for each view."""
    if together:
        return network(views.flatten(0, 1)).float().unflatten(0, views.shape[:2])
    return torch.stack([network(view).float() for view in views])
