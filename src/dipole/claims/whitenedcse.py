"""WhitenedCSE: whitening makes embeddings even; shuffled in groups, it makes positives differ.

Two things are tested. First, what whitening does to embeddings that nobody trained: groups of channels of the plain
mean of word-piece embeddings are whitened over the sentences of each task (margin 0.10 of Spearman's correlation).
Second, the method: a small BERT, pretrained as a masked language model, is trained by SimCSE and by WhitenedCSE with
the same sentences, batches, epochs and grid of learning rates, chosen on the development pairs of STS-B (margin half a
point).
"""

from typing import Any

from dipole.claims.base import Arm, Claim, Comparison
from dipole.claims.texts import SentenceData

RAW = SentenceData("sentences", "static")
WHOLE = SentenceData("sentences", "static", whitened_groups=1)
GROUPED = SentenceData("sentences", "static", whitened_groups=8)
BERT = SentenceData("sentences", "small-bert")
RATES = (3e-5, 1e-4, 3e-4)


def _bag(name: str, data: SentenceData) -> Arm:
    """The mean of frozen embeddings, not trained."""
    return Arm(name, "simcse", data, 0, 128, (1e-4,), {"pooling": "mean"})


def _bert(name: str, method: str, epochs: int = 1, **options: Any) -> Arm:
    """One pass over the sentences."""
    return Arm(name, method, BERT, epochs, 128, RATES if epochs else (1e-4,), {"pooling": "cls", **options})


CLAIM = Claim(
    slug="whitenedcse",
    title="WhitenedCSE: Whitening-based Contrastive Learning of Sentence Embeddings",
    statement=(
        "Whitening groups of channels makes embeddings more even and better; SimCSE with several positives, each "
        "whitened in other groups, gives better sentence embeddings than SimCSE."
    ),
    paper="Average Spearman of seven STS tasks, BERT-base: 76.25 (SimCSE), 78.78 (WhitenedCSE).",
    arms=(
        _bag("bag", RAW),
        _bag("bag, whitened", WHOLE),
        _bag("bag, whitened in 8 groups", GROUPED),
        _bert("BERT, untrained", "simcse", epochs=0),
        _bert("BERT, SimCSE", "simcse"),
        _bert("BERT, WhitenedCSE", "whitenedcse", num_groups=16),
    ),
    comparisons=(
        Comparison("whitening in 8 groups, STS-B", "bag, whitened in 8 groups", "bag", "STS-B", margin=0.10),
        Comparison("whitening in 8 groups, mean STS", "bag, whitened in 8 groups", "bag", "mean STS", margin=0.10),
        Comparison("whitening, uniformity", "bag, whitened in 8 groups", "bag", "uniformity", "lower", margin=0.1),
        Comparison(
            "8 groups against one, mean STS", "bag, whitened in 8 groups", "bag, whitened", "mean STS", judged=False
        ),
        Comparison("WhitenedCSE against SimCSE, STS-B", "BERT, WhitenedCSE", "BERT, SimCSE", "STS-B", margin=0.005),
        Comparison(
            "WhitenedCSE against SimCSE, mean STS", "BERT, WhitenedCSE", "BERT, SimCSE", "mean STS", margin=0.005
        ),
        Comparison("SimCSE, STS-B", "BERT, SimCSE", "BERT, untrained", "STS-B", judged=False),
    ),
    seeds=(0, 1, 2),
    notes=(
        "Whitening is over the sentences of each task together, as a user would do it after embedding.",
        "16 groups of 8 channels; the authors have 128 groups of 6.",
        "WhitenedCSE encodes every sentence three times, SimCSE twice: equal epochs, not equal work.",
        "Arms that are not trained have no variance, and three equal seeds.",
        "The small BERT has 2 layers and width 128; the paper's gain is on BERT-base with a million sentences.",
    ),
)
