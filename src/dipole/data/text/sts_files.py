"""Sentence pairs with graded similarity: STS12 to STS16, STS-B and SICK-R."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float64
from torch import Tensor

from dipole.data.text.line_file import decode
from dipole.data.text.toy import TOY_STS, toy_pairs
from dipole.errors import InputError

# The tasks that papers report, then those to train on and to choose a checkpoint by; how their files are called, and
# their subsets.
STS_TASKS = ("STS12", "STS13", "STS14", "STS15", "STS16", "STS-B", "SICK-R")
_FILES = {
    "STS12": ("sts12", "test", ("MSRpar", "MSRvid", "SMTeuroparl", "surprise.OnWN", "surprise.SMTnews")),
    "STS13": ("sts13", "test", ("FNWN", "headlines", "OnWN")),
    "STS14": ("sts14", "test", ("deft-forum", "deft-news", "headlines", "images", "OnWN", "tweet-news")),
    "STS15": ("sts15", "test", ("answers-forums", "answers-students", "belief", "headlines", "images")),
    "STS16": ("sts16", "test", ("answer-answer", "headlines", "plagiarism", "postediting", "question-question")),
    "STS-B": ("sts-b", "test", ()),
    "SICK-R": ("sickr", "test", ()),
    "STS-B-dev": ("sts-b", "dev", ()),
    "STS-B-train": ("sts-b", "train", ()),
    "SICK-R-dev": ("sickr", "dev", ()),
    "SICK-R-train": ("sickr", "train", ()),
}
_GOLD, _FIRST, _SECOND = 4, 5, 6


@dataclass(frozen=True)
class SentencePairs:
    """Pairs of sentences with the similarity that people gave them.

    Attributes:
        first: n sentences.
        second: n sentences.
        gold: (n,) similarity; 0 to 5, in SICK-R 1 to 5.
    """

    first: tuple[str, ...]
    second: tuple[str, ...]
    gold: Float64[Tensor, " n"]

    def __len__(self) -> int:
        return len(self.first)


@dataclass(frozen=True)
class STSTask:
    """A task of semantic textual similarity; its length is the number of its scored pairs.

    Attributes:
        name: e.g. `"STS12"`.
        subsets: the pairs, by the subset's name.
        unscored: rows of the files that nobody scored; they are left out.
    """

    name: str
    subsets: Mapping[str, SentencePairs]
    unscored: int = 0

    def __len__(self) -> int:
        return sum(len(pairs) for pairs in self.subsets.values())


def load_sts(data: str | Path, tasks: Sequence[str] | None = None) -> list[STSTask]:
    """Load tasks of semantic textual similarity.

    The files are named `sts12.MSRpar-test.csv` (or all subsets in one, `sts12-test.csv`), `sts-b-test.csv`,
    `sickr-test.csv`; in spite of the name they are separated by tabs, without quoting, and have seven columns: the
    fifth is the score, the last two are the sentences. Rows without a score are dropped before anything else. A task
    whose year lacks some subsets in the folder is made of those that are there.

    Args:
        data: `"toy-sts"`, which is generated (see `toy_pairs`) and needs no files; or the folder of the files, or the
            folder that holds theirs as `sts/`.
        tasks: names of tasks; by default those of the seven that papers report (`STS12` to `STS16`, `STS-B`, `SICK-R`)
            that are there. `STS-B-dev`, `STS-B-train`, `SICK-R-dev` and `SICK-R-train` are given by name.

    Raises:
        InputError: no folder, an unknown task or one without files, or a row that is not as described.

    Example:
        >>> [(task.name, len(task), sorted(task.subsets)) for task in load_sts("toy-sts")]
        [('toy-sts', 400, ['indoors', 'outdoors'])]
    """
    if data == TOY_STS:
        if tasks not in (None, (TOY_STS,), [TOY_STS]):
            raise InputError(f"tasks is {tasks!r}: {TOY_STS} has no tasks to choose from.")
        return [_toy_task()]
    folder = Path(data).expanduser()
    if not folder.is_dir():
        raise InputError(f"{data} is no folder. Give the folder of the STS files, or {TOY_STS!r}, which needs none.")
    if (folder / "sts").is_dir():
        folder = folder / "sts"
    for task in tasks or ():
        if task not in _FILES:
            raise InputError(f"{task!r} is no STS task. Known: {', '.join(_FILES)}.")
    present = [task for task in _FILES if _task_files(folder, task)]
    chosen = [task for task in STS_TASKS if task in present] if tasks is None else list(tasks)
    if not chosen or set(chosen) - set(present):
        missing = ", ".join(sorted(set(chosen) - set(present))) or "any task"
        raise InputError(
            f"{folder} has no files of {missing}: expected names like sts12-test.csv or sts-b-test.csv. "
            f"Found: {', '.join(present) or 'none'}."
        )
    return [_load_task(folder, task) for task in chosen]


def _toy_task() -> STSTask:
    """The generated pairs as a task."""
    return STSTask(
        TOY_STS,
        {
            name: SentencePairs(tuple(first), tuple(second), torch.tensor(gold, dtype=torch.float64))
            for name, (first, second, gold) in toy_pairs().items()
        },
    )


def _task_files(folder: Path, task: str) -> dict[str, Path]:
    """The files of a task by subset: one a subset, or else one for all."""
    stem, part, subsets = _FILES[task]
    paths = {subset: folder / f"{stem}.{subset}-{part}.csv" for subset in subsets}
    present = {subset: path for subset, path in paths.items() if path.is_file()}
    whole = folder / f"{stem}-{part}.csv"
    return present or ({task: whole} if whole.is_file() else {})


def _load_task(folder: Path, task: str) -> STSTask:
    """Read the files of a task."""
    subsets, unscored = {}, 0
    for subset, path in _task_files(folder, task).items():
        subsets[subset], dropped = _read_pairs(path)
        unscored += dropped
    return STSTask(task, subsets, unscored)


def _read_pairs(path: Path) -> tuple[SentencePairs, int]:
    """The scored pairs of a file, and the number of rows without a score."""
    first, second, gold, unscored = [], [], [], 0
    for number, raw in enumerate(path.read_bytes().removesuffix(b"\n").split(b"\n"), start=1):
        cells = decode(raw.removesuffix(b"\r"))[0].split("\t")
        if len(cells) <= _SECOND:
            raise InputError(
                f"{path}, line {number} has {len(cells)} cells separated by tabs: expected 7, the score in the fifth "
                "and the sentences in the last two."
            )
        if not cells[_GOLD].strip():
            unscored += 1
            continue
        gold.append(_score(cells[_GOLD], path, number))
        first.append(cells[_FIRST])
        second.append(cells[_SECOND])
    if not gold:
        raise InputError(f"{path} has no scored pair: {unscored} rows without a score.")
    return SentencePairs(tuple(first), tuple(second), torch.tensor(gold, dtype=torch.float64)), unscored


def _score(cell: str, path: Path, number: int) -> float:
    """The score of a pair."""
    try:
        score = float(cell)
    except ValueError:
        score = math.nan
    if not math.isfinite(score):
        raise InputError(f"{path}, line {number}: the score is {cell!r}, expected a number or nothing.")
    return score
