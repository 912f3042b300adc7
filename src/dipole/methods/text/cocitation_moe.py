"""Co-citation experts: one encoder for several domains, with an expert for each."""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from dipole.card import Card
from dipole.data.samplers import OneLabel, Order
from dipole.errors import InputError
from dipole.losses import domain_router_loss, info_nce_loss, load_balancing_loss, mnr_plus_loss
from dipole.losses.clip import clip_loss
from dipole.methods.optimization import ScheduleName
from dipole.methods.text.pairs import TextPairs, Tuples
from dipole.nn.text import TextEncoder, build_text_encoder
from dipole.nn.text.domains import DomainEncoder
from dipole.nn.text.experts import Router, SentencePooler
from dipole.ops.checks import check_at_least, check_choice
from dipole.views.text import TextViews
from dipole.views.text.domains import DomainPairs

LOSSES = ("mnr", "clip", "mnr_plus")


class CoCitationMoE(TextPairs):
    """Two papers that a third one cites attract each other; every domain has an expert in each block.

        1. put the domain's token in the first place of both texts, which change places at random
        2. encode; the feed-forward layer of each block is that of the domain (`enforced`), or a router's choice
        3. minimise multiple negatives ranking of the pairs: InfoNCE of cosines times 20, from a to b
        4. with routers: + λ_r CE(mean router logits, domain) + λ_b load balancing

    Args:
        encoder: folder or Hugging Face name of a BERT-like model, or a `DomainEncoder`.
        domains: names, as they stand in the column `domain`.
        experts: which feed-forward layers become experts: `"all"`, `"middle"` or `"none"`.
        router: `"enforced"` by domain, `"switch"`, `"sentence_top_k"` or `"token_top_k"`, see `MixtureOfExperts`.
        top_k: experts of the last two.
        loss: `"mnr"` (InfoNCE), `"clip"` (both directions) or `"mnr_plus"`, the authors' released default.
        normalize: compare cosines; the authors' code compares inner products with τ = 1.
        temperature: τ; cosines times 20.
        router_weight: λ_r.
        balance_weight: λ_b.
        projection: train through the authors' pooler `W₂ tanh(W₁ LN(mean))`, which embeddings for inference do not
            pass.
        same_domain_batches: batches of one domain each, whose negatives are harder.
        pooling: see `SentenceEmbedding`; so are the next three.
        max_length: tokens of a text.
        learning_rate: after warm-up.
        schedule: of the learning rate.
        **options: further arguments of `TextPairs`, `SentenceEmbedding` and `Method`.

    Example:
        >>> import tempfile
        >>> from dipole.nn.text import new_bert
        >>> pairs = [{"text": "a cat", "positive": "a pet", "domain": "law"}] * 2
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     bert = str(new_bert(["a cat", "a pet"], folder, width=8))
        ...     method = CoCitationMoE(encoder=bert, domains=["law", "art"], max_length=16)
        >>> views = method.build_views()(pairs, method.encoder.tokenizer)
        >>> sorted(method.loss_terms({"views": views, "index": torch.arange(2)}))
        ['accuracy', 'loss']
    """

    card = Card(
        name="cocitation-moe",
        slug="cocitation-moe",
        title="Contrastive Learning and Mixture of Experts Enables Precise Vector Embeddings",
        authors="Hallee, Kapur, Patel, Gleghorn, Khomtchouk",
        year=2024,
        venue="arXiv",
        arxiv="2401.15713",
        field="text",
        summary="Co-cited papers attract each other; every domain has its own experts in one encoder.",
        equations=("experts by domain", "multiple negatives ranking", "router losses", "F1max"),
        official_code="Gleghorn-Lab/Mixture-of-Experts-Sentence-Similarity",
        differences=(
            "Multiple negatives ranking is that of sentence-transformers, cosines times 20 with the diagonal as "
            "targets, as the paper names it. The released code compares inner products, chooses targets by similarity "
            '(`loss="mnr_plus"`, `normalize=False`, `temperature=1`), and in its first release contrasted nothing.',
            "The experts of a block keep its norms, so that the model begins as the one that is extended; earlier "
            "releases added norms of their own.",
            "Routing is by the number of the domain, as in the latest release; `router` names the earlier ones.",
            "The mutual-information loss of an earlier release has no gradient and is left out.",
            "Embeddings for inference are the mean of the tokens; the authors' pooler is `projection`.",
        ),
    )
    views_class: ClassVar[type[TextViews]] = DomainPairs

    def __init__(
        self,
        *,
        encoder: str | nn.Module = "allenai/scibert_scivocab_uncased",
        domains: list[str] | None = None,
        experts: Literal["all", "middle", "none"] = "all",
        router: Router = "enforced",
        top_k: int = 2,
        loss: Literal["mnr", "clip", "mnr_plus"] = "mnr",
        normalize: bool = True,
        temperature: float = 0.05,
        router_weight: float = 0.1,
        balance_weight: float = 0.0,
        projection: bool = False,
        same_domain_batches: bool = False,
        pooling: Literal["mean", "cls"] = "mean",
        max_length: int = 512,
        learning_rate: float = 1e-4,
        schedule: ScheduleName = "linear",
        **options: Any,
    ) -> None:
        check_choice(loss, LOSSES, "loss")
        check_choice(experts, ("all", "middle", "none"), "experts")
        check_at_least(router_weight, 0, "router_weight")
        check_at_least(balance_weight, 0, "balance_weight")
        opened = encoder
        if not isinstance(encoder, DomainEncoder):
            if not domains:
                raise InputError("domains are missing: name those of the column `domain`, --method.domains '[a, b]'.")
            plain = build_text_encoder(encoder, pooling=pooling, max_length=max_length)
            if type(plain) is not TextEncoder:
                raise InputError("an encoder with experts is made of a transformer: give its folder or name.")
            opened = DomainEncoder(
                plain.backbone,
                plain.tokenizer,
                domains=domains,
                layers=experts,
                router=router,
                top_k=top_k,
                pooling=plain.pooling,
                max_length=plain.max_length,
            )
        super().__init__(
            encoder=opened,
            temperature=temperature,
            pooling=pooling,
            max_length=max_length,
            learning_rate=learning_rate,
            schedule=schedule,
            **options,
        )
        self.loss, self.normalize = loss, normalize
        self.router_weight, self.balance_weight = router_weight, balance_weight
        self.same_domain_batches = same_domain_batches
        self._logits: list[list[Tensor]] = []
        self.projection: nn.Module = SentencePooler(self.encoder.width) if projection else nn.Identity()

    def build_views(self, **options: Any) -> DomainPairs:
        """Return the pairs that the method trains on."""
        views = super().build_views(**options)
        assert isinstance(views, DomainPairs)
        views.domains = self._encoder.domains
        return views

    def sampling(self, training_set: Any, batch_size: int) -> Order | None:
        """Return batches of one domain each, if that is wanted."""
        if not self.same_domain_batches:
            return super().sampling(training_set, batch_size)
        records = training_set.fetch(torch.arange(len(training_set)))
        return OneLabel(torch.tensor([self._encoder.number(str(record["domain"])) for record in records]), batch_size)

    def embedded(self, views: Mapping[str, Tensor]) -> Tuples:
        """Embed both texts of each pair with the expert of their domain."""
        marked = {
            f"{side}_input_ids": self._encoder.marked(views[f"{side}_input_ids"], views["domain"])
            for side in ("query", "passage")
        }
        return super().embedded({**views, **marked})

    def project(self, views: Mapping[str, Tensor]) -> Tensor:
        """Embed texts for the loss."""
        embedded = super().project(views)
        self._logits.append(self._encoder.routing.logits)
        return self.projection(embedded)

    def loss_terms(self, batch: Mapping[str, Any]) -> dict[str, Tensor]:
        """Return the contrast of the pairs and, with routers, what these are trained by."""
        self._logits = []
        terms = super().loss_terms(batch)
        if self._encoder.router == "enforced" or not self._encoder.routing.logits:
            return terms
        both = [torch.stack(layers) for layers in self._logits]
        router = domain_router_loss((both[0] + both[1]) / 2, batch["views"]["domain"])
        balance = load_balancing_loss(torch.cat(both, dim=1))
        loss = terms["loss"] + self.router_weight * router + self.balance_weight * balance
        return {**terms, "loss": loss, "router": router, "balance": balance}

    def contrast(self, tuples: Tuples, exclude: Tensor | None) -> Tensor:
        """Return the loss of pairs."""
        a, b = tuples.queries, tuples.positives
        if self.loss == "mnr_plus":
            return mnr_plus_loss(a, b, temperature=self.temperature, normalize=self.normalize)
        if self.loss == "mnr" and exclude is not None:
            return super().contrast(tuples, exclude)
        contrast = info_nce_loss if self.loss == "mnr" else clip_loss
        return contrast(a, b, temperature=self.temperature, normalize=self.normalize, gather=self.gather)

    @property
    def _encoder(self) -> DomainEncoder:
        """The encoder with its domains."""
        assert isinstance(self.encoder, DomainEncoder)
        return self.encoder
