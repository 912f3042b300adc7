"""Questions with passages that answer them, and passages that do not."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from dipole.errors import InputError
from dipole.ops.checks import check_at_least
from dipole.views.text.records import TextViews, encode_batch, text_of
from dipole.views.text.strings import normalize_text
from dipole.views.text.tokens import check_share


class TrainingPassages(TextViews):
    """A query, one of its relevant passages, and n passages that are not.

    Two forms of records are read: `text`, `positive` and perhaps `negative`, each a text or a list of texts; and that
    of dense passage retrieval, which has `question`, and lists of passages `{title, text}` under `positive_ctxs`,
    `negative_ctxs` and `hard_negative_ctxs`, of which the last two may be missing. Each negative is a hard one with
    probability `hard_ratio`, while there are any; drawn without replacement. A query with too few negatives is filled
    up with empty passages, so that every batch has N · (1 + n) of them.

    Karpukhin et al.: *Dense Passage Retrieval* (EMNLP 2020); Izacard et al.: *Contriever* (TMLR 2022).

    Args:
        negatives: n, negatives of each query.
        hard_ratio: probability that a negative is a hard one; authors: 0 in the first round, 0.1 in the second.
        hard_start: hard negatives before this place are left out: they may be relevant.
        query_length: tokens of a query, special tokens included; longer ones are cut.
        passage_length: tokens of a passage.
        max_length: bound of both.
        normalize: write quotes, hyphens and spaces as ASCII (`normalize_text`), as the authors' code always does.

    Raises:
        InputError: a number is out of range.

    Example:
        >>> import tempfile
        >>> from dipole.nn.text import build_text_encoder, new_bert
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     tokenizer = build_text_encoder(str(new_bert(["a few words"], folder, width=8))).tokenizer
        >>> record = {
        ...     "question": "a few?",
        ...     "positive_ctxs": [{"title": "", "text": "a few words"}],
        ...     "negative_ctxs": [{"title": "", "text": "words"}],
        ... }
        >>> views = TrainingPassages()([record, record], tokenizer)
        >>> views["query_input_ids"].shape[0], views["passage_input_ids"].shape[0]
        (2, 4)
    """

    column_choices: tuple[tuple[str, ...], ...] = (("question", "positive_ctxs"), ("text", "positive"))

    def __init__(
        self,
        *,
        negatives: int = 1,
        hard_ratio: float = 0.0,
        hard_start: int = 0,
        query_length: int = 256,
        passage_length: int = 256,
        max_length: int = 512,
        normalize: bool = True,
    ) -> None:
        super().__init__(num_views=2, max_length=max_length)
        check_at_least(negatives, 0, "negatives")
        check_share(hard_ratio, "hard_ratio")
        check_at_least(hard_start, 0, "hard_start")
        check_at_least(query_length, 2, "query_length")
        check_at_least(passage_length, 2, "passage_length")
        self.negatives, self.hard_ratio, self.hard_start = negatives, hard_ratio, hard_start
        self.query_length, self.passage_length = min(query_length, max_length), min(passage_length, max_length)
        self.normalize = normalize
        self.query_prompt, self.passage_prompt = "", ""

    @staticmethod
    def texts_of(record: dict[str, Any]) -> list[str]:
        """Return the query and the relevant passages of a record."""
        record = _as_passages(record)
        return [text_of(record, "question"), *_passages(record, "positive_ctxs")]

    def __call__(
        self, records: list[dict[str, Any]], tokenizer: Any, *, generator: torch.Generator | None = None
    ) -> dict[str, Tensor]:
        """Return the queries and passages of N records.

        Returns:
            `query_input_ids` and `query_attention_mask` (N, T); `passage_input_ids` and `passage_attention_mask`
            (N · (1 + n), T), the N relevant passages first, then the negatives of query 0, 1, …; `passage_valid`
            (N · (1 + n),), False where a passage only fills up.
        """
        questions, golds, others, valid = [], [], [], []
        for given in records:
            record = _as_passages(given)
            questions.append(self._clean(text_of(record, "question")))
            positives = _passages(record, "positive_ctxs")
            if not positives:
                raise InputError(f"question {questions[-1][:60]!r} has no relevant passage: leave such records out.")
            golds.append(self._clean(positives[int(torch.randint(len(positives), (), generator=generator))]))
            drawn = self._negatives(record, generator)
            others += [self._clean(text) for text in drawn] + [""] * (self.negatives - len(drawn))
            valid += [True] * len(drawn) + [False] * (self.negatives - len(drawn))
        questions = [self.query_prompt + text for text in questions]
        texts = [self.passage_prompt + text for text in golds + others]
        queries = encode_batch(questions, tokenizer, max_length=self.query_length)
        passages = encode_batch(texts, tokenizer, max_length=self.passage_length)
        return {
            **{f"query_{name}": values for name, values in queries.items()},
            **{f"passage_{name}": values for name, values in passages.items()},
            "passage_valid": torch.tensor([True] * len(golds) + valid),
        }

    def _negatives(self, record: dict[str, Any], generator: torch.Generator | None) -> list[str]:
        """Draw hard and random negatives of a query."""
        hard, easy = _passages(record, "hard_negative_ctxs"), _passages(record, "negative_ctxs")
        draws = torch.rand(self.negatives, generator=generator, dtype=torch.float64)
        counts = hard_negative_counts(draws, self.hard_ratio, len(hard), len(easy), hard_start=self.hard_start)
        pools = (hard[self.hard_start :], easy)
        return [
            pool[index]
            for pool, count in zip(pools, counts, strict=True)
            for index in torch.randperm(len(pool), generator=generator)[:count].tolist()
        ]

    def _clean(self, text: str) -> str:
        """Normalise a text, if asked for."""
        return normalize_text(text) if self.normalize else text


def hard_negative_counts(
    draws: Float[Tensor, "n"], hard_ratio: float, hard_pool: int, random_pool: int, *, hard_start: int = 0
) -> tuple[int, int]:
    """Count the hard and the random negatives of a query:

        n_hard = min(#(u_j < ratio), hard_pool − hard_start),    n_random = min(n − n_hard, random_pool)

    Args:
        draws: (n,) u ~ U(0, 1), one for each negative.
        hard_ratio: probability that a negative is a hard one.
        hard_pool: hard negatives there are.
        random_pool: random negatives there are.
        hard_start: hard negatives that are left out, from the front.

    Returns:
        Both counts; together fewer than n if the pools do not suffice.

    Example:
        >>> hard_negative_counts(torch.tensor([0.1, 0.9, 0.2]), 0.5, hard_pool=1, random_pool=9)
        (1, 2)
    """
    hard = min(int((draws < hard_ratio).sum()), max(0, hard_pool - hard_start))
    return hard, min(len(draws) - hard, random_pool)


def _as_passages(record: dict[str, Any]) -> dict[str, Any]:
    """A record of texts in the form of dense passage retrieval."""
    if "question" in record or "positive" not in record:
        return record
    lists = {"positive_ctxs": record["positive"], "negative_ctxs": record.get("negative")}
    passages: dict[str, Any] = {"question": text_of(record, "text")}
    for name, value in lists.items():
        texts = [] if value is None else [value] if isinstance(value, str) else value
        passages[name] = [{"text": text} for text in texts] if isinstance(texts, list) else texts
    return passages


def _passages(record: dict[str, Any], column: str) -> list[str]:
    """The passages of a list, each with its title before it."""
    passages = record.get(column) or []
    if not isinstance(passages, list) or not all(isinstance(entry, dict) and "text" in entry for entry in passages):
        raise InputError(f"column {column!r} holds no list of passages: expected [{{'title': …, 'text': …}}, …].")
    return [f"{entry.get('title') or ''} {text_of(entry, 'text')}".strip() for entry in passages]
