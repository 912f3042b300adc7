"""What a method is and where it comes from."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Card:
    """The card of a method: shown by `dipole methods` and on its page.

    Args:
        name: how it is called on the command line.
        slug: the paper it belongs to.
        title: of the paper.
        authors: of the paper, in short.
        year: of publication.
        venue: conference or journal.
        arxiv: identifier.
        field: vision, text, …
        summary: one sentence: what the objective does.
        equations: what of the paper is implemented.
        official_code: where the authors' code is, or None.
        differences: what differs from the paper or the authors' code, and why.
    """

    name: str
    slug: str
    title: str
    authors: str
    year: int
    venue: str
    arxiv: str
    field: str
    summary: str
    equations: tuple[str, ...]
    official_code: str | None
    differences: tuple[str, ...] = ()
