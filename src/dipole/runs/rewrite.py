"""Rewrite the captions of a table with a language model, or with a file of rewrites made elsewhere."""

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import torch

from dipole.data.multimodal.table_files import SAVED, captions_of, read_columns, read_records, write_columns
from dipole.data.text.line_file import LineFile
from dipole.errors import InputError
from dipole.ops.checks import check_at_least
from dipole.views.rewrite_examples import EXAMPLES
from dipole.views.rewrites import ARROW, build_rewrite_prompt, parse_rewrite, sample_examples

Writer = Callable[[list[str], int], list[str]]
MOST_CAPTION_WORDS = 60  # of a caption that stand in the prompt
LONGEST = 3  # times the original's words, and LEEWAY more, that a rewrite may have
LEEWAY = 25
LEAST_DIFFERENT = 0.5  # share of different words below which a long rewrite goes round in circles


@dataclass(frozen=True)
class RewriteSettings:
    """How captions are rewritten.

    Args:
        model: see `load_language_model`.
        count: rewrites of each caption.
        examples: pairs that are drawn for each prompt.
        top_p: share of the probability that is sampled from; the authors' 0.95.
        temperature: of sampling; the authors' 0.9.
        max_new_tokens: of an answer; the authors' 77.
        batch_size: captions at a time.
        seed: of examples and sampling.
        pool: fingerprint of the pairs that are drawn from.
    """

    model: str = "smollm2"
    count: int = 4
    examples: int = 3
    top_p: float = 0.95
    temperature: float = 0.9
    max_new_tokens: int = 77
    batch_size: int = 8
    seed: int = 0
    pool: str = ""

    def __post_init__(self) -> None:
        for name in ("count", "examples", "max_new_tokens", "batch_size"):
            check_at_least(getattr(self, name), 1, name)
        if self.seed < 0:
            raise InputError(f"seed is {self.seed}: expected 0 or more.")


@dataclass
class Rewritten:
    """What came of rewriting a table.

    Attributes:
        path: of the table that was written.
        rows: of the table.
        captions: different captions that were rewritten.
        kept: rewrites that were kept.
        left_out: how many were not, by reason.
    """

    path: Path
    rows: int
    captions: int
    kept: int
    left_out: dict[str, int] = field(default_factory=dict)


def rewrite_table(
    table: str | Path,
    column: str,
    out: str | Path,
    *,
    settings: RewriteSettings | None = None,
    pool: Sequence[tuple[str, str]] = EXAMPLES,
    given: str | Path | None = None,
    write: Writer | None = None,
    progress: bool = False,
) -> Rewritten:
    """Write a table whose captions are lists: the original, then its rewrites, for `dipole train laclip`.

    Every different caption is rewritten `count` times. What is done is kept in a file beside the result until that is
    whole, so that an interrupted run continues; the same settings give the same rewrites.

    Args:
        table: a .parquet, .csv, .tsv or .jsonl file.
        column: of the captions; of a list, the first is rewritten and the others are kept.
        out: the .parquet or .jsonl file to write, in the folder of the table, so that paths of files still lead on.
        settings: of the language model.
        pool: pairs that show what to do.
        given: a .jsonl file of `{"caption": …, "rewrite": …}`, or a .txt file with a rewrite for each row of the table,
            in place of a language model.
        write: continues prompts, given a seed, in place of `settings.model`.
        progress: show a progress bar.

    Returns:
        What came of it.

    Raises:
        InputError: there is no such column or caption, a file cannot be read, or `out` is in another folder.
    """
    table, out = Path(table), Path(out)
    columns = {name: list(cells) for name, cells in read_columns(table).items()}
    captions = captions_of(columns, column, table.name)
    if out.suffix not in SAVED:
        raise InputError(f"--out {out}: expected a file that ends in {' or '.join(SAVED)}.")
    if out.resolve().parent != table.resolve().parent or out.resolve() == table.resolve():
        raise InputError(f"--out {out}: expected another file in the folder of {table}, where paths still lead on.")
    different = list(dict.fromkeys(texts[0] for texts in captions if texts))
    if given is not None:
        found = _given(Path(given), [texts[0] if texts else None for texts in captions])
    else:
        chosen = settings or RewriteSettings()
        chosen = RewriteSettings(**{**asdict(chosen), "pool": _fingerprint(pool)})
        journal = _Journal(out.with_name(f".{out.name}.rewrites.jsonl"), chosen)
        _generate(journal, different, chosen, pool, write, progress)
        found = {caption: journal.found[caption] for caption in different}
    left_out: Counter[str] = Counter()
    kept = {caption: _kept(caption, rewrites, left_out) for caption, rewrites in found.items()}
    columns[column] = [list(dict.fromkeys([*texts, *kept.get(texts[0], ())])) if texts else None for texts in captions]
    write_columns(columns, out)
    if given is None:
        journal.path.unlink(missing_ok=True)
    return Rewritten(out, len(captions), len(different), sum(map(len, kept.values())), dict(left_out.most_common()))


def degenerate(caption: str, rewrite: str) -> str | None:
    """Say why a rewrite is of no use; None if it is.

    Example:
        >>> degenerate("a cat", "A cat"), degenerate("a cat", "Some cat sleeps.")
        ('repeats the caption', None)
        >>> degenerate("a cat", "cat cat cat cat cat cat cat cat cat")
        'goes round in circles'
    """
    words = rewrite.lower().split()
    if len(words) < 2:
        return "has fewer than two words"
    if _bare(rewrite) == _bare(caption):
        return "repeats the caption"
    if ARROW in rewrite:
        return "goes on with the prompt"
    if len(words) > LONGEST * len(caption.split()) + LEEWAY:
        return "is much longer than the caption"
    if len(words) > 6 and len(set(words)) / len(words) < LEAST_DIFFERENT:
        return "goes round in circles"
    return None


def read_pool(path: str | Path) -> list[tuple[str, str]]:
    """Read pairs from a .jsonl file of `{"source": …, "target": …}`.

    Raises:
        InputError: the file is not as above.
    """
    pairs = [(record.get("source"), record.get("target")) for _, record in read_records(Path(path))]
    for number, pair in enumerate(pairs, start=1):
        if not all(isinstance(text, str) and text.strip() for text in pair):
            raise InputError(f'{path}, record {number}: expected {{"source": "a caption", "target": "its rewrite"}}.')
    return [(str(source), str(target)) for source, target in pairs]


def _generate(
    journal: "_Journal",
    captions: Sequence[str],
    settings: RewriteSettings,
    pool: Sequence[tuple[str, str]],
    write: Writer | None,
    progress: bool,
) -> None:
    """Rewrite what the journal lacks, in the same batches as if nothing had been interrupted."""
    plan = [(place, caption, number) for place, caption in enumerate(captions) for number in range(settings.count)]
    batches = [plan[start : start + settings.batch_size] for start in range(0, len(plan), settings.batch_size)]
    waiting = [part for part in batches if not all(journal.has(caption, number) for _, caption, number in part)]
    if not waiting:
        return
    write = write or _language_model(settings)
    parts: Iterable[list[tuple[int, str, int]]] = waiting
    if progress:
        from rich.console import Console
        from rich.progress import track

        parts = track(waiting, description="rewriting", console=Console(stderr=True))
    for part in parts:
        prompts = [_prompt(caption, pool, settings, place, number) for place, caption, number in part]
        place, _, number = part[0]
        answers = write(prompts, _seed(settings.seed, place, number))
        for (_, caption, which), prompt, answer in zip(part, prompts, answers, strict=True):
            if not journal.has(caption, which):
                journal.add(caption, parse_rewrite(prompt, answer, ""))


def _prompt(caption: str, pool: Sequence[tuple[str, str]], settings: RewriteSettings, place: int, number: int) -> str:
    """A prompt with examples of its own."""
    generator = torch.Generator().manual_seed(_seed(settings.seed, place, number))
    examples = sample_examples(pool, settings.examples, generator=generator)
    return build_rewrite_prompt(examples, " ".join(caption.split()[:MOST_CAPTION_WORDS]))


def _seed(seed: int, place: int, number: int) -> int:
    """A number for one rewrite of one caption."""
    return int(np.random.SeedSequence((seed, place, number)).generate_state(1, np.uint32)[0])


def _language_model(settings: RewriteSettings) -> Writer:
    """Continues prompts up to the end of a line."""
    from dipole.decoding import complete, load_language_model
    from dipole.decoding.base import NucleusSampling

    decoder = NucleusSampling(top_p=settings.top_p, sampling_temperature=settings.temperature)
    model, tokenizer = load_language_model(settings.model)
    line_ends = [token for token in range(len(tokenizer)) if "\n" in tokenizer.decode([token])]
    ends = [*line_ends, *([] if tokenizer.eos_token_id is None else [tokenizer.eos_token_id])]

    def write(prompts: list[str], seed: int) -> list[str]:
        found = complete(
            model,
            tokenizer,
            prompts,
            decoder,
            max_new_tokens=settings.max_new_tokens,
            batch_size=settings.batch_size,
            seed=seed,
            eos_token_id=ends or None,
        )
        return [each.text for each in found]

    return write


class _Journal:
    """Rewrites that are done, one line of JSON each, behind a line with the settings."""

    def __init__(self, path: Path, settings: RewriteSettings) -> None:
        self.path = path
        self.found: dict[str, list[str]] = {}
        head = json.dumps(asdict(settings))
        lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
        if not lines:
            path.write_text(head + "\n", encoding="utf-8")
            return
        if lines[0] != head:
            raise InputError(f"{path} was begun with other settings: finish with those or delete it.")
        for line in lines[1:]:
            try:
                entry = json.loads(line)
            except ValueError:
                continue  # cut short when the run was interrupted
            self.found.setdefault(entry["caption"], []).append(entry["rewrite"])
        if path.read_bytes()[-1:] != b"\n":
            with path.open("a", encoding="utf-8") as file:
                file.write("\n")

    def has(self, caption: str, number: int) -> bool:
        """Whether a rewrite of a caption is done."""
        return len(self.found.get(caption, ())) > number

    def add(self, caption: str, rewrite: str) -> None:
        """Append a rewrite."""
        self.found.setdefault(caption, []).append(rewrite)
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"caption": caption, "rewrite": rewrite}, ensure_ascii=False) + "\n")


def _given(path: Path, originals: Sequence[str | None]) -> dict[str, list[str]]:
    """Rewrites of a file, by caption.

    Raises:
        InputError: the file is not as it should be.
    """
    found: dict[str, list[str]] = {}
    if path.suffix == ".txt":
        file = LineFile(path)
        if len(file) != len(originals):
            raise InputError(
                f"{path} has {len(file)} lines for {len(originals)} rows of the table: expected one for each."
            )
        pairs = [(original, file.read(row)) for row, original in enumerate(originals)]
    else:
        pairs = []
        for line, record in read_records(path):
            if not isinstance(record.get("caption"), str) or not isinstance(record.get("rewrite"), str):
                raise InputError(f'{path}, line {line}: expected {{"caption": "…", "rewrite": "…"}}.')
            pairs.append((record["caption"].strip(), record["rewrite"]))
    known = set(originals)
    for caption, rewrite in pairs:
        if caption is not None and caption in known:
            found.setdefault(caption, []).append(rewrite.strip())
    if not found:
        raise InputError(f"{path} holds no rewrite of a caption of the table: captions must be the same in both.")
    return found


def _kept(caption: str, rewrites: Sequence[str], left_out: Counter[str]) -> list[str]:
    """The rewrites that are of use, each once; the others are counted."""
    kept: list[str] = []
    for rewrite in rewrites:
        reason = degenerate(caption, rewrite) or ("was written before" if rewrite in kept else None)
        if reason is None:
            kept.append(rewrite)
        else:
            left_out[reason] += 1
    return kept


def _bare(text: str) -> str:
    """Letters and digits alone."""
    return "".join(letter for letter in text.casefold() if letter.isalnum())


def _fingerprint(pool: Sequence[tuple[str, str]]) -> str:
    """A short name for the content of a pool."""
    return hashlib.sha256(json.dumps([list(pair) for pair in pool]).encode()).hexdigest()[:16]
