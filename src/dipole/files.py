"""Files that are either whole or absent."""

import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dipole.errors import InputError

LARGEST_SETTINGS = 100_000  # values


def readable(name: str) -> str:
    r"""Return the name of a file as text that can be written anywhere: bytes that are not UTF-8 become `\xe9`.

    Example:
        >>> readable(os.fsdecode(b"caf\xe9.png"))
        'caf\\xe9.png'
    """
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


@contextmanager
def atomic_write(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success it takes the name `path`, on failure it is removed.

    A reader, or a process that is killed, sees the old file or the new one, never a part of it.

    Args:
        path: the file to write; its folder is made if it is missing.

    A link keeps its name: what it leads to is written.

    Raises:
        InputError: there is something else than a file, which a rename would replace.

    Yields:
        A path in the same folder (so that the rename is atomic) to write to.

    Example:
        >>> import tempfile
        >>> target = Path(tempfile.mkdtemp()) / "note.txt"
        >>> with atomic_write(target) as temporary:
        ...     _ = temporary.write_text("whole")
        >>> target.read_text()
        'whole'
    """
    path = Path(path)
    if path.is_symlink():
        path = path.resolve()  # the link stays a link
    if path.exists() and not path.is_file():
        kind = "a folder" if path.is_dir() else "a device, a pipe or a socket"
        raise InputError(f"{path} is {kind}: name a file to write.")
    path.parent.mkdir(parents=True, exist_ok=True)
    # The name itself may be as long as a name can be.
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name[:40]}.", suffix=".tmp")
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        temporary.chmod(0o644)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_json(path: str | Path, content: Any) -> None:
    """Write `content` as indented JSON, atomically; NaN and infinities are refused rather than written.

    Example:
        >>> import tempfile
        >>> target = Path(tempfile.mkdtemp()) / "result.json"
        >>> write_json(target, {"effect": 0.5})
        >>> read_json(target)
        {'effect': 0.5}
    """
    text = json.dumps(content, indent=2, allow_nan=False)
    with atomic_write(path) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")


def read_json(path: str | Path) -> Any:
    """Read a JSON file.

    Raises:
        InputError: the file is missing, unreadable or not JSON.
    """
    path = Path(path)
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}. Check the path.") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is not valid JSON ({error}). Write it again or delete it.") from error


def read_yaml(path: str | Path) -> Any:
    """Read a YAML file of settings.

    Raises:
        InputError: the file is missing, unreadable or not YAML, a key stands twice, a number is not what it looks like
            (`010` is 8 in YAML, `1:30` is 90), or its aliases stand for more than settings ever hold.
    """
    import yaml

    path = Path(path)
    try:
        content = _load_yaml(path.read_text(encoding="utf-8"))
        size = _expanded(content, {}, set())
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}. Check the path.") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise InputError(f"{path} is not valid YAML ({' '.join(str(error).split())}).") from error
    if size > LARGEST_SETTINGS:
        raise InputError(f"{path} holds aliases that stand for {size:.2g} values: write the settings out.")
    return content


def _load_yaml(text: str) -> Any:
    """What YAML says, where it is what a reader takes it for."""
    import yaml

    class Loader(yaml.SafeLoader):
        def construct_yaml_int(self, node: Any) -> int:
            number = super().construct_yaml_int(node)
            if node.value.lstrip("+-") not in (str(abs(number)), hex(abs(number))):
                raise ValueError(f"line {node.start_mark.line + 1}: {node.value} means {number} there: write {number}")
            return number

        def construct_mapping(self, node: Any, deep: bool = False) -> Any:
            seen: set[str] = set()
            for key, _ in node.value:
                if key.value in seen and key.tag != "tag:yaml.org,2002:merge":
                    raise ValueError(f"line {key.start_mark.line + 1}: {key.value!r} stands twice: keep one")
                seen.add(str(key.value))
            return super().construct_mapping(node, deep)

    Loader.add_constructor("tag:yaml.org,2002:int", Loader.construct_yaml_int)
    return yaml.load(text, Loader)


def _expanded(value: Any, known: dict[int, int], open_: set[int]) -> int:
    """Number of values with every alias written out, each container counted once."""
    if not isinstance(value, dict | list):
        return 1
    if id(value) in open_:
        raise ValueError("an alias stands for what it stands in")
    if id(value) not in known:
        open_.add(id(value))
        parts = [*value.keys(), *value.values()] if isinstance(value, dict) else value
        known[id(value)] = 1 + sum(_expanded(part, known, open_) for part in parts)
        open_.remove(id(value))
    return known[id(value)]


def cache_folder() -> Path:
    """Return where what was converted or trained once is kept: `$DIPOLE_CACHE`, else `~/.cache/dipole`."""
    return Path(os.environ.get("DIPOLE_CACHE") or Path.home() / ".cache" / "dipole")
