import math
import re
from collections import Counter

import pytest

from dipole.data import load_retrieval
from dipole.data.text import MemoryTextSet, RetrievalSet
from dipole.errors import InputError
from dipole.evaluation import bm25_run, retrieval_metrics


def literal(task, k1, b):
    """The formula, written out."""
    words = [re.findall("[a-z0-9]+", task.documents[row]["text"].lower()) for row in range(len(task.documents))]
    mean = sum(map(len, words)) / len(words)
    frequency = Counter(word for document in words for word in set(document))
    run = {}
    for query, text in task.queries.items():
        run[query] = {}
        for name, document in zip(task.document_ids, words, strict=True):
            score = 0.0
            for word in re.findall("[a-z0-9]+", text.lower()):
                count = document.count(word)
                idf = math.log(1 + (len(words) - frequency[word] + 0.5) / (frequency[word] + 0.5))
                score += idf * count / (count + k1 * (1 - b + b * len(document) / mean)) if count else 0.0
            if score:
                run[query][name] = score
    return run


TASK = RetrievalSet(
    "mine",
    MemoryTextSet(["The wing, the WING of a jet-2.", "", "a jet", "a jet"], ids=["1", "2", "3", "4"]),
    {"q": "wing wing jet 2", "none": "nothing here"},
    {"q": {"1": 1}},
)


@pytest.mark.parametrize(("k1", "b"), [(0.9, 0.4), (1.2, 0.75), (0.0, 0.0), (2.0, 1.0)])
def test_scores_equal_the_formula(k1, b):
    for task in (TASK, load_retrieval("toy-retrieval")):
        run = bm25_run(task, k1=k1, b=b)
        expected = literal(task, k1, b)
        assert run.keys() == expected.keys()
        assert all(run[query] == pytest.approx(expected[query]) for query in run)


def test_the_best_are_kept_and_ties_go_to_the_last_id():
    run = bm25_run(TASK, k=2)
    assert list(run["q"]) == ["1", "4"]
    assert run["none"] == {}


def test_the_toy_task_is_neither_solved_nor_hopeless():
    task = load_retrieval("toy-retrieval")
    assert 0.4 < retrieval_metrics(task.judgements, bm25_run(task)).mean["ndcg@10"] < 0.85


@pytest.mark.parametrize(
    ("options", "message"), [({"k": 0}, "k=0"), ({"k1": -1.0}, "k1=-1"), ({"b": 1.5}, r"b=1\.5: expected 1 or more")]
)
def test_settings_out_of_range_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        bm25_run(TASK, **options)


def test_documents_without_words_are_refused():
    task = RetrievalSet("dots", MemoryTextSet(["...", ""]), {"q": "a"}, {"q": {"0": 1}})
    with pytest.raises(InputError, match="dots: no document holds a word"):
        bm25_run(task)
