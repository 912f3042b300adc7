"""Data for language models: judgments of responses, and questions with a context."""

from dipole.data.language.judgments import load_judgments
from dipole.data.language.pairs import JudgmentPairs
from dipole.data.language.questions import ContextQuestion, load_context_questions
from dipole.data.language.toy import toy_judgments

__all__ = ["ContextQuestion", "JudgmentPairs", "load_context_questions", "load_judgments", "toy_judgments"]
