"""A corpus that is always at hand: docstrings of installed packages, and which of them are cited together.

A document is the first paragraph of a docstring. What stands in its section "See Also" is what it cites; two documents
are co-cited if a third one lists both. Every package is a domain of its own.
"""

import importlib
import inspect
import json
import pkgutil
import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from dipole.data.text import co_citation_pairs
from dipole.files import cache_folder, write_json

PACKAGES = ("numpy", "scipy", "sklearn", "pandas")
_SEE_ALSO = re.compile(r"^See Also\n-+\n(.*?)(?=^\w[^\n]*\n-{3,}|\Z)", re.MULTILINE | re.DOTALL)
_NAME = re.compile(r"^[\w.]+$")


@dataclass(frozen=True)
class Docstrings:
    """Documents of one package.

    Args:
        package: its name.
        texts: of the documents.
        pairs: (P, 2) of documents that are co-cited.
    """

    package: str
    texts: tuple[str, ...]
    pairs: np.ndarray


def docstrings(package: str) -> Docstrings:
    """Return the documents of an installed package; they are read once and kept in the cache.

    Raises:
        ModuleNotFoundError: the package is not installed.
    """
    version = importlib.import_module(package).__version__
    file = cache_folder() / f"docstrings-{package}-{version}.json"
    if not file.is_file():
        write_json(file, _read(package))
    stored = json.loads(file.read_text(encoding="utf-8"))
    edges = np.array(stored["edges"], dtype=np.int64).reshape(-1, 2)
    return Docstrings(package, tuple(stored["texts"]), co_citation_pairs(edges).pairs)


def _read(package: str) -> dict[str, Any]:
    """Texts, and (citing, cited) by their numbers."""
    found: dict[str, str] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for module in _modules(package):
            for name, thing in _public(module, package):
                text = inspect.getdoc(thing)
                if text and len(text.split("\n\n")[0].split()) >= 3:
                    found.setdefault(name, text)
    names = sorted(found)
    number = {name: place for place, name in enumerate(names)}
    by_last: dict[str, str] = {}
    for name in sorted(names, key=len, reverse=True):
        parts = name.split(".")
        for start in range(len(parts)):
            by_last[".".join(parts[start:])] = name
    edges = [
        [number[name], number[by_last[cited]]]
        for name in names
        for cited in _cited(found[name])
        if cited in by_last and by_last[cited] != name
    ]
    # What neither cites nor is cited is no part of the collection.
    used = sorted({place for edge in edges for place in edge})
    place_of = {old: new for new, old in enumerate(used)}
    texts = [" ".join(found[names[place]].split("\n\n")[0].split()) for place in used]
    return {"texts": texts, "edges": [[place_of[citing], place_of[cited]] for citing, cited in edges]}


def _modules(package: str) -> Iterator[Any]:
    """The public modules of a package."""
    root = importlib.import_module(package)
    yield root
    for entry in pkgutil.walk_packages(root.__path__, f"{package}.", onerror=lambda name: None):
        if any(
            part.startswith("_") or part in ("tests", "conftest", "distutils", "f2py") for part in entry.name.split(".")
        ):
            continue
        try:
            yield importlib.import_module(entry.name)
        except (Exception, SystemExit):
            continue


def _public(module: Any, package: str) -> Iterator[tuple[str, Any]]:
    """Names and things of a module: functions, classes, and methods of classes."""
    for name, thing in vars(module).items():
        if name.startswith("_") or not str(getattr(thing, "__module__", "")).startswith(package):
            continue
        if inspect.isclass(thing):
            yield name, thing
            if package == "pandas":
                members = {key: value for key, value in inspect.getmembers(thing) if not key.startswith("_")}
                yield from ((f"{name}.{key}", value) for key, value in members.items() if callable(value))
        elif callable(thing):
            yield name, thing


def _cited(text: str) -> Iterator[str]:
    """The names in the section "See Also"."""
    section = _SEE_ALSO.search(text)
    for line in section[1].splitlines() if section else ():
        if line.startswith(" "):
            continue
        for name in line.split(" : ")[0].split(","):
            plain = re.sub(r":\w+:`~?([\w.]+)`", r"\1", name).strip().strip("`~")
            if _NAME.match(plain):
                yield plain
