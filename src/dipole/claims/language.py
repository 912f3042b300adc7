"""Experiments on language models: how a decoder continues texts, and how it answers with a context."""

import re
import string
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dipole.claims.base import Arm, Claim, Data, Metrics
from dipole.data.language.questions import ContextQuestion, load_context_questions
from dipole.decoding import Decoder, LanguageModel, get_decoder, last_hidden_states, load_language_model
from dipole.decoding.text import encode, end_tokens, padding
from dipole.diagnostics import coherence, diversity, isotropy, rep_n
from dipole.errors import InputError

NOTHING_TUNED: tuple[float, ...] = (0.0,)  # decoders have no learning rate
DEMONSTRATIONS = (  # context; question and answer
    (
        "The Seine flows through Paris , the capital of France , and Lyon lies on the Rhone .",
        "Question: what is the capital of France?\nAnswer: Paris",
    ),
    (
        "The Old Harbour was written by Ann Smith in 1990 , while she lived in Oslo .",
        "Question: who wrote The Old Harbour?\nAnswer: Ann Smith",
    ),
)
ORDER = 0  # seed of the order of prompts and questions


@dataclass
class Bench:
    """A language model and what it is asked; what several arms need is kept.

    Args:
        language_model: that is measured.
        items: prompts or questions, in an order of their own.
        kept: results by name.
    """

    language_model: LanguageModel
    items: list[Any]
    kept: dict[Any, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Passages(Data):
    """Beginnings of passages of Wikipedia that a decoder continues; a seed is a part of them that no other seed has.

    Decoders that do not sample give the same text at every seed, so that prompts must differ. Every text has the same
    length: the model may not stop before.

    Args:
        name: of the questions whose contexts the passages are.
        model: see `load_language_model`.
        prefix: tokens of a passage that are given.
        new_tokens: of a continuation.
        part: passages of a seed.
    """

    name: str
    model: str
    prefix: int = 32
    new_tokens: int = 96
    part: int = 8

    tuning_metric = "diversity"
    tuning = "nothing is tuned"

    @property
    def label(self) -> str:
        """The passages and the model."""
        return f"passages of {self.name}, {self.model}"

    def load(self, data_root: str | Path | None = None) -> Bench:
        """Return the model and prefixes (p,) of different passages, in random order."""
        passages = list(dict.fromkeys(question.context for question in load_context_questions(data_root)))
        language_model = load_language_model(self.model, device="cpu")
        found = []
        for text in shuffled(passages):
            ids = language_model.tokenizer(text)["input_ids"]
            if len(ids) > self.prefix:
                found.append(torch.tensor(ids[: self.prefix]))
        return Bench(language_model, found)

    def size(self, loaded: Bench) -> int:
        """Nothing is trained: the number of passages."""
        return len(loaded.items)

    def once(self, claim: Claim, arm: Arm, rate: float, seed: int, loaded: Bench, *, tune: bool) -> Metrics:
        """Continue the passages of a seed; coherence is in nats, by the model itself."""
        model, tokenizer = loaded.language_model
        prefixes = part_of(loaded.items, seed, self.part)
        texts = []
        for start in range(0, len(prefixes), arm.batch_size):
            ids = torch.stack(prefixes[start : start + arm.batch_size])
            sequences = decoder_of(arm).generate(
                model,
                ids,
                attention_mask=torch.ones_like(ids),
                max_new_tokens=self.new_tokens,
                min_new_tokens=self.new_tokens,
                pad_token_id=padding(tokenizer),
                seed=seed,
            )
            texts += list(sequences[:, ids.shape[1] :])
        words = [text.tolist() for text in texts]
        return {
            "diversity": diversity(words),
            **{f"rep-{n}": rep_n(words, n) for n in (2, 3, 4)},
            "coherence": coherence(model, prefixes, texts),
        }

    def references(self, claim: Claim, arm: Arm, loaded: Bench) -> dict[str, dict[str, float]]:
        """Isotropy of the model's last hidden states on the passages' beginnings."""
        model, tokenizer = loaded.language_model
        texts = [tokenizer.decode(ids) for ids in loaded.items[:100]]
        return {"the model": {"isotropy": float(isotropy(last_hidden_states(model, tokenizer, texts)))}}


@dataclass(frozen=True)
class Questions(Data):
    """Questions that a context answers; a seed is a part of them that no other seed has.

    Two demonstrations stand before every question, with their contexts where the question has one, because a small
    model does not answer without them.

    Args:
        name: of the questions.
        model: see `load_language_model`.
        longest: tokens of the authors' prompt with its context; longer ones are left out.
        new_tokens: of an answer.
        part: questions of a seed.
    """

    name: str
    model: str
    longest: int = 110
    new_tokens: int = 10
    part: int = 24

    tuning_metric = "exact match"
    tuning = "nothing is tuned"

    @property
    def label(self) -> str:
        """The questions and the model."""
        return f"{self.name}, {self.model}"

    def load(self, data_root: str | Path | None = None) -> Bench:
        """Return the model and the questions that are short enough, in random order."""
        language_model = load_language_model(self.model, device="cpu")
        questions = load_context_questions(data_root)
        lengths = [len(language_model.tokenizer(question.prompt)["input_ids"]) for question in questions]
        short = [question for question, length in zip(questions, lengths, strict=True) if length <= self.longest]
        return Bench(language_model, shuffled(short))

    def size(self, loaded: Bench) -> int:
        """Nothing is trained: the number of questions."""
        return len(loaded.items)

    def once(self, claim: Claim, arm: Arm, rate: float, seed: int, loaded: Bench, *, tune: bool) -> Metrics:
        """Answer the questions of a seed, and read off the probability of the context's answer."""
        questions = part_of(loaded.items, seed, self.part)
        decoder = decoder_of(arm)
        answers: list[str] = []
        for start in range(0, len(questions), arm.batch_size):
            answers += self.answer(loaded.language_model, decoder, questions[start : start + arm.batch_size])
        pairs = list(zip(questions, answers, strict=True))
        likelihood = [answer_log_likelihood(decoder, self._logits(loaded, question)) for question in questions]
        return {
            "exact match": sum(exact_match(answer, each.answers) for each, answer in pairs) / len(pairs),
            "answer contained": sum(contains(answer, each.answers) for each, answer in pairs) / len(pairs),
            "log likelihood": sum(likelihood) / len(likelihood),
        }

    def answer(self, language_model: LanguageModel, decoder: Decoder, questions: list[ContextQuestion]) -> list[str]:
        """Return the first line of what the decoder writes."""
        model, tokenizer = language_model
        ids, mask = encode(model, tokenizer, [with_context(each) for each in questions])
        options: dict[str, Any] = {"attention_mask": mask}
        if decoder.uses_context:
            plain = encode(model, tokenizer, [without_context(each) for each in questions])
            options |= dict(zip(("plain_input_ids", "plain_attention_mask"), plain, strict=True))
        sequences = decoder.generate(
            model, ids, max_new_tokens=self.new_tokens, pad_token_id=padding(tokenizer), **options
        )
        ends = end_tokens(model, {})
        rows = [[token for token in row if token not in ends] for row in sequences[:, ids.shape[1] :].tolist()]
        return [tokenizer.decode(row, skip_special_tokens=True).strip().split("\n")[0] for row in rows]

    @torch.no_grad()
    def _logits(self, loaded: Bench, question: ContextQuestion) -> tuple[Tensor, Tensor]:
        """Logits (2, n, V) of the answer's tokens with and without context, and these tokens; kept for other arms."""
        if question not in loaded.kept:
            model, tokenizer = loaded.language_model
            gold = tokenizer(" " + question.answers[0], add_special_tokens=False)["input_ids"]
            found = []
            for prompt in (with_context(question), without_context(question)):
                ids = torch.tensor([[*tokenizer(prompt)["input_ids"], *gold]])
                found.append(model(ids).logits[0, -len(gold) - 1 : -1])
            loaded.kept[question] = torch.stack(found), torch.tensor(gold)
        logits, tokens = loaded.kept[question]
        return logits, tokens


def with_context(question: ContextQuestion) -> str:
    """Return demonstrations, context and question."""
    shown = [f"{context}\n{asked}" for context, asked in DEMONSTRATIONS]
    return "\n\n".join([*shown, f"{question.context}\nQuestion: {question.question}\nAnswer:"])


def without_context(question: ContextQuestion) -> str:
    """Return the same without the contexts."""
    return "\n\n".join([*(asked for _, asked in DEMONSTRATIONS), f"Question: {question.question}\nAnswer:"])


def answer_log_likelihood(decoder: Decoder, scored: tuple[Tensor, Tensor]) -> float:
    """Return the mean log probability of an answer's tokens under the distributions that a decoder chooses from.

    Args:
        decoder: one that compares streams, or greedy decoding, which reads the first stream alone.
        scored: logits (2, n, V) with and without context, and tokens (n,).

    Example:
        >>> from dipole.decoding import Greedy
        >>> answer_log_likelihood(Greedy(), (torch.zeros(2, 3, 1), torch.zeros(3, dtype=torch.long)))
        0.0
    """
    logits, tokens = scored
    mixed = decoder.combine(logits)[0] if decoder.uses_context else logits[0]  # type: ignore[attr-defined]
    return float(mixed.double().log_softmax(dim=-1).gather(1, tokens[:, None]).mean())


def normalized(text: str) -> str:
    """Return an answer as SQuAD compares it: lower case, without punctuation and articles.

    Example:
        >>> normalized("The  Rolling Stones.")
        'rolling stones'
    """
    letters = "".join(" " if letter in string.punctuation else letter for letter in text.lower())
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", letters).split())


def exact_match(answer: str, golds: tuple[str, ...]) -> bool:
    """Return whether an answer equals one of the right ones.

    Example:
        >>> exact_match("the Queen!", ("queen",)), exact_match("queen of hearts", ("queen",))
        (True, False)
    """
    return normalized(answer) in {normalized(gold) for gold in golds}


def contains(answer: str, golds: tuple[str, ...]) -> bool:
    """Return whether one of the right answers stands in an answer, in whole words.

    Example:
        >>> contains("It is the queen of hearts", ("queen",)), contains("queens", ("queen",))
        (True, False)
    """
    return any(f" {normalized(gold)} " in f" {normalized(answer)} " for gold in golds)


def shuffled(items: list[Any]) -> list[Any]:
    """Return the items in a random order that is always the same."""
    order = torch.randperm(len(items), generator=torch.Generator().manual_seed(ORDER))
    return [items[index] for index in order.tolist()]


def part_of(items: list[Any], seed: int, size: int) -> list[Any]:
    """Return the items of a seed.

    Raises:
        InputError: there are not enough for it.

    Example:
        >>> part_of([0, 1, 2, 3], 1, 2)
        [2, 3]
    """
    found = items[seed * size : (seed + 1) * size]
    if len(found) < size:
        raise InputError(f"there are {len(items)} items, {size} for each seed: run fewer seeds.")
    return found


def decoder_of(arm: Arm) -> Decoder:
    """Build the decoder of an arm."""
    return get_decoder(arm.method)(**arm.options)
