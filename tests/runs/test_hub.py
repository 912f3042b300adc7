"""Models pushed to a hub and opened from it, by the real client and a stand-in for the hub."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

import dipole
from dipole.cli import main
from dipole.errors import InputError
from dipole.runs.hub import fetch, push_to_hub
from dipole.runs.model import build_method, save_model
from hub_stand_in import Hub, hub

pytestmark = pytest.mark.filterwarnings("ignore:.*token.*:UserWarning")


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    with hub() as running:
        monkeypatch.setenv("HF_ENDPOINT", running.address)
        monkeypatch.setenv("HF_TOKEN", "hf_none")
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
        yield running


@pytest.fixture
def run(tmp_path: Path) -> Path:
    arguments = {"encoder": "convnet4-4"}
    method = build_method("simclr", arguments)
    save_model(method, tmp_path / "run" / "model", name="simclr", arguments=arguments, facts={"image_size": 32})
    return tmp_path / "run"


def test_what_is_pushed_is_what_is_loaded(
    server: Hub, run: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    flags = ["--to", "hub", "--repository", "user/birds", "--license", "mit"]
    assert main(["export", str(run), *flags]) == 0
    assert capsys.readouterr().out == "hf:user/birds\n"
    assert server.private == {"user/birds": True}
    files = server.repositories["user/birds"]
    assert set(files) == {"README.md", "dipole.json", "model.safetensors"}
    card = files["README.md"].decode()
    assert 'dipole.load("hf:user/birds")' in card
    assert "license: mit" in card
    files["train.py"] = b"raise SystemExit"  # neither code nor pickles are fetched
    files["optimizer.pt"] = b"\x80\x02"
    found, expected = dipole.load("hf:user/birds"), dipole.load(run)
    for name, value in expected.state_dict().items():
        assert torch.equal(found.state_dict()[name], value)
    assert {path.name for path in (tmp_path / "cache").rglob("*") if path.is_symlink()} == {
        "README.md",
        "dipole.json",
        "model.safetensors",
    }


def test_what_is_not_there_or_no_name_is_said(server: Hub, run: Path) -> None:
    with pytest.raises(InputError, match="cannot fetch user/nothing"):
        dipole.load("hf:user/nothing")
    for name in ("birds", "user/birds/more", "user/", "../etc"):
        with pytest.raises(InputError, match="expected user/name"):
            fetch(f"hf:{name}")
        with pytest.raises(InputError, match="expected user/name"):
            push_to_hub(run, name)
    assert not server.repositories


def test_a_hub_that_cannot_be_reached_is_said(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:1")
    with pytest.raises(InputError, match="the hub did not take user/birds"):
        push_to_hub(run, "user/birds")
