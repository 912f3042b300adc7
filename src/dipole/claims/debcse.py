"""DebCSE, as reconstructed: pairs by inverse propensity, with the bag of frozen word-piece embeddings.

The paper's formulas were not to be had, so that what is tested is the reconstruction of its idea. Every arm sees the
same sentences in 78 batches of 128; learning rates are chosen from the same grid on the development pairs of STS-B.
Judged: that positives by inverse propensity are better than dropout copies (margin 0.01), and what the weights do to
the wording of pairs, which follows from their construction. Whether they are better than the nearest neighbour is
reported and not judged.
"""

from typing import Any

import torch

from dipole.claims.base import Arm, Claim, Comparison
from dipole.claims.small_encoders import word_piece_table
from dipole.claims.texts import SentenceData
from dipole.data.text import TextSet
from dipole.methods.text.debcse import DebCSE
from dipole.nn.text import encode_texts
from dipole.views.text import PropensityPairs

BAG = SentenceData("sentences", "static")
RATES = (3e-4, 1e-3, 3e-3)
SHARED: dict[str, Any] = {"pooling": "mean", "head": False, "dropout": 0.1}
CANDIDATES = {"neighbours": 15, "word_neighbours": 0, "random_candidates": 0, "teacher_groups": 8}
POSITIVES = {"negatives": 0, "measure": "jaccard", "positive_threshold": 0.55, "negative_threshold": 0.45}
MEASURED = 2000  # sentences whose pairs are looked at


def _arm(name: str, views: dict[str, Any], **options: Any) -> Arm:
    """DebCSE with one rule for pairs."""
    return Arm(name, "debcse", BAG, 1, 128, RATES, {**SHARED, **CANDIDATES, **options}, {**POSITIVES, **views})


def wording_of_pairs(method: Any, texts: TextSet, tasks: Any, arm: Arm) -> dict[str, float]:
    """Return the expected wording and meaning of the pairs that an arm draws."""
    if arm.method != "debcse":
        return {}
    sample = texts.sample(MEASURED)
    fresh = DebCSE(encoder=word_piece_table(), **{**SHARED, **CANDIDATES})
    views = fresh.build_views(**dict(arm.views))
    assert isinstance(views, PropensityPairs)
    views.texts = sample
    lines = [record["text"] for record in sample.fetch(torch.arange(len(sample)))]
    table = fresh.refresh(encode_texts(fresh.encoder, lines), torch.arange(len(lines)))
    found = {}
    for role in ("positive", "negative"):
        share = views.probabilities(table["semantic"], table["surface"], role)
        rows = share.sum(dim=1) > 0
        for name in ("surface", "semantic"):
            values = table[name].nan_to_num()
            found[f"{name} of {role}s"] = float((share * values).sum(dim=1)[rows].mean())
    return found


CLAIM = Claim(
    slug="debcse",
    title="DebCSE: Rethinking Unsupervised Contrastive Sentence Embedding Learning in the Debiasing Perspective",
    statement=(
        "Pairs drawn by inverse propensity, alike in meaning and not in wording, make better sentence embeddings than "
        "dropout copies. (A reconstruction from the abstract.)"
    ),
    paper="Average Spearman of seven STS tasks, BERT-base: 76.25 (SimCSE), 80.33 (DebCSE).",
    arms=(
        Arm("dropout copies", "simcse", BAG, 1, 128, RATES, SHARED),
        _arm("nearest neighbour", {"alpha": 0.0, "beta": 0.0, "positive_threshold": None}, neighbours=1),
        _arm("evenly among admissible", {"alpha": 0.0, "beta": 0.0}),
        _arm("by inverse propensity", {}),
        _arm("by inverse propensity, with negatives", {"negatives": 1}),
    ),
    comparisons=(
        Comparison(
            "against copies, STS-B dev",
            "by inverse propensity",
            "dropout copies",
            "STS-B dev",
            margin=0.01,
        ),
        Comparison(
            "wording of positives", "by inverse propensity", "evenly among admissible", "surface of positives", "lower"
        ),
        Comparison("wording of negatives", "by inverse propensity", "evenly among admissible", "surface of negatives"),
        Comparison(
            "against copies, mean STS",
            "by inverse propensity",
            "dropout copies",
            "mean STS",
            judged=False,
        ),
        Comparison(
            "against the nearest neighbour, STS-B dev",
            "by inverse propensity",
            "nearest neighbour",
            "STS-B dev",
            judged=False,
        ),
        Comparison(
            "hard negatives, STS-B dev",
            "by inverse propensity, with negatives",
            "by inverse propensity",
            "STS-B dev",
            judged=False,
        ),
    ),
    seeds=(0, 1, 2),
    notes=(
        "Learning rates are chosen on the pairs that the first comparison is made on, for all arms alike.",
        "What the weights do to the wording follows from their construction and has no variance: it shows that the "
        "construction does what it says.",
        "The teacher is the encoder before training, whitened in 8 groups; 15 neighbours are the candidates.",
    ),
    measure=wording_of_pairs,
)
