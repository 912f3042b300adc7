"""Measure a trained encoder beside what it started from."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from dipole.errors import InputError
from dipole.evaluation import Evaluation
from dipole.evaluation.baselines import add_baselines
from dipole.evaluation.materials import TextMaterial
from dipole.evaluation.protocol import Material, Protocol, measure_all
from dipole.evaluation.protocols import get_protocol
from dipole.evaluation.protocols import protocols as protocols_of
from dipole.evaluation.protocols.multiple_choice import MultipleChoiceAnswers
from dipole.evaluation.stored import with_earlier
from dipole.files import read_json, write_json
from dipole.runs.answers import question_material
from dipole.runs.directory import Run
from dipole.runs.domains import domain_of
from dipole.runs.domains.text import MeasuredEncoder
from dipole.runs.fingerprint import model_fingerprint
from dipole.runs.loading import load
from dipole.runs.text_encoders import is_foreign, open_text_encoder


def evaluate(
    path: str | Path,
    *,
    protocols: Sequence[str] | None = None,
    options: Mapping[str, Any] | None = None,
    data: str | None = None,
    data_root: str | Path | None = None,
    loading: Mapping[str, Any] | None = None,
    progress: bool = False,
) -> Evaluation:
    """Evaluate the frozen encoder of a run, and write `evaluation.json`, where tables by other protocols stay.

    The same numbers are computed for the encoder as it was before training (same seed) and for plain features of the
    data, so that it shows what training has added. Protocols are found in `dipole.evaluation.protocols`, baselines in
    `dipole.evaluation.baselines`.

    Args:
        path: the run directory; for `"multiple-choice"` any language model that `load_language_model` opens, into whose
            folder nothing is written.
        protocols: some of the domain's, such as `"knn"` of images or `"ranking"` of recommenders; those that the data
            allow, and those that they are made for, if it is None.
        options: of the one protocol that was chosen, such as `{"k": 20}`.
        data: other data than those of the run.
        data_root: folder of named data sets; that of the run if it is None.
        loading: how data are read, where it differs from the run.
        progress: show progress bars.

    Returns:
        The table.

    Raises:
        InputError: the run has no model, there is no such protocol, or the data cannot be evaluated against.
    """
    if list(protocols or ()) == [MultipleChoiceAnswers.name]:
        asked = MultipleChoiceAnswers(**(options or {}))
        answers = question_material(path, asked, data=data, data_root=data_root)
        return _measured({asked.name: asked}, answers)
    if is_foreign(path):
        return evaluate_folder(
            path, protocols=protocols, options=options, data=data, data_root=data_root, progress=progress
        )
    run = replace(Run.open(path), other_loading=loading or {})
    settings = run.settings()
    domain = domain_of(settings.name, settings.method)
    chosen = choose_protocols(domain.name, protocols, options)
    trained = load(run.path)
    methods, notes = {"trained": trained}, {}
    try:
        untrained = domain.untrained(trained, settings)
        if untrained is not None:
            methods["untrained"] = untrained
    except InputError:
        notes["untrained"] = "left out: its encoder cannot be opened any more"
    material = domain.material(
        methods, settings, data=data, data_root=data_root, protocols=list(chosen), progress=progress
    )
    material.notes |= notes
    if protocols is None:
        suiting = {name: cls for name, cls in protocols_of(domain.name).items() if cls.suits(material)}
        chosen = chosen | {name: cls() for name, cls in suiting.items() if name not in chosen}
    result = _measured(chosen, material)
    _store(run, result)
    return result


def _store(run: Run, result: Evaluation) -> None:
    """Write a table into the run, beside those of the same model by other protocols or on other data."""
    try:
        before = read_json(run.evaluation) if run.evaluation.is_file() else None
    except InputError:  # no JSON: nothing is known of what was measured
        before = None
    write_json(run.evaluation, with_earlier(result.to_dict(), model_fingerprint(run.path), before))


def evaluate_folder(
    path: str | Path,
    *,
    protocols: Sequence[str] | None = None,
    options: Mapping[str, Any] | None = None,
    data: str | None = None,
    data_root: str | Path | None = None,
    progress: bool = False,
) -> Evaluation:
    """Evaluate a text encoder that was never trained here; nothing is written into its folder.

    Args:
        path: a folder of sentence-transformers or transformers.
        protocols: see `evaluate`, as are the others.
        options: of the one protocol that was chosen.
        data: to measure on.
        data_root: folder of named data sets.
        progress: show progress bars.

    Raises:
        InputError: it holds no such model, there is no such protocol, or the data cannot be evaluated against.
    """
    chosen = choose_protocols("text", protocols, options)
    encoder = MeasuredEncoder(open_text_encoder(path), progress)
    material = TextMaterial(
        "",
        {Path(path).resolve().name: encoder},
        0,
        progress,
        {"similarity": encoder.method.similarity},
        data=data,
        data_root=data_root,
        shared=len(chosen) > 1,
    )
    return _measured(chosen, material)


def _measured(chosen: Mapping[str, Protocol], material: Material) -> Evaluation:
    """What protocols find, baselines included."""
    add_baselines(material)
    found = measure_all(chosen, material)
    columns = dict.fromkeys(column for row in found.rows.values() for column in row)
    return Evaluation(
        tuple(columns),
        tuple({"encoder": name, **row} for name, row in found.rows.items()),
        dict(found.settings),
        found.data,
        intervals={name: dict(each) for name, each in found.intervals.items()},
        pictures=found.pictures,
    )


def choose_protocols(
    domain: str, names: Sequence[str] | None, options: Mapping[str, Any] | None = None
) -> dict[str, Protocol]:
    """Return the protocols that were asked for, or those of a domain that run by default.

    Args:
        domain: of the method.
        names: of protocols.
        options: arguments of the one protocol that was asked for.

    Raises:
        InputError: there is no such protocol, or it refuses its options.

    Example:
        >>> list(choose_protocols("images", None))[:2]
        ['knn', 'linear']
    """
    if options and len(names or ()) != 1:
        raise InputError(f"{sorted(options)[0]} is an option of one protocol: name a single one with --protocol.")
    if not names:
        return {name: cls() for name, cls in protocols_of(domain).items() if cls.by_default}
    return {name: get_protocol(domain, name)(**(options or {})) for name in names}
