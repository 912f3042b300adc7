"""Methods that bring the modalities of a sample together: an encoder and a projection each, and one temperature."""

import difflib
from collections.abc import Callable, Mapping, Sequence
from itertools import combinations
from typing import Any, ClassVar, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from dipole.errors import InputError
from dipole.evaluation.zero_shot import pairwise_scores
from dipole.losses.common import accumulate
from dipole.methods.base import Method
from dipole.methods.optimization import OptimizerName, ScheduleName
from dipole.methods.wrapping import Wrapping
from dipole.nn import LogitScale
from dipole.nn.clap_towers import SoundTower
from dipole.nn.clip_towers import ImageTower, TextTower
from dipole.nn.modalities import build_modality_encoder
from dipole.ops import GradCache, gather, world_size
from dipole.ops.checks import check_at_least, check_temperature
from dipole.views.modalities import ModalityViews

# Embeddings of paired rows, and whether they are to be contrasted with those of the other processes.
PairLoss = Callable[[Tensor, Tensor, bool], Tensor]


class Encoded(NamedTuple):
    """A batch, encoded.

    Attributes:
        embeddings: (N, D) of each modality, or (V, N, D) of V texts; not normalised; zero where it is missing.
        features: (N, F) of each modality, before the projection.
        present: (N,) where each modality is there, beside another one.
    """

    embeddings: dict[str, Tensor]
    features: dict[str, Tensor]
    present: dict[str, Tensor]


EMBEDDING_DIM = 128
TOWERS = (ImageTower, TextTower, SoundTower)


class ModalityEmbedding(Method):
    """An encoder and a linear projection for each modality of a sample.

    The towers of a CLIP end in a projection of their own and get no other where it gives D numbers: their embeddings
    stay in the space that they share.

    What is missing is not encoded. A sample takes part in a loss with the modalities that it has; one with a single
    modality takes no part.

    Args:
        modalities: facts of each modality by name; the data give them.
        encoders: a name or a module for some modalities, in place of the encoder of its kind.
        image_encoder: see `build_modality_encoder`; so are the next four.
        text_encoder: of texts.
        sound_encoder: of sounds.
        vector_encoder: of vectors.
        category_encoder: of categories.
        pretrained: start from timm's weights of image encoders.
        text_length: tokens of a text that are read, special tokens included.
        embedding_dim: D; if None, that of the towers of a CLIP, 128 otherwise.
        locked: modalities whose encoders stay as they are, in evaluation mode; names with commas.
        locked_projection: whether a locked encoder's features are projected too; False needs D features.
        temperature: τ at the start.
        learnable_temperature: whether 1 / τ is learned.
        gather: contrast against the samples of all processes.
        chunk_size: encode this many rows at a time and again for the gradient (GradCache); all at once if None.
        optimizer: see `Method`; so are the next three.
        learning_rate: after warm-up.
        weight_decay: of matrices and filters.
        schedule: of the learning rate.
        **optimization: further arguments of `Method`.
    """

    domain: ClassVar[str] = "multimodal"
    views_class: ClassVar[type[ModalityViews]] = ModalityViews
    # Bounds of 1 / τ, to which it is brought back after every step; None for no bound.
    logit_scale_bounds: ClassVar[tuple[float | None, float | None]] = (1.0, 100.0)
    projection_bias: ClassVar[bool] = False

    def __init__(
        self,
        *,
        modalities: dict[str, Any] | None = None,
        encoders: dict[str, Any] | None = None,
        image_encoder: str = "convnet4",
        text_encoder: str = "transformer",
        sound_encoder: str = "convnet",
        vector_encoder: str = "mlp",
        category_encoder: str = "embedding",
        pretrained: bool = False,
        text_length: int = 32,
        embedding_dim: int | None = None,
        locked: str = "",
        locked_projection: bool = True,
        temperature: float = 0.07,
        learnable_temperature: bool = True,
        gather: bool = True,
        chunk_size: int | None = None,
        optimizer: OptimizerName = "adamw",
        learning_rate: float = 1e-3,
        weight_decay: float = 0.1,
        schedule: ScheduleName = "cosine",
        **optimization: Any,
    ) -> None:
        super().__init__(
            optimizer=optimizer,
            learning_rate=learning_rate,
            weight_decay=weight_decay,
            schedule=schedule,
            **optimization,
        )
        check_temperature(temperature)
        if embedding_dim is not None:
            check_at_least(embedding_dim, 1, "embedding_dim")
        check_at_least(text_length, 2, "text_length")
        if chunk_size is not None:
            check_at_least(chunk_size, 1, "chunk_size")
        if not modalities or len(modalities) < 2:
            raise InputError(f"modalities are {sorted(modalities or {})}: expected two or more; the data give them.")
        self.modalities: dict[str, Any] = modalities
        self.gather, self.chunk_size = gather, chunk_size
        self.locked = self._known([name.strip() for name in locked.split(",") if name.strip()], "locked")
        self._known(list(encoders or {}), "encoders")
        by_kind = {
            "image": image_encoder,
            "text": text_encoder,
            "sound": sound_encoder,
            "vector": vector_encoder,
            "category": category_encoder,
        }
        self.encoders = ByName(
            {
                name: build_modality_encoder(
                    (encoders or {}).get(name, by_kind[facts["kind"]]),
                    facts,
                    pretrained=pretrained,
                    max_length=text_length,
                )
                for name, facts in modalities.items()
            }
        )
        for name in self.locked:
            self.encoders[name].requires_grad_(False).eval()
        shared = {tower.width for tower in self.encoders.values() if isinstance(tower, TOWERS)}
        self.embedding_dim = embedding_dim or (shared.pop() if len(shared) == 1 else EMBEDDING_DIM)
        self.projections = ByName(
            {name: self._projection(name, name not in self.locked or locked_projection) for name in modalities}
        )
        lowest, highest = self.logit_scale_bounds
        self.logit_scale = LogitScale(1 / temperature, minimum=lowest, maximum=highest, learnable=learnable_temperature)

    def _known(self, names: Sequence[str], argument: str) -> tuple[str, ...]:
        """Require names of modalities."""
        for name in names:
            if name not in self.modalities:
                near = difflib.get_close_matches(name, self.modalities, 1)
                hint = f" Did you mean {near[0]!r}?" if near else ""
                raise InputError(
                    f"{argument} names {name!r}, which is no modality.{hint} Modalities: {', '.join(self.modalities)}."
                )
        return tuple(names)

    def _projection(self, name: str, projected: bool) -> nn.Module:
        """From features of a modality to embeddings."""
        width = int(self.encoders[name].width)  # type: ignore[arg-type]
        if isinstance(self.encoders[name], TOWERS) and width == self.embedding_dim:
            return nn.Identity()
        if projected:
            return nn.Linear(width, self.embedding_dim, bias=self.projection_bias)
        if width != self.embedding_dim:
            raise InputError(
                f"{name} is locked without a projection and has {width} features: set embedding_dim to {width}."
            )
        return nn.Identity()

    @property
    def temperature(self) -> Float[Tensor, ""]:
        """τ."""
        return self.logit_scale.temperature

    @property
    def refreshed_modality(self) -> str:
        """The modality whose embeddings `refresh` sees: the first of images, or else the first of all."""
        kinds = {name: facts["kind"] for name, facts in self.modalities.items()}
        return next((name for name, kind in kinds.items() if kind == "image"), next(iter(kinds)))

    @property
    def tokenizers(self) -> dict[str, Any]:
        """Tokenizers of the text modalities, by name."""
        return {
            name: self.encoders[name].tokenizer for name, facts in self.modalities.items() if facts["kind"] == "text"
        }

    def build_views(self, **options: Any) -> ModalityViews:
        """Return the views that the method trains on."""
        lengths = {name: int(self.encoders[name].max_length) for name in self.tokenizers}  # type: ignore[arg-type]
        return self.views_class(self.modalities, lengths, **options)

    def train(self, mode: bool = True) -> "ModalityEmbedding":
        """Set the mode of all but locked encoders, which stay in evaluation mode."""
        super().train(mode)
        for name in self.locked:
            self.encoders[name].eval()
        return self

    def after_step(self) -> None:
        """Bring 1 / τ back within its bounds."""
        self.logit_scale.clamp_()

    def encode(self, views: Mapping[str, Mapping[str, Tensor]]) -> Encoded:
        """Encode the `inputs` and `present` of a batch, see `ModalityViews`.

        A sample with a single modality is not encoded at all: it would still move batch statistics.
        """
        embeddings, features = {}, {}
        count = sum(present.long() for present in views["present"].values())
        taken = {name: present & (count > 1) for name, present in views["present"].items()}
        for name, present in taken.items():
            inputs = views["inputs"][name]
            versions = inputs.ndim > 3 and self.modalities[name]["kind"] == "text"
            parts = [self._encode(name, part, present) for part in (inputs if versions else inputs[None])]
            features[name] = parts[0][0]
            embeddings[name] = torch.stack([part[1] for part in parts]) if versions else parts[0][1]
        return Encoded(embeddings, features, taken)

    def _encode(self, name: str, inputs: Tensor, present: Bool[Tensor, "n"]) -> tuple[Tensor, Tensor]:
        """Features and embeddings of the rows that are there, zeros elsewhere."""
        encoder = self.encoders[name]
        kept = inputs if bool(present.all()) else inputs[present]
        if name in self.locked:
            with torch.no_grad():
                features = accumulate(encode_rows(encoder, kept, int(encoder.width)))  # type: ignore[arg-type]
        else:
            encode = encoder if self.chunk_size is None or not len(kept) else GradCache(encoder, self.chunk_size)
            features = accumulate(encode_rows(encode, kept, int(encoder.width), encoder))  # type: ignore[arg-type]
        features = spread_rows(features, present)
        return features, self.project(name, features, present)

    def project(self, name: str, features: Float[Tensor, "n f"], present: Bool[Tensor, "n"]) -> Float[Tensor, "n d"]:
        """Project the features of a modality; zero where it is missing."""
        return accumulate(self.projections[name](features)) * present[:, None]

    def over_pairs(self, encoded: Encoded, loss: PairLoss) -> Float[Tensor, ""]:
        """Add up a loss over all pairs of modalities, each over the samples that have both.

        Args:
            encoded: of a batch.
            loss: `(x, y, gather) -> scalar` of embeddings (n, D), n ≥ 2.
        """
        total = self.nothing()
        for first, second in combinations(encoded.embeddings, 2):
            both = encoded.present[first] & encoded.present[second]
            (x, y), gathered = self.joined([encoded.embeddings[first], encoded.embeddings[second]], both)
            # One pair alone has no negatives.
            total = total + (loss(x, y, gathered) if rows(x, gathered) > 1 else self.nothing(x, y))
        return total

    def nothing(self, *tensors: Tensor) -> Float[Tensor, ""]:
        """Return a loss of 0 that depends on tensors and on τ: data-parallel training waits for every gradient."""
        return 0 * sum((tensor.sum() for tensor in tensors), self.logit_scale())

    def joined(self, tensors: Sequence[Tensor], kept: Bool[Tensor, "n"]) -> tuple[list[Tensor], bool]:
        """Return some rows of tensors (N, …), and whether the loss is to gather those of the other processes.

        Where a sample is left out, the processes have different numbers of rows. Then all rows are gathered here, and
        every process computes the same loss of all of them; its gradient is that of one process, too.
        """
        distributed = self.gather and world_size() > 1
        if not distributed:
            return [part if bool(kept.all()) else part[kept] for part in tensors], False
        everywhere = gather(kept)
        if bool(everywhere.all()):
            return list(tensors), True
        return [gather(part)[everywhere] for part in tensors], False

    def embed(self, inputs: Mapping[str, Tensor]) -> Float[Tensor, "n d"]:
        """Return embeddings (N, D) of the inputs of one modality, `{name: tensor}`, of unit length.

        Raises:
            InputError: several modalities came, or one that the method does not have.
        """
        if len(inputs) != 1:
            raise InputError(f"{sorted(inputs)} came: embed one modality at a time.")
        (name,) = self._known(list(inputs), "embed")
        present = torch.ones(len(inputs[name]), dtype=torch.bool, device=inputs[name].device)
        return self.comparable(self._encode(name, inputs[name], present)[1])

    def comparable(self, embeddings: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
        """Return embeddings as the loss compares them: of unit length."""
        return F.normalize(embeddings, dim=-1)

    def missing_embedding(self, name: str) -> Float[Tensor, "d"] | None:
        """Return what stands for a modality that is missing in a query; None if there can be no such query."""
        return torch.zeros(self.embedding_dim, device=self.device)

    def score(self, queries: Sequence[Tensor], candidates: Float[Tensor, "c d"]) -> Float[Tensor, "n c"]:
        """Score candidates of a modality for queries (N, D) of one or more others."""
        return pairwise_scores(queries, candidates)


# A method that wraps one of several modalities has what that one has.
AnyModal = ModalityEmbedding | Wrapping


class ByName(nn.ModuleDict):
    """Modules under any names, also such as torch reserves: `type`, `v1.0`.

    Example:
        >>> ByName({"type": nn.Identity()})["type"]
        Identity()
    """

    def __init__(self, modules: Mapping[str, nn.Module]) -> None:
        super().__init__({self._escaped(name): module for name, module in modules.items()})

    def __getitem__(self, key: str) -> nn.Module:
        return super().__getitem__(self._escaped(key))

    @staticmethod
    def _escaped(name: str) -> str:
        return "of " + name.replace("%", "%25").replace(".", "%2E")


def rows(x: Tensor, gathered: bool) -> int:
    """Number of samples in a loss."""
    return len(x) * (world_size() if gathered else 1)


def encode_rows(encode: Any, inputs: Tensor, width: int, encoder: nn.Module | None = None) -> Tensor:
    """Encode also no row at all, and a single one, of which a batch normalisation in training makes nothing."""
    if not len(inputs):
        # Tied to the parameters all the same: data-parallel training waits for their gradients.
        parameters = [] if encoder is None else list(encoder.parameters())
        dtype = parameters[0].dtype if parameters else None
        nothing = torch.zeros(0, width, device=inputs.device, dtype=dtype)
        return nothing + sum((p.sum() * 0 for p in parameters), torch.tensor(0.0))
    if len(inputs) == 1 and encoder is not None and encoder.training:
        return encode(inputs.expand(2, *inputs.shape[1:]))[:1]
    return encode(inputs)


def spread_rows(found: Tensor, present: Tensor) -> Tensor:
    """Rows in the places where `present` is True, zeros elsewhere."""
    if len(found) == len(present):
        return found
    places = present.nonzero().flatten()
    return torch.zeros(len(present), found.shape[1], dtype=found.dtype, device=found.device).index_put((places,), found)
