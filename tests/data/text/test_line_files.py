import gzip
import json
import pickle

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dipole.data.text import JsonLinesTextSet, LineNote, LineTextSet
from dipole.data.text import line_file as lines_module
from dipole.data.text.line_file import NOT_UTF8, LineFile
from dipole.errors import InputError


def texts_of(texts):
    return [record["text"] for record in texts.fetch(torch.arange(len(texts)))]


def ids_of(texts):
    return [texts.id(index) for index in range(len(texts))]


def write(folder, content, name="texts.txt"):
    path = folder / name
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    ("content", "texts", "ids", "skipped"),
    [
        (b"one\ntwo\n", ["one", "two"], ["1", "2"], ()),
        (b"one\ntwo", ["one", "two"], ["1", "2"], ()),
        (b"one\r\ntwo\r\n", ["one", "two"], ["1", "2"], ()),
        (b"\xef\xbb\xbfone\ntwo", ["one", "two"], ["1", "2"], ()),
        (b"\n\none\n \t\n\r\ntwo\n\n", ["one", "two"], ["3", "6"], (LineNote("without text", 5, 1),)),
        (b"  indented \n\n", ["  indented "], ["1"], (LineNote("without text", 1, 2),)),
        ("a\u2028b\x85c\n".encode(), ["a\u2028b\x85c"], ["1"], ()),
        (b"old\rMac\n", ["old\rMac"], ["1"], ()),
    ],
)
def test_lines(tmp_path, content, texts, ids, skipped):
    found = LineTextSet(write(tmp_path, content))
    assert texts_of(found) == texts
    assert ids_of(found) == ids
    assert found.skipped == skipped
    assert found.repaired == ()
    assert found.name == "texts.txt"
    assert found.columns == ("text",)


def test_lines_that_are_not_utf8_are_read_as_windows_1252_and_reported(tmp_path):
    path = write(tmp_path, "naïve\n".encode() + "“café”\n".encode("cp1252") + b"plain\n" + b"\x81odd\n")
    found = LineTextSet(path)
    assert texts_of(found) == ["naïve", "“café”", "plain", "\ufffdodd"]
    assert found.repaired == (LineNote(NOT_UTF8, 2, 2),)
    assert str(found.repaired[0]) == "2 lines not UTF-8, read as Windows-1252 (first: line 2)"


def test_a_line_of_100000_characters_is_kept(tmp_path):
    found = LineTextSet(write(tmp_path, b"short\n" + b"x" * 100_000 + b"\nshort\n"))
    assert [len(text) for text in texts_of(found)] == [5, 100_000, 5]


@given(
    lines=st.lists(
        st.text(st.characters(exclude_characters="\n\r", exclude_categories=["Cs"]), max_size=12), min_size=1
    ),
    piece=st.integers(1, 40),
)
def test_any_lines_come_back_however_the_file_is_cut(tmp_path_factory, lines, piece):
    content = "\n".join(["first", *lines]).encode()
    path = tmp_path_factory.mktemp("lines") / "texts.txt"
    path.write_bytes(content.replace(b"\0", b" "))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lines_module, "_CHUNK", piece)
        file = LineFile(path)
    expected = path.read_bytes().decode().removesuffix("\n").split("\n")
    assert [file.read(line) for line in range(len(file))] == expected
    assert file.has_text.tolist() == [any(byte > 32 for byte in line.encode()) for line in expected]
    assert file.repaired == ()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"\xef\xbb\xbf", "is empty"),
        (b"\n \n\n", "3 empty lines and no text"),
        (b"\x89PNG\r\n\x1a\n\0\0", "binary file"),
        ("text".encode("utf-16"), "is UTF-16: write it again as UTF-8"),
        (b"\x1f\x8b\x08rest", r"compressed \(gzip\): unpack it first"),
        (b"PK\x03\x04rest", "zip archive"),
    ],
)
def test_what_is_no_text_is_refused(tmp_path, content, message):
    with pytest.raises(InputError, match=message):
        LineTextSet(write(tmp_path, content))


def test_a_folder_or_missing_file_is_refused(tmp_path):
    with pytest.raises(InputError, match="is a folder: give a file"):
        LineTextSet(tmp_path)
    with pytest.raises(InputError, match=r"cannot read .*missing\.txt: No such file"):
        LineTextSet(tmp_path / "missing.txt")


def test_a_file_that_changes_after_the_scan_is_refused(tmp_path):
    path = write(tmp_path, b"one\ntwo\n")
    found = LineTextSet(path)
    path.write_bytes(b"something else\n")
    with pytest.raises(InputError, match="has changed since it was scanned"):
        found[0]


def test_pickled_sets_open_the_file_anew(tmp_path):
    found = LineTextSet(write(tmp_path, b"one\n\ntwo\n"))
    assert texts_of(found) == ["one", "two"]
    again = pickle.loads(pickle.dumps(found))
    assert texts_of(again) == ["one", "two"]
    assert again.id(1) == "3"


def test_the_memory_of_a_set_is_a_few_bytes_a_line(tmp_path):
    found = LineTextSet(write(tmp_path, b"a line of some text\n" * 100_000))
    assert len(pickle.dumps(found)) < 18 * len(found)


def test_selecting_keeps_order_and_ids(tmp_path):
    found = LineTextSet(write(tmp_path, b"a\n\nb\nc\nd\n")).select(torch.tensor([3, 1, 1]))
    assert texts_of(found) == ["d", "b", "b"]
    assert ids_of(found) == ["5", "3", "3"]
    assert texts_of(found.select(torch.tensor([1]))) == ["b"]


def test_samples_repeat_by_seed_and_keep_the_order(tmp_path):
    found = LineTextSet(write(tmp_path, "".join(f"{i:03d}\n" for i in range(200)).encode()))
    samples = [texts_of(found.sample(20, seed)) for seed in (0, 0, 1)]
    assert samples[0] == samples[1] != samples[2]
    assert samples[0] == sorted(set(samples[0]))
    assert found.sample(200) is found


RECORDS = [
    {"text": "One.", "tags": ["a", {"b": None}], "n": 1},
    {"n": 2, "text": "Two é.", "more": "x"},
    {"text": " ", "n": 3},
    {"text": None, "n": 4},
    {"text": "Five.", "n": 5},
]


def json_lines(records):
    return "\n".join(json.dumps(record, ensure_ascii=False) for record in records).encode()


def test_json_lines_keep_what_they_nest(tmp_path):
    path = write(tmp_path, json_lines(RECORDS[:2]) + b"\r\n\r\n" + json_lines(RECORDS[2:]), "texts.jsonl")
    found = JsonLinesTextSet(path)
    assert found.fetch(torch.arange(3)) == [RECORDS[0], RECORDS[1], RECORDS[4]]
    assert found.columns == ("text", "n")
    assert ids_of(found) == ["1", "2", "6"]
    assert found.skipped == (LineNote("without text", 3, 3),)


def test_a_column_of_json_lines_becomes_the_text(tmp_path):
    path = write(tmp_path, b'{"body": "B.", "text": "T."}\n{"body": "", "text": "T."}\n', "texts.jsonl")
    assert texts_of(JsonLinesTextSet(path, "body")) == ["B."]
    assert texts_of(JsonLinesTextSet(path)) == ["T.", "T."]


def test_records_without_a_main_text_are_handed_on(tmp_path):
    records = [{"question": "q", "positive_ctxs": [{"title": "", "text": "p"}]}, {"question": "r", "positive_ctxs": []}]
    found = JsonLinesTextSet(write(tmp_path, json_lines(records), "train.jsonl"))
    assert found.fetch(torch.arange(2)) == records
    assert found.columns == ("question", "positive_ctxs")


@pytest.mark.parametrize(
    ("content", "column", "left_out"),
    [
        (b'{"text": "a"}\n{"text": \n', None, "1 line not valid JSON (first: line 2)"),
        (b'{"text": "a"}\n' + b"[" * 100_000 + b"\n", None, "1 line not valid JSON (first: line 2)"),
        (b'{"text": "a"}\n\n[1]\n[2]', None, "2 lines with a list and no dictionary (first: line 3)"),
        (b'{"text": "a"}\n{"text": 3}\n', None, "1 line whose 'text' is of type int and no string (first: line 2)"),
        (b'{"a": "a"}\n{"b": "a"}\n', "a", "1 line without 'a' (first: line 2)"),
    ],
)
def test_broken_json_lines_are_left_out_and_named(tmp_path, content, column, left_out):
    texts = JsonLinesTextSet(write(tmp_path, content, "texts.jsonl"), column)
    assert texts[0]["text"] == "a"
    assert len(texts) == 1
    assert left_out in map(str, texts.skipped)


@pytest.mark.parametrize(
    ("content", "column", "message"),
    [
        (b'{"text": "a"}\n', "tex", r"no column 'tex'\. Columns: text\. Did you mean 'text'\? .*--column"),
        (b'{"text": ""}\n{"text": ""}\n', None, "no record that can be used: 2 lines without text"),
        (b"a\nb\n", None, "no record that can be used: 2 lines not valid JSON"),
        (b"\n\n", None, "2 lines without text"),
    ],
)
def test_files_without_a_record_are_refused(tmp_path, content, column, message):
    with pytest.raises(InputError, match=message):
        JsonLinesTextSet(write(tmp_path, content, "texts.jsonl"), column)


def test_compressed_lines_are_read_as_they_are(tmp_path):
    plain, packed = tmp_path / "texts.jsonl", tmp_path / "texts.JSONL.gz"
    plain.write_text('{"text": "one"}\n{"text": "two"}\n')
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    texts = JsonLinesTextSet(packed)
    assert list(texts) == list(JsonLinesTextSet(plain))
    assert list(pickle.loads(pickle.dumps(texts))) == list(texts)
    unpacked = texts._file._plain
    del texts
    assert not unpacked.exists()


@pytest.mark.parametrize(
    "content",
    [b"no gzip", gzip.compress(b"text " * 9999, mtime=0)[:-20], gzip.compress(b"\0\0", mtime=0)],
    ids=["another format", "cut off", "binary"],
)
def test_what_is_no_whole_gzip_file_is_named(tmp_path, content):
    with pytest.raises(InputError, match=r"texts\.txt\.gz"):
        LineFile(write(tmp_path, content, "texts.txt.gz"))
