"""What the benchmarks have measured, and the tables that are made of it.

    python benchmarks/results.py      # bring the tables in README.md and docs/speed.md up to date

A benchmark that is called with `--store` leaves its figures in `benchmarks/results/`; `make benchmarks` does all of it.
"""

import json
import os
import platform
import re
from pathlib import Path
from typing import Any, NamedTuple

import torch

ROOT = Path(__file__).resolve().parents[1]
FOLDER = Path(__file__).with_name("results")
PAGES = (ROOT / "README.md", ROOT / "docs" / "speed.md")
BEGIN, END = "<!-- benchmarks -->", "<!-- end of benchmarks -->"
ORDER = ("losses", "views", "step")
BARE = "the bare work"
EXTENSIONS = {"amx_tile": "AMX", "avx512f": "AVX-512", "avx2": "AVX2"}  # the first that a processor has is named


class Measured(NamedTuple):
    """A peer beside dipole."""

    what: str
    beside: str
    times: float  # its seconds divided by dipole's
    memory: float | None = None  # its additional memory divided by dipole's


def store(name: str, measured: list[Measured]) -> None:
    """Leave the figures of a benchmark, with the machine and the number of threads they were measured with."""
    threads = torch.get_num_threads()
    content = {"machine": machine(), "threads": threads, "measured": [each._asdict() for each in measured]}
    FOLDER.mkdir(exist_ok=True)
    text = json.dumps(content, indent=1, ensure_ascii=False)
    (FOLDER / f"{name}-{threads}.json").write_text(text + "\n", encoding="utf-8")


def machine() -> str:
    """The processor, in words."""
    model, flags = platform.processor() or platform.machine(), ""
    if Path("/proc/cpuinfo").is_file():
        facts = dict(re.findall(r"^([^\t\n]+)\t*: (.*)$", Path("/proc/cpuinfo").read_text(encoding="utf-8"), re.M))
        model, flags = facts.get("model name", model), facts.get("flags", "")
    best = next((name for flag, name in EXTENSIONS.items() if flag in flags.split()), None)
    return ", ".join(part for part in (model.strip(), f"{os.cpu_count()} cores", best) if part)


def tables() -> str:
    """The figures that are stored, as Markdown."""
    files = [path for name in ORDER for path in sorted(FOLDER.glob(f"{name}-*.json"))]
    stored = [json.loads(path.read_text(encoding="utf-8")) for path in files]
    rows: dict[tuple[str, str], dict[str, str]] = {}
    for content in stored:
        for each in content["measured"]:
            cells = rows.setdefault((each["what"], each["beside"]), {})
            cells[f"{content['threads']}"] = _times(each)
            if each["memory"] is not None and each["beside"] != BARE:
                cells["memory"] = (
                    f"{each['memory']:.1f}× less" if each["memory"] >= 1 else f"{1 / each['memory']:.1f}× more"
                )
    machines = list(dict.fromkeys(content["machine"] for content in stored))
    lines = ["| what | beside | one thread | two threads | additional memory |", "| --- | --- | --- | --- | --- |"]
    before = None
    for (what, beside), cells in rows.items():
        shown = [cells.get(column, "") for column in ("1", "2", "memory")]
        lines.append(f"| {' | '.join(['' if what == before else what, beside, *shown])} |")
        before = what
    version = torch.__version__.partition("+")[0]
    head = f"Measured on {'; '.join(machines)}, with torch {version}, peers in turns in one run:"
    return "\n".join([head, "", *lines])


def _times(each: dict[str, Any]) -> str:
    """How dipole's time compares with a peer's."""
    times = each["times"]
    if each["beside"] == BARE:
        return f"{1 / times:.2f} of its time"
    return f"{times:.1f}× faster" if times >= 1 else f"{1 / times:.2f}× slower"


def main() -> None:
    """Write the tables into the pages."""
    for page in PAGES:
        head, begin, rest = page.read_text(encoding="utf-8").partition(BEGIN)
        _, end, tail = rest.partition(END)
        if not begin or not end:
            raise SystemExit(f"{page} has no place for the table: expected {BEGIN} and {END}.")
        page.write_text(f"{head}{BEGIN}\n{tables()}\n{END}{tail}", encoding="utf-8")


if __name__ == "__main__":
    main()
