"""A test walks all verbs that read data, in every domain, and all options by which `train` reads them."""

from pathlib import Path

import pytest
import torch

from dipole.cli import main
from dipole.cli.kinds import KINDS
from dipole.cli.likely import likely_kind
from dipole.runs import RunConfig
from dipole.runs.domains import domain_of, get_domain

METHODS = {
    "images": "simclr",
    "text": "simcse",
    "multimodal": "clip",
    "graph": "grace",
    "heterograph": "meow",
    "timeseries": "autotcl",
    "recommendation": "sasrec",
    "language": "cut",
}
VERBS = {name: ["evaluate", "embed", "report"] for name in METHODS}
VERBS["recommendation"].append("recommend")
VERBS["text"].append("search")
VERBS["multimodal"].append("search")
WALKED = [(domain, verb) for domain, verbs in VERBS.items() for verb in verbs]


@pytest.mark.parametrize(("domain", "verb"), WALKED, ids=["-".join(pair) for pair in WALKED])
def test_verbs_read_as_train_does(domain: str, verb: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = RunConfig(METHODS[domain])
    found = domain_of(config.name, config.method)
    assert found.name == domain
    config.save(tmp_path / "config.yaml")
    with pytest.raises(SystemExit):
        main([verb, str(tmp_path), "--help"])
    told = " ".join(capsys.readouterr().out.split())
    assert found.loading_defaults()
    assert not [name for name in found.loading_defaults() if f"--loading.{name} " not in told]


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_data_are_described_as_they_are_read(kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["data", "--kind", kind, "--help"])
    told = " ".join(capsys.readouterr().out.split())
    options = get_domain(KINDS[kind]().domain).loading_defaults()
    assert not [name for name in options if f"--loading.{name} " not in told]


TABLES = {
    "load.csv": ("date,load,price\n2024-05-01,1,2\n2024-05-02,oops,3\n2024-05-03,4,5\n", "series", "'oops' in row 3"),
    "comma.csv": ("date;load\n2024-05-01;1,5\n2024-05-02;2,5\n2024-05-03;3,5\n", "series", "'1,5' in row 2"),
    "shop.csv": ("user_id,item_id,timestamp\nu,i,gestern\nu,j,heute\n", "interactions", "neither numbers nor dates"),
    "edges.csv": ("source,target\na,b\nb,\n", "graph", "empty place"),
    "twice.csv": ("text,text\na,b\n", "texts", "names the columns"),
}


@pytest.mark.parametrize("name", TABLES)
def test_an_error_is_not_hidden_behind_another_reading(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text, kind, reason = TABLES[name]
    (tmp_path / name).write_text(text, encoding="utf-8")
    assert likely_kind(tmp_path / name) == kind
    assert main(["data", str(tmp_path / name)]) == 2
    told = capsys.readouterr().err
    assert reason in told
    assert f"read as {kind}" in told


def test_what_files_most_likely_are(tmp_path: Path) -> None:
    import numpy as np

    np.savez(tmp_path / "graph.npz", edge_index=np.zeros((2, 1), dtype=int))
    np.savez(tmp_path / "series.npz", x=np.zeros((5, 9, 2)), y=np.zeros(5))
    np.savez(tmp_path / "images.npz", x=np.zeros((5, 9, 9), dtype=np.uint8))
    (tmp_path / "snap.txt").write_text("# FromNodeId ToNodeId\n0 1\n1 2\n")
    (tmp_path / "beauty.txt").write_text("1 2 3\n2 5\n")
    (tmp_path / "poem.txt").write_text("roses are\nred\n")
    (tmp_path / "pairs.csv").write_text("image,caption\na.png,a cat\nb.png,a dog\n")
    found = {path.name: likely_kind(path) for path in tmp_path.iterdir()}
    assert found == {
        "graph.npz": "graph",
        "series.npz": "series",
        "images.npz": "images",
        "snap.txt": "graph",
        "beauty.txt": "interactions",
        "poem.txt": "texts",
        "pairs.csv": "modalities",
    }


def run(*arguments: str) -> int:
    return main([str(argument) for argument in arguments])


def test_a_graph_without_its_attributes_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = [f"n{node}" for node in range(12)]
    edges = "source,target\n" + "".join(f"{a},{b}\n" for a, b in zip(names, names[1:] + names[:1], strict=True))
    (tmp_path / "edges.csv").write_text(edges)
    # As many attributes as columns that tell the degrees.
    nodes = "id,a,b,c\n" + "".join(f"{name},{place},1,2\n" for place, name in enumerate(names))
    (tmp_path / "nodes.csv").write_text(nodes)
    data, table = str(tmp_path / "edges.csv"), str(tmp_path / "nodes.csv")
    trained = str(tmp_path / "run")
    assert run("train", "grace", "--data", data, "--loading.nodes", table, "--epochs", "1", "--out", trained) == 0
    assert run("embed", trained, data, "--out", str(tmp_path / "a.parquet")) == 0, "the run's own table of nodes"
    capsys.readouterr()
    without = ["embed", f"{trained}/model", data, "--out", str(tmp_path / "b.parquet")]
    assert run(*without) == 2
    assert "has learned from attributes" in capsys.readouterr().err
    assert run(*without, "--loading.nodes", table) == 0


def test_columns_of_series_are_found_by_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    values = torch.randn(120, 2, generator=torch.Generator().manual_seed(0)).tolist()
    (tmp_path / "a.csv").write_text("load,heat\n" + "".join(f"{a},{b}\n" for a, b in values))
    (tmp_path / "b.csv").write_text("more,heat,load\n" + "".join(f"7,{b},{a}\n" for a, b in values))
    (tmp_path / "c.csv").write_text("load,cold\n" + "".join(f"{a},{b}\n" for a, b in values))
    small = ["--method.hidden", "4", "--method.depth", "1", "--method.features", "4", "--method.longest_kernel", "2"]
    trained = str(tmp_path / "run")
    assert (
        run("train", "series-contrast", "--data", str(tmp_path / "a.csv"), *small, "--epochs", "1", "--out", trained)
        == 0
    )
    for name in "ab":
        out = str(tmp_path / f"{name}.parquet")
        assert run("embed", trained, str(tmp_path / f"{name}.csv"), "--out", out) == 0
    import pyarrow.parquet as pq

    tables = [pq.read_table(tmp_path / f"{name}.parquet")["vector"].to_pylist() for name in "ab"]
    assert tables[0] == tables[1]
    capsys.readouterr()
    assert run("embed", trained, str(tmp_path / "c.csv"), "--out", str(tmp_path / "c.parquet")) == 2
    assert "lacks heat" in capsys.readouterr().err


def test_relative_paths_lead_to_the_same_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data/edges.csv").write_text("source,target\na,b\nb,c\nc,a\n")
    (tmp_path / "data/nodes.csv").write_text("id,x\na,1\nb,2\nc,3\n")
    monkeypatch.chdir(tmp_path)
    flags = ["--loading.nodes", "data/nodes.csv", "--data_root", "data", "--epochs", "1"]
    assert run("train", "grace", "--data", "edges.csv", *flags, "--out", "run") == 0
    monkeypatch.chdir("/")
    settings = RunConfig.load(tmp_path / "run" / "config.yaml")
    assert settings.loading["nodes"] == str(tmp_path / "data/nodes.csv")
    assert settings.data_root == str(tmp_path / "data")
    assert run("report", str(tmp_path / "run")) == 0
