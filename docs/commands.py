"""The reference of the command line: a page a command, with its help and the examples that the other pages hold."""

import contextlib
import io
import os
import re
from functools import cache
from pathlib import Path
from unittest import mock

from dipole.cli import COMMANDS, main

DOCS = Path(__file__).resolve().parent
WIDTH = "88"  # columns of a help text
LINE = re.compile(r"^dipole (?P<command>\w+)\b.*(?:\\\n.*)*$", re.MULTILINE)
# What a method or decoder adds to a command; the one that the first examples use.
NAMED = {"train": ["simclr"], "generate": ["MODEL", "--decoder", "contrastive-search"]}


def help_of(command: str) -> str:
    """What `dipole COMMAND --help` prints."""
    text = io.StringIO()
    with mock.patch.dict(os.environ, COLUMNS=WIDTH), contextlib.redirect_stdout(text), contextlib.suppress(SystemExit):
        main([command, *NAMED.get(command, []), "--help"])
    return text.getvalue().strip()


@cache
def examples() -> dict[str, dict[str, str]]:
    """The lines of the pages that call a command, each with the first page that has it."""
    found: dict[str, dict[str, str]] = {command: {} for command in COMMANDS}
    for page in sorted(set(DOCS.glob("*.md")) - {DOCS / "gallery.md"}):
        for block in re.findall(r"^```bash\n(.*?)^```$", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL):
            for match in LINE.finditer(block):
                if match["command"] in found:
                    found[match["command"]].setdefault(match[0], page.name)
    return found


def command_page(command: str) -> str:
    """The page of a command."""
    lines = examples()[command]
    parts = [f"# dipole {command}", f"{COMMANDS[command].capitalize()}."]
    if lines:
        pages = dict.fromkeys(lines.values())
        parts += ["## Examples", "```bash\n" + "\n".join(lines) + "\n```"]
        parts.append("More about them: " + ", ".join(f"[{Path(page).stem}](../{page})" for page in pages) + ".")
    asked = " ".join(["dipole", command, *NAMED.get(command, []), "--help"])
    parts += ["## All options", f"`{asked}` prints:", f"```text\n{help_of(command)}\n```"]
    return "\n\n".join(parts) + "\n"


def command_pages() -> dict[str, str]:
    """The pages of all commands and their list, by path below docs/."""
    rows = "\n".join(f"| [`dipole {name}`](dipole-{name}.md) | {what} |" for name, what in COMMANDS.items())
    head = "# Commands\n\n`dipole COMMAND --help` prints what these pages hold."
    index = f"{head}\n\n| command | what it does |\n| --- | --- |\n{rows}\n"
    return {"commands/index.md": index, **{f"commands/dipole-{name}.md": command_page(name) for name in COMMANDS}}
