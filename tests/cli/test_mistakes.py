"""Every mistake on the command line ends with exit code 2 and one line, and leaves nothing behind."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from dipole.cli import COMMANDS, main
from dipole.errors import InputError

pytestmark = pytest.mark.usefixtures("unchecked")

FILES = {
    "text.txt": b"hello",
    "pairs.txt": b"hello",
    "pairs.csv": b"image,caption\nimages/a/1.png,a cat\nimages/a/2.png,a dog\n",
    "broken.yaml": b"name: [",
    "empty.yaml": b"",
    "binary.yaml": b"\xff\xfe\x00name",
    "nameless.yaml": b"epochs: 3\n",
    "listed.yaml": b"name: [simclr]\n",
    "twice.yaml": b"name: simclr\nepochs: 1\nepochs: 2\n",
    "octal.yaml": b"name: simclr\nepochs: 010\n",
    "sixty.yaml": b"name: simclr\nepochs: 1:30\n",
    "unknown.yaml": b"name: simclr\nextra: 1\n",
    "strange.yaml": b"name: simcrl\n",
    "many.yaml": b"name: simclr\nepochs: many\n",
    "none.yaml": b"name: simclr\nbatch_size: null\n",
    "hot.yaml": b"name: simclr\nmethod:\n  temperature: hot\n",
    "typo.yaml": b"name: simclr\nmethod:\n  temprature: 1\n",
    "flat.yaml": b"name: simclr\nmethod: 3\n",
    "flip.yaml": b"name: simclr\nviews:\n  flip: 7\n",
    "devices.yaml": b"name: simclr\ntrainer:\n  devices: [1, 2]\n",
    "cacr.yaml": b"name: cacr\n",
    "corrupt.npz": b"PK\x03\x04 no archive",
    "images/a/1.png": b"no image",
    "images/a/2.png": b"",
    "empty/.keep": b"",
    "run/config.yaml": b"name: simclr\n",
    "bad/config.yaml": b"name: [",
    "pickled/config.yaml": b"name: simclr\n",
    "pickled/model.pt": b"\x80\x04.",
}


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, content in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content)
    (tmp_path / "empty" / ".keep").unlink()
    np.savez(tmp_path / "keys.npz", something=np.zeros(3))
    monkeypatch.chdir(tmp_path)


def check(command: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    before = {path: path.read_bytes() for path in Path().rglob("*") if path.is_file()}
    assert main(command.split()) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    (line,) = captured.err.splitlines()
    assert line.startswith("dipole: ")
    assert message in line
    assert {path: path.read_bytes() for path in Path().rglob("*") if path.is_file()} == before
    assert not Path("out").exists()


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("nonsense", "there is no command 'nonsense'. `dipole --help` lists them."),
        ("evalute", "Did you mean 'evaluate'?"),
        ("--halp", "there is no command '--halp'"),
        ("methods nonsense", "there is no method 'nonsense'"),
        ("methods cac", "Did you mean 'cacr'?"),
        ("methods cacr dcl", "unrecognized arguments: dcl"),
        ("methods --loud", "unrecognized arguments: --loud"),
        ("data nonsense", "neither a known set nor a path"),
        ("data digit", "Did you mean 'digits'?"),
        ("data broken.yaml", "does not read as data"),
        ("data empty", "empty is empty"),
        ("data images", "images"),
        ("data corrupt.npz", "corrupt.npz"),
        ("data keys.npz", "keys.npz"),
        ("data no/such/folder", "no such file or folder"),
        ("data cifar10", "give --data-root"),
        ("data digits --data-root nowhere", "--data-root nowhere is no folder"),
        ("data digits shapes", "unrecognized arguments: shapes"),
        ("rewrite pairs.csv --out out.csv", "expected a file that ends in .parquet or .jsonl"),
        ("rewrite pairs.csv --out out.jsonl --column captoin", "Did you mean 'caption'"),
        ("rewrite pairs.csv --out out.jsonl --count 0", "count is 0"),
        ("rewrite nowhere.csv --out out.jsonl", "nowhere.csv is no file"),
        ("train symile --out out --data pairs.csv --loading.modalities image,captoin", "Did you mean 'caption'"),
        ("train symile --out out --data pairs.csv --loading.modalities image:photo", "names the kind 'photo'"),
        ("train symile --out out --data pairs.csv", "holds no image that can be read"),
        ("train clip --out out --data shape-caption", "Did you mean 'shape-captions'"),
        ("train clip --out out --method.locked imgae", "Did you mean 'image'"),
        ("train cwcl --out out --data pairs.txt", "no table that dipole reads"),
        ("evaluate", "the following arguments are required: path"),
        ("evaluate nowhere", "there is no run at nowhere"),
        ("evaluate text.txt", "there is no run at text.txt"),
        ("evaluate empty", "is not a run: it has no config.yaml"),
        ("evaluate bad", "is not valid YAML"),
        ("evaluate run", "no trained model yet"),
        ("evaluate run --protocol kmeans", "there is no protocol 'kmeans'"),
        ("evaluate pickled", "is a pickle, which can run code when it is read: refused"),
        ("evaluate nowhere --foo", "unrecognized arguments: --foo"),
        ("train --config twice.yaml --out out", "line 3: 'epochs' stands twice"),
        ("train --config octal.yaml --out out", "line 2: 010 means 8 there"),
        ("train --config sixty.yaml --out out", "line 2: 1:30 means 90 there"),
        ("train simclr --trainer.devices 99 --trainer.accelerator cpu --out out", "devices is 99"),
        ("train simclr --trainer.accelerator tpu --out out", "torch_xla"),
    ],
)
def test_commands_that_read(command: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    check(command, message, capsys)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("--epochs 0", "epochs is 0: expected a number of at least 1"),
        ("--epochs x", 'Parser key "epochs"'),
        ("--epochs 1.5", 'Parser key "epochs"'),
        ("--epochs", "expected one argument"),
        ("--batch-size 1", "batch_size is 1"),
        ("--seed -1", "seed is -1"),
        ("--seed 99999999999999999999999", "seed is 99999999999999999999999"),
        ("--num-workers -1", "num_workers is -1"),
        ("--precision bf16", "precision is 'bf16': expected one of"),
        ("--image-size 0", "image_size=0"),
        ("--image-size -4", "image_size=-4"),
        ("--data nonsense", "neither a known set nor a path"),
        ("--data empty", "empty is empty"),
        ("--data text.txt", "does not read as data"),
        ("--data mnist", "give --data-root"),
        ("--data-root text.txt", "--data-root text.txt is no folder"),
        ("--trainer.accelerator nonsense", "do not work here"),
        ("--trainer.strategy nonsense", "do not work here"),
        ("--trainer.devices 0", "do not work here"),
        ("--trainer.devices x", "do not work here"),
        ("--trainer.num-nodes 0", "do not work here"),
        ("--trainer.accumulate-grad-batches 0", "accumulate_grad_batches is 0"),
        ("--trainer.gradient-clip-val -1", "gradient_clip_val is -1.0"),
        ("--foo 3", "unrecognized arguments: --foo 3"),
        ("--metod.temperature 3", "Did you mean --method.temperature?"),
        ("--method.temprature 3", "Did you mean --method.temperature?"),
        ("--method.temperature hot", 'Parser key "method.temperature"'),
        ("--method.temperature nan", "temperature"),
        ("--method.temperature -1", "expected a number above 0"),
        ("--method.encoder nonsense", "encoder is 'nonsense'"),
        ("--method.encoder resnet19", "resnet18"),
        ("--method.encoder convnet4-0", "write the width as a number"),
        ("--method.encoder small-alexnet --image-size 8", "16×16 or larger"),
        ("--method.projection-dim 0", "to 0 features"),
        ("--method.learning-rate -1", "learning_rate is -1.0"),
        ("--method.optimizer adagrad", "'sgd', 'adam', 'adamw', 'lars'"),
        ("--method.chunk-size 0", "chunk_size is 0"),
        ("--views.flip 7", "flip is 7.0"),
        ("--views.flop 0.5", "Did you mean --views.flip?"),
        ("--config nowhere.yaml", "cannot read nowhere.yaml"),
        ("--config empty", "cannot read empty: Is a directory"),
        ("--config cacr.yaml", "is for 'cacr', not for 'simclr'"),
        ("--config many.yaml", "the settings do not fit simclr"),
        ("--resume", "there is no run at out"),
    ],
)
def test_flags_of_train(flags: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    check(f"train simclr --out out {flags}", message, capsys)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("csgcl --data karate", "Did you mean 'karate-club'?"),
        ("csgcl --data cora", "cora is read from files: give --data-root"),
        ("csgcl --data text.txt", "as a list of edges, two nodes a line"),
        ("csgcl --data empty", "empty holds no graph"),
        ("csgcl --data keys.npz", "has the keys something: expected edge_index"),
        ("csgcl --data corrupt.npz", "corrupt.npz"),
        ("csgcl --views.edge_threshold 2", "threshold is 2.0: expected a share"),
        ("gca --loading.held_out 1", "held_out is 1.0: expected a share of the edges"),
        ("gca --views.centrality fame", "fame"),
        ("grace --method.encoder mlp", "encoder is 'mlp': expected one of 'gcn'"),
    ],
)
def test_training_on_graphs(arguments: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    check(f"train {arguments} --out out", message, capsys)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("", "name a recipe or a method"),
        ("--out out", "name a recipe or a method"),
        ("simclr", "the following arguments are required: out"),
        ("simclr cacr --out out", "unrecognized arguments: cacr"),
        ("simcrl --out out", "Did you mean 'simclr'?"),
        ("simclr --out text.txt", "text.txt exists already"),
        ("simclr --out text.txt/run", "cannot write to text.txt/run"),
        ("simclr --out run", "add --resume to continue it"),
        ("--resume", "the following arguments are required: out"),
        ("--resume --out empty", "it has no config.yaml"),
        ("--resume --out bad", "is not valid YAML"),
        ("--resume --out pickled", "is a pickle"),
        ("--resume --out out --seed 3", "unrecognized arguments: --seed 3"),
        ("hard-contrastive --out out --method.top-k 2 --method.alpha 0.5", "at most one of them"),
        ("hard-contrastive --out out --method.bank-size 10", "has no entry: bank_size is 10"),
        ("cacr --out out --method.num-positives 0", "num_positives is 0"),
        ("moco --out out --method.queue-size 0", "the queue's size is 0"),
        *(
            (f"--out out --config {name}.yaml", message)
            for name, message in [
                ("broken", "is not valid YAML"),
                ("empty", "does not hold settings"),
                ("binary", "is not valid YAML"),
                ("nameless", "does not name a method"),
                ("listed", "names the method ['simclr']"),
                ("unknown", "has the unknown setting 'extra'"),
                ("strange", "Did you mean 'simclr'?"),
                ("many", 'Parser key "epochs"'),
                ("none", "batch_size is None"),
                ("hot", 'Parser key "method.temperature"'),
                ("typo", "does not accept option 'temprature'"),
                ("flat", "has method = 3"),
                ("flip", "flip is 7"),
                ("devices", 'Parser key "trainer.devices"'),
            ]
        ),
    ],
)
def test_train(arguments: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    check(f"train {arguments}", message, capsys)


def test_other_settings_than_the_run_has(capsys: pytest.CaptureFixture[str]) -> None:
    check("train simclr --out run --resume --epochs 7", "was started with another", capsys)


def test_an_unfinished_run_says_how_to_finish_it(capsys: pytest.CaptureFixture[str]) -> None:
    check("evaluate run", "`dipole train --resume --out run`", capsys)


def test_a_traceback_on_demand(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DIPOLE_TRACEBACK", "1")
    with pytest.raises(InputError, match="there is no run at nowhere"):
        main(["evaluate", "nowhere"])


def test_defects_keep_their_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    import dipole.cli.methods

    def defect(_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(dipole.cli.methods, "run", defect)
    with pytest.raises(ZeroDivisionError):
        main(["methods"])


def test_every_command_is_a_module_that_can_explain_itself(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    listed = capsys.readouterr().out
    for command in COMMANDS:
        assert command in listed
        with pytest.raises(SystemExit) as ended:
            main([command, "--help"])
        assert ended.value.code == 0
        assert f"dipole {command}" in capsys.readouterr().out


def test_the_help_of_a_method_lists_its_arguments(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["train", "cacr", "--help"])
    page = capsys.readouterr().out
    for flag in ("--method.t_negative", "--method.encoder", "--views.crop_scale", "--trainer.devices", "--resume"):
        assert flag in page
    shutil.rmtree("empty")  # nothing was written into the working directory
    assert not Path("runs").exists()


def test_a_home_that_the_shell_leaves_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "home" / "run").mkdir(parents=True)
    (tmp_path / "home" / "run" / "mine.txt").touch()
    assert main(["train", "simclr", "--out=~/run"]) == 2
    assert f"{tmp_path}/home/run exists already" in " ".join(capsys.readouterr().err.split())
