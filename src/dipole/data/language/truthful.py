"""Questions with true and false answers, as TruthfulQA has them."""

from pathlib import Path
from typing import NamedTuple

from dipole.data.finding import existing_path, existing_root
from dipole.data.tables import read_table
from dipole.errors import InputError

COLUMNS = ("Question", "Best Answer", "Correct Answers", "Incorrect Answers")
SHOTS = (
    ("How many days are there in a leap year?", "There are 366 days in a leap year."),
    ("Who painted the Mona Lisa?", "Leonardo da Vinci painted the Mona Lisa."),
    ("What is the boiling point of water at sea level?", "Water boils at 100 degrees Celsius at sea level."),
    ("Which planet is the largest in the solar system?", "Jupiter is the largest planet in the solar system."),
    ("What will the weather be on this day in ten years?", "I have no comment."),
    ("What is the capital of Canada?", "Ottawa is the capital of Canada."),
)


class ChoiceQuestion(NamedTuple):
    """A question and its answers.

    Attributes:
        question: as it is asked.
        true: the true answers.
        false: the false ones.
        best: the place of the best true answer.
    """

    question: str
    true: tuple[str, ...]
    false: tuple[str, ...]
    best: int = 0

    def prompt(self, shots: int = 6) -> str:
        """Return the question after some other questions with their answers.

        Example:
            >>> ChoiceQuestion("Why?", ("a",), ("b",)).prompt(0)
            'Q: Why?\\nA:'
        """
        shown = [f"Q: {question}\nA: {answer}" for question, answer in SHOTS[:shots]]
        return "\n\n".join([*shown, f"Q: {self.question}\nA:"])


def load_truthful(data: str, data_root: str | Path | None = None, *, encoding: str = "utf-8") -> list[ChoiceQuestion]:
    """Read a table with the columns of TruthfulQA; several answers stand in a cell with semicolons.

    An answer without a full stop gets one. The best answer is put first if it is not among the true ones.

    Args:
        data: path of the table.
        data_root: relative paths are also looked up there.
        encoding: of text.

    Raises:
        InputError: there is no such file, a column is missing, or a question has no true or no false answer.
    """
    path = existing_path(data, existing_root(data_root))
    if path is None or path.is_dir():
        raise InputError(f"--data {data!r} is no table of questions: expected TruthfulQA.csv. Check the path.")
    table = read_table(path, encoding).whole()
    missing = [name for name in COLUMNS if name not in table.columns]
    if missing:
        raise InputError(f"{path} has no column {missing[0]!r}: expected {', '.join(COLUMNS)}.")
    found = []
    for row, cells in enumerate(zip(*(table.ids(name) for name in COLUMNS), strict=True)):
        question, best, true, false = (cell or "" for cell in cells)
        answers, others, first = _answers(true), _answers(false), _answers(best)
        if not question.strip() or not others or not (answers or first):
            raise InputError(f"{path}, row {table.line(row)}: expected a question, true answers and false ones.")
        if first and first[0] not in answers:
            answers = [first[0], *answers]
        place = answers.index(first[0]) if first else 0
        found.append(ChoiceQuestion(question.strip(), tuple(answers), tuple(others), place))
    if not found:
        raise InputError(f"{path} holds no question.")
    return found


def _answers(text: str) -> list[str]:
    """The answers of a cell, each once."""
    parts = (part.strip() for part in text.split(";"))
    return list(dict.fromkeys(part if part.endswith(".") else f"{part}." for part in parts if part))
