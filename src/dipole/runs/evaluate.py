"""Measure a trained encoder beside an untrained one and raw pixels."""

from collections.abc import Sequence
from pathlib import Path

import torch

from dipole.data import ImageSet, load_image_sets
from dipole.errors import InputError
from dipole.evaluation import Evaluation, embed_image_set, evaluate_embeddings, raw_pixels
from dipole.evaluation.comparison import PROTOCOLS
from dipole.files import write_json
from dipole.methods.base import Method
from dipole.runs.directory import Run
from dipole.runs.model import build_method, load


def evaluate(
    path: str | Path,
    *,
    protocols: Sequence[str] | None = None,
    data: str | None = None,
    data_root: str | Path | None = None,
    progress: bool = False,
) -> Evaluation:
    """Evaluate the frozen encoder of a run by kNN and a linear probe, and write `evaluation.json`.

    The same numbers are computed for the encoder as it was before training (same seed) and for the pixels themselves,
    so that it shows what training has added.

    Args:
        path: the run directory.
        protocols: `"knn"`, `"linear"`; both if it is None.
        data: a labelled data set; that of the run if it is None.
        data_root: folder of named data sets; that of the run if it is None.
        progress: show progress bars.

    Returns:
        The table of accuracies.

    Raises:
        InputError: the run has no model, or the data have no two classes.
    """
    run = Run.open(path)
    settings = run.settings()
    chosen = tuple(protocols) if protocols else PROTOCOLS
    unknown = sorted(set(chosen) - set(PROTOCOLS))
    if unknown:
        raise InputError(f"there is no protocol {unknown[0]!r}: choose from {', '.join(PROTOCOLS)}.")
    method = load(run.path)
    train, test = load_image_sets(data or settings.data, data_root or settings.data_root, settings.image_size)
    if train.num_classes < 2:
        raise InputError(f"{train.name} has no labels of two or more classes: there is nothing to evaluate against.")
    size = settings.image_size or train.default_size
    untrained = build_method(settings.name, settings.method, seed=settings.seed).eval()
    embeddings = {
        "trained": embed_both(method, train, test, size, progress),
        "untrained": embed_both(untrained, train, test, size, progress),
        "raw pixels": (raw_pixels(train, size), raw_pixels(test, size)),
    }
    result = evaluate_embeddings(embeddings, train.labels["label"], test.labels["label"], chosen, seed=settings.seed)
    write_json(run.evaluation, {**result.to_dict(), "data": train.name})
    return result


def embed_both(
    method: Method, train: ImageSet, test: ImageSet, image_size: int, progress: bool = False
) -> tuple[torch.Tensor, torch.Tensor]:
    """Embed a training and a test set with a method in evaluation mode, on a GPU if there is one."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    method.to(device)
    return (
        embed_image_set(method.embed, train, image_size, device=device, progress=progress),
        embed_image_set(method.embed, test, image_size, device=device, progress=progress),
    )
