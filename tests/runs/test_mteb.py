"""The package mteb finds the same numbers as dipole, with runs, folders from elsewhere and prompts."""

from pathlib import Path
from typing import Any

import pytest
import torch

from dipole.data.text import RetrievalSet, load_retrieval
from dipole.errors import InputError
from dipole.evaluation.retrieval import dense_run, task_metrics
from dipole.evaluation.sts import sts_scores
from dipole.nn.text import encode_texts, new_bert
from dipole.runs import RunConfig, train
from dipole.runs.mteb import MTEBEncoder

pytestmark = [
    pytest.mark.slow,  # mteb takes seconds to import
    *(pytest.mark.filterwarnings(f"ignore::{kind}") for kind in ("DeprecationWarning", "FutureWarning", "UserWarning")),
]
TASK: RetrievalSet = load_retrieval("toy-retrieval")
STORIES = [str(record["text"]) for record in TASK.documents.fetch(torch.arange(len(TASK.documents)))]
PAIRS = [
    ("a bird sings", "the birds are singing", 4.5),
    ("a bird sings", "the sea is calm", 0.5),
    ("wind over the sea", "the sea and the wind", 3.5),
    ("a man walks", "the wind blows", 1.0),
    ("the calm sea", "the sea is calm", 5.0),
]


def described(name: str, kind: str, score: str) -> Any:
    from mteb.abstasks.task_metadata import TaskMetadata

    unknown = ("reference", "date", "domains", "task_subtypes", "license", "annotations_creators", "dialect")
    return TaskMetadata(
        name=name,
        dataset={"path": "local/none", "revision": "1"},
        description="here",
        type=kind,
        category="t2t",
        modalities=["text"],
        eval_splits=["test"],
        eval_langs=["eng-Latn"],
        main_score=score,
        sample_creation=None,
        bibtex_citation=None,
        **dict.fromkeys(unknown),
    )


def similarity() -> Any:
    from datasets import Dataset
    from mteb.abstasks.sts import AbsTaskSTS

    class Similarity(AbsTaskSTS):
        metadata = described("Pairs", "STS", "cosine_spearman")

        def load_data(self, **options: Any) -> None:
            first, second, scores = zip(*PAIRS, strict=True)
            columns = {"sentence1": list(first), "sentence2": list(second), "score": list(scores)}
            self.dataset = {"default": {"test": Dataset.from_dict(columns)}}
            self.data_loaded = True

    return Similarity()


def retrieval() -> Any:
    from mteb.abstasks.retrieval import AbsTaskRetrieval

    class Stories(AbsTaskRetrieval):
        metadata = described("Stories", "Retrieval", "ndcg_at_10")

        def load_data(self, **options: Any) -> None:
            named = zip(TASK.document_ids, STORIES, strict=True)
            self.corpus = {"test": {name: {"text": text} for name, text in named}}
            self.queries = {"test": dict(TASK.queries)}
            self.relevant_docs = {"test": {name: dict(grades) for name, grades in TASK.judgements.items()}}
            self.convert_v1_dataset_format_to_v2(1)
            self.data_loaded = True

    return Stories()


def found(encoder: MTEBEncoder, task: Any) -> dict[str, float]:
    import mteb

    result = mteb.evaluate(encoder, task, cache=None, show_progress_bar=False, co2_tracker=False)
    scores: dict[str, float] = result.task_results[0].scores["test"][0]
    return scores


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    return new_bert(
        [*STORIES, *(text for pair in PAIRS for text in pair[:2])], tmp_path_factory.mktemp("bert"), width=32
    )


def test_a_folder_from_elsewhere(bert: Path) -> None:
    encoder = MTEBEncoder(bert)
    first, second, scores = zip(*PAIRS, strict=True)
    sides = tuple(encode_texts(encoder.encoder, list(side)) for side in (first, second))
    mine = sts_scores({"pairs": (*sides, torch.tensor(scores))})
    theirs = found(encoder, similarity())
    assert theirs["cosine_spearman"] == pytest.approx(mine.spearman.all, abs=1e-5)
    assert theirs["cosine_pearson"] == pytest.approx(mine.pearson.all, abs=1e-5)


@pytest.mark.parametrize("compared_by", ["cosine", "dot"])
def test_a_run_with_prompts_and_either_similarity(compared_by: str, bert: Path, tmp_path: Path) -> None:
    method: dict[str, Any] = {"encoder": str(bert), "max_length": 64, "normalize": compared_by == "cosine"}
    method |= {"query_prompt": "find: ", "passage_prompt": "story: "}
    config = RunConfig("contriever-finetune", data="toy-triplets", epochs=1, batch_size=8, method=method)
    encoder = MTEBEncoder(train(config, tmp_path / "run", monitor=False, progress=False).path)
    assert encoder.compared_by == compared_by

    def encode(side: str) -> Any:
        return lambda texts: encode_texts(encoder.encoder, texts, prompt=side)

    ranked = dense_run(TASK, encode("passage"), score=compared_by, encode_queries=encode("query"))
    mine, theirs = task_metrics(TASK, ranked).mean, found(encoder, retrieval())
    for name, other in (("ndcg@10", "ndcg_at_10"), ("recall@100", "recall_at_100"), ("mrr@10", "mrr_at_10")):
        assert theirs[other] == pytest.approx(mine[name], abs=2e-5)
    plain = task_metrics(TASK, dense_run(TASK, encode("none"), score=compared_by)).mean
    assert abs(plain["ndcg@10"] - mine["ndcg@10"]) > 1e-4  # the prompts matter


def test_what_is_refused(tmp_path: Path, bert: Path) -> None:
    with pytest.raises(InputError, match="texts alone"):
        MTEBEncoder(bert).encode([{"image": [1]}])
    with pytest.raises(InputError, match="no run or model"):
        MTEBEncoder(tmp_path)
