"""Methods that are trained on texts and what belongs to them: what practitioners add to any of these."""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, NamedTuple

import torch
from jaxtyping import Bool
from torch import Tensor, nn

from dipole.data.samplers import Distinct, Order
from dipole.errors import InputError
from dipole.losses import false_negative_mask, score_distillation_loss, tuple_info_nce_loss
from dipole.losses.common import gathered_keys, inner_products, unit_rows
from dipole.losses.tuples import Scope
from dipole.methods.text.embedding import SentenceEmbedding
from dipole.methods.text.teacher import Teacher
from dipole.ops.checks import check_at_least, check_temperature
from dipole.views.text import TextViews, TrainingPassages


class Tuples(NamedTuple):
    """Embeddings of a batch.

    Attributes:
        queries: (N, D).
        positives: (N, D).
        negatives: (N, K, D).
        valid: (N, K), False where a negative only fills up.
    """

    queries: Tensor
    positives: Tensor
    negatives: Tensor
    valid: Tensor

    def cut(self, width: int) -> "Tuples":
        """Return the first dimensions of every embedding."""
        return Tuples(self.queries[..., :width], self.positives[..., :width], self.negatives[..., :width], self.valid)


class TextPairs(SentenceEmbedding):
    """A query finds its positive among other texts. Base of the methods that learn from pairs or tuples.

    Each option changes one thing and can be combined with any other.

    Args:
        temperature: τ of cosines.
        scope: what a query is contrasted with, see `tuple_info_nce_loss`.
        normalize: compare by cosines; by inner products if False.
        query_prompt: stands before every query, in training and for inference.
        passage_prompt: stands before every passage.
        teacher: a frozen encoder with the same tokenizer, for the next two; the encoder as it begins if None.
        false_negative_threshold: leave out candidates whose cosine with the query is above it for the teacher.
        distillation_weight: of the divergence between the teacher's and the method's scores of all candidates.
        matryoshka_dims: widths at which the embedding is trained to be cut; the whole one alone if None. The loss is
            the mean over the widths.
        distinct: never put the same query or passage into a batch twice, as far as that can be.
        **options: arguments of `SentenceEmbedding` and `Method`.
    """

    views_class: ClassVar[type[TextViews]] = TrainingPassages
    compares_views = False

    def __init__(
        self,
        *,
        temperature: float = 0.05,
        scope: Scope = "batch",
        normalize: bool = True,
        query_prompt: str = "",
        passage_prompt: str = "",
        teacher: str | nn.Module | None = None,
        false_negative_threshold: float | None = None,
        distillation_weight: float = 0.0,
        matryoshka_dims: list[int] | None = None,
        distinct: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        check_temperature(temperature)
        check_at_least(distillation_weight, 0, "distillation_weight")
        widths = [self.encoder.width] if matryoshka_dims is None else list(matryoshka_dims)
        if not widths or not all(1 <= width <= self.encoder.width for width in widths):
            raise InputError(
                f"matryoshka_dims are {matryoshka_dims}: expected widths from 1 to {self.encoder.width}, that of the "
                "encoder."
            )
        self.temperature, self.scope, self.normalize, self.widths = temperature, scope, normalize, widths
        self.false_negative_threshold, self.distillation_weight = false_negative_threshold, distillation_weight
        self.distinct = distinct
        self.teacher = Teacher(teacher)
        given = {"query": query_prompt, "passage": passage_prompt}
        self.encoder.prompts = {**self.encoder.prompts, **{name: text for name, text in given.items() if text}}

    @property
    def similarity(self) -> Literal["cosine", "dot"]:
        """Cosines, unless the method was trained with inner products."""
        return "cosine" if self.normalize else "dot"

    @property
    def needs_teacher(self) -> bool:
        """Whether the loss asks the teacher."""
        return self.false_negative_threshold is not None or self.distillation_weight > 0

    def build_views(self, **options: Any) -> TextViews:
        """Return the tuples that the method trains on; a teacher that cannot be opened is told of now."""
        if self.needs_teacher:
            self.teacher.open(self.encoder)
        views = self.views_class(max_length=self.encoder.max_length, **options)
        assert isinstance(views, TrainingPassages)
        prompts = self.encoder.prompts
        views.query_prompt, views.passage_prompt = prompts.get("query", ""), prompts.get("passage", "")
        return views

    def sampling(self, training_set: Any, batch_size: int) -> Order | None:
        """Return an order without duplicates in a batch, if that is wanted."""
        if not self.distinct:
            return None
        records = training_set.fetch(torch.arange(len(training_set)))
        return Distinct([frozenset(TrainingPassages.texts_of(record)) for record in records], batch_size)

    def loss_terms(self, batch: Mapping[str, Any]) -> dict[str, Tensor]:
        """Return the contrast of queries and passages, and what is worth a curve."""
        views = batch["views"]
        tuples = self.embedded(views)
        exclude, terms = None, {}
        if self.needs_teacher:
            judged = self._judged(views)
            if self.false_negative_threshold is not None:
                exclude = self._false_negatives(judged)
                terms["masked"] = exclude.float().mean()
            if self.distillation_weight:
                terms["distillation"] = self._divergence(tuples, judged)
        losses = [self.contrast(tuples.cut(width), exclude) for width in self.widths]
        loss = torch.stack(losses).mean()
        if self.distillation_weight:
            loss = loss + self.distillation_weight * terms["distillation"]
        return {"loss": loss, **terms, **self.monitored(tuples)}

    @torch.no_grad()
    def monitored(self, tuples: Tuples) -> dict[str, Tensor]:
        """Return what is worth a curve: the share of queries whose own positive is the most similar, in per cent."""
        queries, positives = (unit_rows(rows, self.normalize) for rows in tuples[:2])
        own, best = (queries * positives).sum(dim=1), inner_products(queries, positives).amax(dim=1)
        return {"accuracy": 100 * (own >= best - 1e-5 * best.abs().clamp_min(1)).float().mean()}

    def contrast(self, tuples: Tuples, exclude: Tensor | None) -> Tensor:
        """Return the loss of embeddings of one width; `exclude` (N, C) as `tuple_info_nce_loss` takes it."""
        return tuple_info_nce_loss(
            *tuples[:3],
            valid=tuples.valid,
            exclude=exclude,
            scope=self.scope,
            temperature=self.temperature,
            normalize=self.normalize,
            gather=self.gather,
        )

    def embedded(self, views: Mapping[str, Tensor]) -> Tuples:
        """Embed the texts of a batch, as the loss compares them."""
        queries, passages = (
            self.project({name: views[f"{side}_{name}"][None] for name in ("input_ids", "attention_mask")})[0]
            for side in ("query", "passage")
        )
        return _tuples(queries, passages, views["passage_valid"])

    def _judged(self, views: Mapping[str, Tensor]) -> Tuples:
        """The teacher's embeddings of a batch."""
        queries, passages = (
            self.teacher.embed(self.encoder, views[f"{side}_input_ids"], views[f"{side}_attention_mask"])
            for side in ("query", "passage")
        )
        return _tuples(queries, passages, views["passage_valid"])

    def _false_negatives(self, judged: Tuples) -> Bool[Tensor, "n c"]:
        """Candidates that the teacher finds too similar to a query, of all processes."""
        assert self.false_negative_threshold is not None
        golds, own = gathered_keys(judged.positives, self.gather)
        negatives = gathered_keys(judged.negatives.flatten(0, 1), self.gather)[0]
        return false_negative_mask(
            judged.queries, torch.cat([golds, negatives]), threshold=self.false_negative_threshold, positives=own
        )

    def _divergence(self, tuples: Tuples, judged: Tuples) -> Tensor:
        """How far the method's scores of the passages of this process are from the teacher's, both compared alike."""
        used = torch.cat([torch.ones(len(tuples.queries)).bool().to(tuples.valid), tuples.valid.flatten()])
        scores = inner_products(
            unit_rows(judged.queries, self.normalize), unit_rows(_candidates(judged)[used], self.normalize)
        )
        return score_distillation_loss(
            tuples.queries,
            _candidates(tuples)[used],
            scores,
            temperature=self.temperature,
            normalize=self.normalize,
        )


def _tuples(queries: Tensor, passages: Tensor, valid: Tensor) -> Tuples:
    """Queries with their passages: N positives first, then the negatives of query 0, 1, …"""
    count = len(queries)
    negatives = passages[count:].unflatten(0, (count, -1)) if len(passages) > count else passages[:, None][:count, :0]
    return Tuples(queries, passages[:count], negatives, valid[count:].view(count, -1))


def _candidates(tuples: Tuples) -> Tensor:
    """All passages of a batch, in the order in which they came."""
    return torch.cat([tuples.positives, tuples.negatives.flatten(0, 1)])
