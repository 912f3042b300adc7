"""Pages that are written by the code they describe: one per method, the table of claims, the table in the README.

mkdocs calls this file as a hook and nothing that it makes is stored, except the table in the README:

    python docs/generate.py            # bring the table up to date
    python docs/generate.py --check    # exit code 1 if it is not
"""

import argparse
import inspect
import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import docstring_parser
import numpy as np
import yaml
from algorithm import one_step_a_line
from effects import anchor, effect_plot
from formulas import formula_text

from dipole.claims.results import FOLDER as RESULTS
from dipole.claims.results import ahead_of_all, load_results
from dipole.data import available
from dipole.data.multimodal import available_modalities
from dipole.decoding.base import Decoder
from dipole.decoding.registry import decoders
from dipole.methods.base import Method
from dipole.methods.registry import methods
from dipole.runs import recipes
from dipole.runs.domains import get_domain

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"
REFERENCE_VALUES = ROOT / "tests" / "reference_values"
BEGIN, END = "<!-- methods -->", "<!-- end of methods -->"
BUILT_IN = {info.name for info in (*available(), *available_modalities()) if info.where.startswith("built in")}
# The fields of cards, in the order in which they are listed, and their headings.
FIELDS = {
    "vision": "Images",
    "recognition": "Recognition",
    "text": "Text",
    "multimodal": "Several modalities",
    "audio": "Sounds and texts",
    "graph": "Graphs",
    "timeseries": "Time series",
    "recommendation": "Recommendation",
    "language": "Language models",
}
SECTION = re.compile(r"^(Args|Attributes|Example|Examples|Raises|Returns|Source|Yields):", re.MULTILINE)


def table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Write a Markdown table."""
    lines = [headings, ["---"] * len(headings), *([cell.replace("|", "\\|") for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


# Methods


def paper(card: Any) -> str:
    """The paper of a card, in one line with a link."""
    return f"[{card.title}](https://arxiv.org/abs/{card.arxiv}). {card.authors}. {card.venue}, {card.year}."


def entries() -> dict[str, type[Method] | type[Decoder]]:
    """Methods and decoders by name, field by field."""
    found: dict[str, type[Method] | type[Decoder]] = {**methods(), **decoders()}
    order = list(FIELDS)
    return dict(sorted(found.items(), key=lambda entry: (order.index(entry[1].card.field), entry[0])))


def entries_by_field() -> dict[str, list[str]]:
    """The names of methods and decoders under the headings of their fields."""
    found: dict[str, list[str]] = {}
    for name, cls in entries().items():
        found.setdefault(FIELDS[cls.card.field], []).append(name)
    return found


def description(thing: Any) -> str:
    """The docstring up to its first section."""
    text = inspect.getdoc(thing) or ""
    section = SECTION.search(text)
    return (text[: section.start()] if section else text).strip()


def argument_texts(cls: type) -> dict[str, str]:
    """What the docstrings of a class and of its bases say about each argument of the constructor."""
    found: dict[str, str] = {}
    for base in cls.__mro__:
        text = inspect.cleandoc(vars(base).get("__doc__") or "")
        for entry in docstring_parser.parse(text, docstring_parser.DocstringStyle.GOOGLE).params:
            for name in entry.arg_name.split(", "):
                found.setdefault(name, " ".join((entry.description or "").split()))
    return found


def argument_table(defaults: dict[str, Any], texts: dict[str, str]) -> str:
    """Names, defaults and meanings."""
    rows = [[f"`{name}`", f"`{json.dumps(value)}`", texts.get(name, "")] for name, value in defaults.items()]
    return table(["argument", "default", "meaning"], rows)


def method_page(cls: type[Method] | type[Decoder]) -> str:
    """The page of a method or decoder: card, algorithm, arguments, how to run it, proofs, source."""
    card = cls.card
    module, name = cls.__module__, cls.__qualname__
    trained = issubclass(cls, Method)
    arguments = cls.arguments() if trained else inspect.signature(cls).parameters
    defaults = {key: entry.default for key, entry in arguments.items() if entry.default is not inspect.Parameter.empty}
    example = f"```bash\ndipole generate smollm2 --decoder {card.name} --prompt 'Once upon a time'\n```"
    flags = "a key under `method:` in a file of settings and a flag `--method.NAME`" if trained else "a flag `--NAME`"
    code = (
        f"[{card.official_code}](https://github.com/{card.official_code})" if card.official_code else "none published"
    )
    facts = [
        ["paper", paper(card)],
        ["authors' code", code],
        ["implemented", "; ".join(card.equations)],
        ["class", f"`{module}.{name}`"],
    ]
    parts = [
        f"# {card.name}",
        card.summary,
        table(["", ""], facts),
        formula_text(cls),
        "## Algorithm",
        one_step_a_line(description(cls)),
        "## Run it",
        recipe_text(card.name) if trained else f"{example}\n\n[More ways to run it](../decoding.md)",
        "## What differs from the paper or the authors' code",
        "\n".join(f"- {text}" for text in card.differences) or "Nothing known.",
        "## Proofs",
        reference_text(card.slug),
        claim_text(card),
        "## Arguments",
        f"Each is a keyword of the class and {flags}.",
        argument_table(defaults, argument_texts(cls)),
        view_text(cls) if trained else "",
        "## Source",
        f"```python\n{inspect.getsource(cls).rstrip()}\n```",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def view_text(cls: type[Method]) -> str:
    """The arguments of the views that a method trains on."""
    views = getattr(cls, "views_class", None)
    if views is None:
        return ""
    head = f"The views are [`{views.__name__}`](../views.md). Their arguments are keys under `views:` and flags"
    return f"## Arguments of the views\n\n{head} `--views.NAME`.\n\n" + argument_table(
        get_domain(cls.domain).view_defaults(cls), argument_texts(views)
    )


def recipe_text(name: str) -> str:
    """How to run a method: by each of its recipes, or without one."""
    parts = []
    # The recipe with the method's own name comes first.
    for recipe, path in sorted(recipes().items(), key=lambda entry: (entry[0] != name, entry[0])):
        text = path.read_text(encoding="utf-8").strip()
        settings = yaml.safe_load(text)
        if settings["name"] == name:
            root = "" if settings.get("data", "digits") in BUILT_IN else " --data_root path/to/data"
            parts.append(f"```bash\ndipole train {recipe}{root} --out runs/{recipe}\n```\n\n```yaml\n{text}\n```")
    if not parts:
        return f"```bash\ndipole train {name} --out runs/{name}\n```\n\nThere is no recipe; the defaults below apply."
    return "\n\n".join([*parts, "What a recipe does not name has the default of the table below."])


def reference_text(slug: str) -> str:
    """How many reference values the tests compare."""
    path = REFERENCE_VALUES / f"{slug}.npz"
    if not path.is_file():
        return "*Reference values*: it has none of its own. [What is checked](../fidelity.md)."
    with np.load(path, allow_pickle=False) as archive:
        outputs = [key for key in archive.files if key.split(".")[1] in {"out", "grad"}]
        cases = {key.split(".")[0] for key in archive.files}
    return (
        f"*Reference values*: `tests/reference/test_{slug}.py` compares {len(outputs)} stored results and gradients in "
        f"{len(cases)} cases. [How they are checked](../fidelity.md)."
    )


def difference_list() -> str:
    """What differs from papers and authors' codes, card by card."""
    cards = {cls.card.differences: name for name, cls in reversed(entries().items()) if cls.card.differences}
    listed = [
        f"**[{name}](methods/{name}.md)**\n\n" + "\n".join(f"- {text}" for text in differences) + "\n"
        for differences, name in sorted(cards.items(), key=lambda entry: entry[1])
    ]
    return "\n".join(listed)


def method_index() -> str:
    """The list of methods."""
    return (
        "# Methods\n\nOne file per paper. Each page is made from the method's card, docstring, source, recipe and the "
        "result of its claim.\n\n"
        + "\n".join(f"## {field}\n\n{method_table('', names)}" for field, names in entries_by_field().items())
    )


def method_table(folder: str, names: Sequence[str] = ()) -> str:
    """Methods with paper, idea and claim, all or those of some names; links lead to pages in `folder`."""
    rows = []
    for name, cls in entries().items():
        if names and name not in names:
            continue
        card = cls.card
        link = f"[`{name}`]({folder}{name}.md)" if folder != README else f"`{name}`"
        authors = card.authors.split(", ")
        who = " and ".join(authors) if len(authors) < 3 else f"{authors[0]} et al."
        cited = f"[{who} {card.year}](https://arxiv.org/abs/{card.arxiv})"
        rows.append([link, card.field, cited, card.summary, verdict_of(name, card.slug) or "–"])
    return table(["method", "field", "paper", "idea", "claim"], rows)


# Claims


def number(value: float) -> str:
    """A difference with its sign."""
    return f"{value:+.4f}".replace("-", "−")


def comparison_table(result: dict[str, Any]) -> str:
    """The comparisons of a claim."""
    rows = []
    for entry in result["comparisons"]:
        low, high = entry["interval"]
        margin = f", by {entry['margin']:g} or more" if entry["margin"] else ""
        rows.append(
            [
                f"{entry['name']}{'' if entry['judged'] else ' (reported only)'}",
                f"{entry['treatment']} − {entry['baseline']}, {entry['metric']}",
                f"{entry['expected']}{margin}",
                f"{number(entry['effect'])}\u00a0[{number(low)},\u00a0{number(high)}]",
                entry["verdict"],
            ]
        )
    return table(["comparison", "difference of", "expected", "found [95\u00a0% interval]", "verdict"], rows)


def arm_table(result: dict[str, Any]) -> str:
    """The means of what was trained, and what it must beat."""
    known = dict.fromkeys(key for arm in result["arms"] for key in arm["runs"][0])
    metrics = [key for key in known if key not in ("seed", "seconds")]
    rows = []
    for label, encoders in result["references"].items():
        for name, found in encoders.items():
            rows.append([f"{name}, {label}", "–", *(f"{found[key]:.3f}" if key in found else "–" for key in metrics)])
    for arm in result["arms"]:
        runs = arm["runs"]
        means = [sum(run[key] for run in runs) / len(runs) if key in runs[0] else None for key in metrics]
        shown = ("–" if mean is None else f"{mean:.3f}" for mean in means)
        rows.append([arm["name"], f"{arm['learning_rate']:g}", *shown])
    return table(["mean over the seeds", "learning rate", *metrics], rows)


def claim_section(result: dict[str, Any]) -> str:
    """Everything that is stored about a claim, for a reader."""
    seeds = len(result["seeds"])
    facts = f"{seeds} seeds · {', '.join(result['data'])} · {result['seconds'] / 60:.0f} minutes · {result['date']}"
    return "\n\n".join(
        [
            f"## {result['slug']}: {result['verdict']}",
            f"*{result['title']}*",
            result["statement"],
            f"**{result['summary']}**",
            comparison_table(result).rstrip(),
            arm_table(result).rstrip(),
            f"The paper's numbers: {result['paper']}",
            "\n".join(f"- {note}" for note in [*ahead_of_all(result), *result["notes"]]),
            facts,
        ]
    )


def claim_list() -> str:
    """All stored results: a table, then the details."""
    results = load_results(RESULTS)
    if not results:
        return "No result is stored.\n"
    overview = [[f"[{slug}]({anchor(found)})", found["statement"], found["verdict"]] for slug, found in results.items()]
    return (
        "\n\n".join([table(["claim", "what is tested", "verdict"], overview), *map(claim_section, results.values())])
        + "\n"
    )


def claim_plot() -> str:
    """The effects of all stored results in one plot."""
    return effect_plot(load_results(RESULTS))


def tested_methods(result: dict[str, Any]) -> set[str]:
    """The methods of which a claim's verdict speaks."""
    treatments = {entry["treatment"] for entry in result["comparisons"] if entry["judged"]}
    return {arm["method"] for arm in result["arms"] if arm["name"] in treatments}


def verdict_of(name: str, slug: str) -> str | None:
    """The verdict of the claim of a paper, if it speaks of this method."""
    result = load_results(RESULTS).get(slug)
    return f"{result['verdict']}; {result['summary']}" if result and name in tested_methods(result) else None


def claim_text(card: Any) -> str:
    """What the claim of a method's paper says, on the method's page."""
    result = load_results(RESULTS).get(card.slug)
    if result is None:
        return "*Claim*: no result is stored for this paper. [What a claim is](../claims.md)."
    tested = ", ".join(f"`{name}`" for name in sorted(tested_methods(result)))
    return (
        f"*Claim*, tested with {tested}: {result['statement']}\n\n**{result['verdict'].capitalize()}.** "
        f"{result['summary']}. [Details](../claims.md).\n\n{effect_plot({card.slug: result}, links=False)}\n"
        f"{comparison_table(result).rstrip()}"
    )


# README


def readme_with_table(text: str) -> str:
    """The README with its table brought up to date."""
    head, rest = text.split(BEGIN, 1)
    _, tail = rest.split(END, 1)
    return f"{head}{BEGIN}\n{method_table(README)}{END}{tail}"


# mkdocs


def pages() -> dict[str, str]:
    """Every page that is generated as a whole, by its path below docs/."""
    found = {f"methods/{name}.md": method_page(cls) for name, cls in entries().items()}
    return {"methods/index.md": method_index(), **found}


# Written pages in which a marker stands for a generated part.
PARTS = {
    "claims.md": {"<!-- effects -->": claim_plot, "<!-- results -->": claim_list},
    "fidelity.md": {"<!-- differences -->": difference_list},
}


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Fill in the generated parts of a written page."""
    for marker, write in PARTS.get(page.file.src_uri, {}).items():
        head, tail = markdown.split(marker)
        markdown = head + write() + tail
    return markdown


def on_config(config: Any) -> Any:
    """Put the methods' pages into the navigation, field by field."""
    for entry in config.nav:
        if "Methods" in entry:
            groups = entries_by_field().items()
            listed = [{field: [{name: f"methods/{name}.md"} for name in names]} for field, names in groups]
            entry["Methods"] = ["methods/index.md", *listed]
    return config


def on_files(files: Any, config: Any) -> Any:
    """Give mkdocs the generated pages."""
    from mkdocs.structure.files import File

    for path, content in pages().items():
        files.append(File.generated(config, path, content=content))
    return files


def main() -> int:
    """Update or check the README."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="change nothing; exit code 1 if the README is out of date")
    check = parser.parse_args().check
    text = README.read_text(encoding="utf-8")
    updated = readme_with_table(text)
    if not check:
        README.write_text(updated, encoding="utf-8")
    elif updated != text:
        print("README.md is out of date: run python docs/generate.py", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
