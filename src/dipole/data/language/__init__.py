"""Data for language models: judgments of responses, and questions with a context."""

from dipole.data.language.judgments import load_judgments
from dipole.data.language.pairs import AnsweredQuestions, JudgmentPairs
from dipole.data.language.questions import ContextQuestion, load_context_questions
from dipole.data.language.toy import toy_judgments

__all__ = [
    "AnsweredQuestions",
    "ContextQuestion",
    "JudgmentPairs",
    "load_context_questions",
    "load_judgments",
    "toy_judgments",
]
