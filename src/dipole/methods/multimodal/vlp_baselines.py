"""CLIP-rocket and the baselines that it is compared with: SiamLIP, BYOLIP, BarLIP, SwALIP, SLIP."""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from dipole.card import Card
from dipole.errors import InputError
from dipole.losses import (
    cross_modal_barlow_loss,
    cross_modal_prediction_loss,
    multi_view_clip_loss,
    nt_xent_loss,
    prototype_swap_loss,
    swalip_loss,
)
from dipole.losses.common import accumulate, unit_rows
from dipole.methods.multimodal.base import ByName, ModalityEmbedding, encode_rows, rows, spread_rows
from dipole.nn import LogitScale, MomentumEncoder, mlp
from dipole.nn.block_dropout import block_dropout
from dipole.ops.checks import check_at_least, check_choice, check_temperature
from dipole.views.modalities import ModalityViews
from dipole.views.weak_and_strong import WeakAndStrongViews

Objective = Literal["clip", "siamlip", "byolip", "barlip", "swalip", "swalip-prototypes", "slip"]
# Hidden width and output of the projectors that only the objective uses.
AUXILIARY = {
    "siamlip": (2048, 128),
    "byolip": (2048, 128),
    "barlip": (3000, 8192),
    "swalip-prototypes": (2048, 128),
    "slip": (4096, 256),
}
SWAP_WEIGHT, SLIP_TEMPERATURE = 0.2, 0.1
PROTOTYPES_FROZEN = 100  # steps


class VLPBaselines(ModalityEmbedding):
    """CLIP with weak and strong views of images and texts, and a second pair of projectors for the strong ones.

        1. z = linear projection of a weak view of each modality; the loss of CLIP between them
        2. h = three-layer projection of A strong views of each; the loss of CLIP of all A × A pairs, labels smoothed
        3. (global term + A times the mean local term) / (1 + A), of both directions
        4. `objective` adds a loss: SiamLIP, BYOLIP predict, BarLIP decorrelates, SwALIP assigns, SLIP contrasts images

    `views.strong 0` is plain CLIP with its weak views, to which an objective may be added all the same.

    Args:
        objective: what is added; `"clip"` for nothing.
        separate_projector: False for one pair of projectors and one temperature for weak and strong views.
        label_smoothing: of the strong pairs; None for 0.1, and 0 with `"swalip"`.
        directions: `"sum"` as in most of the authors' runs, or `"mean"`.
        text_dropout: probability, at the input of every block of the text encoder, of strong views alone.
        projector_hidden: width of the projectors of strong views.
        auxiliary_hidden: width of the projectors of the objective; None for the authors'.
        auxiliary_dim: output of the projectors of the objective; None for the authors'.
        encoder_momentum: of `"byolip"`.
        prototypes: of `"swalip-prototypes"`.
        view_temperature: of the strong pairs, at the start.
        ensemble_weight: w. `embed` gives z for 1, h for 0, and both for what lies between, so that the cosine is
            w cos(z, z') + (1 − w) cos(h, h').
        temperature: of the weak pair, at the start.
        adam_beta2: β₂ of AdamW.
        **options: arguments of `ModalityEmbedding` and `Method`.

    Raises:
        InputError: other than two modalities, or an argument is out of range.

    Example:
        >>> vector = {"kind": "vector", "mean": [0.0], "std": [1.0], "width": 1}
        >>> method = VLPBaselines(modalities={"a": vector, "b": vector}, projector_hidden=8)
        >>> rows = [{"a": torch.rand(1), "b": torch.rand(1)}] * 4
        >>> views = method.build_views()(rows, {}, generator=torch.Generator())
        >>> sorted(method.loss_terms({"views": views, "index": torch.arange(4)}))
        ['contrast', 'logit_scale', 'loss', 'view_logit_scale']
    """

    card = Card(
        name="vlp-baselines",
        slug="vlp-baselines",
        title="Improved baselines for vision-language pre-training",
        authors="Fini, Astolfi, Romero-Soriano, Verbeek, Drozdzal",
        year=2023,
        venue="TMLR",
        arxiv="2305.08675",
        field="multimodal",
        summary="CLIP with weak and strong views, two pairs of projectors and smoothed labels; SiamLIP to SLIP too.",
        equations=(
            "the loss of CLIP-rocket",
            "SiamLIP, BYOLIP, BarLIP, SwALIP with and without prototypes",
            "SLIP: CLIP's loss and SimCLR's between two strong views of an image",
        ),
        official_code="facebookresearch/clip-rocket",
        differences=(
            "Candidates of other processes carry gradients, so that two processes compute what one does; the authors "
            "gather constants.",
            "The temperature of the strong pairs is bounded only where there is one; the authors' training ends with "
            "an error without separate projectors.",
            "Hidden layers before a batch normalisation have no bias, which it would remove.",
            "Stop words are scikit-learn's. Synonyms are WordNet's where it is installed, or a file's; without any, "
            "which a run says, words of captions are swapped and deleted only.",
            "Encoders are named in the settings and small by default; text dropout needs one with blocks.",
            "SLIP is not in the authors' code; it is CLIP's loss plus NT-Xent (τ = 0.1) of two strong views.",
        ),
    )
    views_class: ClassVar[type[ModalityViews]] = WeakAndStrongViews

    def __init__(
        self,
        *,
        objective: Objective = "clip",
        separate_projector: bool = True,
        label_smoothing: float | None = None,
        directions: Literal["sum", "mean"] = "sum",
        text_dropout: float = 0.0,
        projector_hidden: int = 4096,
        auxiliary_hidden: int | None = None,
        auxiliary_dim: int | None = None,
        encoder_momentum: float = 0.99,
        prototypes: int = 3000,
        view_temperature: float = 0.1,
        ensemble_weight: float = 1.0,
        temperature: float = 0.07,
        adam_beta2: float = 0.98,
        **options: Any,
    ) -> None:
        super().__init__(temperature=temperature, adam_beta2=adam_beta2, **options)
        check_choice(objective, ("clip", "swalip", *AUXILIARY), "objective")
        check_choice(directions, ("sum", "mean"), "directions")
        check_temperature(view_temperature, "view_temperature")
        for argument, share in (("ensemble_weight", ensemble_weight), ("text_dropout", text_dropout)):
            if not 0 <= share <= 1:
                raise InputError(f"{argument} is {share}: expected a number from 0 to 1.")
        if objective == "swalip" and label_smoothing:
            raise InputError("SwALIP has soft targets of its own: leave label_smoothing out, or set it to 0.")
        default = 0.0 if objective == "swalip" else 0.1
        self.label_smoothing = default if label_smoothing is None else label_smoothing
        self.image, self.text = self._two_modalities()
        self.objective, self.directions = objective, directions
        self.text_dropout, self.ensemble_weight = text_dropout, ensemble_weight
        widths = {name: int(self.encoders[name].width) for name in (self.image, self.text)}  # type: ignore[arg-type]
        self.strong_projections: ByName | None = None
        self.strong_logit_scale: LogitScale | None = None
        if separate_projector:
            self.strong_projections = ByName(
                {name: mlp(width, projector_hidden, self.embedding_dim, 3) for name, width in widths.items()}
            )
            lowest, highest = self.logit_scale_bounds
            self.strong_logit_scale = LogitScale(1 / view_temperature, minimum=lowest, maximum=highest)
        elif ensemble_weight < 1:
            raise InputError("ensemble_weight below 1 asks for the second pair of projectors: set separate_projector.")
        self._build_objective(widths, auxiliary_hidden, auxiliary_dim, prototypes, encoder_momentum)
        if text_dropout:
            block_dropout(self.encoders[self.text], text_dropout)  # what has no blocks is refused at once

    @property
    def view_logit_scale(self) -> LogitScale:
        """Of the strong pairs."""
        return self.logit_scale if self.strong_logit_scale is None else self.strong_logit_scale

    def _two_modalities(self) -> tuple[str, str]:
        """The image, or whatever stands for it, and the text."""
        if len(self.modalities) != 2:
            raise InputError(f"the modalities are {', '.join(self.modalities)}: expected two (loading.modalities).")
        first, second = self.modalities
        return (second, first) if self.modalities[first]["kind"] == "text" else (first, second)

    def _build_objective(
        self, widths: dict[str, int], hidden: int | None, dim: int | None, prototypes: int, momentum: float
    ) -> None:
        """Projectors and what else the objective needs."""
        if self.objective not in AUXILIARY:
            return
        usual = AUXILIARY[self.objective]
        hidden, dim = hidden or usual[0], dim or usual[1]
        self.auxiliary_dim = dim
        layers = 3 if self.objective in ("barlip", "slip") else 2
        predicts = self.objective in ("siamlip", "byolip")
        if self.objective == "slip":
            widths = {self.image: widths[self.image]}
        projectors = {name: mlp(width, hidden, dim, layers, final_norm=predicts) for name, width in widths.items()}
        if self.objective == "barlip":
            projectors = {name: nn.Sequential(*part, nn.BatchNorm1d(dim)) for name, part in projectors.items()}
        self.projectors = ByName(projectors)
        if predicts:
            self.predictors = ByName({name: mlp(dim, hidden, dim, 2) for name in widths})
        if self.objective == "byolip":
            self.momentum_encoder = MomentumEncoder(
                nn.ModuleDict({"encoders": self.encoders, "projectors": self.projectors}), momentum
            )
        if self.objective == "swalip-prototypes":
            check_at_least(prototypes, 2, "prototypes")
            self.prototypes = nn.Parameter(torch.randn(prototypes, dim))

    def loss_terms(self, batch: Mapping[str, Any]) -> dict[str, Tensor]:
        """Return the loss, and what the objective adds to it."""
        views = batch["views"]
        both = views["present"][self.image] & views["present"][self.text]
        if int(both.sum()) < 2 and not self.gather:
            return {"loss": self.nothing()}
        features = {name: self._features(name, views, both) for name in (self.image, self.text)}
        names = (self.image, self.text)
        weak = [self.project(name, features[name][0], both) for name in names]
        strong = [self._strong_projected(name, features[name][1:], both) for name in names]
        count = len(features[self.image]) - 1
        # Views go behind the rows, so that rows can be chosen and gathered.
        moved, gather = self.joined([*weak, *(part.transpose(0, 1) for part in strong)], both)
        terms: dict[str, Tensor] = {}
        if rows(moved[0], gather) < 2:
            return {"loss": self.nothing(*moved)}
        contrast = multi_view_clip_loss(
            moved[0],
            moved[1],
            *([part.transpose(0, 1) for part in moved[2:]] if count else (None, None)),
            temperature=self.temperature,
            view_temperature=self.view_logit_scale.temperature,
            label_smoothing=self.label_smoothing,
            directions=self.directions,
            gather=gather,
        )
        loss = contrast
        if not count and self.strong_projections is not None:  # data-parallel training waits for every gradient
            loss = loss + self.nothing()
        if self.objective != "clip":
            added = self._added(features, strong, both, views)
            terms[self.objective], loss = added.detach(), loss + added
        terms |= {"loss": loss, "contrast": contrast.detach(), "logit_scale": self.logit_scale().detach()}
        return {**terms, "view_logit_scale": self.view_logit_scale().detach()}

    def nothing(self, *tensors: Tensor) -> Float[Tensor, ""]:
        """Return a loss of 0 that depends on tensors and on all that stands above the encoders."""
        encoders = {id(p) for p in self.encoders.parameters()}
        own = [p.sum() for p in self.parameters() if p.requires_grad and id(p) not in encoders]
        return super().nothing(*tensors, *own)

    def _features(
        self, name: str, views: Mapping[str, Any], both: Bool[Tensor, "n"], encoder: Any = None
    ) -> Float[Tensor, "v n f"]:
        """Features of the weak view and of the strong ones."""
        parts = [views["inputs"][name], *(views["strong"][name] if "strong" in views else ())]
        found = []
        for place, inputs in enumerate(parts):
            dropped = self.text_dropout if place and name == self.text and self.training else 0.0
            with block_dropout(self.encoders[name], dropped):
                found.append(
                    self._encode(name, inputs, both)[0]
                    if encoder is None
                    else _kept(encoder, inputs, both, int(encoder.width))
                )
        return torch.stack(found)

    def _strong_projected(
        self, name: str, features: Float[Tensor, "a n f"], both: Bool[Tensor, "n"]
    ) -> Float[Tensor, "a n d"]:
        """h of strong views."""
        projection = self.projections[name] if self.strong_projections is None else self.strong_projections[name]
        if not len(features):
            return features.new_zeros(0, len(both), self.embedding_dim)
        return torch.stack([_kept(projection, part, both, self.embedding_dim) for part in features])

    def _added(
        self, features: dict[str, Tensor], strong: list[Tensor], both: Bool[Tensor, "n"], views: Mapping[str, Any]
    ) -> Float[Tensor, ""]:
        """What the objective adds, of the rows that have both modalities."""
        names = (self.image,) if self.objective == "slip" else (self.image, self.text)
        parts = strong
        if self.objective != "swalip":
            parts = [self._auxiliary(self.projectors[name], features[name], both) for name in names]
        if self.objective in ("siamlip", "byolip"):
            own = self.objective == "siamlip"
            targets = parts if own else [self._targets(name, views, both) for name in names]
            predicted = [self._auxiliary(self.predictors[n], part, both) for n, part in zip(names, parts, strict=True)]
            parts = [*predicted, *targets]
        moved, gather = self.joined([part.transpose(0, 1) for part in parts], both)
        return self._objective([part.transpose(0, 1) for part in moved], gather)

    def _objective(self, parts: list[Tensor], gather: bool) -> Float[Tensor, ""]:
        """The loss of the objective, of views (V, n, D) of rows that have both modalities."""
        if self.objective == "swalip":
            temperature = self.view_logit_scale.temperature
            return SWAP_WEIGHT * swalip_loss(*parts, temperature=temperature, gather=gather)
        if self.objective == "slip":
            if len(parts[0]) < 3:
                raise InputError("SLIP contrasts two strong views of an image: set views.strong to 2 or more.")
            return nt_xent_loss(*parts[0][1:3], temperature=SLIP_TEMPERATURE, gather=gather)
        if self.objective == "barlip":
            return cross_modal_barlow_loss(*parts, gather=gather)
        if self.objective == "swalip-prototypes":
            image, text = (part[0] for part in parts)
            return SWAP_WEIGHT * prototype_swap_loss(image, text, unit_rows(self.prototypes), gather=gather)
        return cross_modal_prediction_loss(*parts)

    def _auxiliary(
        self, module: nn.Module, inputs: Float[Tensor, "v n f"], both: Bool[Tensor, "n"]
    ) -> Float[Tensor, "v n d"]:
        """What a projector or predictor of the objective makes of every view."""
        return torch.stack([_kept(module, part, both, self.auxiliary_dim) for part in inputs])

    @torch.no_grad()
    def _targets(self, name: str, views: Mapping[str, Any], both: Bool[Tensor, "n"]) -> Float[Tensor, "v n d"]:
        """Projections of the momentum network."""
        network: Any = self.momentum_encoder.module
        features = self._features(name, views, both, network["encoders"][name])
        return self._auxiliary(network["projectors"][name], features, both)

    def on_before_optimizer_step(self, optimizer: Any) -> None:
        """Keep the prototypes as they are in the first steps."""
        super().on_before_optimizer_step(optimizer)
        if self.objective == "swalip-prototypes" and self.global_step < PROTOTYPES_FROZEN:
            self.prototypes.grad = None

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Bring both temperatures back within their bounds; move the momentum network."""
        super().on_train_batch_end(outputs, batch, batch_idx)
        self.view_logit_scale.clamp_()
        if self.objective == "byolip":
            online = nn.ModuleDict({"encoders": self.encoders, "projectors": self.projectors})
            self.momentum_encoder.update(online)

    def embed(self, inputs: Mapping[str, Tensor]) -> Float[Tensor, "n d"]:
        """Return z of the inputs of one modality; h, or both, if `ensemble_weight` says so."""
        weight = self.ensemble_weight
        if weight == 1 or len(inputs) != 1 or self.strong_projections is None:
            return super().embed(inputs)
        (name,) = self._known(list(inputs), "embed")
        present = torch.ones(len(inputs[name]), dtype=torch.bool, device=inputs[name].device)
        features, z = self._encode(name, inputs[name], present)
        parts = [(weight, z), (1 - weight, self.strong_projections[name](features))]
        return torch.cat([share**0.5 * unit_rows(part) for share, part in parts if share], dim=1)

    def missing_embedding(self, name: str) -> Float[Tensor, "d"] | None:
        """Return zeros of the width of `embed`."""
        both = 0 < self.ensemble_weight < 1
        return torch.zeros(self.embedding_dim * (2 if both else 1), device=self.device)


def _kept(module: nn.Module, inputs: Tensor, kept: Bool[Tensor, "n"], width: int) -> Tensor:
    """Outputs of a module for some rows, zeros elsewhere; the others do not move its batch statistics."""
    return spread_rows(accumulate(encode_rows(module, inputs[kept], width, module)), kept)
