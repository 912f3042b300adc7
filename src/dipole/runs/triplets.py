"""Triplets that a language model writes, and what is kept of them: stages 1 and 2 of MultiCSR."""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from dipole.data.text import Triplet, curate_triplets, load_texts, parse_similarity_score
from dipole.decoding import OpposingInstructions, load_language_model
from dipole.decoding.text import encode
from dipole.errors import InputError
from dipole.files import atomic_write
from dipole.nn.text import encode_texts
from dipole.ops.checks import check_at_least
from dipole.runs.text_encoders import open_text_encoder

SAME = "Say the same in other words."
OTHER = "Say the opposite, something that cannot be true at the same time."
EXAMPLES = (
    (
        "Two children play football in the park.",
        "In the park, two kids are kicking a ball.",
        "The children are asleep.",
    ),
    ("The shop closes at six.", "At six o'clock the store shuts.", "The shop is open all night."),
)
SCORE = (
    "How similar in meaning are the two sentences, from 0.0 (unrelated) to 5.0 (the same)?\n\n"
    "Sentence 1: A man is cooking.\nSentence 2: Someone prepares a meal.\nScore: 4.2\n\n"
    "Sentence 1: A man is cooking.\nSentence 2: The train is late.\nScore: 0.0\n\n"
)
# (prompts, opposite prompts) -> answers
Writer = Callable[[list[str], list[str]], list[str]]
Scorer = Callable[[list[tuple[str, str]]], list[float | None]]


@dataclass(frozen=True)
class TripletSettings:
    """How triplets are written.

    Args:
        model: see `load_language_model`.
        opposite_weight: ω, see `OpposingInstructions`; 0 follows the instruction alone.
        plausibility: likewise.
        max_new_tokens: of a sentence.
        batch_size: sentences at a time.
    """

    model: str = "smollm2"
    opposite_weight: float = 0.3
    plausibility: float = 0.0
    max_new_tokens: int = 48
    batch_size: int = 8

    def __post_init__(self) -> None:
        OpposingInstructions(opposite_weight=self.opposite_weight, plausibility=self.plausibility)
        check_at_least(self.max_new_tokens, 1, "max_new_tokens")
        check_at_least(self.batch_size, 1, "batch_size")


@dataclass
class Written:
    """What came of a stage.

    Attributes:
        path: of the file that was written.
        read: sentences or triplets that were read.
        kept: triplets that were written.
        left_out: how many were not, by reason.
    """

    path: Path
    read: int
    kept: int
    left_out: dict[str, int] = field(default_factory=dict)


def instruction(text: str, *, same: bool) -> str:
    """Return the prompt for a sentence that says the same, or the opposite.

    Example:
        >>> instruction("It rains.", same=True).splitlines()[-2:]
        ['Sentence: It rains.', 'Answer:']
    """
    lines = [SAME if same else OTHER, ""]
    for sentence, alike, contrary in EXAMPLES:
        lines += [f"Sentence: {sentence}", f"Answer: {alike if same else contrary}", ""]
    return "\n".join([*lines, f"Sentence: {text}", "Answer:"])


def write_triplets(
    data: str | Path,
    out: str | Path,
    *,
    settings: TripletSettings | None = None,
    write: Writer | None = None,
    progress: bool = False,
) -> Written:
    """Let a language model write, for every sentence, one that says the same and one that says the opposite.

    What the opposite instruction would say counts against a token, see `OpposingInstructions`. Sentences that are done
    are kept in a file beside the result until that is whole; an interrupted command continues there.

    Args:
        data: sentences, see `load_texts`.
        out: the .jsonl file to write: `text`, `positive`, `negative`.
        settings: of the language model.
        write: continues prompts in place of `settings.model`.
        progress: show a progress bar.

    Returns:
        What came of it.

    Raises:
        InputError: the data cannot be read, or `out` is no .jsonl file.
    """
    settings, out = settings or TripletSettings(), _json_lines(out)
    texts = load_texts(str(data))
    texts.require("text")
    sentences = list(dict.fromkeys(str(record["text"]) for record in texts.fetch(torch.arange(len(texts)))))
    part = out.with_name(f".{out.name}.part.jsonl")
    done = _done(part, settings)
    waiting = [sentence for sentence in sentences if sentence not in done]
    if waiting:
        write = write or _language_model(settings)
        size = settings.batch_size
        batches = [waiting[start : start + size] for start in range(0, len(waiting), size)]
        with part.open("a", encoding="utf-8") as file:
            for batch in _tracked(batches, "writing triplets", progress):
                same = [instruction(text, same=True) for text in batch]
                other = [instruction(text, same=False) for text in batch]
                for text, positive, negative in zip(batch, write(same, other), write(other, same), strict=True):
                    done[text] = Triplet(text, first_line(positive), first_line(negative))
                    file.write(json.dumps(done[text].record(), ensure_ascii=False) + "\n")
                file.flush()
    found = [done[sentence] for sentence in sentences]
    kept = [triplet for triplet in found if triplet.positive and triplet.negative]
    _write(out, kept)
    part.unlink(missing_ok=True)
    left_out = {"empty": len(found) - len(kept)} if len(kept) < len(found) else {}
    return Written(out, len(sentences), len(kept), left_out)


def curate(
    data: str | Path,
    out: str | Path,
    *,
    scorer: str | None = None,
    model: str | None = None,
    score: Scorer | None = None,
    at_least: float = 3.0,
    at_most: float = 3.0,
    gap: float = 1.0,
    progress: bool = False,
) -> Written:
    """Keep the triplets whose scores, from 0 to 5, say that positive and negative are what they are called.

    Args:
        data: the .jsonl file of `write_triplets`, or any with `text`, `positive`, `negative`.
        out: the .jsonl file to write, with `positive_score` and `negative_score`.
        scorer: a run or a folder of a text encoder: 5 times the cosine, at least 0.
        model: a language model that is asked; triplets of which it gives no score are left out.
        score: scores pairs, in place of both. Without any of the three the scores stand in the data.
        at_least: α, least score of a positive.
        at_most: β, largest score of a negative.
        gap: γ, by which the positive must score higher.
        progress: show a progress bar.

    Returns:
        What came of it.

    Raises:
        InputError: the data are no triplets, or nothing says how they are scored.
    """
    out = _json_lines(out)
    texts = load_texts(str(data))
    texts.require("text", "positive", "negative")
    records = texts.fetch(torch.arange(len(texts)))
    triplets = [_triplet(record, str(data)) for record in records]
    if score is None and scorer is not None:
        score = _encoder_scores(scorer)
    elif score is None and model is not None:
        score = _model_scores(model, progress)
    if score is not None:
        scores = score([(t.text, other) for t in triplets for other in (t.positive, t.negative)])
        triplets = [
            Triplet(t.text, t.positive, t.negative, *scores[2 * place : 2 * place + 2])
            for place, t in enumerate(triplets)
        ]
    elif all(triplet.positive_score is None for triplet in triplets):
        raise InputError(f"{data} holds no scores: name an encoder (--scorer) or a language model (--model) for them.")
    kept, left_out = curate_triplets(triplets, at_least=at_least, at_most=at_most, gap=gap)
    _write(out, kept)
    return Written(out, len(triplets), len(kept), left_out)


def first_line(answer: str) -> str:
    """Return the first line of an answer that says anything, without quotation marks around it.

    Example:
        >>> first_line(' "A cat sleeps."\\nSentence: more')
        'A cat sleeps.'
    """
    return next((line.strip().strip('"“”').strip() for line in answer.splitlines() if line.strip()), "")


def _triplet(record: dict[str, Any], name: str) -> Triplet:
    """A record as a triplet."""
    values = [record[key] for key in ("text", "positive", "negative")]
    scores = [record.get(key) for key in ("positive_score", "negative_score")]
    if not all(isinstance(value, str) for value in values):
        raise InputError(f"{name}: text, positive and negative must be texts, one each: {str(record)[:80]}.")
    if not all(value is None or (isinstance(value, int | float) and 0 <= value <= 5) for value in scores):
        raise InputError(f"{name}: scores are {scores}: expected numbers from 0 to 5.")
    return Triplet(*values, *scores)


def _json_lines(out: str | Path) -> Path:
    """A file that is to hold JSON lines."""
    if Path(out).suffix != ".jsonl":
        raise InputError(f"--out {out}: expected a file that ends in .jsonl.")
    return Path(out)


def _write(out: Path, triplets: Iterable[Triplet]) -> None:
    """Write triplets, a line each."""
    with atomic_write(out) as temporary:
        lines = (json.dumps(triplet.record(), ensure_ascii=False) + "\n" for triplet in triplets)
        temporary.write_text("".join(lines), encoding="utf-8")


def _done(part: Path, settings: TripletSettings) -> dict[str, Triplet]:
    """What an interrupted command has written, by sentence; the file begins with its settings."""
    first = json.dumps({"settings": asdict(settings)})
    if not part.is_file():
        part.parent.mkdir(parents=True, exist_ok=True)
        part.write_text(first + "\n", encoding="utf-8")
        return {}
    lines = part.read_text(encoding="utf-8").splitlines()
    if not lines or lines[0] != first:
        raise InputError(f"{part} was begun with other settings: use the same, or delete it to begin anew.")
    done, whole = {}, [lines[0]]
    for line in lines[1:]:
        try:
            triplet = Triplet(**json.loads(line))
        except (ValueError, TypeError):
            continue  # cut short
        done[triplet.text] = triplet
        whole.append(line)
    part.write_text("\n".join(whole) + "\n", encoding="utf-8")
    return done


def _tracked(batches: Sequence[Any], what: str, progress: bool) -> Iterator[Any]:
    """Batches, with a progress bar if asked for."""
    if not progress:
        return iter(batches)
    from rich.console import Console
    from rich.progress import track

    return iter(track(batches, description=what, console=Console(stderr=True)))


def _language_model(settings: TripletSettings) -> Writer:
    """A language model that follows one instruction and avoids another."""
    loaded = load_language_model(settings.model)
    decoder = OpposingInstructions(opposite_weight=settings.opposite_weight, plausibility=settings.plausibility)

    def write(prompts: list[str], opposite: list[str]) -> list[str]:
        ids, mask = encode(loaded.model, loaded.tokenizer, prompts)
        plain, plain_mask = encode(loaded.model, loaded.tokenizer, opposite)
        given: dict[str, Any] = {"attention_mask": mask, "plain_input_ids": plain, "plain_attention_mask": plain_mask}
        with torch.inference_mode():
            tokens = decoder.generate(loaded.model, ids, max_new_tokens=settings.max_new_tokens, **given)
        return [loaded.tokenizer.decode(row[ids.shape[1] :], skip_special_tokens=True) for row in tokens]

    return write


def _encoder_scores(scorer: str) -> Scorer:
    """Five times the cosine of an encoder, at least 0."""
    opened = open_text_encoder(scorer)

    def score(pairs: list[tuple[str, str]]) -> list[float | None]:
        first, second = (encode_texts(opened.encoder, list(side), normalize=True) for side in zip(*pairs, strict=True))
        return [float(value) for value in (5 * (first * second).sum(dim=1)).clamp(0, 5)]

    return score


def _model_scores(model: str, progress: bool) -> Scorer:
    """What a language model answers when it is asked for a similarity."""
    from dipole.decoding import Greedy, complete

    loaded = load_language_model(model)

    def score(pairs: list[tuple[str, str]]) -> list[float | None]:
        prompts = [f"{SCORE}Sentence 1: {a}\nSentence 2: {b}\nScore:" for a, b in pairs]
        answers: list[float | None] = []
        batches = [prompts[start : start + 8] for start in range(0, len(prompts), 8)]
        for batch in _tracked(batches, "scoring", progress):
            found = complete(loaded.model, loaded.tokenizer, batch, Greedy(), max_new_tokens=4)
            answers += [parse_similarity_score(first_line(one.text)) for one in found]
        return answers

    return score
