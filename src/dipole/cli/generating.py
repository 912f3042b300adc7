"""What `dipole generate` asks a model for, row by row: files that grow, prompts as a chat, texts as they come."""

import json
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from dipole.errors import InputError

DTYPES = ("float32", "bfloat16", "float16")


def dtype_of(name: str | None) -> Any:
    """Return the type of the weights; None for the default.

    Raises:
        InputError: an unknown name.

    Example:
        >>> dtype_of("bfloat16")
        torch.bfloat16
    """
    import torch

    if name is not None and name not in DTYPES:
        raise InputError(f"--dtype is {name!r}: expected {', '.join(DTYPES)}.")
    return None if name is None else getattr(torch, name)


def as_chat(tokenizer: Any, prompts: Sequence[str], system: str | None) -> list[str]:
    """Return prompts as what a user says to an assistant, after what a system prompt says.

    Raises:
        InputError: the model has no chat template.
    """
    if not getattr(tokenizer, "chat_template", None):
        raise InputError("the tokenizer has no chat template: leave out --chat and --system.")
    before = [] if system is None else [{"role": "system", "content": system}]
    return [
        tokenizer.apply_chat_template(
            [*before, {"role": "user", "content": prompt}], tokenize=False, add_generation_prompt=True
        )
        for prompt in prompts
    ]


class GrowingFile:
    """Rows of JSON that are written as they come; a run that was killed goes on behind the last whole row.

    While it grows it is called `NAME.part`, and its first line says what is asked for.

    Args:
        path: of the finished file.
        asked: what rows depend on; a file that was begun with something else is refused.
        resume: go on with the file that was begun.

    Raises:
        InputError: it was begun with other settings, or is there already.
    """

    def __init__(self, path: str | Path, asked: dict[str, Any], *, resume: bool) -> None:
        self.path = Path(path)
        self.part = self.path.with_name(self.path.name + ".part")
        self.rows: list[dict[str, Any]] = []
        head = json.dumps({"asked": asked}, ensure_ascii=False, sort_keys=True)
        if self.part.is_file() and not resume:
            raise InputError(f"{self.part} was begun and not finished: add --resume to go on, or delete it.")
        whole = [head]
        if resume and self.part.is_file():
            lines = self.part.read_text(encoding="utf-8").split("\n")[:-1]  # the last may be cut short
            if lines and lines[0] != head:
                raise InputError(f"{self.part} was begun with other settings or prompts: delete it to start anew.")
            whole = [head, *lines[1:]]
            self.rows = [json.loads(line) for line in lines[1:]]
        self.part.parent.mkdir(parents=True, exist_ok=True)
        self.part.write_text("".join(f"{line}\n" for line in whole), encoding="utf-8")

    def add(self, rows: Sequence[dict[str, Any]]) -> None:
        """Append rows."""
        with self.part.open("a", encoding="utf-8") as file:
            for row in rows:
                file.write(json.dumps(row, ensure_ascii=False) + "\n")
        self.rows += rows

    def finish(self) -> None:
        """Give the file its name, without the line of what was asked for."""
        from dipole.files import atomic_write

        with atomic_write(self.path) as temporary, temporary.open("w", encoding="utf-8") as file:
            for row in self.rows:
                file.write(json.dumps(row, ensure_ascii=False) + "\n")
        self.part.unlink()


class Stopwatch:
    """Counts tokens and the time they take.

    Example:
        >>> watch = Stopwatch()
        >>> watch.count(0)
        >>> watch.rate
        0.0
    """

    def __init__(self) -> None:
        self.tokens, self.started = 0, time.monotonic()

    def count(self, tokens: int) -> None:
        """Add some tokens."""
        self.tokens += tokens

    @property
    def rate(self) -> float:
        """Tokens in a second since the start."""
        return self.tokens / max(time.monotonic() - self.started, 1e-9)


def batches(count: int, size: int) -> Iterator[slice]:
    """Yield slices.

    Example:
        >>> [range(5)[part] for part in batches(5, 2)]
        [range(0, 2), range(2, 4), range(4, 5)]
    """
    for start in range(0, count, size):
        yield slice(start, min(start + size, count))
