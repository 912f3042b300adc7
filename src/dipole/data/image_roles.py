"""What images are labelled with, and which of them training sees: long tails, novel classes, targets, populations."""

import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from dipole.data.annotated_set import AnnotatedSet
from dipole.data.image_set import ImageSet
from dipole.data.imbalance import long_tail_indices
from dipole.data.label_table import LabelTable
from dipole.errors import InputError

logger = logging.getLogger(__name__)
Role = Literal["classes", "numbers"]  # of the column of labels


@dataclass(frozen=True)
class ImageRoles:
    """Options by which images get labels and training images are chosen; see `dipole train … --help`."""

    labels: str | None = None
    label_column: str | None = None
    id_column: str | None = None
    background: str | None = None
    held_out: str | None = None
    known: str | None = None
    labelled: float = 0.5
    imbalance: float | None = None
    indices: str | None = None

    @property
    def any(self) -> bool:
        """Whether anything is asked for."""
        return self != ImageRoles(labelled=self.labelled)


def with_roles(
    sets: tuple[ImageSet, ImageSet],
    roles: ImageRoles,
    role: Role = "classes",
    *,
    unlabelled: bool = False,
    seed: int = 0,
) -> tuple[ImageSet, ImageSet]:
    """Return training and test images with the labels and targets that are asked for.

    Args:
        sets: training and test images.
        roles: what is asked for.
        role: of the label column: `"classes"`, or `"numbers"` for regression.
        unlabelled: whether the method learns from images without a label; else these are left out.
        seed: of what is drawn.

    Raises:
        InputError: the options do not fit the images.

    Example:
        >>> from dipole.data import load_image_sets
        >>> train, test = with_roles(load_image_sets("digits"), ImageRoles(imbalance=10.0))
        >>> train.labels["label"].bincount().tolist()
        [130, 100, 77, 60, 46, 36, 28, 21, 16, 13]
    """
    given = all("target" in getattr(each, "numbers", {}) for each in sets)
    if not roles.any and (role == "classes" or given):
        return sets
    found = [AnnotatedSet(each, each.labels, each.class_names) for each in sets]
    table = None
    if roles.labels is not None:
        table = LabelTable(roles.labels, [name for each in sets for name in each.ids], roles.id_column)
    found = _labelled(found, table, roles, role, unlabelled)
    if roles.held_out is not None:
        found = _without_novel(found, roles.held_out)
    if roles.background is not None:
        found = _populations(found, table, roles.background)
    if roles.known is not None:
        found = _known_first(found, roles.known)
    train, test = found
    train = _subset(train, roles, seed)
    if roles.known is not None:
        train = _some_hidden(train, roles.labelled, seed)
    return train, test


def _parts(values: list[Any], sets: Sequence[ImageSet]) -> tuple[list[Any], list[Any]]:
    """What belongs to training and to test images."""
    return values[: len(sets[0])], values[len(sets[0]) :]


def _labelled(
    sets: list[AnnotatedSet], table: LabelTable | None, roles: ImageRoles, role: str, unlabelled: bool
) -> list[AnnotatedSet]:
    """Sets with the main label, or the target, from a column of the table or a kind of label."""
    column = roles.label_column or "label"
    if role == "numbers":
        return _targets(sets, table, column)
    if table is not None:
        if roles.label_column is None and column not in table.table.columns:
            return sets  # the table serves another purpose, such as populations
        cells = table.names(column)
        names = sorted({cell for cell in cells if cell is not None})
        if len(names) < 2:
            raise InputError(f"{roles.labels}: column {column!r} holds {len(names)} classes: two are needed.")
        place = {name: number for number, name in enumerate(names)}
        values = [torch.tensor([-1 if c is None else place[c] for c in part]) for part in _parts(cells, sets)]
    elif roles.label_column is not None:
        if column not in sets[0].labels:
            raise InputError(
                f"{sets[0].name} has no labels of kind {column!r}: it has {', '.join(sets[0].labels) or 'none'}."
            )
        names, values = list(sets[0].class_names[column]), [each.labels[column] for each in sets]
    else:
        return sets
    found = [
        AnnotatedSet(each.base, each.labels | {"label": own}, each.class_names | {"label": names})
        for each, own in zip(sets, values, strict=True)
    ]
    return found if unlabelled else [_known_only(each, each.labels["label"] >= 0, "label") for each in found]


def _known_only(images: AnnotatedSet, known: Tensor, what: str) -> AnnotatedSet:
    """The images of which something is known; how many are not is said."""
    if bool(known.all()):
        return images
    first = images.ids[int((~known).nonzero()[0])]
    logger.warning(
        "%s: %d of %d images have no %s and are left out (first: %s).",
        images.name,
        int((~known).sum()),
        len(images),
        what,
        first,
    )
    if not bool(known.any()):
        raise InputError(f"{images.name}: no image of a part has a {what}: label some of the training and test images.")
    return images.select(known.nonzero().flatten())


def _targets(sets: list[AnnotatedSet], table: LabelTable | None, column: str) -> list[AnnotatedSet]:
    """Sets with a number for each image."""
    if table is not None:
        values = [torch.from_numpy(np.asarray(part)) for part in _parts(list(table.numbers(column)), sets)]
    else:
        values = [_numbers_of(each, column) for each in sets]
    found = []
    for each, own in zip(sets, values, strict=True):
        kept = AnnotatedSet(each.base, each.labels, each.class_names, {"target": own.nan_to_num()})
        found.append(_known_only(kept, ~own.isnan(), f"number in {column!r}"))
    targets = found[0].numbers["target"]
    if float(targets.min()) == float(targets.max()):
        raise InputError(
            f"all {len(targets)} training images have the target {float(targets[0]):g}: there is nothing to learn from."
        )
    return found


def _numbers_of(images: AnnotatedSet, kind: str) -> Tensor:
    """Class names that are numbers, as numbers; the places of other names would be made up."""
    if kind not in images.labels:
        raise InputError(
            f"{images.name} has no numbers {kind!r}: give a table with --labels labels.csv --label-column NAME."
        )
    try:
        values = torch.tensor([float(name) for name in images.class_names[kind]], dtype=torch.float64)
    except ValueError as error:
        raise InputError(
            f"{images.name}: the classes of {kind!r} are no numbers ({error}): give a table with --labels labels.csv "
            "--label-column NAME."
        ) from error
    return values[images.labels[kind]]


def chosen_classes(names: Sequence[str], wanted: str, option: str) -> list[int]:
    """Return the classes that are named with commas, or `first N` or `last N` of them.

    Raises:
        InputError: an unknown class, all of them, or none.

    Example:
        >>> chosen_classes(("cat", "dog", "owl"), "first 2", "known")
        [0, 1]
        >>> chosen_classes(("cat", "dog", "owl"), "owl", "known")
        [2]
    """
    asked = [part.strip() for part in wanted.split(",") if part.strip()]
    counted = re.fullmatch(r"(first|last)\s+(\d+)", wanted.strip())
    unknown = [name for name in asked if name not in names]
    if counted and unknown:
        count = min(int(counted[2]), len(names))
        found = list(range(count)) if counted[1] == "first" else list(range(len(names) - count, len(names)))
    elif unknown:
        raise InputError(
            f"--loading.{option} names {unknown[0]!r}: the classes are {', '.join(names)}. "
            "'first 5' and 'last 5' count them."
        )
    else:
        found = [names.index(name) for name in asked]
    if not 0 < len(found) < len(names):
        raise InputError(f"--loading.{option} {wanted!r} are {len(found)} of {len(names)} classes: some must be left.")
    return found


def _names(sets: list[AnnotatedSet], option: str) -> tuple[str, ...]:
    """Names of the classes, of which there must be two."""
    names = sets[0].class_names.get("label", ())
    if len(names) < 2:
        raise InputError(f"--loading.{option} needs labels of two classes or more, and {sets[0].name} has none.")
    return names


def _without_novel(sets: list[AnnotatedSet], wanted: str) -> list[AnnotatedSet]:
    """Training images of all other classes, test images of the held-out ones."""
    classes = torch.tensor(chosen_classes(_names(sets, "held_out"), wanted, "held_out"))
    novel = [torch.isin(each.labels["label"], classes) for each in sets]
    if not bool(novel[1].any()):
        raise InputError(f"--loading.held_out {wanted!r}: no test image is of these classes.")
    return [sets[0].select((~novel[0]).nonzero().flatten()), sets[1].select(novel[1].nonzero().flatten())]


def _populations(sets: list[AnnotatedSet], table: LabelTable | None, background: str) -> list[AnnotatedSet]:
    """Sets whose `population` is 0 for the background and 1 for the others."""
    column, equals, value = background.partition("=")
    if not equals or not column or not value:
        raise InputError(f"--loading.background is {background!r}: expected COLUMN=VALUE, such as diagnosis=healthy.")
    if table is not None and column in table.table.columns:
        cells = _parts(table.names(column), sets)
    elif column in sets[0].labels:
        cells = tuple([each.class_names[column][i] if i >= 0 else None for i in each.labels[column]] for each in sets)  # type: ignore[assignment]
    else:
        there = [*(table.table.columns if table is not None else ()), *sets[0].labels]
        raise InputError(f"--loading.background: there is no column {column!r}, only {', '.join(there) or 'none'}.")
    found = []
    for each, own in zip(sets, cells, strict=True):
        population = torch.tensor([-1 if cell is None else int(cell != value) for cell in own])
        kept = AnnotatedSet(
            each.base,
            each.labels | {"population": population},
            each.class_names | {"population": ("background", "target")},
            each.numbers,
        )
        found.append(_known_only(kept, population >= 0, column))
    sizes = torch.bincount(found[0].labels["population"], minlength=2).tolist()
    if not all(sizes):
        empty = "background" if not sizes[0] else "target"
        values = sorted({cell for cell in cells[0] if cell is not None})[:8]
        raise InputError(
            f"--loading.background {background!r} leaves the {empty} population empty: {column!r} holds "
            f"{', '.join(map(str, values))} in the training images."
        )
    return found


def _known_first(sets: list[AnnotatedSet], wanted: str) -> list[AnnotatedSet]:
    """Sets whose first classes are the known ones."""
    names = _names(sets, "known")
    known = chosen_classes(names, wanted, "known")
    order = [*known, *(number for number in range(len(names)) if number not in known)]
    place = torch.full((len(names) + 1,), -1)
    place[torch.tensor(order)] = torch.arange(len(names))
    return [
        AnnotatedSet(
            each.base,
            each.labels | {"label": place[each.labels["label"]]},
            each.class_names | {"label": tuple(names[number] for number in order)},
            each.numbers,
            known=len(known),
        )
        for each in sets
    ]


def _subset(train: AnnotatedSet, roles: ImageRoles, seed: int) -> AnnotatedSet:
    """The training images that a long tail or a file leaves."""
    if roles.indices is not None:
        train = train.select(_read_indices(roles.indices, len(train)))
    if roles.imbalance is not None:
        _names([train], "imbalance")
        train = train.select(long_tail_indices(train.labels["label"], roles.imbalance, known=train.known, seed=seed))
    return train


def _read_indices(path: str, count: int) -> Tensor:
    """Places of training images, one a line."""
    try:
        lines = Path(path).expanduser().read_text(encoding="utf-8").split()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read {path}: {error}. Expected a number on each line.") from error
    wrong = next((line for line in lines if not line.isdecimal() or int(line) >= count), None)
    if wrong is not None or not lines or len(set(map(int, lines))) < len(lines):
        what = f"{wrong!r}" if wrong is not None else "a number twice" if lines else "nothing"
        raise InputError(f"{path} holds {what}: expected places of training images, from 0 to {count - 1}, once each.")
    return torch.tensor([int(line) for line in lines])


def _some_hidden(train: AnnotatedSet, share: float, seed: int) -> AnnotatedSet:
    """The training images with the labels of novel classes hidden, and of known ones all but a share."""
    if not 0 < share <= 1:
        raise InputError(f"--loading.labelled is {share}: expected a share above 0 and up to 1.")
    labels, known = train.labels["label"], int(train.known or 0)
    hidden = torch.ones(len(train), dtype=torch.bool)
    generator = torch.Generator().manual_seed(seed)
    for value in range(known):
        members = (labels == value).nonzero().flatten()
        kept = int(len(members) * share)
        if not kept:
            raise InputError(
                f"class {train.class_names['label'][value]!r} has {len(members)} training images and a share of "
                f"{share:g} leaves none with a label: raise --loading.labelled, or do not count it among the known."
            )
        hidden[members[torch.randperm(len(members), generator=generator)[:kept]]] = False
    return AnnotatedSet(train.base, train.labels, train.class_names, train.numbers, hidden, train.known)
