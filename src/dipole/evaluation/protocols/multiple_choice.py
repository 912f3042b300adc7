"""TruthfulQA's multiple choice."""

from typing import Any, ClassVar

import torch

from dipole.errors import InputError
from dipole.evaluation.intervals import mean_interval
from dipole.evaluation.materials import QuestionMaterial
from dipole.evaluation.multiple_choice import multiple_choice_scores
from dipole.evaluation.protocol import Measured, Protocol
from dipole.ops.checks import check_at_least


class MultipleChoiceAnswers(Protocol):
    """MC1, MC2 and MC3 of true and false answers by a language model, a row for each decoder; means over questions.

    `dipole evaluate MODEL --protocol multiple-choice --data TruthfulQA.csv`. See `multiple_choice_scores`.

    Args:
        decoders: names with commas, e.g. `greedy,dola,icd,lol`.
        amateur: folder or name of the amateur of those that have one.
        amateur_instruction: what lets the model itself be the amateur, if there is none.
        shots: questions with answers that stand before each, up to 6; the wording is dipole's own.
        limit: questions, the first of a random order that is always the same; all if None.
        official_underflow: see `multiple_choice_scores`.
    """

    name: ClassVar[str] = "multiple-choice"
    domains = ("language",)
    measures = "answer_log_probs"
    by_default = False

    def __init__(
        self,
        decoders: str = "greedy",
        amateur: str | None = None,
        amateur_instruction: str | None = None,
        shots: int = 6,
        limit: int | None = None,
        official_underflow: bool = False,
    ) -> None:
        if not 0 <= shots <= 6:
            raise InputError(f"shots is {shots}: expected 0 to 6.")
        if limit is not None:
            check_at_least(limit, 2, "limit")
        self.decoders = [name.strip() for name in decoders.split(",") if name.strip()]
        if not self.decoders or len(set(self.decoders)) < len(self.decoders):
            raise InputError(f"decoders are {decoders!r}: expected different names with commas, such as greedy,dola.")
        self.amateur, self.amateur_instruction = amateur, amateur_instruction
        self.shots, self.limit, self.official_underflow = shots, limit, official_underflow

    def lacks(self, material: Any) -> str | None:
        """Questions."""
        return None if isinstance(material, QuestionMaterial) else "name this protocol alone, with --data QUESTIONS.csv"

    def measure(self, material: QuestionMaterial) -> Measured:
        """Return the columns `MC1`, `MC2` and `MC3`."""
        rows: dict[str, dict[str, float]] = {}
        intervals: dict[str, dict[str, tuple[float, float]]] = {}
        for name, one in material.able(self.measures).items():
            found = []
            for question in material.questions:
                scores = one.answer_log_probs(question.prompt(self.shots), [*question.true, *question.false])
                true, false = scores.split([len(question.true), len(question.false)])
                found.append(
                    multiple_choice_scores(true, false, question.best, official_underflow=self.official_underflow)
                )
            table = torch.tensor(found, dtype=torch.float64)
            rows[name], intervals[name] = {}, {}
            for place, column in enumerate(("MC1", "MC2", "MC3")):
                mean, half = mean_interval(table[:, place])
                rows[name][column], intervals[name][column] = mean, (mean - half, mean + half)
        return Measured(rows, {"questions": len(material.questions), "shots": self.shots}, intervals)
