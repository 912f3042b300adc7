"""Documents, queries and judgements: a task of retrieval."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from dipole.data.text.cranfield import is_cranfield, read_cranfield
from dipole.data.text.judgements import read_judgements
from dipole.data.text.line_text_set import JsonLinesTextSet
from dipole.data.text.memory_text_set import MemoryTextSet
from dipole.data.text.passages import PassageTextSet
from dipole.data.text.text_set import TextSet
from dipole.data.text.toy import TOY_RETRIEVAL, toy_stories
from dipole.errors import InputError

Judgements = Mapping[str, Mapping[str, int]]


@dataclass(frozen=True)
class RetrievalSet:
    """A task of retrieval.

    Attributes:
        name: of the task.
        documents: records with `"text"`.
        queries: the text of every query, by id.
        judgements: the grade of relevance, by query and document; 0 or less is not relevant, as is what nobody judged.
        queries_among_documents: a document with the id of a query is that query, which is not to be found. So it is in
            sets of BEIR; elsewhere the two are numbered apart.
        document_ids: the ids of the documents, in their order.

    Raises:
        InputError: ids occur twice, a judgement is about an unknown query or document, or nothing is relevant.
    """

    name: str
    documents: TextSet
    queries: Mapping[str, str]
    judgements: Judgements
    queries_among_documents: bool = False
    document_ids: tuple[str, ...] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        ids = tuple(self.documents.id(index) for index in range(len(self.documents)))
        object.__setattr__(self, "document_ids", ids)
        known = set(ids)
        if len(known) < len(ids):
            ((repeated, count),) = Counter(ids).most_common(1)
            raise InputError(f"{self.name}: document id {repeated!r} occurs {count} times: ids must be unique.")
        self._refuse_unknown("queries", self.judgements.keys() - self.queries.keys())
        self._refuse_unknown("documents", {name for grades in self.judgements.values() for name in grades} - known)
        if not self.judged_queries:
            raise InputError(f"{self.name}: no query has a relevant document.")

    def _refuse_unknown(self, kind: str, unknown: set[str]) -> None:
        """Refuse judgements about what is not there: ids of the wrong kind make every score zero without a word."""
        if unknown:
            raise InputError(
                f"{self.name}: the judgements name {len(unknown)} unknown {kind}, e.g. "
                f"{', '.join(map(repr, sorted(unknown)[:3]))}: do the files belong together?"
            )

    @property
    def judged_queries(self) -> tuple[str, ...]:
        """Ids of the queries with a relevant document, in the order of the queries; only these are scored."""
        return tuple(
            query for query in self.queries if any(grade > 0 for grade in self.judgements.get(query, {}).values())
        )


def load_retrieval(data: str, data_root: str | Path | None = None, split: str = "test") -> RetrievalSet:
    """Load a task of retrieval.

    Args:
        data: `"toy-retrieval"`, which is generated (see `toy_stories`) and needs no files; `"cranfield"`, from the
            data root; or the path of a folder, in the layout of BEIR (`corpus.jsonl`, `queries.jsonl`,
            `qrels/SPLIT.tsv`) or of Cranfield (`cran.all.1400.xml`, `cran.qry.xml`, `cranqrel.trec.txt`).
        data_root: where names and relative paths are looked up.
        split: of a BEIR folder; only the queries that it judges are kept.

    Raises:
        InputError: an unknown name, missing files, files that are not as described, or that do not belong together.

    Example:
        >>> task = load_retrieval("toy-retrieval")
        >>> len(task.documents), len(task.queries), len(task.judged_queries)
        (108, 60, 60)
    """
    if data == TOY_RETRIEVAL:
        documents, queries, judgements = toy_stories()
        return RetrievalSet(data, _documents(documents, data), queries, judgements)
    root = None if data_root is None else Path(data_root).expanduser()
    for folder in (Path(data).expanduser(), *([] if root is None else [root / data])):
        if data and folder.is_dir():
            return _load_folder(folder, split)
    advice = "give --data-root" if data == "cranfield" and root is None else "check the name or path"
    raise InputError(
        f"{data!r} is no task of retrieval: {advice}. Known: {TOY_RETRIEVAL}, cranfield, or a folder with "
        "corpus.jsonl, queries.jsonl and qrels/."
    )


def _load_folder(folder: Path, split: str) -> RetrievalSet:
    """Load a folder of either layout."""
    name = folder.resolve().name
    if is_cranfield(folder):
        documents, queries, judgements = read_cranfield(folder)
        return RetrievalSet(name, _documents(documents, name), queries, judgements)
    if not (folder / "corpus.jsonl").is_file():
        raise InputError(
            f"{folder} has no corpus.jsonl: expected a BEIR folder (corpus.jsonl, queries.jsonl, qrels/{split}.tsv) or "
            "Cranfield."
        )
    judgements = _read_judgements(folder / "qrels", split)
    queries = _read_queries(folder / "queries.jsonl")
    kept = {query: text for query, text in queries.items() if query in judgements}
    passages = PassageTextSet(folder / "corpus.jsonl", keep_empty=True, name=name)
    return RetrievalSet(name, passages, kept, judgements, queries_among_documents=True)


def _documents(texts: Mapping[str, str], name: str) -> MemoryTextSet:
    """Documents in memory."""
    return MemoryTextSet(list(texts.values()), name, list(texts))


def _read_queries(path: Path) -> dict[str, str]:
    """The queries of a BEIR folder by id."""
    records = JsonLinesTextSet(path)
    records.require("_id", "text")
    rows = (records[index] for index in range(len(records)))
    queries = {str(record["_id"]): record["text"] for record in rows}
    if len(queries) < len(records):
        raise InputError(f"{path}: {len(records)} queries with {len(queries)} ids: ids must be unique.")
    return queries


def _read_judgements(folder: Path, split: str) -> dict[str, dict[str, int]]:
    """The judgements of a BEIR folder: query id, document id and grade under a header, separated by tabs."""
    path = folder / f"{split}.tsv"
    if not path.is_file():
        splits = ", ".join(sorted(file.stem for file in folder.glob("*.tsv"))) or "none"
        raise InputError(f"{path} does not exist. Splits there: {splits}.")
    return read_judgements(path, (0, 1, 2), header=True)
