"""Plots of stored results of claims, as SVG in docs/images:

python docs/plots.py            # write them
python docs/plots.py --check    # exit code 1 if one is not current
"""

import argparse
import sys
from pathlib import Path
from statistics import fmean
from typing import Any

from dipole.claims.results import load_results

IMAGES = Path(__file__).resolve().parent / "images"
WIDTH, HEIGHT, LEFT, TOP, RIGHT, BOTTOM = 560, 340, 62, 18, 18, 52
COLOURS = {"Symile": "#0072b2", "CLIP of pairs": "#d55e00"}
GREY = "#767676"


def symile() -> str:
    """The accuracy of Symile and of CLIP over the share p̂ of mixed rows, a dot for each seed."""
    result = load_results()["symile"]
    arms: dict[str, dict[float, list[float]]] = {}
    for arm in result["arms"]:
        name, share = arm["name"].split(", p̂ = ")
        arms.setdefault(name, {})[float(share)] = [run["accuracy"] for run in arm["runs"]]
    best = {float(name.rsplit(" ", 1)[1]): values["Bayes"]["accuracy"] for name, values in result["references"].items()}
    parts = [*_axes("share p̂ of rows in which c = a xor b", "accuracy of finding b")]
    parts.append(_line(sorted(best.items()), GREY, dashed=True))
    parts.append(_text(_x(0.62), _y(0.74), "best possible", GREY, anchor="end"))
    for name, values in arms.items():
        means = sorted((share, fmean(found)) for share, found in values.items())
        parts.append(_line(means, COLOURS[name]))
        parts += [
            f'<circle cx="{_x(share):.1f}" cy="{_y(value):.1f}" r="3" fill="{COLOURS[name]}" fill-opacity="0.6"/>'
            for share, found in sorted(values.items())
            for value in found
        ]
        share, mean = means[-1]
        parts.append(_text(_x(share) - 8, _y(mean) + (46 if mean > 0.5 else -10), name, COLOURS[name], anchor="end"))
    label = "Accuracy of Symile and of pairwise CLIP on triples of bits"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{label}" '
        'font-family="sans-serif" font-size="13">\n'
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>\n' + "\n".join(parts) + "\n</svg>\n"
    )


PLOTS: dict[str, Any] = {"symile.svg": symile}


def _x(share: float) -> float:
    """Pixels of a share."""
    return LEFT + share * (WIDTH - LEFT - RIGHT)


def _y(accuracy: float) -> float:
    """Pixels of an accuracy."""
    return TOP + (1 - accuracy) * (HEIGHT - TOP - BOTTOM)


def _line(points: list[tuple[float, float]], colour: str, dashed: bool = False) -> str:
    """A line through points."""
    path = " ".join(f"{_x(x):.1f},{_y(y):.1f}" for x, y in points)
    dashes = ' stroke-dasharray="5 4"' if dashed else ""
    return f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"{dashes}/>'


def _text(x: float, y: float, text: str, colour: str = "#333333", anchor: str = "middle") -> str:
    """Words at a place."""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}">{text}</text>'


def _axes(horizontal: str, vertical: str) -> list[str]:
    """Lines of a grid with their numbers, and the names of the axes."""
    parts = []
    for tick in (0.0, 0.25, 0.5, 0.75, 1.0):
        parts.append(f'<path d="M{_x(0)} {_y(tick):.1f}H{_x(1)}" stroke="#dddddd"/>')
        parts.append(_text(LEFT - 8, _y(tick) + 4, f"{tick:g}", anchor="end"))
        parts.append(_text(_x(tick), HEIGHT - BOTTOM + 20, f"{tick:g}"))
    parts.append(_text(_x(0.5), HEIGHT - 10, horizontal))
    middle = _y(0.5)
    parts.append(f'<text transform="translate(16 {middle:.1f}) rotate(-90)" text-anchor="middle">{vertical}</text>')
    return parts


def main() -> int:
    """Write the plots, or say whether they are current."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing")
    check = parser.parse_args().check
    outdated = [name for name, plot in PLOTS.items() if not current(name, plot())]
    for name in outdated if not check else ():
        (IMAGES / name).write_text(PLOTS[name](), encoding="utf-8")
    return int(check and bool(outdated))


def current(name: str, content: str) -> bool:
    """Whether a stored plot is what the results give."""
    path = IMAGES / name
    return path.is_file() and path.read_text(encoding="utf-8") == content


if __name__ == "__main__":
    sys.exit(main())
