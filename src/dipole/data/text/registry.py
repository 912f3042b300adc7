"""The text sets that dipole knows by name, and the one function that turns `--data` into texts."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from dipole.data.finding import existing_path, existing_root, leads_nowhere
from dipole.data.registry import DataSetInfo
from dipole.data.stored.finding import find_store
from dipole.data.tables import table_suffix
from dipole.data.text.arrow_text_set import ArrowTextSet
from dipole.data.text.cranfield import read_cranfield
from dipole.data.text.dialogues import toy_dialogues
from dipole.data.text.line_text_set import EMPTY, JsonLinesTextSet, LineTextSet
from dipole.data.text.memory_text_set import MemoryTextSet
from dipole.data.text.passages import PassageTextSet
from dipole.data.text.stored_text_set import StoredTextSet
from dipole.data.text.text_set import LineNote, TextSet
from dipole.data.text.toy import (
    TOY_DIALOGUES,
    TOY_RETRIEVAL,
    TOY_SENTENCES,
    TOY_STS,
    TOY_TRIPLETS,
    toy_pairs,
    toy_sentences,
    toy_stories,
    toy_triplets,
)
from dipole.errors import InputError

_SENTENCES = "sentences/stsbenchmark_train_10k_sents_random_sampled.txt"
_WORDS = "sentences/en_words_top_10k.txt"


def load_texts(data: str, data_root: str | Path | None = None, *, column: str | None = None) -> TextSet:
    """Load texts to train on.

    Args:
        data: a name that `available_texts()` lists, or a path: a .txt file with a text a line; a .jsonl file; a .csv,
            .tsv or .parquet file with named columns; a BEIR folder, of which the passages of `corpus.jsonl` are taken;
            shards (Parquet, Arrow, `datasets`, WebDataset, LitData; see `dipole.data.stored.find_store`). A name goes
            before a file called alike.
        data_root: folder of the sets that are read from files; relative paths are also looked up there.
        column: which column of a .jsonl, .csv, .tsv or .parquet file is the main text; by default `"text"`.

    Raises:
        InputError: an unknown name, a missing path, a column that does not exist, or data that are not what they
            should be.

    Example:
        >>> texts = load_texts("toy-sentences")
        >>> texts
        MemoryTextSet('toy-sentences', 2000 records, columns text, topic)
    """
    root = existing_root(data_root)
    if data in _SETS:
        if column is not None:
            raise InputError(f"--column {column}: {data} needs no column; leave it out.")
        return _SETS[data][1](root)
    path = existing_path(data, root)
    if path is None or path.is_dir() or table_suffix(path) in (".arrow", ".feather", ".tar"):
        store = find_store(data, root)
        if store is not None:
            return StoredTextSet(store, column)
    if path is None:
        instead = "give the path of a .txt, .jsonl, .csv, .tsv or .parquet file"
        raise leads_nowhere(data, "known set of texts", _SETS, instead)
    return _load_path(path, column)


def available_texts() -> list[DataSetInfo]:
    """List the text sets that dipole knows, those that need no files first.

    Example:
        >>> [info.name for info in available_texts()][:3]
        ['toy-sentences', 'toy-sts', 'toy-retrieval']
    """
    return [info for info, _ in _SETS.values()] + [
        DataSetInfo("FILE.txt", "your texts: one a line", "", None, "a path"),
        DataSetInfo("FILE.jsonl", "your records: a JSON dictionary a line", "", None, "a path"),
        DataSetInfo("FILE.csv", "your table: .csv, .tsv or .parquet with named columns", "", None, "a path"),
        DataSetInfo("SHARDS", "your texts: Parquet, Arrow, .tar (WebDataset), LitData", "", None, "a path or pattern"),
        DataSetInfo("FOLDER", "your passages: a BEIR folder with corpus.jsonl", "", None, "a path"),
    ]


def _load_path(path: Path, column: str | None) -> TextSet:
    """Load whatever a path leads to."""
    if path.is_dir():
        if not (path / "corpus.jsonl").is_file():
            raise InputError(f"{path} is a folder without corpus.jsonl: give a file of texts, a BEIR folder or shards.")
        return PassageTextSet(path / "corpus.jsonl", name=path.resolve().name)
    kind = table_suffix(path)
    if kind in (".csv", ".tsv", ".parquet"):
        return ArrowTextSet(path, column)
    if kind == ".jsonl" or path.suffix == ".json":
        return JsonLinesTextSet(path, column)
    if kind == ".txt":
        if column not in (None, "text"):
            raise InputError(f"--column {column}: {path} has a text a line and no columns; leave it out.")
        return LineTextSet(path)
    raise InputError(
        f"{path} is of a kind that dipole does not read as texts: expected .txt (a text a line), .jsonl, .csv, .tsv or "
        ".parquet. Rename or convert it."
    )


def is_retrieval(data: str, root: str | Path | None = None) -> bool:
    """Return whether a name or a folder is a task of retrieval.

    Example:
        >>> is_retrieval("toy-retrieval"), is_retrieval("toy-sts")
        (True, False)
    """
    folders = [Path(data), *([] if root is None else [Path(root) / data])]
    files = ("corpus.jsonl", "cran.qry.xml")
    return data == TOY_RETRIEVAL or any((folder / file).is_file() for folder in folders for file in files)


def _in_root(root: Path | None, name: str, place: str) -> Path:
    """A place below the data root."""
    if root is None:
        raise InputError(f"{name} is read from files: give --data-root, the folder that holds {place}.")
    if not (root / place).exists():
        raise InputError(f"{name} is not in {root}: expected {place} there.")
    return root / place


def _toy_sentences(root: Path | None) -> TextSet:
    """Generated sentences."""
    return MemoryTextSet(toy_sentences(), TOY_SENTENCES)


def _toy_pair_sentences(root: Path | None) -> TextSet:
    """The sentences of the generated pairs, each once."""
    sentences = [sentence for first, second, _ in toy_pairs().values() for sentence in (*first, *second)]
    return MemoryTextSet(list(dict.fromkeys(sentences)), TOY_STS)


def _toy_documents(root: Path | None) -> TextSet:
    """The documents of the generated task of retrieval."""
    documents = toy_stories()[0]
    return MemoryTextSet(list(documents.values()), TOY_RETRIEVAL, list(documents))


def _cranfield(root: Path | None) -> TextSet:
    """Cranfield's documents, the empty ones left out."""
    documents = read_cranfield(_in_root(root, "cranfield", "cranfield"))[0]
    texts = MemoryTextSet(list(documents.values()), "cranfield", list(documents))
    filled = np.array([bool(text) for text in documents.values()])
    kept = texts.select(torch.from_numpy(np.flatnonzero(filled)))
    if not filled.all():
        kept.skipped = (LineNote(EMPTY, int((~filled).sum()), int(filled.argmin()) + 1),)
    return kept


_ROWS: list[tuple[DataSetInfo, Callable[[Path | None], TextSet]]] = [
    (DataSetInfo(TOY_SENTENCES, "synthetic sentences on six topics", "2000", 6, "built in"), _toy_sentences),
    (
        DataSetInfo(TOY_STS, "synthetic sentences; also graded pairs to test with", "774", None, "built in"),
        _toy_pair_sentences,
    ),
    (
        DataSetInfo(TOY_RETRIEVAL, "synthetic documents; also queries to test with", "108", None, "built in"),
        _toy_documents,
    ),
    (
        DataSetInfo(TOY_TRIPLETS, "synthetic sentences, the same said anew, another one", "1000", None, "built in"),
        lambda root: MemoryTextSet(toy_triplets(), TOY_TRIPLETS),
    ),
    (
        DataSetInfo(TOY_DIALOGUES, "synthetic dialogues that follow one script", "500", None, "built in"),
        lambda root: MemoryTextSet(toy_dialogues(), TOY_DIALOGUES),
    ),
    (
        DataSetInfo("sentences", "unlabelled sentences of STS-B (Mirror-BERT)", "10000", None, "files in --data-root"),
        lambda root: LineTextSet(_in_root(root, "sentences", _SENTENCES), "sentences"),
    ),
    (
        DataSetInfo("words", "frequent English words (Mirror-BERT)", "10000", None, "files in --data-root"),
        lambda root: LineTextSet(_in_root(root, "words", _WORDS), "words"),
    ),
    (
        DataSetInfo(
            "cranfield",
            "abstracts on aerodynamics; also queries to test with",
            "1398",
            None,
            "files in --data-root",
        ),
        _cranfield,
    ),
]
_SETS = {info.name: (info, load) for info, load in _ROWS}
