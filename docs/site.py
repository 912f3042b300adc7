"""What makes a site of the pages: tutorials and commands in the navigation, and formulas without a network.

mkdocs calls this file as a hook.
"""

import os
from typing import Any

from commands import COMMANDS, command_pages
from notebooks import pages as tutorial_pages
from notebooks import titles

KATEX = "katex"  # the folder of docs/ that holds it


def on_files(files: Any, config: Any) -> Any:
    """Give mkdocs the pages that are made of notebooks and of help texts."""
    from mkdocs.structure.files import File

    for path, content in {**tutorial_pages(), **command_pages()}.items():
        files.append(File.generated(config, path, content=content))
    return files


def on_config(config: Any) -> Any:
    """Put the tutorials and the commands into the navigation."""
    listed = {
        "Tutorials": [{title: f"tutorials/{name}.md"} for name, title in titles().items()],
        "Commands": [{name: f"commands/dipole-{name}.md"} for name in COMMANDS],
    }
    for entry in config.nav:
        for name, pages in listed.items():
            if name in entry:
                entry[name] = [f"{name.lower()}/index.md", *pages]
    return config


def on_post_page(output: str, page: Any, **_: Any) -> str:
    """Load KaTeX, from the site itself, on the pages that have formulas."""
    if 'class="arithmatex"' not in output:
        return output
    root = os.path.relpath(KATEX, os.path.dirname(page.file.dest_uri) or ".")
    head = (
        f'<link rel="stylesheet" href="{root}/katex.min.css">'
        f'<script defer src="{root}/katex.min.js"></script><script defer src="{root}/formulas.js"></script>'
    )
    return output.replace("</head>", head + "</head>", 1)
