"""What a protocol is: it measures encoders, and what stands beside them, on data."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from dipole.errors import InputError


@dataclass(frozen=True)
class Picture:
    """A plot of what a protocol has measured, for the report.

    Args:
        title: of the plot.
        lead: one or two sentences below the title.
        figure: `data`, traces as plotly takes them; `x` and `y`, titles of the axes; `xaxis` and `yaxis`, what else
            is said of them. The page gives colours and fonts. All of it is text and numbers, nothing is markup.
    """

    title: str
    lead: str
    figure: dict[str, Any]


@dataclass(frozen=True)
class Measured:
    """What a protocol has found.

    Args:
        rows: values by the name of the encoder or baseline and the name of a column.
        settings: what the values depend on.
        intervals: 95 % intervals (low, high) of values that are means over draws, by the same names.
        pictures: for the report.
        data: name of what was measured on, if it is not the material's.
    """

    rows: Mapping[str, Mapping[str, float]]
    settings: Mapping[str, Any] = field(default_factory=dict)
    intervals: Mapping[str, Mapping[str, tuple[float, float]]] = field(default_factory=dict)
    pictures: tuple[Picture, ...] = ()
    data: str = ""


@dataclass
class Material:
    """What is measured, on what: a domain's encoders and baselines, and its data.

    Each domain has a material of its own, which adds its data and what protocols share (`dipole.evaluation.materials`).

    Args:
        name: of the data.
        candidates: encoders by name, `"trained"` first; the baselines of the domain are added behind. A protocol
            measures those that have the method which its attribute `measures` names.
        seed: of what is drawn.
        progress: show progress bars.
        notes: what to say beside the table.
    """

    domain: ClassVar[str]
    name: str
    candidates: dict[str, Any]
    seed: int = 0
    progress: bool = False
    notes: dict[str, Any] = field(default_factory=dict)

    def able(self, ability: str) -> dict[str, Any]:
        """Return the candidates that have a method of this name, in their order."""
        return {name: one for name, one in self.candidates.items() if hasattr(one, ability)}


class Protocol(ABC):
    """A way to say what embeddings are worth. The arguments of the constructor are its options.

    Attributes:
        name: on the command line; unique in each domain.
        domains: whose materials it takes.
        measures: the method that an encoder or a baseline must have to be measured.
        by_default: whether it runs where the data allow it and none is chosen.
        place: among the protocols of its domain; smaller is earlier in the table.
    """

    name: ClassVar[str]
    domains: ClassVar[tuple[str, ...]]
    measures: ClassVar[str]
    by_default: ClassVar[bool] = True
    place: ClassVar[int] = 100

    @classmethod
    def suits(cls, material: Any) -> bool:
        """Return whether data are made for this protocol, so that it runs unasked although it is none by default."""
        return False

    def lacks(self, material: Any) -> str | None:
        """Return what the data lack to be measured so; None if they lack nothing."""
        return None

    @abstractmethod
    def measure(self, material: Any) -> Measured:
        """Measure all candidates that can be measured.

        Raises:
            InputError: the options do not fit the data.
        """


class Baseline:
    """What a practitioner would try first, beside the encoders.

    It is built from the material and has the methods by which protocols measure, as far as they make sense for it.

    Attributes:
        name: of its rows.
        domains: whose materials it is built from.
        package: that it needs and that may not be installed; nothing if it is empty.
        extra: of dipole, which installs the package.
    """

    name: ClassVar[str]
    domains: ClassVar[tuple[str, ...]]
    package: ClassVar[str] = ""
    extra: ClassVar[str] = ""

    def __init__(self, material: Any) -> None:
        self.material = material


def measure_all(protocols: Mapping[str, Protocol], material: Material) -> Measured:
    """Measure by several protocols and join the tables.

    Args:
        protocols: by name, in order.
        material: see `Material`.

    Returns:
        The rows that have values, with the settings and pictures of all protocols, and what was left out and why.

    Raises:
        InputError: nothing can be measured, or a protocol refuses its input.
    """
    rows: dict[str, dict[str, float]] = {name: {} for name in material.candidates}
    settings: dict[str, Any] = dict(material.notes)
    intervals: dict[str, dict[str, Any]] = {}
    pictures: list[Picture] = []
    sources: list[str] = []
    lacking: dict[str, str] = {}
    for name, protocol in protocols.items():
        lack = protocol.lacks(material)
        if lack is not None:
            lacking[name] = lack
            continue
        found = protocol.measure(material)
        for row, values in found.rows.items():
            rows.setdefault(row, {}).update(values)
        for row, bounds in found.intervals.items():
            intervals.setdefault(row, {}).update(bounds)
        settings |= found.settings
        pictures += found.pictures
        sources.append(found.data or material.name)
    table = {name: values for name, values in rows.items() if values}
    if not table:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in lacking.items())
        raise InputError(f"{material.name}: there is nothing to evaluate by ({reasons or 'no row has a value'}).")
    settings |= {name: f"left out: {reason}" for name, reason in lacking.items()}
    return Measured(table, settings, intervals, tuple(pictures), ", ".join(dict.fromkeys(sources)))
