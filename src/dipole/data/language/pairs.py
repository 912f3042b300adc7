"""Prompts with and without a judgment, in front of the same response."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor

from dipole.errors import InputError
from dipole.ops.checks import check_at_least, check_choice

IGNORED = -100
MULTIPLE = 8  # of which lengths are
PLAIN = (
    "Below is an instruction that describes a task. Write a response that appropriately completes the request.\n\n"
    "### Instruction:\n{instruction}\n\n### Response:\n"
)
JUDGED = (
    "Below is an instruction that describes a task. Write a response to the instruction and the response should match "
    "the corresponding judgment.\n\n"
    "### Instruction:\n{instruction}\n\n### Judgment:\n{judgment}\n\n### Response:\n"
)
QUESTION = "Q: {instruction}\nA:"
TEMPLATES = {"question": QUESTION, "alpaca": PLAIN}
FAKE = "Your response to the instruction is satisfactory."


class JudgmentPairs:
    """The alignments of CUT: of a satisfactory response with its instruction, of another one with both prompts.

        Align-P    instruction → satisfactory response
        Align-N    instruction, judgment → unsatisfactory response
        Misalign   instruction → the same response, or instruction, fake positive judgment → the same response

    Prompt and response are tokenised apart, so that the response has the same tokens after both prompts, with the
    tokenizer's end token. What is too long is cut on the left. Rows are padded on the right to a multiple of 8.

    Args:
        max_length: tokens of prompt and response.
        misalign_prompt: `"plain"` as in the authors' code, or `"fake_positive"` as in the paper.
        plain_template: the prompt, with `{instruction}` in it; that of Alpaca.
        judged_template: the prompt with `{instruction}` and `{judgment}` in it.
        fake_judgment: of the fake positive prompt.

    Raises:
        InputError: an argument is out of range, or a template lacks its place.
    """

    columns = ("instruction", "response", "judgment")

    def __init__(
        self,
        *,
        max_length: int = 2048,
        misalign_prompt: Literal["plain", "fake_positive"] = "plain",
        plain_template: str = PLAIN,
        judged_template: str = JUDGED,
        fake_judgment: str = FAKE,
    ) -> None:
        check_at_least(max_length, 2, "max_length")
        check_choice(misalign_prompt, ("plain", "fake_positive"), "misalign_prompt")
        for name, template, places in (
            ("plain_template", plain_template, ("{instruction}",)),
            ("judged_template", judged_template, ("{instruction}", "{judgment}")),
        ):
            missing = [place for place in places if place not in template]
            if missing:
                raise InputError(f"{name} has no {missing[0]}: write it where that text goes.")
        self.max_length = max_length
        self.misalign_prompt = misalign_prompt
        self.plain_template, self.judged_template = plain_template, judged_template
        self.fake_judgment = fake_judgment

    def prompt(self, instruction: str, judgment: str | None = None) -> str:
        """Return the text before a response.

        Example:
            >>> JudgmentPairs(plain_template="{instruction} ->").prompt("Copy: a")
            'Copy: a ->'
        """
        template = self.plain_template if judgment is None else self.judged_template
        # Not str.format: instructions hold braces, and templates may.
        before, _, after = template.partition("{instruction}")
        return _fill(before, judgment) + instruction + _fill(after, judgment)

    def response(self, prompt: str, response: str) -> str:
        """Return what follows a prompt: the response as it is."""
        return response

    def __call__(
        self, records: Sequence[Mapping[str, Any]], tokenizer: Any, *, generator: torch.Generator | None = None
    ) -> dict[str, Tensor]:
        """Tokenise a batch.

        Args:
            records: N of `instruction`, `response` and `judgment`, which is None for satisfactory responses.
            tokenizer: of transformers, with an end token.
            generator: not used, as nothing is drawn.

        Returns:
            `input_ids`, `attention_mask` and `labels` (2, N, T), the prompt with judgment first and padding alone
            in place of the misalignment of a satisfactory response, and `is_negative` (N,).

        Raises:
            InputError: the tokenizer has no end token.
        """
        rows: list[list[tuple[list[int], int]]] = [[], []]
        for record in records:
            judgment = record["judgment"]
            fake = self.fake_judgment if self.misalign_prompt == "fake_positive" else None
            rows[0].append(self._tokens(tokenizer, self.prompt(record["instruction"], judgment), record["response"]))
            # Only a negative judgment says anything about tokens that are wrong.
            misaligned = judgment is not None
            prompt = self.prompt(record["instruction"], fake)
            rows[1].append(self._tokens(tokenizer, prompt, record["response"]) if misaligned else ([], 0))
        length = -(-max(len(ids) for side in rows for ids, _ in side) // MULTIPLE) * MULTIPLE
        shape = (2, len(records), length)
        batch = {
            "input_ids": torch.full(shape, _padding(tokenizer)),
            "attention_mask": torch.zeros(shape, dtype=torch.long),
            "labels": torch.full(shape, IGNORED),
        }
        for side, entries in enumerate(rows):
            for row, (ids, start) in enumerate(entries):
                batch["input_ids"][side, row, : len(ids)] = torch.tensor(ids, dtype=torch.long)
                batch["attention_mask"][side, row, : len(ids)] = 1
                batch["labels"][side, row, start : len(ids)] = torch.tensor(ids[start:], dtype=torch.long)
        return {**batch, "is_negative": torch.tensor([record["judgment"] is not None for record in records])}

    def _tokens(self, tokenizer: Any, prompt: str, response: str) -> tuple[list[int], int]:
        """Ids of prompt and response, and where the response begins."""
        if tokenizer.eos_token_id is None:
            raise InputError("the tokenizer has no end token, which tells the model to stop: set tokenizer.eos_token.")
        before = list(tokenizer(prompt)["input_ids"])
        if before and before[-1] == tokenizer.eos_token_id:
            before.pop()  # some tokenizers end every text
        after = [
            *tokenizer(self.response(prompt, response), add_special_tokens=False)["input_ids"],
            tokenizer.eos_token_id,
        ]
        ids = [*before, *after][-self.max_length :]
        return ids, max(0, len(ids) - len(after))


class AnsweredQuestions(JudgmentPairs):
    """Questions with answers, put as they are asked later: `question` as multiple choice asks them, `Q: … A: …`.

    A space stands between prompt and answer, as where answers are scored, unless the prompt ends with white space.

    Args:
        max_length: tokens of prompt and answer.
        template: `"question"`, `"alpaca"`, or the prompt itself, with `{instruction}` in it.

    Raises:
        InputError: an argument is out of range, or a template lacks its place.
    """

    def __init__(self, *, max_length: int = 2048, template: str = "question") -> None:
        plain = TEMPLATES.get(template, template)
        if "{instruction}" not in plain:
            raise InputError(
                f"template is {template!r}: expected {' or '.join(map(repr, TEMPLATES))}, or a prompt with "
                "{instruction} where the question goes."
            )
        super().__init__(max_length=max_length, plain_template=plain)
        self.template = template

    def response(self, prompt: str, response: str) -> str:
        """Return what follows a prompt.

        Example:
            >>> pairs = AnsweredQuestions()
            >>> pairs.prompt("Why?"), pairs.response(pairs.prompt("Why?"), "Because.")
            ('Q: Why?\\nA:', ' Because.')
        """
        return response if not prompt or prompt[-1].isspace() else f" {response}"


def _fill(text: str, judgment: str | None) -> str:
    """Part of a template with the judgment in its place."""
    return text if judgment is None else text.replace("{judgment}", judgment)


def _padding(tokenizer: Any) -> int:
    """The id with which rows are filled."""
    return tokenizer.eos_token_id if tokenizer.pad_token_id is None else tokenizer.pad_token_id
