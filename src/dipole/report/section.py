"""A part of the report that belongs to one kind of data."""

from dataclasses import dataclass
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup


@dataclass(frozen=True)
class Section:
    """A section of the page, after the map and the neighbours.

    Args:
        name: of the element, for links.
        title: its heading.
        lead: one or two sentences below it.
        body: HTML that is safe to insert.
    """

    name: str
    title: str
    lead: str
    body: Markup


def rendered(template: str, **context: Any) -> Markup:
    """Fill one of the package's templates; everything that is inserted is escaped.

    Args:
        template: name of the file in `assets`.
        **context: what it shows.
    """
    environment = Environment(
        loader=PackageLoader("dipole.report", "assets"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    return Markup(environment.get_template(template).render(**context))
