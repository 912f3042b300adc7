"""What the disk, another process or a damaged file does not allow is told in a line; what was there stays whole."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file

from dipole.cli import main
from dipole.cli.tables import show
from dipole.errors import InputError
from dipole.files import atomic_write, read_json, read_yaml
from dipole.runs.checkpoint import SafeCheckpointIO
from dipole.runs.directory import locked

SMALL = ["--epochs", "1", "--batch_size", "512", "--method.encoder", "convnet4-4"]


def one_line(error: str) -> str:
    assert "Traceback" not in error
    lines = [line for line in error.splitlines() if line.startswith("dipole: ")]
    assert len(lines) == 1, error
    return lines[0]


@pytest.mark.parametrize("text", ["[INST] what? [/INST] answer", "a [citation needed]", "x[/red].txt", ":smile:"])
def test_a_table_shows_text_as_it_is(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    show(f"title {text}", {f"heading {text}": "left"}, [[text]], caption=text)
    assert capsys.readouterr().out.count(text) == 4


def test_nothing_in_a_table_moves_the_cursor(capsys: pytest.CaptureFixture[str]) -> None:
    show("\x1b[2Jt", {"h": "left"}, [["a\x1b]0;title\x07b"]])
    assert "\x1b" not in capsys.readouterr().out


def test_aliases(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = ["  a0: &a0 [x, x, x]", *(f"  a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 12))]
    (tmp_path / "laughs.yaml").write_text("name: simclr\nmethod:\n" + "\n".join(lines))
    assert main(["train", "--config", str(tmp_path / "laughs.yaml"), "--out", str(tmp_path / "run")]) == 2
    assert "aliases that stand for" in one_line(capsys.readouterr().err)
    (tmp_path / "itself.yaml").write_text("a: &a [*a]")
    with pytest.raises(InputError, match="stands for what it stands in"):
        read_yaml(tmp_path / "itself.yaml")
    (tmp_path / "few.yaml").write_text("a: &a [1, 2]\nb: *a")
    assert read_yaml(tmp_path / "few.yaml") == {"a": [1, 2], "b": [1, 2]}


def test_files_that_are_nested_too_deeply(tmp_path: Path) -> None:
    (tmp_path / "deep.json").write_text("[" * 200_000)
    with pytest.raises(InputError, match="not valid JSON"):
        read_json(tmp_path / "deep.json")
    (tmp_path / "deep.yaml").write_text("[" * 5_000)
    with pytest.raises(InputError, match="not valid YAML"):
        read_yaml(tmp_path / "deep.yaml")


@pytest.mark.slow
def test_a_full_disk(tmp_path: Path) -> None:
    code = (
        "import resource, signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))\n"
        "from dipole.cli import main; raise SystemExit(main())"
    )
    command = [sys.executable, "-c", code, "train", "simclr", *SMALL, "--out", str(tmp_path / "run")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    one_line(done.stderr)
    assert not [path for path in tmp_path.rglob("*") if path.suffix == ".tmp"]


def test_names_that_cannot_be(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "simclr", *SMALL, "--out", str(tmp_path / ("x" * 300))]) == 2
    one_line(capsys.readouterr().err)
    with atomic_write(tmp_path / ("n" * 250)) as temporary:
        temporary.write_text("as long as a name may be")
    assert [len(path.name) for path in tmp_path.iterdir()] == [250]


def test_what_is_no_file_is_not_replaced(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/null"), tmp_path):
        with pytest.raises(InputError, match="name a file to write"), atomic_write(path):
            raise AssertionError
    assert (tmp_path / "pipe").is_fifo()
    (tmp_path / "link").symlink_to(tmp_path / "target.json")
    for text in ("made", "replaced"):
        with atomic_write(tmp_path / "link") as temporary:
            temporary.write_text(text)
        assert (tmp_path / "link").is_symlink()
        assert (tmp_path / "target.json").read_text() == text


def test_two_processes_on_one_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dipole.runs.directory.LOCK_ATTEMPTS", 2)
    code = "import sys, time, pathlib\nfrom dipole.runs.directory import locked\n"
    code += "with locked(pathlib.Path(sys.argv[1])):\n    print('held', flush=True)\n    time.sleep(60)"
    other = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert other.stdout is not None
    assert other.stdout.readline() == "held\n"
    with pytest.raises(InputError, match="another process is training"), locked(tmp_path):
        raise AssertionError
    other.kill()
    other.wait()
    other.stdout.close()
    with locked(tmp_path):
        assert list(tmp_path.iterdir()) == []


def test_a_tensor_of_a_checkpoint_that_has_changed(tmp_path: Path) -> None:
    path = tmp_path / "last.safetensors"
    SafeCheckpointIO().save_checkpoint({"a": torch.zeros(3), "b": torch.ones((), dtype=torch.bfloat16)}, path)
    assert float(SafeCheckpointIO().load_checkpoint(path)["b"]) == 1
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(InputError, match="its tensors are not those that were written"):
        SafeCheckpointIO().load_checkpoint(path)
    save_file(load_file(path), path, metadata={"dipole_checkpoint": json.dumps({"dict": []})})
    with pytest.raises(InputError, match="not a whole checkpoint"):
        SafeCheckpointIO().load_checkpoint(path)


def test_settings_that_are_written_can_be_read(tmp_path: Path) -> None:
    shared = [1, 2]
    (tmp_path / "x.yaml").write_text(yaml.safe_dump({"a": shared, "b": shared}))
    assert read_yaml(tmp_path / "x.yaml") == {"a": [1, 2], "b": [1, 2]}


@pytest.mark.parametrize("arguments", [["--help"], ["methods"]])
def test_a_reader_that_leaves_is_no_error(arguments: list[str]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    run = subprocess.run(
        [sys.executable, "-m", "dipole", *arguments], stdout=writing, stderr=subprocess.PIPE, text=True, check=False
    )
    os.close(writing)
    assert (run.returncode, run.stderr) == (0, "")
