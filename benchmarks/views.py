"""Images per second of two SimCLR views: dipole beside lightly and torchvision, the same operations in each.

lightly transforms one Pillow image at a time. torchvision's v2 transforms take a batch, but draw one set of parameters
for all of it, which is no substitute for SimCLR: it shows what a batched pipeline costs. Measurements take turns, since
other work on a machine disturbs whoever is measured; the median counts.

With `--photos`, from JPEG files of 640x480 pixels to views, dipole beside lightly, each with the same number of
processes that load.

    python benchmarks/views.py --threads 1
    python benchmarks/views.py --threads 1 --photos 512 --workers 2
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from PIL import Image
from progress import add_row, tracked
from results import Measured, store
from rich.console import Console
from rich.table import Table

from dipole.data import ImageDataModule
from dipole.runs.memory import keep_freed_memory
from dipole.views import SimCLRViews


def lightly_views(images: torch.Tensor, size: int, blur: float) -> Callable[[], torch.Tensor]:
    """lightly's transform on every image, stacked to (V, N, 3, size, size)."""
    try:
        from lightly.transforms import SimCLRTransform
        from torchvision.transforms.functional import to_pil_image
    except ImportError as error:
        raise SystemExit(f"{error.name} is missing: pip install 'dipole[benchmarks]'.") from error
    transform = SimCLRTransform(input_size=size, gaussian_blur=blur, normalize=None)
    pictures = [to_pil_image(image) for image in images]

    def run() -> torch.Tensor:
        views = [transform(picture) for picture in pictures]
        return torch.stack([torch.stack(view) for view in zip(*views, strict=True)])

    return run


def torchvision_transform(size: int, blur: float) -> Callable[[torch.Tensor], torch.Tensor]:
    """One view of a batch by torchvision: every image gets the same random parameters."""
    try:
        from torchvision.transforms import v2
    except ImportError as error:
        raise SystemExit("torchvision is missing: pip install 'dipole[vision]'.") from error
    transform: Callable[[torch.Tensor], torch.Tensor] = v2.Compose(
        [
            v2.RandomResizedCrop(size, antialias=True),
            v2.RandomHorizontalFlip(),
            v2.RandomApply([v2.ColorJitter(0.8, 0.8, 0.8, 0.2)], p=0.8),
            v2.RandomGrayscale(0.2),
            v2.RandomApply([v2.GaussianBlur(2 * (size // 20) + 1, (0.1, 2.0))], p=blur),
            v2.ToDtype(torch.float32, scale=True),
        ]
    )
    return transform


def torchvision_views(images: torch.Tensor, size: int, blur: float) -> Callable[[], torch.Tensor]:
    """Two views of the batch by torchvision."""
    transform = torchvision_transform(size, blur)
    return lambda: torch.stack([transform(images), transform(images)])


def dipole_views(images: torch.Tensor, size: int, blur: float) -> Callable[[], torch.Tensor]:
    """dipole on the batch: every view of every image draws its own parameters."""
    views = SimCLRViews(size, blur=blur)
    return lambda: views(images)


PIPELINES = {"dipole": dipole_views, "lightly": lightly_views, "torchvision v2, batch": torchvision_views}


def dipole_epoch(folder: Path, size: int, workers: int) -> Callable[[], object]:
    """All views of an epoch; the processes that load live on, as they do in training."""
    data = ImageDataModule(str(folder), batch_size=64, views=SimCLRViews(size), num_workers=workers)
    views, loader = SimCLRViews(size), data.train_dataloader()

    return lambda: [views.finish(batch["crops"]) for batch in loader]


def lightly_epoch(folder: Path, size: int, workers: int) -> Callable[[], object]:
    """The same by lightly's data set and transform."""
    from lightly.data import LightlyDataset
    from lightly.transforms import SimCLRTransform
    from torch.utils.data import DataLoader

    images = LightlyDataset(str(folder), transform=SimCLRTransform(input_size=size, normalize=None))
    loader = DataLoader(
        images, batch_size=64, num_workers=workers, persistent_workers=workers > 0, shuffle=True, drop_last=True
    )
    return lambda: [torch.stack(batch[0]) for batch in loader]


def write_photos(folder: Path, count: int) -> None:
    """Smooth pictures as JPEG files."""
    generator = torch.Generator().manual_seed(0)
    for index in range(count):
        coarse = torch.randint(0, 256, (30, 40, 3), dtype=torch.uint8, generator=generator).numpy()
        Image.fromarray(coarse).resize((640, 480), Image.Resampling.BICUBIC).save(folder / f"{index}.jpg", quality=90)


def photos(count: int, size: int, workers: int, rounds: int) -> None:
    """Print images per second from files to views."""
    with tempfile.TemporaryDirectory() as path:
        folder = Path(path)
        write_photos(folder, count)
        # dipole keeps a tenth of a folder to test on; both are measured by the images of an epoch that they load.
        epochs = {"dipole": dipole_epoch(folder, size, workers), "lightly": lightly_epoch(folder, size, workers)}
        rates: dict[str, list[float]] = {name: [] for name in epochs}
        for name, epoch in [*epochs.items()] * (rounds + 1):
            start = time.perf_counter()
            images = 64 * len(epoch())  # type: ignore[arg-type]
            rates[name].append(images / (time.perf_counter() - start))
    medians = {name: statistics.median(values[1:]) for name, values in rates.items()}
    table = Table("pipeline", "images/s", "dipole is faster by", title=f"640x480 JPEG -> two views of {size}x{size}")
    for name, value in medians.items():
        table.add_row(name, f"{value:,.0f}", "" if name == "dipole" else f"{medians['dipole'] / value:.1f}x")
    Console().print(table)


def measure(images: torch.Tensor, size: int, rounds: int) -> dict[str, float]:
    """Median seconds of each pipeline over rounds in which all take turns."""
    blur = 0.5 if size > 32 else 0.0
    pipelines = {name: make(images, size, blur) for name, make in PIPELINES.items()}
    for run in pipelines.values():
        run()
    # The processor's time is not disturbed by those who wait for it; with several threads it is not what one waits for.
    clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
    seconds: dict[str, list[float]] = {name: [] for name in pipelines}
    for _ in tracked(range(rounds), f"{size}x{size}"):
        for name, run in pipelines.items():
            start = clock()
            run()
            seconds[name].append(clock() - start)
    return {name: statistics.median(values) for name, values in seconds.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1, help="CPU threads of torch (lightly has no use for more)")
    parser.add_argument("--rounds", type=int, default=15, help="measurements of each pipeline")
    parser.add_argument(
        "--pixels", type=int, default=1 << 19, help="pixels of a batch: 512 images of 32x32, 56 of 96x96"
    )
    parser.add_argument("--photos", type=int, default=0, help="measure from this many JPEG files instead")
    parser.add_argument("--workers", type=int, default=0, help="processes that load files")
    parser.add_argument("--store", action="store_true", help="leave the figures for the tables of README.md")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    keep_freed_memory()  # as `dipole train` does, where views are made; it holds for all that is measured
    if arguments.photos:
        for size in (96, 224):
            photos(arguments.photos, size, arguments.workers, min(arguments.rounds, 5))
        return

    table = Table(title=f"Two SimCLR views from uint8 images, {arguments.threads} CPU thread(s)")
    table.add_column("pipeline")
    table.add_column("size", justify="right")
    table.add_column("batch", justify="right")
    table.add_column("images/s", justify="right")
    table.add_column("dipole is faster by", justify="right")
    measured = []
    for size in (32, 96, 224):
        n = max(1, arguments.pixels // size**2)
        coarse = torch.rand(n, 3, 8, 8, generator=torch.Generator().manual_seed(0))
        images = torch.nn.functional.interpolate(coarse, size=(size, size), mode="bilinear").mul(255).to(torch.uint8)
        seconds = measure(images, size, arguments.rounds)
        for name, value in seconds.items():
            ratio = "" if name == "dipole" else f"{value / seconds['dipole']:.1f}x"
            add_row(table, name, f"{size}x{size}", str(n), f"{n / value:,.0f}", ratio)
        table.add_section()
        what = f"two SimCLR views, {size}×{size}"
        measured += [Measured(what, name, s / seconds["dipole"]) for name, s in seconds.items() if name != "dipole"]
    Console().print(table)
    if arguments.store:
        store("views", measured)


if __name__ == "__main__":
    main()
