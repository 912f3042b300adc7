"""Questions with a context whose answer may contradict what a model remembers."""

import json
from pathlib import Path
from typing import NamedTuple

from dipole.errors import InputError

PLACE = "llm/adacad_nq_synth.jsonl"
_INSTRUCTION = "\nUsing only the references listed above"


class ContextQuestion(NamedTuple):
    """A question as it is asked with a context and without."""

    prompt: str  # context and question, as the authors put them
    plain_prompt: str  # the question alone
    context: str
    question: str
    answers: tuple[str, ...]  # what the context says


def load_context_questions(data_root: str | Path | None) -> list[ContextQuestion]:
    """Read the questions of AdaCAD's authors: `llm/adacad_nq_synth.jsonl`, two lines for each question.

    The first line of a question has `assigned_process` 0 and holds context and question, the second one the question
    alone; both have its `input_index`.

    Args:
        data_root: folder that holds `llm/`.

    Raises:
        InputError: the file is missing or a line is not what it should be.

    Example:
        >>> load_context_questions(None)
        Traceback (most recent call last):
        ...
        dipole.errors.InputError: questions are read from files: give --data-root, the folder that holds llm/adacad_nq_synth.jsonl.
    """  # noqa: E501
    if data_root is None:
        raise InputError(f"questions are read from files: give --data-root, the folder that holds {PLACE}.")
    path = Path(data_root).expanduser() / PLACE
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read {path}: {error}. Check --data-root.") from error
    prompts: tuple[dict[int, str], dict[int, str]] = ({}, {})
    answers: dict[int, tuple[str, ...]] = {}
    for number, line in enumerate(lines, start=1):
        try:
            row = json.loads(line)
            index, gold = row["input_index"], row["gold_answers"]
            prompts[row["assigned_process"]][index] = row["context_string"]
        except (ValueError, KeyError, TypeError, IndexError) as error:
            raise InputError(f"{path}, line {number} is not a question of AdaCAD ({error!r}).") from error
        answers[index] = (gold,) if isinstance(gold, str) else tuple(gold)
    with_context, plain = prompts
    if not with_context or with_context.keys() != plain.keys():
        raise InputError(f"{path}: expected every question once with its context and once without.")
    return [
        ContextQuestion(text, plain[index], text.split(_INSTRUCTION)[0].strip(), _question(text), answers[index])
        for index, text in with_context.items()
    ]


def _question(prompt: str) -> str:
    """The question in a prompt."""
    return prompt.rpartition("Question:")[2].rpartition("\nAnswer:")[0].strip().removesuffix("?").strip() + "?"
