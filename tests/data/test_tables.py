"""Tables as they stand, and what the role of a column makes of them."""

import gzip
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dipole.data.graph import load_graph
from dipole.data.graph.graph_files import load_edge_list
from dipole.data.graph.table_graph import load_table_graph
from dipole.data.recommendation.registry import load_interactions
from dipole.data.tables import read_table
from dipole.data.text import load_texts
from dipole.errors import InputError


@pytest.mark.parametrize("name", ["a.csv", "a.CSV", "a.tsv", "a.inter", "a.jsonl", "a.parquet", "a.csv.gz", "b.csv"])
def test_names_stand_as_they_are(tmp_path, name):
    names = ["007", "7", "12E3", "NA", "null", "None", "nan", "1.0"]
    path = tmp_path / name
    mark = {"a.tsv": "\t", "a.inter": "\t", "b.csv": ";"}.get(name, ",")
    text = f"id{mark}n\n" + "".join(f"{each}{mark}1\n" for each in names)
    if name == "a.parquet":
        pq.write_table(pa.table({"id": names, "n": ["1"] * len(names)}), path)
    elif name == "a.jsonl":
        path.write_text("".join(json.dumps({"id": each, "n": 1}) + "\n" for each in names))
    elif name.endswith(".gz"):
        path.write_bytes(gzip.compress(text.encode()))
    else:
        path.write_text(text)
    table = read_table(path)
    assert table.ids("id") == names
    assert table.numbers("n").tolist() == [1.0] * len(names)


def test_integers_of_parquet_are_their_text(tmp_path):
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"whole": [7, 2**60], "gap": [7.0, None]}), path)
    assert read_table(path).ids("whole") == ["7", str(2**60)]
    assert read_table(path).ids("gap") == ["7", None]


@pytest.mark.parametrize(
    ("cells", "step"),
    [
        (["2020-01-01 00:00:00.1", "2020-01-01 00:00:00.2"], 10**8),
        (["2020-01-01T00:00:00.000000001Z", "2020-01-01T00:00:00.000000002Z"], 1),
        (["2020-01-01", "2020-01-02"], 86400 * 10**9),
        (["1577836800000000001", "1577836800000000002"], 1),
    ],
)
def test_times_keep_their_last_digit(tmp_path, cells, step):
    path = tmp_path / "a.csv"
    path.write_text("time,x\n" + "".join(f"{cell},1\n" for cell in cells))
    times, known = read_table(path).times("time")
    assert int(times[1] - times[0]) == step
    assert known.all()


def test_other_encodings_are_named_and_read(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes("source,target\ncafé,b\n".encode("latin-1"))
    with pytest.raises(InputError, match=r"byte 0xe9 at 17 \(line 2\).*--loading.encoding"):
        load_graph(str(path))
    assert set(load_graph(str(path), encoding="latin-1").ids) == {"café", "b"}
    path.write_bytes("\ufeffuser,item\ncafé,b\n".encode())
    assert load_interactions(str(path), min_interactions=1).users == ("café",)


def test_nameless_columns_and_broken_lines_are_told(tmp_path, caplog):
    path = tmp_path / "a.csv"
    path.write_text(",Unnamed: 1,x\n0,1,2\n0\n1,2,3\n")
    table = read_table(path)
    assert np.array_equal(table.numbers("x"), [2, 3])
    assert list(table.columns) == ["x"]
    assert table.broken == (3,)
    assert "columns without a name" in caplog.text
    with pytest.raises(InputError, match="lines 3"):
        table.whole()


def test_texts_are_read_from_packed_tables_in_capitals_without_the_index(tmp_path: Path) -> None:
    path = tmp_path / "Texts.CSV.GZ"
    path.write_bytes(gzip.compress(b";id;text\n0;007;one, two\n1;NA;three\n"))
    texts = load_texts(str(path))
    assert [texts[index] for index in range(2)] == [
        {"id": "007", "text": "one, two"},
        {"id": "NA", "text": "three"},
    ]


def test_ends_of_edges_are_found_by_their_names(tmp_path: Path) -> None:
    path = tmp_path / "edges.csv"
    path.write_text("weight,Source,Target\n5,a,b\n6,b,c\n")
    assert load_table_graph(path).ids == ("a", "b", "c")


@pytest.mark.parametrize("text", ["a, b\nb, c\n", "a ,b\n b,c \n", '" a",b\n"b ",c\n'])
def test_white_space_around_a_name_makes_no_other_name(tmp_path, text):
    path = tmp_path / "edges.csv"
    path.write_text("source, target\n" + text)
    assert load_table_graph(path).ids == ("a", "b", "c")


def test_empty_lines_before_the_header_change_no_name(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("\n\nid;n\n007;1\n")
    assert read_table(path).ids("id") == ["007"]
    path.write_text('"id\nof it",n\n007,1\n')
    assert read_table(path).ids("id\nof it") == ["007"]
    path.write_text('"a;b;c",n\n007,1\n')
    assert list(read_table(path).columns) == ["a;b;c", "n"]


@pytest.mark.parametrize("text", ['1,a\n2,"b\n3,c\n', '1,"a\n2,"b\n3,c\n'])
def test_a_quote_that_nothing_closes_swallows_no_lines(tmp_path, text):
    path = tmp_path / "a.csv"
    path.write_text("id,text\n" + text)
    with pytest.raises(InputError, match="quotation mark opens in line"):
        read_table(path)
    path.write_text('id,text\n1,"a ""b""\nc"\n2,5" disk\n')
    assert read_table(path).cells("text") == ['a "b"\nc', '5" disk']


def test_no_number_is_no_name(tmp_path):
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"id": [7.0, float("nan")]}), path)
    assert read_table(path).ids("id") == ["7", None]


def test_numbers_of_typed_files(tmp_path):
    path = tmp_path / "a.parquet"
    cells = {"big": pa.array([2**60 + 1, 3]), "decimal": pa.array([1, 3]).cast(pa.decimal128(22, 3))}
    pq.write_table(pa.table(cells), path)
    table = read_table(path)
    assert table.numbers("big").tolist() == [2.0**60, 3.0]
    assert table.numbers("decimal").tolist() == [1.0, 3.0]
    (tmp_path / "a.csv").write_text("n\n1_000\n")  # a number to Python, none to Arrow
    with pytest.raises(InputError, match="1_000"):
        read_table(tmp_path / "a.csv").numbers("n")


def test_utf16_is_named(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("id,n\nä,1\n", encoding="utf-16")
    with pytest.raises(InputError, match=r"--loading\.encoding utf-16"):
        read_table(path)
    assert read_table(path, "utf-16").ids("id") == ["ä"]


def test_a_mark_of_utf8_is_no_part_of_a_name(tmp_path):
    (tmp_path / "a.txt").write_text("\ufeff1 5\n1 6\n2 5\n")
    assert load_interactions(str(tmp_path / "a.txt"), min_interactions=1).users == ("1", "2")
    assert load_graph(str(tmp_path / "a.txt")).ids == ("1", "2", "5", "6")


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("007 1\n7 1\n", ("007", "1", "7")),
        ("# x\n1 2#3\n1 2#4 # y\n", ("1", "2#3", "2#4")),
        ("8 1\n10 8\n", ("1", "8", "10")),
    ],
)
def test_nodes_of_a_list_of_edges_are_named_as_they_stand(tmp_path, text, ids):
    (tmp_path / "a.edges").write_text(text)
    assert load_edge_list(tmp_path / "a.edges").ids == ids
