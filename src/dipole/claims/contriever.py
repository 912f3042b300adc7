"""Contriever: crops of documents teach retrieval without a query.

A bag of word pieces with random embeddings is trained on the abstracts of Cranfield alone, in batches of 64 for 28
passes. Learning rates come from the same grid, chosen by a third of the queries; the others judge. Judged: the gain
over the encoder before training, with negatives from the batch and from a queue (margins 0.10 nDCG@10 and 0.25
Recall@100). Queue against batch is reported only: the paper's queue serves a scale that is not here.
"""

from typing import Any

from dipole.claims.base import Arm, Claim, Comparison
from dipole.claims.texts import RetrievalData

CRANFIELD = RetrievalData("cranfield")
RATES = (1e-3, 2e-3, 4e-3)
EPOCHS = 28


def _arm(name: str, method: str, epochs: int = EPOCHS, **options: Any) -> Arm:
    """One way of training, with cosines, as embeddings of random length say nothing."""
    rates = RATES if epochs else (2e-3,)
    options = {"normalize": True, "warmup_epochs": 1.0, **options}
    return Arm(name, method, CRANFIELD, epochs, 64, rates, options)


CLAIM = Claim(
    slug="contriever",
    title="Unsupervised Dense Information Retrieval with Contrastive Learning",
    statement=(
        "Two random crops of a document as a positive pair, and crops of other documents as negatives, train a "
        "retriever without queries or judgements."
    ),
    paper=(
        "BEIR, mean over 15 sets, Recall@100 / nDCG@10: 59.6 / 37.7 without any supervision, beside about 63.6 / 43 of "
        "BM25 (authors' README; BM25 quoted from memory)."
    ),
    arms=(
        _arm("untrained", "contriever-in-batch", epochs=0),
        _arm("in the batch", "contriever-in-batch"),
        _arm("queue", "contriever", queue_size=4096, encoder_momentum=0.99),
    ),
    comparisons=(
        Comparison("in the batch, nDCG@10", "in the batch", "untrained", "ndcg@10", margin=0.10),
        Comparison("in the batch, Recall@100", "in the batch", "untrained", "recall@100", margin=0.25),
        Comparison("queue, nDCG@10", "queue", "untrained", "ndcg@10", margin=0.10),
        Comparison("queue, Recall@100", "queue", "untrained", "recall@100", margin=0.25),
        Comparison("queue against batch, nDCG@10", "queue", "in the batch", "ndcg@10", judged=False),
    ),
    seeds=(0, 1, 2),
    notes=(
        "The encoder is a weighted mean of word-piece embeddings and a linear layer: no transformer, no pretraining.",
        "150 queries judge; Cranfield is small and about one subject.",
        "Cropping against the inverse cloze task is not tested.",
    ),
)
