"""Judgments: instructions, responses, and what somebody wrote about the responses."""

import difflib
import math
from pathlib import Path
from typing import Any

import torch

from dipole.data.language.toy import toy_judgments
from dipole.data.text import JsonLinesTextSet, LineNote, MemoryTextSet
from dipole.errors import InputError
from dipole.ops.checks import check_at_least

TOY = "toy-judgments"
BUILT_IN = {TOY: (400, 0), f"{TOY}-test": (200, 1)}  # number and seed


def load_judgments(
    data: str = TOY,
    data_root: str | Path | None = None,
    *,
    satisfactory_score: float = 7.0,
    satisfactory_ratio: float | None = 0.25,
    seed: int = 0,
) -> MemoryTextSet:
    """Load judged responses.

    A file holds a JSON dictionary a line: `instruction`, `response` and, if the response is not satisfactory,
    `judgment`, which says why; `score` is optional. A response without a judgment, or with a score of 7 or more, is
    satisfactory, as in the authors' code; so are records whose judgment is empty. Empty responses are left out.

    Args:
        data: `"toy-judgments"`, `"toy-judgments-test"`, or the path of a .jsonl file.
        data_root: relative paths are also looked up there.
        satisfactory_score: the lowest score of a satisfactory response.
        satisfactory_ratio: satisfactory responses are drawn at random until there are so many for each unsatisfactory
            one; all are kept if it is None.
        seed: of the draw.

    Returns:
        Records of `instruction`, `response` and `judgment`, which is None for satisfactory responses.

    Raises:
        InputError: there is no such set or file, a record is not as above, an argument is negative, or nothing is left.

    Example:
        >>> judged = load_judgments()
        >>> len(judged), judged[0]
        (352, {'instruction': 'Copy: k b t r n g', 'response': 'k l t r n g', 'judgment': 'Wrong: 2'})
    """
    if satisfactory_ratio is not None:
        check_at_least(satisfactory_ratio, 0, "satisfactory_ratio")
    if data in BUILT_IN:
        count, toy_seed = BUILT_IN[data]
        read: list[Any] = list(enumerate(toy_judgments(count, toy_seed)))
        skipped: tuple[LineNote, ...] = ()
        name = data
    else:
        path = _find(data, data_root)
        file = JsonLinesTextSet(path, "response")
        read = [(file.id(index), file[index]) for index in range(len(file))]
        skipped, name = file.skipped, file.name
    records = [_record(entry, f"{name}, record {number}", satisfactory_score) for number, entry in read]
    kept = _drawn(records, satisfactory_ratio, seed)
    if not kept:
        raise InputError(
            f"{name}: no response is left. None is unsatisfactory: add judgments, or keep all satisfactory responses "
            "with satisfactory_ratio=None (--loading.satisfactory_ratio null)."
        )
    found = MemoryTextSet(kept, name)
    found.skipped = skipped
    return found


def _find(data: str, data_root: str | Path | None) -> Path:
    """The file of a path, also below the data root."""
    for path in (Path(data).expanduser(), *([] if data_root is None else [Path(data_root).expanduser() / data])):
        if data and path.suffix.lower() == ".jsonl" and path.is_file():
            return path
    near = difflib.get_close_matches(data, BUILT_IN, 1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    raise InputError(
        f"--data {data!r} is no .jsonl file of judgments and none of {', '.join(BUILT_IN)}.{hint} Check the path."
    )


def _record(entry: dict[str, Any], where: str, satisfactory_score: float) -> dict[str, Any]:
    """Instruction, response and the judgment of an unsatisfactory response."""
    instruction, judgment, score = entry.get("instruction"), entry.get("judgment"), entry.get("score")
    if not isinstance(instruction, str) or not isinstance(judgment, str | None):
        raise InputError(
            f"{where}: expected the strings 'instruction' and 'response', and a string or null as 'judgment'."
        )
    if not isinstance(score, int | float | None) or isinstance(score, bool) or (score and not math.isfinite(score)):
        raise InputError(f"{where} has the score {score!r}: expected a number or null.")
    satisfactory = not (judgment and judgment.strip()) or (score is not None and score >= satisfactory_score)
    return {
        "instruction": instruction,
        "response": entry["response"],
        "judgment": None if satisfactory else judgment,
    }


def _drawn(records: list[dict[str, Any]], ratio: float | None, seed: int) -> list[dict[str, Any]]:
    """The unsatisfactory responses and some of the others, in their order."""
    good = [index for index, record in enumerate(records) if record["judgment"] is None]
    if ratio is None:
        return records
    most = int(ratio * (len(records) - len(good)))
    order = torch.randperm(len(good), generator=torch.Generator().manual_seed(seed)).tolist()
    left_out = {good[place] for place in order[most:]}
    return [record for index, record in enumerate(records) if index not in left_out]
