import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dipole.data import load_retrieval
from dipole.data.text import MemoryTextSet, RetrievalSet
from dipole.errors import InputError
from dipole.evaluation import dense_search, evaluate_retrieval, retrieval_metrics

ALL = ["ndcg@3", "recall@3", "precision@3", "map@3", "map", "mrr@3", "ndcg@100", "mrr@100"]


def literal(grades, scores, k):
    """The definitions, written out for one query."""
    ranked = sorted(scores, key=lambda name: (np.float32(scores[name]), name), reverse=True)
    gains = [max(grades.get(name, 0), 0) for name in ranked]
    hits = [gain > 0 for gain in gains]
    relevant = sum(grade > 0 for grade in grades.values())
    ideal = sorted((max(grade, 0) for grade in grades.values()), reverse=True)

    def dcg(values):
        return sum(value / math.log2(rank + 1) for rank, value in enumerate(values[:k], 1))

    def average_precision(depth):
        return sum(sum(hits[:rank]) / rank for rank in range(1, min(depth, len(hits)) + 1) if hits[rank - 1]) / relevant

    return {
        f"ndcg@{k}": dcg(gains) / dcg(ideal),
        f"recall@{k}": sum(hits[:k]) / relevant,
        f"precision@{k}": sum(hits[:k]) / k,
        f"map@{k}": average_precision(k),
        "map": average_precision(len(hits)),
        f"mrr@{k}": next((1 / rank for rank, hit in enumerate(hits[:k], 1) if hit), 0.0),
    }


@given(seed=st.integers(0, 10_000), k=st.integers(1, 12), levels=st.integers(1, 8))
def test_measures_equal_their_definitions_ties_and_all(seed, k, levels):
    rng = np.random.default_rng(seed)
    names = [f"d{number}" for number in range(15)]
    judgements, run = {}, {}
    for query in ("q0", "q1", "q2"):
        judged = rng.permutation(names)[:6].tolist()
        judgements[query] = {name: int(grade) for name, grade in zip(judged, rng.integers(-1, 4, 6), strict=True)}
        judgements[query][judged[0]] = 1
        run[query] = {name: float(rng.integers(levels)) for name in rng.permutation(names)[:10].tolist()}
    expected = {query: literal(judgements[query], run[query], k) for query in run}
    scores = retrieval_metrics(judgements, run, list(expected["q0"]))
    for query, values in expected.items():
        assert scores.queries[query] == pytest.approx(values)
    for metric, mean in scores.mean.items():
        assert mean == pytest.approx(np.mean([values[metric] for values in expected.values()]))


def test_ties_go_to_the_last_id():
    run = {"q": {"d1": 1.0, "d10": 1.0, "d2": 1.0}}
    for name, rank in (("d2", 1), ("d10", 2), ("d1", 3)):
        assert retrieval_metrics({"q": {name: 1}}, run, ["mrr@10"]).mean["mrr@10"] == pytest.approx(1 / rank)


def test_queries_without_relevant_documents_are_not_scored_but_counted():
    judgements = {"q": {"a": 1}, "zero": {"a": 0}}
    run = {"q": {"a": 1.0}, "zero": {"a": 1.0}, "unjudged": {"a": 1.0}}
    scores = retrieval_metrics(judgements, run)
    assert scores.mean == {"ndcg@10": 1.0, "recall@100": 1.0, "mrr@10": 1.0, "map": 1.0}
    assert list(scores.queries) == ["q"]
    assert scores.not_scored == ("zero", "unjudged")


def test_a_query_that_finds_nothing_scores_zero():
    scores = retrieval_metrics({"q": {"a": 1}, "r": {"a": 1}}, {"q": {"a": 1.0}, "r": {}}, ALL)
    assert set(scores.queries["r"].values()) == {0.0}
    assert scores.mean["ndcg@3"] == 0.5


def test_a_document_with_the_id_of_the_query_is_left_out():
    judgements, run = {"x": {"a": 1}}, {"x": {"x": 9.0, "a": 1.0}}
    assert retrieval_metrics(judgements, run, ["mrr@10"]).mean["mrr@10"] == 1
    assert retrieval_metrics(judgements, run, ["mrr@10"], ignore_identical_ids=False).mean["mrr@10"] == 0.5


@pytest.mark.parametrize(
    ("judgements", "run", "metrics", "message"),
    [
        ({"q": {"a": 1}}, {"q": {"a": 1.0}}, ["ndcg"], "'ndcg' is no measure of retrieval: expected ndcg@K"),
        ({"q": {"a": 1}}, {"q": {"a": 1.0}}, ["f1@10"], "'f1@10'"),
        ({"q": {"a": 1}}, {"q": {"a": 1.0}}, ["ndcg@0"], "'ndcg@0'"),
        ({"q": {"a": 1}, "r": {"a": 1}}, {"q": {"a": 1.0}}, ALL, "lacks 1 of 2 judged queries, e.g. 'r'.*empty entry"),
        ({"q": {"a": 1}}, {"q": {"a": float("nan")}}, ALL, "NaN or infinite scores for query 'q'"),
        ({"q": {"a": 0}}, {"q": {"a": 1.0}}, ALL, "no query has a relevant document"),
    ],
)
def test_what_cannot_be_scored_is_refused(judgements, run, metrics, message):
    with pytest.raises(InputError, match=message):
        retrieval_metrics(judgements, run, metrics)


def sorted_by_hand(queries, corpus, ids, k):
    rows = []
    for query in queries:
        scores = (corpus @ query).tolist()
        rows.append(sorted(range(len(ids)), key=lambda row: (scores[row], ids[row]), reverse=True)[:k])
    return torch.tensor(rows)


@settings(max_examples=40)
@given(
    seed=st.integers(0, 10_000), documents=st.integers(1, 80), k=st.integers(1, 90), queries=st.sampled_from([1, 3, 25])
)
def test_search_orders_ties_by_id_at_the_cut_too(seed, documents, k, queries):
    generator = torch.Generator().manual_seed(seed)
    # Small whole numbers: sums are exact and ties abound.
    corpus = torch.randint(-1, 2, (documents, 3), generator=generator).float()
    asked = torch.randint(-1, 2, (queries, 3), generator=generator).float()
    ids = [f"d{number}" for number in torch.randperm(documents, generator=generator).tolist()]
    scores, rows = dense_search(asked, corpus, k, ids=ids)
    expected = sorted_by_hand(asked, corpus, ids, min(k, documents))
    assert torch.equal(rows, expected)
    assert torch.equal(scores, (asked @ corpus.t()).gather(1, expected))
    _, by_row = dense_search(asked, corpus, k)
    assert torch.equal(by_row, sorted_by_hand(asked, corpus, range(documents), min(k, documents)))


def test_cosine_search():
    corpus = torch.tensor([[10.0, 10.0], [1.0, 0.0], [0.0, 0.0]])
    scores, rows = dense_search(torch.tensor([[3.0, 0.0]], dtype=torch.float64), corpus, 3, score="cosine")
    assert rows.tolist() == [[1, 0, 2]]
    assert scores[0].tolist() == pytest.approx([1, 0.5**0.5, 0])
    assert dense_search(torch.tensor([[3.0, 0.0]]), corpus, 1)[1].tolist() == [[0]]


@pytest.mark.parametrize(
    ("queries", "corpus", "options", "message"),
    [
        (torch.ones(1, 2), torch.ones(3, 3), {}, "corpus has width 3"),
        (torch.ones(1, 2), torch.ones(3, 2) / 0, {}, "corpus contains NaN or infinite"),
        (torch.ones(1, 2), torch.ones(3, 2), {"k": 0}, "k=0"),
        (torch.ones(1, 2), torch.ones(3, 2), {"ids": ["a"]}, "1 ids for 3 documents"),
        (torch.ones(1, 2), torch.ones(3, 2), {"score": "l2"}, "expected one of 'dot', 'cosine'"),
    ],
)
@pytest.mark.usefixtures("unchecked")
def test_a_search_that_makes_no_sense_is_refused(queries, corpus, options, message):
    with pytest.raises(InputError, match=message):
        dense_search(queries, corpus, **options)


def one_hot(texts):
    return torch.nn.functional.one_hot(torch.tensor([ord(text[0]) - ord("a") for text in texts]), 26).float()


def test_evaluation_encodes_searches_and_scores(monkeypatch):
    monkeypatch.setattr("dipole.evaluation.retrieval._TEXTS", 2)
    documents = MemoryTextSet(["apple", "bee", "bear", "cat", "dog"], ids=["1", "2", "3", "4", "b"])
    judgements = {"a": {"1": 1}, "b": {"2": 1}, "z": {"4": 0}}
    task = RetrievalSet("mine", documents, {"a": "ant", "b": "bat", "z": "zoo"}, judgements)
    scores = evaluate_retrieval(task, one_hot, ["mrr@10"], k=2)
    assert scores.queries == {"a": {"mrr@10": 1.0}, "b": {"mrr@10": 0.5}}
    assert scores.not_scored == ("z",)
    with pytest.raises(InputError, match=r"encode returned shape \(1, 26\) for 2 texts"):
        evaluate_retrieval(task, lambda texts: one_hot(texts[:1]))


def test_the_document_with_the_id_of_the_query_takes_no_place_among_the_k():
    documents = MemoryTextSet(["bee", "bear"], ids=["b", "x"])
    task = RetrievalSet("mine", documents, {"b": "bat"}, {"b": {"x": 1}})
    assert evaluate_retrieval(task, one_hot, ["recall@10"], k=1).mean == {"recall@10": 1.0}


def test_noise_finds_little_in_the_toy_task():
    task = load_retrieval("toy-retrieval")
    scores = evaluate_retrieval(
        task, lambda texts: torch.randn(len(texts), 8, generator=torch.Generator().manual_seed(0))
    )
    assert scores.mean["ndcg@10"] < 0.2
    assert len(scores.queries) == 60
