"""Look at the embeddings of a run: the report page, and the temperature analysis."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import torch

from dipole.diagnostics import temperature_sweep
from dipole.diagnostics.sweep import TemperatureRow
from dipole.errors import InputError
from dipole.methods.joint_embedding import JointEmbedding
from dipole.methods.wrapping import unwrapped
from dipole.report import build_report
from dipole.runs.directory import Run
from dipole.runs.domains import domain_of
from dipole.runs.domains.images import DOMAIN as IMAGES
from dipole.runs.domains.images import sample_images
from dipole.runs.loading import load


def report(
    path: str | Path,
    *,
    data: str | None = None,
    data_root: str | Path | None = None,
    loading: Mapping[str, Any] | None = None,
    progress: bool = False,
) -> Path:
    """Write `report.html` of a run, with embeddings of some of its test data.

    Args:
        path: the run directory.
        data: other data than those of the run.
        data_root: folder of named data sets; that of the run if it is None.
        loading: how data are read, where it differs from the run.
        progress: show a progress bar.

    Returns:
        The path of the page.

    Raises:
        InputError: the run has no model, or its data cannot be found.
    """
    run = replace(Run.open(path), other_data=data, other_loading=loading or {})
    name = run.settings().name
    domain = domain_of(name, run.settings().method)
    shown = domain.report_arguments(load(run.path), run, data_root=data_root, progress=progress)
    return build_report(run.path, method=name, **shown)


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
        InputError: the run has no model, or its method has no views of images to compare.
    """
    run = Run.open(path)
    method = load(run.path)
    if not isinstance(unwrapped(method), JointEmbedding):
        raise InputError(
            f"{type(method).__name__} does not compare views of images: there are no penalties to analyse."
        )
    images = sample_images(run, data_root)
    views = IMAGES.views(method, run.settings())
    assert views is not None
    with torch.inference_mode():
        generator = torch.Generator().manual_seed(seed)
        pair = views(images.fetch(torch.arange(len(images))), generator=generator)[:2]
        first, second = cast(JointEmbedding, method).project(pair)
    return temperature_sweep(first, second, images.labels.get("label"), temperatures)
