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
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import docstring_parser
import numpy as np

import dipole
from dipole.methods.base import Method
from dipole.methods.registry import methods
from dipole.runs import recipes
from dipole.runs.train import view_defaults

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"
RESULTS = Path(dipole.__file__).parent / "claims" / "results"
REFERENCE_VALUES = ROOT / "tests" / "reference_values"
BEGIN, END = "<!-- methods -->", "<!-- end of methods -->"
SECTION = re.compile(r"^(Args|Attributes|Example|Examples|Raises|Returns|Source|Yields):", re.MULTILINE)


def table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Write a Markdown table."""
    lines = [headings, ["---"] * len(headings), *([cell.replace("|", "\\|") for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


# Methods


def paper(card: Any) -> str:
    """The paper of a card, in one line with a link."""
    return f"[{card.title}](https://arxiv.org/abs/{card.arxiv}). {card.authors}. {card.venue}, {card.year}."


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


def method_page(cls: type[Method]) -> str:
    """The page of a method: card, algorithm, arguments, recipe, proofs, source."""
    card = cls.card
    module, name = cls.__module__, cls.__qualname__
    defaults = {
        key: entry.default for key, entry in cls.arguments().items() if entry.default is not inspect.Parameter.empty
    }
    code = f"[{card.official_code}](https://github.com/{card.official_code})" if card.official_code else "none published"
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
        "## Algorithm",
        description(cls),
        "## Run it",
        f"```bash\ndipole train {card.name} --data digits --out runs/{card.name}\n```",
        recipe_text(card.name),
        "## What differs from the paper or the authors' code",
        "\n".join(f"- {text}" for text in card.differences) or "Nothing known.",
        "## Proofs",
        reference_text(card.slug),
        claims_of(card),
        "## Arguments",
        "Each is a keyword of the class, a key under `method:` in a file of settings and a flag `--method.NAME`.",
        argument_table(defaults, argument_texts(cls)),
        view_text(cls),
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
        view_defaults(cls), argument_texts(views)
    )


def recipe_text(name: str) -> str:
    """The recipe of a method, if one is shipped."""
    shipped = recipes()
    if name not in shipped:
        return "There is no recipe; the defaults below apply."
    content = shipped[name].read_text(encoding="utf-8").strip()
    return f"The recipe; what it does not name has the default of the table below.\n\n```yaml\n{content}\n```"


def reference_text(slug: str) -> str:
    """How many reference values the tests compare."""
    path = REFERENCE_VALUES / f"{slug}.npz"
    if not path.is_file():
        return "*Reference values*: none are stored for this method."
    with np.load(path, allow_pickle=False) as archive:
        outputs = [key for key in archive.files if key.split(".")[1] in {"out", "grad"}]
        cases = {key.split(".")[0] for key in archive.files}
    return (
        f"*Reference values*: `tests/reference/test_{slug}.py` compares {len(outputs)} stored results and gradients in "
        f"{len(cases)} cases. [How they are checked](../fidelity.md)."
    )


def method_index() -> str:
    """The list of methods."""
    return (
        "# Methods\n\nOne file per paper. Each page is made from the method's card, docstring, source, recipe and the "
        "result of its claim.\n\n" + method_table("")
    )


def method_table(folder: str) -> str:
    """Methods with paper, idea and claim; links lead to pages in `folder`."""
    rows = []
    for name, cls in methods().items():
        card = cls.card
        link = f"[`{name}`]({folder}{name}.md)" if folder != README else f"`{name}`"
        first, several = card.authors.split(",")[0], "," in card.authors
        cited = f"[{first}{' et al.' if several else ''} {card.year}](https://arxiv.org/abs/{card.arxiv})"
        verdicts = "; ".join(claim.short for claim in claims() if claim.belongs_to(card, exact=True)) or "–"
        rows.append([link, cited, card.summary, verdicts])
    return table(["method", "paper", "idea", "claim"], rows)


# Claims


class Claim:
    """The stored result of one experiment."""

    def __init__(self, name: str, content: dict[str, Any]) -> None:
        self.name, self.content = name, content
        self.slug = str(content.get("slug") or content.get("method") or name)
        self.statement = str(content.get("statement") or content.get("claim") or name)
        self.verdict = str(content.get("verdict") or "no verdict")
        self.effect, self.interval = content.get("effect"), content.get("interval")

    @property
    def short(self) -> str:
        """Verdict, effect and interval in a few words."""
        if self.effect is None or self.interval is None:
            return self.verdict
        low, high = self.interval
        return f"{self.verdict} ({self.effect:+.3g} [{low:+.3g}, {high:+.3g}])"

    def belongs_to(self, card: Any, exact: bool = False) -> bool:
        """Whether it is a claim about this method; without `exact`, also about another method of its paper."""
        return self.slug == card.name or (not exact and self.slug == card.slug)


def claims() -> Iterator[Claim]:
    """The stored results, in alphabetical order."""
    for path in sorted(RESULTS.glob("*.json")):
        yield Claim(path.stem, json.loads(path.read_text(encoding="utf-8")))


def claims_page() -> str:
    """The table of claims."""
    head = (ROOT / "docs" / "claims.in.md").read_text(encoding="utf-8")
    rows = [[f"`{claim.name}`", claim.statement, claim.short] for claim in claims()]
    results = table(["claim", "what is claimed", "result"], rows) if rows else "No result is stored.\n"
    return f"{head}\n## Results\n\n{results}"


def claims_of(card: Any) -> str:
    """The claims about a method."""
    found = [f"*Claim* `{claim.name}`: {claim.statement} **{claim.short}**" for claim in claims() if claim.belongs_to(card)]
    if not found:
        return "*Claim*: no result is stored for this method. [What a claim is](../claims.md)."
    return "\n\n".join(found) + "\n\n[How claims are tested](../claims.md)."


# README


def readme_with_table(text: str) -> str:
    """The README with its table brought up to date."""
    head, rest = text.split(BEGIN, 1)
    _, tail = rest.split(END, 1)
    return f"{head}{BEGIN}\n{method_table(README)}{END}{tail}"


# mkdocs


def pages() -> dict[str, str]:
    """Every generated page by its path below docs/."""
    found = {f"methods/{name}.md": method_page(cls) for name, cls in methods().items()}
    return {"methods/index.md": method_index(), "claims.md": claims_page(), **found}


def on_config(config: Any) -> Any:
    """Put the methods' pages into the navigation."""
    for entry in config.nav:
        if "Methods" in entry:
            entry["Methods"] = ["methods/index.md", *({name: f"methods/{name}.md"} for name in methods())]
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
