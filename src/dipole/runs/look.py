"""Look at the embeddings of a run: the report page, and the temperature analysis."""

from collections.abc import Sequence
from pathlib import Path

import torch

from dipole.data import ImageSet, load_image_sets
from dipole.diagnostics import temperature_sweep
from dipole.diagnostics.sweep import TemperatureRow
from dipole.errors import InputError
from dipole.evaluation import embed_image_set
from dipole.methods.joint_embedding import JointEmbedding
from dipole.report import build_report
from dipole.runs.directory import Run
from dipole.runs.model import load
from dipole.runs.train import make_views

MOST_IMAGES = 1500


def report(path: str | Path, *, data_root: str | Path | None = None, progress: bool = False) -> Path:
    """Write `report.html` of a run, with the embeddings of (at most 1500) test images.

    Args:
        path: the run directory.
        data_root: folder of named data sets; that of the run if it is None.
        progress: show a progress bar.

    Returns:
        The path of the page.

    Raises:
        InputError: the run has no model, or its data cannot be found.
    """
    run = Run.open(path)
    settings = run.settings()
    method = load(run.path)
    images = _test_images(run, data_root)
    assert settings.image_size is not None
    embeddings = embed_image_set(method.embed, images, settings.image_size, progress=progress)
    return build_report(
        run.path,
        embeddings=embeddings,
        images=images.fetch(torch.arange(len(images))),
        labels=images.labels,
        class_names=images.class_names,
        ids=images.ids,
        method=settings.name,
        data=images.name,
    )


def analyse_temperatures(
    path: str | Path, temperatures: Sequence[float], *, data_root: str | Path | None = None, seed: int = 0
) -> list[TemperatureRow]:
    """Describe how strongly each temperature would penalise the negatives of a run's embeddings.

    Two views of (at most 1500) test images are projected by the trained method; see `temperature_sweep`.

    Args:
        path: the run directory.
        temperatures: values of τ > 0.
        data_root: folder of named data sets; that of the run if it is None.
        seed: of the views.

    Returns:
        One row for each temperature.

    Raises:
        InputError: the run has no model, or its method has no views to compare.
    """
    run = Run.open(path)
    method = load(run.path)
    if not isinstance(method, JointEmbedding):
        raise InputError(f"{type(method).__name__} does not compare views: there are no penalties to analyse.")
    images = _test_images(run, data_root)
    views = make_views(method, run.settings())
    assert views is not None
    with torch.inference_mode():
        generator = torch.Generator().manual_seed(seed)
        pair = views(images.fetch(torch.arange(len(images))), generator=generator)[:2]
        first, second = method.project(pair)
    return temperature_sweep(first, second, images.labels.get("label"), temperatures)


def _test_images(run: Run, data_root: str | Path | None) -> ImageSet:
    """A part of the run's test images."""
    settings = run.settings()
    _, test = load_image_sets(settings.data, data_root or settings.data_root, settings.image_size)
    return test.sample(MOST_IMAGES)
