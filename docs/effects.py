"""One plot of all effects that claims have found, as SVG within the page: it needs neither scripts nor a network."""

import math
from collections.abc import Iterable, Mapping
from html import escape
from itertools import groupby
from typing import Any

WIDTH, LEFT, RIGHT, TOP, BOTTOM = 760, 150, 14, 46, 12  # pixels
ROW, GAP, HEADING = 9, 7, 30
NAMED_ROW, NAMED_LEFT, NAME = 17, 250, 40  # pixels, pixels, letters
LINEAR = 0.01  # differences below it are drawn to scale, larger ones by their logarithm
COLOURS = {"reproduced": "#0072b2", "inconclusive": "#8a8a8a", "not reproduced": "#d55e00"}
DECADES = (0.01, 0.1, 1, 10, 100)


def anchor(result: Mapping[str, Any]) -> str:
    """The place of a claim on the page of the claims."""
    return f"#{result['slug']}-{result['verdict'].replace(' ', '-')}"


def effect_plot(results: Mapping[str, Mapping[str, Any]], *, links: bool = True) -> str:
    """All comparisons of all claims with their intervals, claims of a verdict together; nothing if there is none.

    Without links it is the plot of one claim beside its table: lines are named by what is compared.
    """
    if not results:
        return ""
    reach = [
        _place(value) for result in results.values() for entry in result["comparisons"] for value in _values(entry)
    ]
    scale = _Scale(min(*reach, -1.0), max(*reach, 1.0), LEFT if links else NAMED_LEFT)
    order = list(COLOURS)
    claims = sorted(results.values(), key=lambda result: (order.index(result["verdict"]), result["slug"]))
    parts, y = [], float(TOP)
    for verdict, group in groupby(claims, key=lambda result: result["verdict"]):
        found = list(group)
        y += HEADING if links else GAP
        if links:
            parts.append(f'<text x="4" y="{y - 8:.0f}" font-weight="bold">{verdict}: {len(found)}</text>')
        for result in found:
            parts += _claim(result, y, scale) if links else _named(result, y, scale)
            y += (ROW if links else NAMED_ROW) * len(result["comparisons"]) + GAP
    height = y + BOTTOM
    label = "Effects of all comparisons with their 95 % intervals; the tables below hold the same figures"
    lines = [
        '<figure class="effects" data-search-exclude>',
        f'<svg viewBox="0 0 {WIDTH} {height:.0f}" role="img" aria-label="{label}" font-size="11" fill="currentColor">',
        *_axis(scale, height),
        *parts,
        "</svg>",
        "</figure>",
    ]
    return "\n".join(lines) + "\n"


class _Scale:
    """From places on the logarithmic axis to pixels."""

    def __init__(self, low: float, high: float, left: float = LEFT) -> None:
        self.low, self.high, self.left = low, high, left

    def __call__(self, value: float) -> float:
        share = (_place(value) - self.low) / (self.high - self.low)
        return self.left + share * (WIDTH - self.left - RIGHT)


def _place(value: float) -> float:
    """sign(x) log₁₀(1 + |x| / LINEAR)."""
    return math.copysign(math.log10(1 + abs(value) / LINEAR), value)


def _values(entry: Mapping[str, Any]) -> tuple[float, float, float]:
    """The effect and both ends of its interval, positive in the direction that the paper expects."""
    low, high = entry["interval"]
    # "lower" and "not higher" expect a fall, "higher" and "not lower" a rise.
    return (
        (-entry["effect"], -high, -low)
        if entry["expected"] in ("lower", "not higher")
        else (entry["effect"], low, high)
    )


def _claim(result: Mapping[str, Any], y: float, scale: _Scale) -> Iterable[str]:
    """The name of a claim and a line for each of its comparisons."""
    rows = result["comparisons"]
    middle = y + ROW * len(rows) / 2 - ROW / 2 + 4
    name = f'<text x="{LEFT - 12}" y="{middle:.1f}" text-anchor="end">{escape(result["slug"])}</text>'
    yield f'<a href="{anchor(result)}">{name}</a>'
    for place, entry in enumerate(rows):
        yield _comparison(entry, y + ROW * place, scale)


def _named(result: Mapping[str, Any], y: float, scale: _Scale) -> Iterable[str]:
    """A line with its name for each comparison of a claim."""
    for place, entry in enumerate(result["comparisons"]):
        middle = y + NAMED_ROW * place
        name = entry["name"] if len(entry["name"]) <= NAME else f"{entry['name'][: NAME - 1]}…"
        yield f'<text x="{NAMED_LEFT - 12}" y="{middle + 4:.1f}" text-anchor="end">{escape(name)}</text>'
        yield _comparison(entry, middle, scale)


def _comparison(entry: Mapping[str, Any], y: float, scale: _Scale) -> str:
    """An interval with its effect, the smallest difference that would matter, and words for who points at it."""
    effect, low, high = map(scale, _values(entry))
    colour, judged = COLOURS[entry["verdict"]], entry["judged"]
    given_low, given_high = entry["interval"]
    words = (
        f"{entry['name']}: {entry['treatment']} − {entry['baseline']}, {entry['metric']}: {entry['effect']:+.4f} "
        f"[{given_low:+.4f}, {given_high:+.4f}], expected {entry['expected']}: {entry['verdict']}"
        f"{'' if judged else ' (reported only)'}"
    )
    margin = -entry["margin"] if entry["expected"].startswith("not ") else entry["margin"]
    tick = (
        f'<path d="M{scale(margin):.1f} {y - 3.5:.1f}v7" stroke="currentColor"/>' if judged and entry["margin"] else ""
    )
    dot = f'r="3" fill="{colour}"' if judged else f'r="2.2" fill="none" stroke="{colour}"'
    return (
        f'<g opacity="{1 if judged else 0.65}"><title>{escape(words)}</title>{tick}'
        f'<path d="M{low:.1f} {y:.1f}H{high:.1f}" stroke="{colour}" stroke-width="{2 if judged else 1}"/>'
        f'<circle cx="{effect:.1f}" cy="{y:.1f}" {dot}/></g>'
    )


def _axis(scale: _Scale, height: float) -> Iterable[str]:
    """Lines of the grid with their numbers above."""
    zero = scale(0)
    yield f'<text x="{zero - 8:.1f}" y="14" text-anchor="end">← against the paper</text>'
    yield f'<text x="{zero + 8:.1f}" y="14">as the paper expects →</text>'
    for value in (0, *(sign * step for step in DECADES for sign in (-1, 1))):
        if scale.low <= _place(value) <= scale.high:
            x, opacity = scale(value), 0.9 if value == 0 else 0.15
            number = f"{value:+g}".replace("-", "−") if value else "0"
            yield f'<path d="M{x:.1f} {TOP - 10}V{height:.0f}" stroke="currentColor" stroke-opacity="{opacity}"/>'
            yield f'<text x="{x:.1f}" y="{TOP - 14}" text-anchor="middle">{number}</text>'
