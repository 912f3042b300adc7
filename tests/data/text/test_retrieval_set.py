import json

import pytest
import torch

from data.text.test_text_registry import cranfield
from dipole.data import load_retrieval
from dipole.data.text import MemoryTextSet, RetrievalSet
from dipole.errors import InputError

DOCUMENTS = [
    {"_id": "d1", "title": "Bees", "text": "dance"},
    {"_id": "d2", "title": "", "text": ""},
    {"_id": "d3", "title": "", "text": "stones"},
]
QUERIES = [{"_id": "q1", "text": "who"}, {"_id": "q2", "text": "what"}, {"_id": "train", "text": "x"}]


def beir(folder, judgements, documents=DOCUMENTS, queries=QUERIES, split="test"):
    (folder / "qrels").mkdir(exist_ok=True)
    (folder / "corpus.jsonl").write_text("\n".join(map(json.dumps, documents)))
    (folder / "queries.jsonl").write_text("\n".join(map(json.dumps, queries)))
    lines = ["query-id\tcorpus-id\tscore", *judgements]
    (folder / "qrels" / f"{split}.tsv").write_text("\n".join(lines) + "\n")
    return str(folder)


def test_a_beir_folder(tmp_path):
    path = beir(tmp_path, ["q1\td1\t2", "q1\td3\t0", "q2\td2\t0"])
    task = load_retrieval(path)
    assert task.document_ids == ("d1", "d2", "d3")
    assert [record["text"] for record in task.documents.fetch(torch.arange(3))] == ["Bees dance", "", "stones"]
    assert task.queries == {"q1": "who", "q2": "what"}
    assert task.judgements == {"q1": {"d1": 2, "d3": 0}, "q2": {"d2": 0}}
    assert task.judged_queries == ("q1",)
    assert load_retrieval(tmp_path.name, tmp_path.parent).name == tmp_path.name


def test_other_splits(tmp_path):
    path = beir(tmp_path, ["q1\td1\t1"], split="dev")
    assert load_retrieval(path, split="dev").judged_queries == ("q1",)
    with pytest.raises(InputError, match=r"qrels/test\.tsv does not exist\. Splits there: dev\."):
        load_retrieval(path)


def test_cranfield_queries_are_numbered_by_position(tmp_path):
    cranfield(tmp_path / "cranfield")
    task = load_retrieval("cranfield", tmp_path)
    assert task.queries == {"1": "wing", "2": "jet"}
    assert task.judgements == {"1": {"1": 1}, "2": {"3": 2, "1": 0}}
    assert task.document_ids == ("1", "2", "3")
    assert task.documents[1] == {"text": ""}


@pytest.mark.parametrize(
    ("judgements", "message"),
    [
        (["q1\td1\t1", "q9\td1\t1"], "1 unknown queries, e.g. 'q9': do the files belong together"),
        (["q1\td1\t1", "q1\t9\t1", "q1\t8\t0"], "2 unknown documents, e.g. '8', '9'"),
        (["q1\td1\t0"], "no query has a relevant document"),
        (["q1\td1"], r"test\.tsv, line 2 is 'q1\\td1': expected ids"),
        (["q1\td1\tyes"], "a whole number"),
    ],
)
def test_judgements_that_do_not_fit_are_refused(tmp_path, judgements, message):
    path = beir(tmp_path, judgements)
    with pytest.raises(InputError, match=message):
        load_retrieval(path)


def test_ids_must_be_unique(tmp_path):
    path = beir(tmp_path, ["q1\td1\t1"], documents=[*DOCUMENTS, DOCUMENTS[0]])
    with pytest.raises(InputError, match="document id 'd1' occurs 2 times"):
        load_retrieval(path)
    path = beir(tmp_path, ["q1\td1\t1"], queries=[*QUERIES, QUERIES[0]])
    with pytest.raises(InputError, match="4 queries with 3 ids"):
        load_retrieval(path)


def test_missing_files_are_told(tmp_path):
    for data, message in (
        ("cranfeld", "is no task of retrieval: check the name or path. Known: toy-retrieval, cranfield"),
        ("cranfield", "is no task of retrieval: give --data-root"),
        ("", "is no task"),
        (str(tmp_path), r"has no corpus\.jsonl"),
    ):
        with pytest.raises(InputError, match=message):
            load_retrieval(data)
    path = beir(tmp_path, ["q1\td1\t1"])
    (tmp_path / "queries.jsonl").unlink()
    with pytest.raises(InputError, match=r"cannot read .*queries\.jsonl"):
        load_retrieval(path)
    cranfield(tmp_path / "c")
    (tmp_path / "c" / "cranqrel.trec.txt").unlink()
    with pytest.raises(InputError, match="cannot read the judgements"):
        load_retrieval("c", tmp_path)
    (tmp_path / "c" / "cran.qry.xml").write_text("<xml></xml>")
    with pytest.raises(InputError, match="expected <top> entries with <title>"):
        load_retrieval("c", tmp_path)


def test_a_task_made_by_hand():
    documents = MemoryTextSet(["a", "b"], ids=["x", "y"])
    task = RetrievalSet("mine", documents, {"q": "text", "other": "text"}, {"q": {"x": 1}})
    assert task.judged_queries == ("q",)
