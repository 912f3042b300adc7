"""`dipole detect`."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dipole.cli.parsing import parse, parser
from dipole.cli.tables import show


def run(arguments: Sequence[str]) -> None:
    """Find names in pictures, or measure boxes against a file of COCO's format."""
    parser_ = parser("detect", "Find in pictures what has a name, with a run of dito; draw it and write it as JSON.")
    parser_.add_argument("run", type=str, help="run directory or model folder of dito")
    parser_.add_argument("picture", type=str, nargs="*", help="image files")
    parser_.add_argument("--names", type=str | None, default=None, help="what to look for, with commas")
    parser_.add_argument("--base", type=str | None, default=None, help="of the names, those trained on, with commas")
    parser_.add_argument("--background", type=str, default="background", help="what nothing is called")
    parser_.add_argument("--templates", type=str | None, default=None, help="file of prompts with {} for the name")
    parser_.add_argument("--score", type=float, default=0.05, help="scores at or below it are left out")
    parser_.add_argument("--nms", type=float, default=0.5, help="overlap above which the worse box is left out")
    parser_.add_argument("--most", type=int, default=100, help="boxes of a picture")
    parser_.add_argument("--out", type=str, default=".", help="folder of NAME.detections.json and .png")
    parser_.add_argument("--coco", type=str | None, default=None, help="in place of pictures: boxes to be measured by")
    parser_.add_argument("--images", type=str | None, default=None, help="folder of the pictures of --coco")
    options = parse(parser_, arguments)

    from dipole.data.coco import read_coco
    from dipole.data.multimodal.templates import read_templates
    from dipole.errors import InputError
    from dipole.runs.detect import Detector

    if bool(options.picture) == (options.coco is not None):
        raise InputError("give pictures, or a file of COCO's format by --coco; one of the two.")
    pictures, names = read_coco(options.coco, options.images) if options.coco else ([], _listed(options.names))
    if options.coco and options.names is not None:
        raise InputError("--coco brings names along: leave --names out.")
    base = _listed(options.base)
    templates = read_templates(options.templates)
    detector = Detector(options.run, names, templates=templates, background=options.background, base=base)
    settings: dict[str, Any] = {"nms_threshold": options.nms, "maximum": options.most}
    if options.coco:
        _measure(detector, pictures, base, settings, Path(options.out))
        return
    for picture in options.picture:
        _find(detector, picture, {**settings, "score_threshold": options.score}, Path(options.out))


def _listed(names: str | None) -> list[str]:
    """Names between commas."""
    return [name.strip() for name in (names or "").split(",") if name.strip()]


def _find(detector: Any, picture: str, settings: dict[str, Any], out: Path) -> None:
    """Write what is in a picture, and show it."""
    from dipole.files import atomic_write
    from dipole.runs.detect import draw_boxes

    found = detector(picture, **settings)
    out.mkdir(parents=True, exist_ok=True)
    stem = out / Path(picture).stem
    draw_boxes(picture, found, f"{stem}.detections.png")
    with atomic_write(f"{stem}.detections.json") as temporary:
        content = {"picture": picture, "found": [vars(one) for one in found]}
        temporary.write_text(json.dumps(content, ensure_ascii=False, indent=1), encoding="utf-8")
    columns = {"name": "left", "score": "right", "x1, y1, x2, y2": "right"}
    rows = [[one.name, f"{one.score:.3f}", ", ".join(f"{side:.0f}" for side in one.box)] for one in found]
    show(f"{picture}: {stem}.detections.png and .json", columns, rows)


def _measure(detector: Any, pictures: Any, base: list[str], settings: dict[str, Any], out: Path) -> None:
    """Write and show average precisions."""
    from dipole.files import atomic_write
    from dipole.runs.detect import measure_boxes

    found = measure_boxes(detector, pictures, base, **settings)
    means = {"base names": found.base, "novel names": found.novel, "all names": found.all}
    rows = [[name, f"{value:.4f}"] for name, value in {**found.names, **means}.items() if value is not None]
    show(f"{len(pictures)} pictures: AP at IoU 0.5", {"": "left", "AP50": "right"}, rows)
    out.mkdir(parents=True, exist_ok=True)
    with atomic_write(out / "boxes.json") as temporary:
        temporary.write_text(json.dumps(found._asdict(), ensure_ascii=False, indent=1), encoding="utf-8")
