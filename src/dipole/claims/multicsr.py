"""MultiCSR, stage 3: false negatives that a frozen encoder masks, where a batch is full of them.

Every batch holds 12 sentences and the 7 nearest neighbours of each. Positives are dropout copies, the encoder is the
bag of frozen word-piece embeddings, and the frozen encoder that masks is the same bag, whitened in 8 groups. All arms
have 80 batches of 96 and choose their learning rates from the same grid on the development pairs of STS-B. Judged: the
mask against no mask (margin 0.01). Stages 1 and 2 need a language model and are not part of it.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Int64
from safetensors.torch import save_file
from torch import Tensor

from dipole.claims.base import Arm, Claim, Comparison
from dipole.claims.small_encoders import word_piece_table
from dipole.claims.texts import SentenceData
from dipole.data.text import TextSet
from dipole.data.text.text_set import Record
from dipole.evaluation.retrieval import dense_search
from dipole.files import cache_folder
from dipole.nn.text import StaticTextEncoder, build_text_encoder, encode_texts

GROUPS, NEIGHBOURS, CENTRES = 8, 7, 960
RATES = (3e-4, 1e-3, 3e-3)
SHARED: dict[str, Any] = {"pooling": "mean", "head": False, "dropout": 0.1}


class Neighbourhoods(TextSet):
    """Sentences with their nearest neighbours: one index, several records, each its own positive."""

    def __init__(self, texts: TextSet, neighbours: Int64[Tensor, "n k"], centres: Int64[Tensor, "c"]) -> None:
        super().__init__(f"neighbourhoods of {texts.name}", ("text", "positive"), centres.numpy())
        self.texts, self.neighbours = texts, neighbours

    def _read(self, row: int) -> Record:
        text = self.texts[row]["text"]
        return {"text": text, "positive": text}

    def fetch(self, indices: Int64[Tensor, " n"]) -> list[Record]:
        """Return the records of sentences and their neighbours, one neighbourhood after the other."""
        rows = self._rows[np.asarray(indices)]
        return [self._read(int(near)) for row in rows for near in self.neighbours[row]]


def whitened_table(texts: list[str]) -> str:
    """Return the name of a static encoder whose embeddings are those of the bag, whitened over texts in groups."""
    folder = cache_folder() / f"whitened-bag-{GROUPS}-{len(texts)}"
    if not (folder / "model.safetensors").is_file():
        bag = build_text_encoder(word_piece_table())
        assert isinstance(bag, StaticTextEncoder)
        z = encode_texts(bag, texts).double()
        mean, table = z.mean(dim=0), bag.table().double()
        centred, size = (z - mean).unflatten(1, (GROUPS, -1)), z.shape[1] // GROUPS
        roots = []
        for group in range(GROUPS):
            values, vectors = torch.linalg.eigh(centred[:, group].T @ centred[:, group] / len(z))
            roots.append(vectors @ torch.diag(values.clamp_min(1e-8).rsqrt()) @ vectors.T)
        # The mean of whitened rows is the whitened mean: the table takes the whitening in.
        whitened = torch.einsum("vgk,gkl->vgl", (table - mean).view(-1, GROUPS, size), torch.stack(roots)).flatten(1)
        folder.mkdir(parents=True, exist_ok=True)
        bag.tokenizer.save_pretrained(folder)
        save_file({"word_embeddings.weight": whitened.float().contiguous()}, folder / "model.safetensors")
    return f"static:{folder}"


@dataclass(frozen=True)
class NeighbourData(SentenceData):
    """Neighbourhoods of sentences to train on, and STS to measure by."""

    @property
    def label(self) -> str:
        """Name of the texts."""
        return f"neighbourhoods of {super().label}"

    def load(self, data_root: str | Path | None = None) -> Any:
        """Return neighbourhoods, development and test tasks, and the names of encoder and teacher."""
        texts, development, test, encoder = super().load(data_root)
        lines = [record["text"] for record in texts.fetch(torch.arange(len(texts)))]
        teacher = whitened_table(lines)
        z = torch.nn.functional.normalize(encode_texts(build_text_encoder(teacher), lines), dim=1)
        near = dense_search(z, z, NEIGHBOURS + 1)[1]
        centres = torch.randperm(len(lines), generator=torch.Generator().manual_seed(0))[:CENTRES]
        return Neighbourhoods(texts, near, centres), development, test, (encoder, teacher)

    def shared(self, encoder: Any) -> dict[str, Any]:
        """Return the arguments that all arms have."""
        return {"encoder": encoder[0], "teacher": encoder[1]}


DATA = NeighbourData("sentences", "static")


def _arm(name: str, threshold: float | None) -> Arm:
    """One pass over the neighbourhoods."""
    options = {**SHARED, "false_negative_threshold": threshold}
    return Arm(name, "multicsr", DATA, 1, CENTRES // 80, RATES, options, {"negatives": 0})


CLAIM = Claim(
    slug="multicsr",
    title="Large Language Models can Contrastively Refine their Generation for Better Sentence Representation Learning",
    statement="Where batches hold false negatives, masking those that a frozen encoder finds too similar helps.",
    paper="Its tables were not to be had; supervised SimCSE, BERT-base: 81.57 on average over seven STS tasks.",
    arms=(_arm("no mask", None), _arm("masked at 0.5", 0.5), _arm("masked at 0.7", 0.7)),
    comparisons=(
        Comparison("mask, STS-B dev", "masked at 0.5", "no mask", "STS-B dev", margin=0.01),
        Comparison("mask, STS-B", "masked at 0.5", "no mask", "STS-B", judged=False),
        Comparison("mask, mean STS", "masked at 0.5", "no mask", "mean STS", judged=False),
        Comparison("a higher threshold, STS-B dev", "masked at 0.7", "masked at 0.5", "STS-B dev", judged=False),
    ),
    seeds=(0, 1, 2),
    notes=(
        "Learning rates are chosen on the pairs that the first comparison is made on, for all arms alike.",
        "Batches are made of neighbourhoods on purpose; in shuffled batches false negatives are rare.",
        "The threshold was set before the runs, for cosines of whitened embeddings.",
    ),
)
