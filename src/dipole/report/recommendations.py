"""What users took, and what a model recommends them."""

from collections.abc import Sequence
from dataclasses import dataclass

from dipole.report.section import Section, rendered


@dataclass(frozen=True)
class Example:
    """One user.

    Args:
        user: name.
        history: the latest items, the last one last.
        target: what the user took next.
        rank: of that among all items, from 1.
        recommended: the best items, the best first.
    """

    user: str
    history: Sequence[str]
    target: str
    rank: int
    recommended: Sequence[str]


def recommendation_section(examples: Sequence[Example]) -> Section:
    """Return the section that shows recommendations.

    Args:
        examples: users.

    Example:
        >>> section = recommendation_section([Example("ann", ["tea"], "milk", 1, ["milk", "rice"])])
        >>> section.title, "ann" in section.body
        ('Recommendations', True)
    """
    shown = max((len(example.recommended) for example in examples), default=0)
    hits = sum(example.rank <= shown for example in examples)
    lead = (
        f"What some users took last, what they took next, and the {shown} best of all items. "
        f"For {hits} of {len(examples)} users the next item is among these."
    )
    return Section("recommendations", "Recommendations", lead, rendered("recommendations.html.j2", examples=examples))
