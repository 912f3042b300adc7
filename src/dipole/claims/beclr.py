"""BECLR's two parts, each alone: transported prototypes, and neighbours from a clustered memory.

Nothing is trained, and there is nothing to tune. Judged: accuracy of 5-way 1-shot episodes of raw digits with
prototypes that are transported onto the queries and without (higher, margin 5 points), and the share of added memory
rows that have the class of their sample, with the corrected neighbours and with those of the authors' code (higher,
margin 0.5).
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dipole.claims.base import Arm, Claim, Comparison, Data, Metrics
from dipole.data import load_image_sets
from dipole.evaluation.episodes import draw_episodes, episode_accuracies
from dipole.negatives.clustered_memory import DynamicClusteredMemory

NOVEL = 5  # digits from here on are in the episodes
EPISODES = 60
BATCHES, BATCH, ROWS, CLUSTERS, COMPONENTS, NEIGHBOURS = 30, 128, 769, 15, 16, 3


@dataclass(frozen=True)
class RawDigits(Data):
    """All digits as they are, in episodes.

    Args:
        align: whether prototypes are transported onto the queries.
    """

    align: bool
    name: str = "digits"
    tuning_metric = "one_shot"
    tuning = "nothing is trained"

    def load(self, data_root: str | Path | None = None) -> tuple[Tensor, Tensor]:
        """Return pixels (N, 64) and classes (N,)."""
        return pixels_and_classes()

    def size(self, loaded: Any) -> int:
        """Number of images that are used."""
        return len(loaded[1])

    def once(self, claim: Claim, arm: Arm, rate: float, seed: int, loaded: Any, *, tune: bool) -> Metrics:
        """Measure episodes."""
        return {"one_shot": one_shot(*loaded, align=self.align, seed=seed)}


@dataclass(frozen=True)
class DigitStream(RawDigits):
    """Batches of digits that go through a memory."""

    align: bool = False

    def once(self, claim: Claim, arm: Arm, rate: float, seed: int, loaded: Any, *, tune: bool) -> Metrics:
        """Measure the neighbours of the batches."""
        return {"purity": purity(*loaded, legacy=arm.options["legacy_partition_indexing"], seed=seed)}


def pixels_and_classes() -> tuple[Tensor, Tensor]:
    """Return pixels (N, 64) from 0 to 1 and classes (N,) of all digits."""
    parts = load_image_sets("digits")
    pixels = torch.cat([part.fetch(torch.arange(len(part)))[:, 0].flatten(1) for part in parts])
    return pixels.double() / 255, torch.cat([part.labels["label"] for part in parts])


def one_shot(pixels: Tensor, labels: Tensor, *, align: bool, seed: int) -> float:
    """Return the mean accuracy of 5-way 1-shot episodes of the digits 5 to 9, by logistic regression."""
    rows = pixels[labels >= NOVEL]
    drawn = draw_episodes(labels[labels >= NOVEL], ways=5, shots=1, queries=15, episodes=EPISODES, seed=seed)
    rows = (rows - rows.mean(dim=1, keepdim=True)) / rows.std(dim=1, keepdim=True)
    return float(episode_accuracies(rows, drawn, 1, classifier="logistic", align=align).mean())


def purity(pixels: Tensor, labels: Tensor, *, legacy: bool, seed: int) -> float:
    """Return the share of added rows, the sample itself apart, that have the class of their sample."""
    generator = torch.Generator().manual_seed(seed)
    centred = pixels - pixels.mean(dim=0)
    rows = centred @ torch.linalg.svd(centred, full_matrices=False).Vh[:COMPONENTS].T
    memory = DynamicClusteredMemory(
        ROWS,
        COMPONENTS,
        clusters=CLUSTERS,
        exclude_self=True,
        legacy_partition_indexing=legacy,
        generator=generator,
    ).double()
    classes, found = torch.full((ROWS,), -1), []
    for _ in range(BATCHES):
        own = torch.randint(len(rows), (BATCH,), generator=generator)
        start = int(memory.pointer)
        room = min(BATCH, ROWS - start)
        memory.update(rows[own])
        classes[start : start + room] = labels[own][:room]
        if memory.ready:
            places = memory.neighbours(rows[own], NEIGHBOURS)
            known = classes[places] >= 0
            found.append((classes[places] == labels[own][:, None])[known].double())
    return float(torch.cat(found).mean())


def _arm(name: str, data: RawDigits, **options: bool) -> Arm:
    """One part of the method, on or off."""
    return Arm(name, "beclr", data, 0, BATCH, (0.0,), options)


ALIGNED, PLAIN = "transported prototypes (OpTA)", "prototypes as they are"
CORRECTED, RELEASED = "neighbours of the cluster", "neighbours of the authors' code"

CLAIM = Claim(
    slug="beclr",
    title="BECLR: Batch Enhanced Contrastive Few-Shot Learning",
    statement=(
        "Transporting one-shot prototypes onto the queries raises the accuracy of episodes, and neighbours within the "
        "cluster of a memory are of the class of their sample."
    ),
    paper="miniImageNet, 1 shot, ResNet-18: 75.7 % against 64.1 for UniSiam with distillation.",
    arms=(
        _arm(ALIGNED, RawDigits(True)),
        _arm(PLAIN, RawDigits(False)),
        _arm(CORRECTED, DigitStream(), legacy_partition_indexing=False),
        _arm(RELEASED, DigitStream(), legacy_partition_indexing=True),
    ),
    comparisons=(
        Comparison("1-shot accuracy with OpTA − without", ALIGNED, PLAIN, "one_shot", margin=0.05),
        Comparison(
            "share of neighbours of the right class, corrected − released", CORRECTED, RELEASED, "purity", margin=0.5
        ),
    ),
    notes=(
        "Features are pixels, standardised row by row, and their 16 principal components: what is shown is the "
        "effect of the two parts, not that of training.",
        f"{EPISODES} episodes a seed, the same ones with and without transport; {BATCHES} batches of {BATCH} stream "
        f"through a memory of {ROWS} rows in {CLUSTERS} clusters.",
        "The released code takes places within a cluster for places in the memory.",
    ),
)
