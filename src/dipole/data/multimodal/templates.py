"""Prompts of zero-shot classes."""

from pathlib import Path

from dipole.errors import InputError

BARE = ("{}",)


def read_templates(path: str | None) -> tuple[str, ...]:
    """Read prompts, one a line with {} in it.

    Raises:
        InputError: there is no such file, or a line has no {}.

    Example:
        >>> read_templates(None)
        ('{}',)
    """
    if path is None:
        return BARE
    try:
        lines = [line.strip() for line in Path(path).expanduser().read_text(encoding="utf-8").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read the templates in {path}: expected a text file with a prompt a line.") from error
    found = tuple(line for line in lines if line)
    wrong = [line for line in found if "{}" not in line]
    if not found or wrong:
        raise InputError(f"{path}: expected lines with {{}} where the class goes, e.g. 'a photo of a {{}}.'.")
    return found
