"""SuSana Distancia."""

from collections.abc import Mapping
from typing import Any, Literal

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from dipole import ops
from dipole.card import Card
from dipole.data.samplers import Episodes
from dipole.errors import InputError
from dipole.losses.episodes import check_terms, episode_loss, prototype_logits
from dipole.losses.susana import class_prototypes
from dipole.methods.base import Method
from dipole.nn import build_encoder
from dipole.ops.checks import check_at_least, check_choice, check_temperature
from dipole.views import resize


class SuSana(Method):
    """Episodes of few-shot classification, with losses that look at the distances within and between classes.

        1. draw some classes, and of each shots and queries          2. embed all, average the shots of a class
        3. minimise the mean of: cross entropy of squared distances to the prototypes, a triplet of query, its
           prototype and the nearest other one, and −log of the quality of nearest neighbours (ICNN)

    With `--method.terms [cross]` it is ProtoNet. A batch is an episode: `batch_size = ways · (shots + queries)`.

    Args:
        ways: classes in an episode.
        shots: support images of each.
        queries: query images of each.
        episodes: in an epoch.
        terms: of the loss: `cross`, `prototriplet`, `suppicnn`, `queryicnn`, `fullicnn`.
        margin: of the triplet.
        neighbours: k of ICNN.
        temperature: of the cross entropy.
        query_to: `"support"` or `"prototypes"`: where `queryicnn` seeks neighbours.
        encoder: name of an image encoder or a module.
        image_size: height and width of the images, in pixels.
        pretrained: start from timm's weights.
        weights: a .safetensors file that the encoder starts from.
        **optimization: arguments of `Method`.

    Example:
        >>> import torch
        >>> method = SuSana(image_size=8, ways=2, shots=1, queries=2)
        >>> images = torch.randint(0, 255, (6, 3, 8, 8), dtype=torch.uint8)
        >>> batch = {"images": images, "index": torch.arange(6), "label": torch.tensor([4, 4, 4, 7, 7, 7])}
        >>> sorted(method.loss_terms(batch))
        ['episode_accuracy', 'loss']
    """

    card = Card(
        name="susana",
        slug="susana",
        title="SuSana Distancia is all you need: Enforcing class separability in metric learning via two novel "
        "distance-based loss functions for few-shot image classification",
        authors="Mendez-Ruiz, Gonzalez-Zapata, Reyes-Amezcua, Flores-Araiza, Lopez-Tiro, Mendez-Vazquez, Ochoa-Ruiz",
        year=2023,
        venue="arXiv",
        arxiv="2305.09062",
        field="recognition",
        summary="Few-shot episodes whose losses look at distances within and between classes (proto-triplet, ICNN).",
        equations=("proto-triplet loss", "ICNN loss of support, queries and both", "ProtoNet's cross entropy"),
        official_code="maumruiz/FSL-Loss",
        differences=(
            "The paper's text could not be read; formulas are those of the authors' code.",
            "Support and query images of an episode are different ones; the authors' code draws them independently.",
            "Queries keep their nearest support image; the authors' code drops it as if it were the query itself "
            "(`drop_first=True` of the loss).",
            "A misspelt term is refused; in the authors' code it adds 0 and still divides the sum.",
            "An episode is not divided between processes: training takes place in one.",
        ),
    )

    def __init__(
        self,
        *,
        ways: int = 5,
        shots: int = 1,
        queries: int = 15,
        episodes: int = 100,
        terms: list[str] | None = None,
        margin: float = 0.5,
        neighbours: int = 4,
        temperature: float = 1.0,
        query_to: Literal["support", "prototypes"] = "support",
        encoder: str | nn.Module = "convnet4",
        image_size: int = 32,
        pretrained: bool = False,
        weights: str | None = None,
        **optimization: Any,
    ) -> None:
        super().__init__(**optimization)
        for name, value, least in (("ways", ways, 2), ("shots", shots, 1), ("queries", queries, 1)):
            check_at_least(value, least, name)
        check_at_least(episodes, 1, "episodes")
        check_at_least(margin, 0, "margin")
        check_at_least(neighbours, 1, "neighbours")
        check_temperature(temperature)
        check_choice(query_to, ("support", "prototypes"), "query_to")
        self.terms = ["cross", "prototriplet", "fullicnn"] if terms is None else list(terms)
        check_terms(self.terms)
        self.ways, self.shots, self.queries, self.episodes = ways, shots, queries, episodes
        self.margin, self.neighbours, self.temperature, self.query_to = margin, neighbours, temperature, query_to
        self.image_size = image_size
        self.encoder = build_encoder(encoder, image_size=image_size, pretrained=pretrained, weights=weights)

    def sampling(self, training_set: Any, batch_size: int) -> Episodes:
        """Return episodes, a batch each.

        Raises:
            InputError: another batch size, several processes, no labels, or too few images for an episode.
        """
        samples = self.shots + self.queries
        if ops.world_size() > 1:
            raise InputError("an episode is not divided between processes: train in one, --trainer.devices 1.")
        if batch_size != self.ways * samples:
            raise InputError(
                f"batch_size is {batch_size}: an episode of {self.ways} ways with {self.shots} shots and "
                f"{self.queries} queries has {self.ways * samples} images: set --batch-size {self.ways * samples}."
            )
        labels = training_set.seen_labels
        if labels is None:
            raise InputError(f"{training_set.name} has no labels: episodes are made of classes.")
        return Episodes(labels, ways=self.ways, samples=samples, episodes=self.episodes)

    def loss_terms(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the loss of an episode, class after class, shots first, and the share of queries put right."""
        rows = self.encoder(resize(batch["images"], self.image_size)).float()
        samples = self.shots + self.queries
        if len(rows) % samples:
            raise InputError(f"a batch of {len(rows)} images came: expected {samples} of each class.")
        support, query = rows.unflatten(0, (-1, samples)).split([self.shots, self.queries], dim=1)
        classes = torch.arange(len(support), device=rows.device)
        labels = classes.repeat_interleave(self.shots), classes.repeat_interleave(self.queries)
        support, query = support.flatten(0, 1), query.flatten(0, 1)
        loss = episode_loss(
            support,
            labels[0],
            query,
            labels[1],
            terms=self.terms,
            margin=self.margin,
            k=self.neighbours,
            temperature=self.temperature,
            query_to=self.query_to,
        )
        with torch.no_grad():
            found = prototype_logits(query, class_prototypes(support, labels[0]).rows).argmax(dim=1)
        return {"loss": loss, "episode_accuracy": (found == labels[1]).float().mean()}

    def embed(self, inputs: Float[Tensor, "n 3 h w"] | UInt8[Tensor, "n 3 h w"]) -> Float[Tensor, "n f"]:
        """Return the encoder's features (N, F) of images in [0, 1] or uint8, not normalised."""
        return self.encoder(inputs).float()
