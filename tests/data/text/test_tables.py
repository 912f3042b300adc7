import csv
import gc
import multiprocessing
import pickle

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from dipole.data.text import ArrowTextSet, LineNote
from dipole.data.text import arrow_text_set as module
from dipole.errors import InputError


def write(folder, name, content):
    path = folder / name
    path.write_bytes(content)
    return path


def all_of(texts):
    return texts.fetch(torch.arange(len(texts)))


def test_csv_with_quotes_line_feeds_and_carriage_returns(tmp_path):
    path = write(tmp_path, "t.csv", b'\xef\xbb\xbfid,text\r\n1,"a, ""b""\nc"\r\n\r\n2,d\r\n')
    texts = ArrowTextSet(path)
    assert all_of(texts) == [{"id": "1", "text": 'a, "b"\nc'}, {"id": "2", "text": "d"}]
    assert texts.columns == ("id", "text")
    assert [texts.id(0), texts.id(1)] == ["0", "1"]
    assert texts.name == "t.csv"


def test_tsv_takes_quotes_literally(tmp_path):
    path = write(tmp_path, "t.tsv", b'text\tscore\n"a\t1\n b"\t2')
    assert all_of(ArrowTextSet(path)) == [{"text": '"a', "score": "1"}, {"text": ' b"', "score": "2"}]


def test_a_column_is_chosen_by_name_or_by_being_alone(tmp_path):
    path = write(tmp_path, "t.csv", b"a,text\nx,y\n")
    assert ArrowTextSet(path, "a")[0] == {"a": "x", "text": "x"}
    assert ArrowTextSet(path)[0]["text"] == "y"
    alone = ArrowTextSet(write(tmp_path, "alone.csv", b"body\nx\n\ny\n"))
    assert all_of(alone) == [{"body": "x", "text": "x"}, {"body": "y", "text": "y"}]
    assert alone.columns == ("body", "text")
    assert alone.skipped == (LineNote("without text", 1, 2),)
    pairs = ArrowTextSet(write(tmp_path, "pairs.csv", b"anchor,positive\nx,\n"))
    assert all_of(pairs) == [{"anchor": "x", "positive": ""}]


def test_rows_without_text_are_counted_and_ids_are_their_places(tmp_path):
    texts = ArrowTextSet(write(tmp_path, "t.csv", b"text,n\na,0\n,1\n \xc2\xa0 ,2\nb,3\n"))
    assert [texts.id(index) for index in range(len(texts))] == ["0", "3"]
    assert texts.skipped == (LineNote("without text", 2, 2),)


def test_cells_that_are_not_utf8_are_read_as_windows_1252(tmp_path):
    texts = ArrowTextSet(write(tmp_path, "t.csv", "text\ncafé\n".encode() + "naïve\n".encode("cp1252")))
    assert [record["text"] for record in all_of(texts)] == ["café", "naïve"]
    assert texts.repaired == (LineNote("not UTF-8, read as Windows-1252", 1, 2),)


def test_long_tables_come_back_whole(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_BLOCK", 2**17)
    rows = [(str(i), f"text {i} " + "x" * (100_000 if i == 7 else i % 50)) for i in range(5000)]
    path = tmp_path / "t.csv"
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([("id", "text"), *rows])
    texts = ArrowTextSet(path)
    order = torch.randperm(5000, generator=torch.Generator().manual_seed(0))
    assert [(r["id"], r["text"]) for r in texts.fetch(order)] == [rows[i] for i in order.tolist()]
    with pytest.raises(InputError, match="a row is longer than 0 MiB, or a quote is never closed"):
        ArrowTextSet(write(tmp_path, "long.csv", b"text,n\n" + b"x" * 300_000 + b",1\n" + b"y,2\n" * 9))


def test_parquet_with_types_nesting_and_dictionaries(tmp_path):
    table = pa.table(
        {
            "text": ["a", None, "b"],
            "label": pa.array(["x", "y", "x"]).dictionary_encode(),
            "n": [1, 2, 3],
            "nested": [[{"k": 1}], [], None],
        }
    )
    path = tmp_path / "t.parquet"
    pq.write_table(table, path, row_group_size=1)
    texts = ArrowTextSet(path)
    assert all_of(texts) == [
        {"text": "a", "label": "x", "n": 1, "nested": [{"k": 1}]},
        {"text": "b", "label": "x", "n": 3, "nested": None},
    ]
    assert texts.skipped == (LineNote("without text", 1, 2),)
    assert ArrowTextSet(path, "label")[1]["text"] == "y"
    with pytest.raises(InputError, match="column 'n' holds int64, expected strings"):
        ArrowTextSet(path, "n")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("t.csv", b"", "is empty"),
        ("t.csv", b"text\n", "has 0 rows and no text: columns text"),
        ("t.csv", b"text,n\n,1\n", "has 1 rows and no text"),
        ("t.csv", b"text,n\na,1\nb\n", r"Row #3: Expected 2 columns, got 1"),
        ("t.csv", b"a,a\n1,2\n", "names the columns, each differently; it is 'a', 'a'"),
        ("t.csv", b'text,n\na,1\nb,"2\nc,3\n', "a quote that is opened in row 2 is never closed"),
        ("t.csv", b"\x1f\x8b123", "compressed"),
        ("t.csv", b"te\0xt", "binary"),
        ("t.parquet", b"text\na\n", "cannot read .* as Parquet"),
        ("t.parquet", b"", "cannot read .* as Parquet"),
        ("t.xlsx", b"", r"expected \.csv, \.tsv or \.parquet"),
    ],
)
def test_broken_tables_are_refused(tmp_path, name, content, message):
    with pytest.raises(InputError, match=message):
        ArrowTextSet(write(tmp_path, name, content))


def test_missing_columns_and_files_are_told(tmp_path):
    path = write(tmp_path, "t.csv", b"id,sentence\n1,a\n")
    with pytest.raises(InputError, match=r"t\.csv has no column 'sentences'\. Columns: id, sentence\. Did you mean"):
        ArrowTextSet(path, "sentences")
    with pytest.raises(InputError, match=r"cannot read .* as Parquet"):
        ArrowTextSet(tmp_path / "missing.parquet")
    with pytest.raises(InputError, match="cannot read"):
        ArrowTextSet(tmp_path / "missing.csv")
    (tmp_path / "folder.parquet").mkdir()
    with pytest.raises(InputError, match="is a folder"):
        ArrowTextSet(tmp_path / "folder.parquet")


def test_the_temporary_file_goes_with_the_set_and_not_with_a_copy_or_a_worker(tmp_path, monkeypatch):
    source = write(tmp_path, "t.csv", b"text\na\nb\n")
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    texts = ArrowTextSet(source)
    selected = texts.select(torch.tensor([1]))
    again = pickle.loads(pickle.dumps(texts))
    worker = multiprocessing.get_context("fork").Process(target=texts.fetch, args=(torch.arange(2),))
    worker.start()
    worker.join()
    assert again[0] == {"text": "a"}
    del again, texts
    gc.collect()
    assert selected[0] == {"text": "b"}
    assert len(list(folder.iterdir())) == 1
    del selected
    gc.collect()
    assert not list(folder.iterdir())


def test_nothing_is_left_behind_by_a_table_that_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    with pytest.raises(InputError, match="Row #3"):
        ArrowTextSet(write(tmp_path, "t.csv", b"text,n\na,1\nb\n"))
    gc.collect()
    assert not list((tmp_path / "temporary").iterdir())
