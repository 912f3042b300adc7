"""Measure a trained encoder beside what it started from."""

from collections.abc import Sequence
from pathlib import Path

from dipole.errors import InputError
from dipole.evaluation import Evaluation
from dipole.files import write_json
from dipole.methods.registry import get_method
from dipole.runs.directory import Run
from dipole.runs.domains import get_domain


def evaluate(
    path: str | Path,
    *,
    protocols: Sequence[str] | None = None,
    data: str | None = None,
    data_root: str | Path | None = None,
    progress: bool = False,
) -> Evaluation:
    """Evaluate the frozen encoder of a run, and write `evaluation.json`.

    The same numbers are computed for the encoder as it was before training (same seed) and for plain features of the
    data, so that it shows what training has added. Each domain has protocols of its own, which
    `evaluate` of its class in `dipole.runs.domains` describes.

    Args:
        path: the run directory.
        protocols: some of the domain's, such as `"knn"` of images or `"ranking"` of recommenders; all if it is None.
        data: other data than those of the run.
        data_root: folder of named data sets; that of the run if it is None.
        progress: show progress bars.

    Returns:
        The table.

    Raises:
        InputError: the run has no model, there is no such protocol, or the data cannot be evaluated against.
    """
    run = Run.open(path)
    domain = get_domain(get_method(run.settings().name).domain)
    chosen = tuple(protocols) if protocols else domain.protocols
    unknown = sorted(set(chosen) - set(domain.protocols))
    if unknown:
        raise InputError(f"there is no protocol {unknown[0]!r}: choose from {', '.join(domain.protocols)}.")
    result = domain.evaluate(run, chosen, data=data, data_root=data_root, progress=progress)
    write_json(run.evaluation, result.to_dict())
    return result
