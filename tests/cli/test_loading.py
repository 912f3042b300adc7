"""Every verb that reads data takes the options by which `train` reads them, with the run's own as defaults."""

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from dipole.cli import main
from dipole.runs import Run
from dipole.runs.domains import domain_of

NAMES = ["café", "naïve", "thé", "rosé", "père", "mère"]
EDGES = "source,target\n" + "".join(f"{a},{b}\n" for a, b in zip(NAMES, NAMES[1:] + NAMES[:1], strict=True))
SHOP = "user_id,item_id,timestamp\n" + "".join(
    f"u{user},é{(user + step) % 6},{step}\n" for user in range(8) for step in range(6)
)
METHODS = {
    "grace": (EDGES, ["--epochs", "1"]),
    "sasrec": (SHOP, ["--epochs", "1", "--method.width", "8"]),
}
VERBS = {"grace": ("evaluate", "embed", "report"), "sasrec": ("evaluate", "embed", "report", "recommend")}


@pytest.fixture(scope="module", params=METHODS)
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp(request.param)
    text, flags = METHODS[request.param]
    (folder / "table.csv").write_text(text, encoding="latin-1")
    out = str(folder / "run")
    assert main(["train", request.param, "--data", str(folder / "table.csv"), *flags, "--out", out]) == 2
    encoding = ["--loading.encoding", "latin-1"]
    assert main(["train", request.param, "--data", str(folder / "table.csv"), *flags, *encoding, "--out", out]) == 0
    return Run(folder / "run")


def test_every_verb_offers_every_option(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    settings = run.settings()
    options = domain_of(settings.name, settings.method).loading_defaults()
    assert "encoding" in options
    for verb in VERBS[settings.name]:
        with pytest.raises(SystemExit):
            main([verb, str(run.path), "--help"])
        told = " ".join(capsys.readouterr().out.split())
        assert all(f"--loading.{name} " in told for name in options), verb
        assert "default: latin-1" in told, "the run's own is the default"


def test_what_a_run_was_trained_with_it_is_used_with(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = run.settings().data
    out = str(tmp_path / "e.parquet")
    assert main(["embed", str(run.path), data, "--out", out]) == 0
    ids = pq.read_table(out)["id"].to_pylist()
    assert set(ids) == ({f"u{user}" for user in range(8)} if run.settings().name == "sasrec" else set(NAMES))
    assert main(["report", str(run.path)]) == 0
    capsys.readouterr()
    assert main(["embed", str(run.path), data, "--loading.encoding", "utf-8", "--out", out]) == 2
    assert "is not utf-8" in capsys.readouterr().err
    if run.settings().name == "sasrec":
        assert main(["evaluate", str(run.path)]) == 0
        assert main(["recommend", str(run.path), "u3", "--include_seen"]) == 0
        assert "é" in capsys.readouterr().out
