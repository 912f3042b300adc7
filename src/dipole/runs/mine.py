"""Hard negatives for a file of pairs, by an encoder that serves as teacher."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from dipole.data.text import load_texts
from dipole.data.text.text_set import Record
from dipole.errors import InputError
from dipole.files import atomic_write
from dipole.negatives import mine_positive_aware, positive_limit
from dipole.nn.text import encode_texts
from dipole.ops.checks import check_at_least
from dipole.runs.text_encoders import open_text_encoder
from dipole.views.text import TrainingPassages

BLOCK = 2**24  # scores that are held at a time


@dataclass(frozen=True)
class Mined:
    """What came of mining.

    Attributes:
        path: of the file that was written.
        pairs: that were read.
        passages: among which negatives were looked for.
        negatives: that were found.
        short: pairs with fewer than were asked for.
        without: pairs with none, which are kept.
    """

    path: Path
    pairs: int
    passages: int
    negatives: int
    short: int
    without: int


def mine(
    teacher: str | Path,
    pairs: str | Path,
    out: str | Path,
    *,
    corpus: str | None = None,
    k: int = 7,
    percentage: float | None = 0.95,
    margin: float | None = None,
    first: int = 0,
    batch_size: int = 32,
    progress: bool = False,
) -> Mined:
    """Write the pairs of a file with hard negatives that score clearly below the positive, see `mine_positive_aware`.

    Records of the form `text`, `positive` get a list `negative`; those of dense passage retrieval get
    `hard_negative_ctxs`. A query that stands in several records has all their positives, none of which is a negative of
    it; nor is the query itself.

    Args:
        teacher: a run, a model folder, or a folder of sentence-transformers or transformers.
        pairs: a .jsonl, .csv, .tsv or .parquet file.
        out: the .jsonl file to write.
        corpus: passages to look among, see `load_texts`; the positives of all pairs if None.
        k: negatives of a pair.
        percentage: of the score of the positive, below which a negative scores; no such limit if None.
        margin: below the score of the positive; no such limit if None.
        first: how many of the best that remain are left out.
        batch_size: texts of full length that are embedded at once.
        progress: show progress bars.

    Returns:
        What came of it.

    Raises:
        InputError: a file cannot be read, a record is no pair, or an argument is out of range.
    """
    out = Path(out)
    if out.suffix != ".jsonl":
        raise InputError(f"--out {out}: expected a file that ends in .jsonl.")
    check_at_least(k, 1, "k")
    check_at_least(first, 0, "first")
    positive_limit(torch.ones(1), percentage=percentage, margin=margin)  # refuses what is out of range
    texts = load_texts(str(pairs))
    if not any(set(choice) <= set(texts.columns) for choice in TrainingPassages.column_choices):
        raise InputError(
            f"{pairs} has the columns {', '.join(texts.columns)}: expected text and positive, or question and "
            "positive_ctxs."
        )
    records = texts.fetch(torch.arange(len(texts)))
    sides = [TrainingPassages.texts_of(record) for record in records]
    for record, (query, *positives) in zip(records, sides, strict=True):
        if not query.strip() or not positives:
            raise InputError(f"{pairs}: a record has no query or no positive ({str(record)[:80]}): leave it out.")
    passages = _passages(sides, corpus)
    opened = open_text_encoder(teacher)
    options: dict[str, Any] = {"normalize": opened.similarity == "cosine", "batch_size": batch_size}
    options |= {"progress": progress}
    queries = encode_texts(opened.encoder, [query for query, *_ in sides], prompt="query", **options)
    candidates = encode_texts(opened.encoder, passages, prompt="passage", **options)
    positive_texts = list(dict.fromkeys(text for _, *positives in sides for text in positives))
    place = {text: number for number, text in enumerate(positive_texts)}
    relevant = encode_texts(opened.encoder, positive_texts, prompt="passage", **options)
    # The least similar of several positives says what still counts as one.
    own_rows = [torch.tensor([place[text] for text in own]) for _, *own in sides]
    reached = torch.stack([(relevant[rows] @ query).min() for query, rows in zip(queries, own_rows, strict=True)])
    known = _known(sides)
    number_of = {text: number for number, text in enumerate(passages)}
    found: list[list[str]] = []
    for rows in torch.arange(len(queries)).split(max(1, BLOCK // len(passages))):
        scores = queries[rows] @ candidates.T
        exclude = torch.zeros(scores.shape, dtype=torch.bool)
        for line, row in enumerate(rows.tolist()):
            query = sides[row][0]
            own = [number_of[text] for text in (*known[query], query) if text in number_of]
            exclude[line, own] = True
        mined = mine_positive_aware(
            scores, reached[rows], k, percentage=percentage, margin=margin, exclude=exclude, first=first
        )
        found += [[passages[column] for column in columns if column >= 0] for columns in mined.tolist()]
    with atomic_write(out) as temporary, temporary.open("w", encoding="utf-8") as file:
        for record, negatives in zip(records, found, strict=True):
            file.write(json.dumps(_with_negatives(record, negatives), ensure_ascii=False) + "\n")
    counts = [len(negatives) for negatives in found]
    short, without = sum(0 < count < k for count in counts), counts.count(0)
    return Mined(out, len(records), len(passages), sum(counts), short, without)


def _passages(sides: Sequence[Sequence[str]], corpus: str | None) -> list[str]:
    """Different passages to look among."""
    if corpus is None:
        return list(dict.fromkeys(text for _, *positives in sides for text in positives))
    texts = load_texts(corpus)
    texts.require("text")
    return list(dict.fromkeys(str(record["text"]) for record in texts.fetch(torch.arange(len(texts)))))


def _known(sides: Sequence[Sequence[str]]) -> Mapping[str, set[str]]:
    """All positives of every query."""
    known: dict[str, set[str]] = {}
    for query, *positives in sides:
        known.setdefault(query, set()).update(positives)
    return known


def _with_negatives(record: Record, negatives: list[str]) -> Record:
    """A record with its negatives, in its own form."""
    if "question" in record:
        return {**record, "hard_negative_ctxs": [{"title": "", "text": text} for text in negatives]}
    return {**record, "negative": negatives}
