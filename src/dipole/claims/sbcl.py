"""SBCL: subclasses keep the hidden modes of large classes apart, at no cost for the classes.

Both arms train the same network on the same generated samples for as long, and choose their learning rate from one grid
on samples that are neither trained nor tested on. Judged: accuracy of the hidden mode of large classes by five
neighbours (higher, margin 8 points), and the balanced accuracy of classes (at most 2 points lower).
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dipole.claims.base import Arm, Claim, Comparison, Data, Metrics
from dipole.losses import sup_con_loss
from dipole.losses.sbcl import subclass_contrastive_loss
from dipole.losses.subclasses import class_concentration, class_concentration_temperature, num_subclasses
from dipole.ops.cosine_clusters import balanced_kmeans

HEADS, TAILS, MODES, WIDTH = 2, 6, 6, 12
HEAD_SIZE, TAIL_SIZE, TEST_SIZE = 240, 20, 300
SPREAD, DEVIATION, NOISE, NEIGHBOURS = 1.2, 0.7, 0.35, 5
STEP, DELTA = 10, 20


@dataclass(frozen=True)
class HiddenModes(Data):
    """Two large classes of six modes each, and six small ones of a single mode."""

    name: str = "hidden modes (generated)"
    tuning_metric = "mode"
    tuning = "learning rate by the modes of further samples"

    def load(self, data_root: str | Path | None = None) -> None:
        """Samples are drawn anew for every seed."""

    def size(self, loaded: Any) -> int:
        """Number of training samples."""
        return HEADS * HEAD_SIZE + TAILS * TAIL_SIZE

    def once(self, claim: Claim, arm: Arm, rate: float, seed: int, loaded: Any, *, tune: bool) -> Metrics:
        """Train an encoder, and measure modes and classes."""
        generator = torch.Generator().manual_seed(seed)
        centres = SPREAD * torch.randn(HEADS * MODES + TAILS, WIDTH, generator=generator)
        train = drawn(centres, HEAD_SIZE // MODES, TAIL_SIZE, generator)
        test = drawn(centres, TEST_SIZE // MODES, TEST_SIZE, generator)
        held_out = drawn(centres, TEST_SIZE // MODES, TEST_SIZE, generator)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network = trained(train, arm, rate, generator)
        return measured(network, train, held_out if tune else test)


def drawn(centres: Tensor, of_mode: int, of_tail: int, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Return samples (N, 12), their classes and their modes."""
    sizes = torch.tensor([of_mode] * (HEADS * MODES) + [of_tail] * TAILS)
    modes = torch.arange(len(centres)).repeat_interleave(sizes)
    labels = torch.where(modes < HEADS * MODES, modes // MODES, modes - HEADS * MODES + HEADS)
    rows = centres[modes] + DEVIATION * torch.randn(len(modes), WIDTH, generator=generator)
    return rows, labels, modes


def trained(train: tuple[Tensor, Tensor, Tensor], arm: Arm, rate: float, generator: torch.Generator) -> nn.Module:
    """Train a network of two layers and a projector on two noisy views, by classes or by subclasses."""
    rows, labels, _ = train
    network = nn.Sequential(
        *(nn.Linear(WIDTH, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 32), nn.ReLU()),
        nn.Linear(32, 16),
    )
    optimizer = torch.optim.SGD(network.parameters(), lr=rate, momentum=0.9, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, arm.epochs)
    subclass, temperatures = labels, torch.full((HEADS + TAILS,), 0.1)
    for epoch in range(arm.epochs):
        fine = epoch >= arm.options["class_epochs"]
        if fine and epoch % STEP == 0:
            subclass, temperatures = refreshed(network, rows, labels, generator)
        for own in torch.randperm(len(rows), generator=generator).split(arm.batch_size):
            views = rows[own] + NOISE * torch.randn(2, len(own), WIDTH, generator=generator)
            z = network(views)
            if fine:
                loss = subclass_contrastive_loss(z, labels[own], subclass[own], class_temperature=temperatures)
            else:
                loss = sup_con_loss(z.flatten(0, 1), labels[own].repeat(2), temperature=0.1)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        schedule.step()
    return network.eval()


@torch.no_grad()
def refreshed(network: nn.Module, rows: Tensor, labels: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return the subclass of each sample and the temperature of each class."""
    z = F.normalize(network(rows), dim=1)
    number = num_subclasses(torch.bincount(labels), DELTA)
    subclass = (number.cumsum(0) - number)[labels]
    for value in (number > 1).nonzero().flatten().tolist():
        members = (labels == value).nonzero().flatten()
        subclass[members] += balanced_kmeans(z[members], int(number[value]), generator=generator).assignment
    return subclass, class_concentration_temperature(class_concentration(z, labels), number)


@torch.no_grad()
def measured(network: nn.Module, train: Any, test: Any) -> Metrics:
    """Return the accuracies of five neighbours among the projections: of modes of large classes, and of classes."""
    own, others = (F.normalize(network(part[0]), dim=1) for part in (train, test))
    nearest = (others @ own.T).topk(NEIGHBOURS, dim=1).indices
    heads = test[1] < HEADS
    right = [vote(part[nearest]) == truth for part, truth in ((train[1], test[1]), (train[2], test[2]))]
    per_class = [right[0][test[1] == value].double().mean() for value in range(HEADS + TAILS)]
    return {"mode": float(right[1][heads].double().mean()), "balanced": float(torch.stack(per_class).mean())}


def vote(values: Tensor) -> Tensor:
    """Return the most frequent value of each row, the smallest of equals.

    Example:
        >>> vote(torch.tensor([[3, 3, 1], [2, 5, 5]]))
        tensor([3, 5])
    """
    return torch.mode(values, dim=1).values


EPOCHS = 80
SBCL, SUPCON = "subclasses (SBCL)", "classes (SupCon)"

CLAIM = Claim(
    slug="sbcl",
    title="Subclass-balancing Contrastive Learning for Long-tailed Recognition",
    statement=(
        "Where large classes of a long tail consist of several modes, contrast of subclasses keeps the modes apart "
        "that contrast of classes merges, and classes are told apart as well."
    ),
    paper="CIFAR-100-LT and ImageNet-LT: above SupCon, KCL and TSC (figures could not be verified).",
    arms=tuple(
        Arm(name, "sbcl", HiddenModes(), EPOCHS, 128, (0.03, 0.1, 0.3), {"class_epochs": epochs})
        for name, epochs in ((SBCL, 10), (SUPCON, EPOCHS))
    ),
    comparisons=(
        Comparison("accuracy of hidden modes, SBCL − SupCon", SBCL, SUPCON, "mode", margin=0.08),
        Comparison(
            "balanced accuracy of classes, SBCL − SupCon, at most 2 points lower",
            SBCL,
            SUPCON,
            "balanced",
            expected="not lower",
            margin=0.02,
        ),
    ),
    notes=(
        "Samples of 12 numbers are generated: two classes of 240 in six modes, six classes of 20 in one.",
        "On real digits, whose classes have no such modes, no gain is known.",
        "Balanced accuracy is that of five neighbours, as the modes' is.",
    ),
)
