"""Experiments between modalities: triples of bits, halves of digits, captions of digits."""

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

from dipole.claims.base import Arm, Claim, Data, Metrics
from dipole.claims.training import run_config
from dipole.data import TensorImageSet, load_image_sets, stratified_split
from dipole.data.multimodal import ModalitySet
from dipole.data.multimodal.built_in import load_xor
from dipole.data.multimodal.columns import Vectors
from dipole.evaluation import class_embeddings, matching_accuracy, top_k_accuracy, zero_shot_scores
from dipole.methods.multimodal.base import ModalityEmbedding
from dipole.runs import load, train

HELD_OUT = 0.2  # share of the training rows on which learning rates are chosen
Sets = tuple[ModalitySet, ModalitySet]


def train_modalities(
    arm: Arm, name: str, rate: float, seed: int, rows: ModalitySet, **loading: Any
) -> ModalityEmbedding:
    """Train the method of an arm on rows."""
    config = run_config(arm, name, rate, seed, loading=loading)
    with tempfile.TemporaryDirectory() as folder:
        run = train(config, Path(folder) / "run", sets=(rows, None), monitor=False, progress=False)
        return cast(ModalityEmbedding, load(run.path))


@torch.inference_mode()
def embed_vectors(method: ModalityEmbedding, rows: ModalitySet, name: str) -> Tensor:
    """Embed a column of vectors."""
    cells = rows.only(name).fetch(torch.arange(len(rows)))
    return method.embed({name: torch.stack([row[name] for row in cells])})


@dataclass(frozen=True)
class XORData(Data):
    """Symile's triples of bits, drawn anew for each seed; `b` is found from `a` and `c` among all patterns.

    Args:
        probability: p̂ that a row is `c = a ⊕ b` and not `c = a`.
        bits: of each modality.
        rows: to train on.
        test: to judge by, and as many to tune by.
    """

    probability: float
    bits: int = 3
    rows: int = 2000
    test: int = 5000
    name: str = "xor"

    tuning_metric = "accuracy"
    tuning = "learning rate by the accuracy on other triples"

    @property
    def label(self) -> str:
        """The share of rows that are mixed."""
        return f"{self.name}, p̂ = {self.probability:g}"

    def load(self, data_root: str | Path | None = None) -> None:
        """Nothing: each seed has triples of its own."""

    def size(self, loaded: None) -> int:
        """Number of triples."""
        return self.rows

    def once(self, claim: Claim, arm: Arm, rate: float, seed: int, loaded: None, *, tune: bool) -> Metrics:
        """Train on triples and find `b` from `a` and `c`."""
        rows, test = load_xor(self.probability, self.bits, self.rows, self.test, seed=1000 * seed + self.bits)
        method = train_modalities(arm, self.name, rate, seed, rows)
        patterns = torch.cartesian_prod(*[torch.arange(2.0)] * self.bits).view(-1, self.bits)
        with torch.inference_mode():
            candidates = method.embed({"b": patterns})
            scores = method.score([embed_vectors(method, test, name) for name in "ac"], candidates)
        bits = cast(Vectors, test.columns["b"]).values
        truth = (bits @ 2 ** torch.arange(self.bits - 1, -1, -1.0)).long()
        return {"accuracy": top_k_accuracy(scores, truth)}

    def references(self, claim: Claim, arm: Arm, loaded: None) -> dict[str, dict[str, float]]:
        """The best that can be done, and chance."""
        chance = 2.0**-self.bits
        return {
            "Bayes": {"accuracy": self.probability + (1 - self.probability) * chance},
            "chance": {"accuracy": chance},
        }


@dataclass(frozen=True)
class DigitHalves(Data):
    """The left and the right half of scikit-learn's digits, 4 by 8 pixels each, as vectors.

    The class of a left half is the one whose mean embedding of right halves is the most similar.

    Args:
        name: of the digits.
    """

    name: str = "digits"

    tuning_metric = "matching"
    tuning = f"learning rate by matching halves of {HELD_OUT:.0%} of the training digits, held out"

    def load(self, data_root: str | Path | None = None) -> Sets:
        """Return halves to train on and to test on."""
        sets = [cast(TensorImageSet, images) for images in load_image_sets(self.name)]
        first, second = (digit_halves(images.images, images.labels["label"]) for images in sets)
        return first, second

    def size(self, loaded: Sets) -> int:
        """Number of training digits."""
        return len(loaded[0])

    def once(self, claim: Claim, arm: Arm, rate: float, seed: int, loaded: Sets, *, tune: bool) -> Metrics:
        """Train on pairs of halves, without labels."""
        rows, test = loaded
        if tune:
            kept, held = stratified_split(torch.tensor([int(label or 0) for label in rows.labels or ()]), HELD_OUT)
            rows, test = rows.select(kept), rows.select(held)
        method = train_modalities(arm, self.name, rate, seed, rows)
        left, right = (embed_vectors(method, test, name) for name in ("left", "right"))
        found: Metrics = {"matching": matching_accuracy(left, right)}
        if not tune:
            found["accuracy"] = class_accuracy(left, test, embed_vectors(method, rows, "right"), rows)
            if claim.measure is not None:
                found |= claim.measure(method, rows, test, arm)
        return found


def digit_halves(images: Tensor, labels: Tensor) -> ModalitySet:
    """Return the halves of grey images (N, 1, 8, 8) as vectors from 0 to 1."""
    pixels = images[:, 0].float() / 255
    columns = {"left": Vectors(pixels[:, :, :4].flatten(1)), "right": Vectors(pixels[:, :, 4:].flatten(1))}
    return ModalitySet("digits", columns, labels=[str(int(label)) for label in labels])


def class_accuracy(queries: Tensor, rows: ModalitySet, keys: Tensor, labelled: ModalitySet) -> float:
    """Return the share of queries whose class has the most similar mean of keys.

    Args:
        queries: (N, D) of the rows.
        rows: with labels.
        keys: (M, D) of the labelled rows.
        labelled: with labels.
    """
    names = sorted(set(labelled.labels or ()), key=str)
    own = torch.tensor([names.index(label) for label in labelled.labels or ()])
    classes = torch.cat([class_embeddings(keys[own == place][None]) for place in range(len(names))])
    truth = torch.tensor([names.index(label) for label in rows.labels or ()])
    return top_k_accuracy(zero_shot_scores(queries, classes), truth)
