"""Contriever: dense retrieval from random crops, with a queue or in the batch."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from dipole.card import Card
from dipole.losses import info_nce_loss
from dipole.losses.info_nce import check_label_smoothing
from dipole.methods.text.embedding import SentenceEmbedding, encode_views
from dipole.negatives import Queue
from dipole.nn import MomentumEncoder
from dipole.ops import gather
from dipole.ops.checks import check_temperature
from dipole.views.text import RandomCrops, TextViews

CARD = Card(
    name="contriever",
    slug="contriever",
    title="Unsupervised Dense Information Retrieval with Contrastive Learning",
    authors="Izacard, Caron, Hosseini, Riedel, Bojanowski, Joulin, Grave",
    year=2022,
    venue="TMLR",
    arxiv="2112.09118",
    field="text",
    summary="Two random crops of a document find each other among a queue of crops of other documents.",
    equations=("InfoNCE with a queue (MoCo)", "InfoNCE in the batch", "independent random cropping"),
    official_code="facebookresearch/contriever",
    differences=(
        "Keys are computed with dropout, as in the authors' code, whose flag for evaluation mode has no effect; "
        "`key_eval=True` turns it off.",
        "`shuffle` permutes tokens; the authors' code loses some and doubles others: `shuffle_official`.",
        "Crops hold 5 % to 50 % of a chunk (script and paper); the authors' README says 10 %.",
        "The queue has 131,072 entries (README); the option of that name is ignored by their parser, which then takes "
        "65,536. It need not be a multiple of the batch: writing wraps around.",
        'The warm-up rises to the full rate; the authors\' factor is `schedule="linear_contriever"`.',
        "A text without tokens has the zero vector; the authors' code divides by zero.",
        "A document longer than a chunk gives a random window of it; the authors cut chunks at an offset that is drawn "
        "every epoch (`dipole.data.text.ChunkedCorpus` does so).",
        "Logits and cross entropy are float32 in every precision.",
    ),
)


class ContrieverInBatch(SentenceEmbedding):
    """A crop of a document finds another crop of it among the crops of the batch.

        1. draw two crops of every document, each alone, and delete some tokens          2. q = f(crop 1), k = f(crop 2)
        3. minimise InfoNCE of (q, k), with inner products and temperature τ, from q to k

    The share of queries whose own key is the most similar, in per cent, and the spread of both sides are logged.

    Args:
        temperature: τ.
        normalize: compare by cosines in place of inner products.
        label_smoothing: ε of the cross entropy.
        max_length: tokens of a text that are read for inference.
        learning_rate: see `Method`; so are the next four.
        warmup_epochs: authors: 20,000 of 500,000 steps.
        adam_beta2: β₂.
        adam_epsilon: ε of the optimiser.
        decay_all: biases and norms decay too.
        **options: further arguments of `SentenceEmbedding` and `Method`.

    Example:
        >>> import tempfile
        >>> from dipole.nn.text import new_bert
        >>> texts = ["a document on cats", "another one on dogs"]
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     method = ContrieverInBatch(encoder=str(new_bert(texts, folder, width=8)), max_length=64)
        >>> views = method.build_views()([{"text": text} for text in texts], method.encoder.tokenizer)
        >>> sorted(method.loss_terms({"views": views, "index": torch.arange(2)}))
        ['accuracy', 'key_std', 'loss', 'query_std']
    """

    card = replace(
        CARD,
        name="contriever-in-batch",
        summary="Two random crops of a document find each other among the crops of the batch.",
    )
    views_class: ClassVar[type[TextViews]] = RandomCrops

    def __init__(
        self,
        *,
        temperature: float = 0.05,
        normalize: bool = False,
        label_smoothing: float = 0.0,
        max_length: int = 512,
        learning_rate: float = 5e-5,
        warmup_epochs: float = 0.04,
        adam_beta2: float = 0.98,
        adam_epsilon: float = 1e-6,
        decay_all: bool = True,
        **options: Any,
    ) -> None:
        super().__init__(
            max_length=max_length,
            learning_rate=learning_rate,
            warmup_epochs=warmup_epochs,
            adam_beta2=adam_beta2,
            adam_epsilon=adam_epsilon,
            decay_all=decay_all,
            **options,
        )
        check_temperature(temperature)
        check_label_smoothing(label_smoothing)
        self.temperature, self.normalize, self.label_smoothing = temperature, normalize, label_smoothing

    @property
    def similarity(self) -> Literal["cosine", "dot"]:
        """Inner products, unless the method was trained with cosines."""
        return "cosine" if self.normalize else "dot"

    def loss_terms(self, batch: Mapping[str, Any]) -> dict[str, Tensor]:
        """Return InfoNCE from view 1 to view 2 within the batch, and what shows a collapse."""
        queries, keys = self.finished(self.project(batch["views"]))
        loss = info_nce_loss(queries, keys, gather=self.gather, **self.hyperparameters)
        candidates = gather(keys.detach()) if self.gather else keys
        return {"loss": loss, **collapse_monitors(queries, keys, candidates)}

    def finished(self, embeddings: Float[Tensor, "*rows d"]) -> Float[Tensor, "*rows d"]:
        """Scale the embeddings to length 1, if cosines are compared."""
        return F.normalize(embeddings, dim=-1) if self.normalize else embeddings

    @property
    def hyperparameters(self) -> dict[str, Any]:
        """What every loss of this family takes; `finished` has normalised."""
        return {"temperature": self.temperature, "label_smoothing": self.label_smoothing, "normalize": False}


class Contriever(ContrieverInBatch):
    """A crop of a document finds another crop of it among a queue of earlier crops.

        1. draw two crops of every document, each alone, and delete some tokens
        2. update the momentum encoder            3. q = f(crop 1), k = momentum f(crop 2)
        4. minimise InfoNCE of (q, k) against the queue, with inner products and temperature τ
        5. enqueue k, dequeue the oldest keys

    The other keys of the batch are no negatives; gradients flow through q alone.

    Args:
        queue_size: K; authors: 131,072 with a batch of 2048.
        encoder_momentum: m of the momentum encoder.
        key_eval: compute keys without dropout.
        **options: arguments of `ContrieverInBatch`, `SentenceEmbedding` and `Method`.

    Example:
        >>> import tempfile
        >>> from dipole.nn.text import new_bert
        >>> texts = ["a document on cats", "another one on dogs"]
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     method = Contriever(encoder=str(new_bert(texts, folder, width=8)), max_length=64, queue_size=16)
        >>> views = method.build_views()([{"text": text} for text in texts], method.encoder.tokenizer)
        >>> _ = method.loss_terms({"views": views, "index": torch.arange(2)})
        >>> int(method.queue.filled)
        2
    """

    card = CARD

    def __init__(
        self,
        *,
        queue_size: int = 131072,
        encoder_momentum: float = 0.9995,
        key_eval: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.momentum_network = MomentumEncoder(self.encoder, encoder_momentum)
        self.queue = Queue(queue_size, self.encoder.width)
        self.key_eval = key_eval

    def train(self, mode: bool = True) -> "Contriever":
        """Set the mode of all parts; keys may be computed without dropout."""
        super().train(mode)
        if self.key_eval:
            self.momentum_network.eval()
        return self

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        """Update the momentum encoder before the keys of the batch are computed."""
        self.momentum_network.update(self.encoder)

    def project_keys(self, views: Mapping[str, Tensor]) -> Float[Tensor, "v n d"]:
        """Embed views with the momentum encoder: (V, N, D), without gradient."""
        return encode_views(self.momentum_network, views)

    def loss_terms(self, batch: Mapping[str, Any]) -> dict[str, Tensor]:
        """Return InfoNCE of the queries of view 1 against the queue, then enqueue the keys of view 2."""
        first, second = ({name: values[v : v + 1] for name, values in batch["views"].items()} for v in (0, 1))
        queries = self.finished(self.project(first)[0])
        keys = self.finished(self.project_keys(second)[0])
        # A copy: the queue is written before the gradient is computed.
        entries = self.queue.entries.clone()
        loss = info_nce_loss(queries, keys, entries, **self.hyperparameters)
        self.queue.enqueue(keys, gather=self.gather)
        return {"loss": loss, **collapse_monitors(queries, keys, entries)}


@torch.no_grad()
def collapse_monitors(
    queries: Float[Tensor, "n d"], keys: Float[Tensor, "n d"], candidates: Float[Tensor, "m d"], chunk: int = 8192
) -> dict[str, Tensor]:
    """Compute the share of queries closer to their key than to any candidate, and the spread of both sides.

    Args:
        queries: (N, D).
        keys: (N, D), that of query i in row i.
        candidates: (M, D); the keys may be among them.
        chunk: candidates compared at a time.

    Returns:
        `accuracy` in per cent; `query_std` and `key_std`, the standard deviation of a dimension over the batch, meaned
        over the dimensions.

    Example:
        >>> {name: value.item() for name, value in collapse_monitors(*[torch.eye(2)] * 3).items()}["accuracy"]
        100.0
    """
    with torch.autocast(queries.device.type, enabled=False):
        best = torch.stack([(queries @ part.T).amax(dim=1) for part in candidates.split(chunk)]).amax(dim=0)
        # The key itself as a candidate is computed by another order of additions: allow for rounding.
        own = (queries * keys).sum(dim=1)
        slack = 1e-5 * best.abs()
    correction = min(1, len(queries) - 1)
    return {
        "accuracy": 100 * (own >= best - slack).to(own.dtype).mean(),
        "query_std": queries.std(dim=0, correction=correction).mean(),
        "key_std": keys.std(dim=0, correction=correction).mean(),
    }
