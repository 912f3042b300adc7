"""`dipole methods`."""

from collections.abc import Sequence

from dipole.cli.parsing import parse, parser
from dipole.cli.tables import show


def run(arguments: Sequence[str]) -> None:
    """List the methods, or show the card of one."""
    parser_ = parser("methods", "List the methods, or show the card of one.")
    parser_.add_argument("name", nargs="?", type=str | None, default=None, help="a method, for its card")
    name = parse(parser_, arguments).name

    from dipole.decoding.registry import decoders
    from dipole.methods.registry import get_method, methods

    if name is None:
        cards = [m.card for m in methods().values()] + [d.card for d in decoders().values()]
        rows = [[c.name, c.field, c.authors.split(",")[0], c.year, c.summary] for c in cards]
        columns = {"method": "left", "field": "left", "first author": "left", "year": "right", "idea": "left"}
        caption = "`dipole methods NAME` shows a card; `dipole train NAME` trains, `dipole generate` decodes language."
        show("Methods", columns, rows, caption=caption)
        return
    card = decoders()[name].card if name in decoders() else get_method(name).card
    rows = [
        ["idea", card.summary],
        ["paper", f"{card.title}. {card.authors}. {card.venue} {card.year}"],
        ["arXiv", card.arxiv],
        ["implemented", "\n".join(card.equations)],
        ["authors' code", card.official_code or "none"],
        ["what differs", "\n".join(f"· {text}" for text in card.differences) or "nothing known"],
    ]
    show(name, {"": "left", "card": "left"}, rows)
