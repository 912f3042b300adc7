import json

import pytest
import torch

from dipole.data import available_texts, load_texts
from dipole.data.text import ArrowTextSet, JsonLinesTextSet, LineTextSet, PassageTextSet
from dipole.errors import InputError

CRANFIELD = "<doc><docno>{}</docno><title>{}</title><text>{}</text></doc>"


def cranfield(folder):
    """Three documents, the second empty; two queries whose numbers have a gap."""
    folder.mkdir(parents=True)
    documents = (("1", "a wing", "a wing\nflies"), ("2", "", ""), ("3", "a jet", "a jet burns"))
    (folder / "cran.all.1400.xml").write_text("\n".join(CRANFIELD.format(*document) for document in documents))
    topic = "<top><num> {}</num><title>\r\n{}\r\n</title></top>"
    queries = "\r\n".join(topic.format(*query) for query in ((1, "wing"), (4, "jet")))
    (folder / "cran.qry.xml").write_text(f"<xml>{queries}</xml>")
    (folder / "cranqrel.trec.txt").write_text("1 0 1 1\r\n2 0 3  2\r\n2 0 1 0\r\n")
    return folder


def test_the_built_in_sets_are_as_large_as_announced():
    for info in available_texts():
        if info.where == "built in":
            texts = load_texts(info.name)
            assert info.images == str(len(texts))
            assert texts.name == info.name
            texts.require("dialogue" if info.name == "toy-dialogues" else "text")
            assert not texts.skipped
            if info.classes is not None:
                assert len({texts[index]["topic"] for index in range(len(texts))}) == info.classes


def test_the_rows_are_unique_and_complete():
    rows = available_texts()
    assert len({row.name for row in rows}) == len(rows)
    assert all(row.description and row.where for row in rows)
    assert {"toy-sentences", "toy-sts", "toy-retrieval", "sentences", "words", "cranfield"} <= {
        row.name for row in rows
    }


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("sentences", "sentences/stsbenchmark_train_10k_sents_random_sampled.txt"),
        ("words", "sentences/en_words_top_10k.txt"),
    ],
)
def test_sets_are_found_below_the_data_root(tmp_path, name, place):
    (tmp_path / "sentences").mkdir()
    with pytest.raises(InputError, match=f"{name} is not in .*{place}"):
        load_texts(name, tmp_path)
    with pytest.raises(InputError, match=f"{name} is read from files: give --data-root.*{place}"):
        load_texts(name)
    (tmp_path / place).write_text("one\ntwo\n")
    texts = load_texts(name, tmp_path)
    assert (texts.name, len(texts)) == (name, 2)


def test_cranfield_leaves_out_its_empty_documents(tmp_path):
    cranfield(tmp_path / "cranfield")
    texts = load_texts("cranfield", tmp_path)
    assert texts.fetch(torch.arange(2)) == [{"text": "a wing flies"}, {"text": "a jet burns"}]
    assert texts.id(1) == "3"
    assert [str(note) for note in texts.skipped] == ["1 line without text (first: line 2)"]


@pytest.mark.parametrize(
    ("name", "content", "kind"),
    [
        ("t.txt", "one\n", LineTextSet),
        ("t.TXT", "one\n", LineTextSet),
        ("t.jsonl", '{"text": "one"}\n', JsonLinesTextSet),
        ("t.csv", "text\none\n", ArrowTextSet),
        ("t.tsv", "text\none\n", ArrowTextSet),
        ("corpus/corpus.jsonl", '{"_id": "x", "title": "", "text": "one"}\n', PassageTextSet),
    ],
)
def test_paths_are_read_by_their_kind(tmp_path, name, content, kind):
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(content)
    given = name.split("/")[0]
    for texts in (load_texts(str(tmp_path / given)), load_texts(given, tmp_path)):
        assert type(texts) is kind
        assert texts[0]["text"] == "one"
        assert texts.name == given


def test_a_beir_folder_gives_titles_and_texts(tmp_path):
    passages = [
        {"_id": "a", "title": "T", "text": "one"},
        {"_id": 7, "text": "two", "metadata": {}},
        {"_id": "c", "title": "", "text": ""},
    ]
    (tmp_path / "corpus.jsonl").write_text("\n".join(map(json.dumps, passages)))
    texts = load_texts(str(tmp_path))
    assert texts.fetch(torch.arange(2)) == [{"id": "a", "text": "T one"}, {"id": "7", "text": "two"}]
    assert [texts.id(0), texts.id(1), len(texts)] == ["a", "7", 2]
    assert str(texts.skipped[0]) == "1 line without text (first: line 3)"
    (tmp_path / "corpus.jsonl").write_text('{"id": 1, "text": "x"}')
    with pytest.raises(InputError, match=r"no record that can be used: 1 line unlike"):
        load_texts(str(tmp_path))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("toy-sentence", "Did you mean 'toy-sentences'.*Known: toy-sentences"),
        ("", "neither a known set of texts nor a path"),
        ("./texts", "no such file or folder"),
        ("missing.txt", "no such file or folder"),
    ],
)
def test_unknown_data_are_refused_with_advice(data, message):
    with pytest.raises(InputError, match=message):
        load_texts(data)


def test_what_cannot_be_read_is_refused_with_advice(tmp_path):
    with pytest.raises(InputError, match=r"is a folder without corpus\.jsonl"):
        load_texts(str(tmp_path))
    (tmp_path / "t.doc").write_text("x")
    with pytest.raises(InputError, match=r"expected \.txt \(a text a line\), \.jsonl"):
        load_texts("t.doc", tmp_path)
    (tmp_path / "t.txt").write_text("x")
    with pytest.raises(InputError, match="no columns; leave it out"):
        load_texts("t.txt", tmp_path, column="body")
    with pytest.raises(InputError, match="toy-sts needs no column"):
        load_texts("toy-sts", column="text")
    with pytest.raises(InputError, match="is no folder"):
        load_texts("words", tmp_path / "missing")
