"""Measure a language model by how probable it finds true and false answers."""

import inspect
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dipole.data.language.truthful import ChoiceQuestion, load_truthful
from dipole.decoding import Decoder, LanguageModel, get_decoder, load_language_model
from dipole.decoding.scoring import answer_log_probs
from dipole.errors import InputError
from dipole.evaluation.materials import QuestionMaterial
from dipole.evaluation.protocols.multiple_choice import MultipleChoiceAnswers


class Answering:
    """A language model with a decoder, as protocols measure it."""

    def __init__(self, language_model: LanguageModel, decoder: Decoder) -> None:
        self.language_model, self.decoder = language_model, decoder

    def answer_log_probs(self, prompt: str, answers: Sequence[str]) -> Tensor:
        """Log-probabilities (A,) of answers to a prompt."""
        return answer_log_probs(self.decoder, *self.language_model, prompt, answers)


def question_material(
    path: str | Path, protocol: MultipleChoiceAnswers, *, data: str | None, data_root: str | Path | None
) -> QuestionMaterial:
    """Open a language model and questions.

    Args:
        path: folder, run, name on the hub, or `smollm2`.
        protocol: says which decoders, which amateur and how many questions.
        data: table of questions.
        data_root: relative paths are also looked up there.

    Raises:
        InputError: there are no questions, no such model or decoder, or a decoder lacks its amateur.
    """
    if not data:
        raise InputError("multiple-choice needs questions: give --data TruthfulQA.csv.")
    questions = some_of(load_truthful(data, data_root), protocol.limit)
    given = {"amateur": protocol.amateur, "amateur_instruction": protocol.amateur_instruction}
    decoders = {}
    for name in protocol.decoders:
        known = inspect.signature(get_decoder(name)).parameters
        options: dict[str, Any] = {key: value for key, value in given.items() if key in known and value is not None}
        decoders[name] = get_decoder(name)(**options)
        if decoders[name].uses_context:
            raise InputError(f"{name} compares prompts with and without a context: these questions have none.")
    language_model = load_language_model(path)
    candidates = {name: Answering(language_model, decoder) for name, decoder in decoders.items()}
    return QuestionMaterial(Path(data).stem, dict(candidates), questions=questions)


def some_of(questions: list[ChoiceQuestion], limit: int | None) -> list[ChoiceQuestion]:
    """Return the first questions of a random order that is always the same.

    Example:
        >>> len(some_of([ChoiceQuestion("?", ("a",), ("b",))] * 5, 2))
        2
    """
    order = torch.randperm(len(questions), generator=torch.Generator().manual_seed(0)).tolist()
    return questions if limit is None else [questions[place] for place in order[:limit]]
