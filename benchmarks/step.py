"""One SimCLR training step, augmentation included, beside the same step written with lightly and in plain PyTorch.

    python benchmarks/step.py                      # four-block ConvNet, batch 512, and ResNet-18, batch 64
    python benchmarks/step.py --only convnet4 --rounds 5
    python benchmarks/step.py --quality --data cifar10 --data-root DIR   # kNN accuracy after equal training

All steps use the same architecture, batch and optimiser. lightly's images come from a DataLoader, with as many worker
processes (none or two) as suits it best, and are computed with in float32. dipole's views are made in the training
process, and so are those of plain PyTorch: by torchvision's v2 transforms, which draw one set of parameters for a whole
batch, and are no substitute for SimCLR's. Its precision is dipole's. The contenders take turns.
"""

import argparse
import subprocess
import sys
import time
from collections.abc import Iterator

import numpy as np
import torch
from peers import nt_xent_plain
from progress import add_row, tracked
from results import Measured, store
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from dipole.claims.statistics import paired_effect
from dipole.data import load_image_sets
from dipole.evaluation import embed_image_set, knn_accuracy
from dipole.losses import nt_xent_loss
from dipole.nn import ConvNet4, build_encoder, mlp
from dipole.runs.checkpoint import default_precision
from dipole.runs.memory import keep_freed_memory
from dipole.views import SimCLRViews
from views import torchvision_transform

TEMPERATURE, SIZE = 0.2, 32
CASES = {"convnet4": 512, "resnet18": 64}
PLAIN = "plain PyTorch, torchvision v2"


class ArrayImages(torch.utils.data.Dataset[list[Tensor]]):
    """Images as a user of lightly has them: PIL images, transformed one by one."""

    def __init__(self, images: Tensor) -> None:
        from lightly.transforms import SimCLRTransform
        from PIL import Image

        self.images = [Image.fromarray(np.ascontiguousarray(image.permute(1, 2, 0).numpy())) for image in images]
        mean = {"mean": [0.5, 0.5, 0.5], "std": [0.25, 0.25, 0.25]}
        self.transform = SimCLRTransform(input_size=SIZE, gaussian_blur=0.0, normalize=mean)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> list[Tensor]:
        views: list[Tensor] = self.transform(self.images[index])
        return views


def dipole_network(encoder: str) -> nn.Module:
    # timm would start residual branches at zero, and torchvision does not.
    options = {"zero_init_last": False} if encoder == "resnet18" else {}
    backbone = build_encoder(encoder, image_size=SIZE, **options)
    return nn.Sequential(backbone, mlp(backbone.width, backbone.width, 128, final_norm=True))


def dipole_steps(images: Tensor, batch: int, network: nn.Module, precision: str) -> Iterator[float]:
    views = SimCLRViews(size=SIZE)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.06, momentum=0.9, weight_decay=5e-4)
    generator = torch.Generator().manual_seed(0)
    network.train()
    while True:
        order = torch.randperm(len(images), generator=generator)
        for rows in order.split(batch):
            if len(rows) < batch:
                break
            pair = views(images[rows], generator=generator)
            with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16-mixed"):
                z = network(pair.flatten(0, 1)).float().unflatten(0, (2, batch))
            loss = nt_xent_loss(z[0], z[1], temperature=TEMPERATURE)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            yield loss.item()


def lightly_network(encoder: str) -> nn.Module:
    from lightly.models.modules import SimCLRProjectionHead
    from torchvision.models import resnet18

    if encoder == "convnet4":
        backbone: nn.Module = ConvNet4()
        width = 256
    else:
        resnet = resnet18(num_classes=10)
        resnet.conv1 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
        resnet.maxpool = nn.Identity()
        backbone = nn.Sequential(*list(resnet.children())[:-1], nn.Flatten())
        width = 512
    return nn.Sequential(backbone, SimCLRProjectionHead(width, width, 128))


def lightly_steps(pictures: ArrayImages, batch: int, network: nn.Module, workers: int) -> Iterator[float]:
    from lightly.loss import NTXentLoss

    loader = torch.utils.data.DataLoader(
        pictures,
        batch,
        shuffle=True,
        drop_last=True,
        num_workers=workers,
        prefetch_factor=1 if workers else None,
        persistent_workers=workers > 0,
    )
    criterion = NTXentLoss(temperature=TEMPERATURE)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.06, momentum=0.9, weight_decay=5e-4)
    network.train()
    while True:
        for first, second in loader:
            loss = criterion(network(first), network(second))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            yield loss.item()


def plain_steps(images: Tensor, batch: int, network: nn.Module, precision: str) -> Iterator[float]:
    transform = torchvision_transform(SIZE, blur=0.0)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.06, momentum=0.9, weight_decay=5e-4)
    network.train()
    while True:
        for rows in torch.randperm(len(images)).split(batch):
            if len(rows) < batch:
                break
            pair = torch.cat([transform(images[rows]), transform(images[rows])])
            with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16-mixed"):
                z = network(pair)
            loss = nt_xent_plain(*z.float().chunk(2), temperature=TEMPERATURE)()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            yield loss.item()


def measure(encoder: str, contender: str, precision: str, count: int) -> None:
    """Print the seconds of one step: the mean of `count` steps after two, so that queues of batches are in balance."""
    batch = CASES[encoder]
    images = torch.randint(0, 256, (2048, 3, SIZE, SIZE), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    if contender == "dipole":
        keep_freed_memory()  # as `dipole train` does
        steps = dipole_steps(images, batch, dipole_network(encoder), precision)
    elif contender == PLAIN:
        steps = plain_steps(images, batch, lightly_network(encoder), precision)
    else:
        steps = lightly_steps(ArrayImages(images), batch, lightly_network(encoder), int(contender.split()[0]))
    for _ in range(2):
        next(steps)
    start = time.perf_counter()
    for _ in range(count):
        next(steps)
    print((time.perf_counter() - start) / count)


def compare(encoder: str, rounds: int, count: int, precision: str) -> tuple[list[str], list[Measured]]:
    """Median seconds of all, in turns, each in a process of its own."""
    contenders = ["dipole", "0 workers", "2 workers", PLAIN]
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in tracked(range(rounds), encoder):
        for name in contenders:
            command = [sys.executable, __file__, "--measure", encoder, name, "--precision", precision]
            result = subprocess.run([*command, "--steps", str(count)], capture_output=True, text=True, check=True)
            seconds[name].append(float(result.stdout.splitlines()[-1]))
    median = {name: sorted(values)[len(values) // 2] for name, values in seconds.items()}
    ours, plain = median.pop("dipole"), median.pop(PLAIN)
    workers = min(median, key=lambda name: median[name])
    lightly = median[workers]
    cells = [
        f"{ours:.3f}",
        f"{lightly:.3f} ({workers})",
        f"{lightly / ours:.2f}×",
        f"{plain:.3f}",
        f"{plain / ours:.2f}×",
    ]
    what = f"a SimCLR step with views, {encoder}, batch {CASES[encoder]}, {precision}"
    measured = [Measured(what, f"lightly, 32-true, {workers}", lightly / ours), Measured(what, PLAIN, plain / ours)]
    return [encoder, str(CASES[encoder]), precision, *cells], measured


def quality(encoder: str, batch: int, data: str, root: str | None, epochs: int, seeds: int, precision: str) -> Table:
    """kNN accuracy of both after the same number of steps, and the 95 % interval of the paired difference."""
    train, test = load_image_sets(data, root)
    images = train.fetch(torch.arange(len(train)))
    table = Table(title=f"kNN accuracy after {epochs} epochs on {data}, {encoder}, batch {batch}")
    for heading in ("seed", "untrained", "dipole", "lightly"):
        table.add_column(heading)
    scores: dict[str, list[float]] = {"untrained": [], "dipole": [], "lightly": []}
    for seed in range(seeds):
        for name, values in scores.items():
            torch.manual_seed(seed)
            if name == "lightly":
                network = lightly_network(encoder)
                steps = lightly_steps(ArrayImages(images), batch, network, 2)
            else:
                network = dipole_network(encoder)
                steps = dipole_steps(images, batch, network, precision)
            count = 0 if name == "untrained" else epochs * (len(images) // batch)
            for _ in tracked(range(count), f"seed {seed}, {name}"):
                next(steps)
            values.append(_knn(network.eval()[0], name, train, test))  # type: ignore[index]
            print(f"seed {seed}, {name}: {values[-1]:.4f}", file=sys.stderr)
        table.add_row(str(seed), *(f"{values[-1]:.4f}" for values in scores.values()))
    if seeds > 1:
        effect = paired_effect(scores["dipole"], scores["lightly"])
        table.caption = f"dipole − lightly: {effect.mean:+.4f} [{effect.interval[0]:+.4f}, {effect.interval[1]:+.4f}]"
    return table


def _knn(backbone: nn.Module, name: str, train: object, test: object) -> float:
    """kNN accuracy of a frozen backbone; lightly's expects normalised images."""

    def embed(images: Tensor) -> Tensor:
        features: Tensor = backbone((images - 0.5) / 0.25 if name == "lightly" else images)
        return features

    train_z, test_z = (embed_image_set(embed, part, SIZE) for part in (train, test))  # type: ignore[arg-type]
    return knn_accuracy(train_z, train.labels["label"], test_z, test.labels["label"])  # type: ignore[attr-defined]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=list(CASES))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--precision", default="auto", choices=("auto", "32-true", "bf16-mixed"))
    parser.add_argument("--quality", action="store_true")
    parser.add_argument("--data", default="shapes")
    parser.add_argument("--data-root")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--store", action="store_true", help="leave the figures for the tables of README.md")
    parser.add_argument("--measure", nargs=2, metavar=("ENCODER", "CONTENDER"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    precision = default_precision() if options.precision == "auto" else options.precision
    if options.measure:
        measure(*options.measure, precision, options.steps)
        return
    cases = {name: batch for name, batch in CASES.items() if options.only in (None, name)}
    if options.quality:
        for encoder, batch in cases.items():
            arguments = (options.data, options.data_root, options.epochs, options.seeds, precision)
            Console().print(quality(encoder, min(batch, 256), *arguments))
        return
    table = Table(title=f"One SimCLR step, {SIZE}×{SIZE}, {torch.get_num_threads()} threads, median seconds")
    for heading in (
        "encoder",
        "batch",
        "precision",
        "dipole",
        "lightly",
        "lightly / dipole",
        "plain",
        "plain / dipole",
    ):
        table.add_column(heading)
    measured: list[Measured] = []
    for encoder in cases:
        cells, found = compare(encoder, options.rounds, options.steps, precision)
        add_row(table, *cells)
        measured += found
    Console().print(table)
    if options.store:
        store("step", measured)


if __name__ == "__main__":
    main()
