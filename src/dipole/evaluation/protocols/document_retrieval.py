"""Documents that answer a query."""

from pathlib import Path
from typing import ClassVar

from dipole.data.text import load_retrieval
from dipole.data.text.registry import is_retrieval
from dipole.evaluation.materials import TextMaterial
from dipole.evaluation.protocol import Measured, Protocol
from dipole.evaluation.retrieval import task_metrics

METRICS = ("ndcg@10", "recall@100", "mrr@10")


class DocumentRetrieval(Protocol):
    """nDCG@10, recall@100 and MRR@10 of judged queries.

    The task is read from the data, or from `cranfield/` in the data root; without it the built-in one is taken.

    Args:
        split: of a BEIR folder, whose judgements are in `qrels/SPLIT.tsv`.
    """

    name: ClassVar[str] = "retrieval"
    domains = ("text",)
    measures = "search"
    place = 10

    def __init__(self, split: str = "test") -> None:
        self.split = split

    def measure(self, material: TextMaterial) -> Measured:
        """Return a column for each metric."""
        task = load_retrieval(_source(material), material.data_root, self.split)
        rows = {}
        for name, candidate in material.able(self.measures).items():
            mean = task_metrics(task, candidate.search(task), METRICS).mean
            rows[name] = {metric: float(mean[metric]) for metric in METRICS}
        return Measured(rows, data=task.name)


def _source(material: TextMaterial) -> str:
    """Where the documents and queries are; the data may be meant for STS."""
    data, root = material.data, material.data_root
    if data is not None and (not material.shared or is_retrieval(data, root)):
        return data
    return "cranfield" if root is not None and (Path(root) / "cranfield").is_dir() else "toy-retrieval"
