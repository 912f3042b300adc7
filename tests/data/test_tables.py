"""Tables as they stand, and what the role of a column makes of them."""

import gzip
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dipole.data.graph import load_graph
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
