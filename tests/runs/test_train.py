"""A run repeats itself bit for bit, also when it was broken off and resumed; whatever cannot work is said at once."""

import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from torch import Tensor, nn

from dipole.errors import InputError
from dipole.runs import Run, RunConfig, load, train
from dipole.runs.evaluate import evaluate
from dipole.runs.train import _in_one_order

METHOD = {"encoder": "convnet4-2", "projection_dim": 8}
SETTINGS = RunConfig("simclr", epochs=2, batch_size=512, seed=3, method=METHOD)
IMAGES = torch.rand(4, 3, 16, 16, generator=torch.Generator().manual_seed(0))


def weights(run: Run) -> bytes:
    return (run.model / "model.safetensors").read_bytes()


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return train(SETTINGS, tmp_path_factory.mktemp("runs") / "run", progress=False)


@pytest.fixture
def run(finished: Run, tmp_path: Path) -> Run:
    """A copy to do harm to."""
    shutil.copytree(finished.path, tmp_path / "run")
    return Run(tmp_path / "run")


def test_the_files_of_a_run(finished: Run) -> None:
    files = {path.relative_to(finished.path).as_posix() for path in finished.path.rglob("*") if path.is_file()}
    expected = {"config.yaml", "metrics.csv", "diagnostics.json", "checkpoints/last.safetensors"}
    assert files == expected | {"model/dipole.json", "model/model.safetensors"}
    header, *rows = finished.metrics.read_text().splitlines()
    assert header.startswith("epoch,step,loss,learning_rate,knn,knn_untrained,alignment,uniformity")
    assert [row.split(",")[:2] for row in rows] == [["0", "2"], ["1", "4"]]


def test_the_settings_say_all_that_was_used(finished: Run) -> None:
    content = yaml.safe_load(finished.config.read_text())
    assert set(content["provenance"]) == {"dipole", "torch", "lightning", "python", "platform", "git_commit"}
    assert content["method"]["temperature"] == 0.2
    assert content["method"]["optimizer"] == "sgd"
    assert content["method"]["image_size"] == content["image_size"] == 16
    assert content["views"]["flip"] is not None


def test_the_same_seed_gives_the_same_bits_and_another_does_not(finished: Run, tmp_path: Path) -> None:
    torch.manual_seed(torch.seed() % 2**32)  # the state of the caller does not matter
    same = train(SETTINGS, tmp_path / "same", progress=False)
    assert weights(same) == weights(finished)
    assert same.metrics.read_bytes() == finished.metrics.read_bytes()
    assert same.diagnostics.read_bytes() == finished.diagnostics.read_bytes()
    other = train(replace(SETTINGS, seed=4), tmp_path / "other", monitor=False, progress=False)
    assert weights(other) != weights(finished)


def test_two_threads_add_in_one_order() -> None:
    drawn = torch.Generator().manual_seed(0)
    rows, places = torch.randn(50, 100, generator=drawn), torch.randint(0, 50, (20_000,), generator=drawn)
    weight = torch.randn(20_000, 100, generator=drawn)

    def gradient() -> Tensor:
        leaf = rows.clone().requires_grad_()
        (leaf[places] * weight).sum().backward()
        assert leaf.grad is not None
        return leaf.grad

    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with _in_one_order():
            first = gradient()
            assert all(torch.equal(gradient(), first) for _ in range(10))
        assert not torch.are_deterministic_algorithms_enabled()
    finally:
        torch.set_num_threads(threads)


def test_watching_a_run_does_not_change_it(finished: Run, tmp_path: Path) -> None:
    unwatched = train(SETTINGS, tmp_path / "unwatched", monitor=False, progress=False)
    assert weights(unwatched) == weights(finished)
    assert not unwatched.diagnostics.exists()


def test_the_settings_of_a_run_repeat_it(finished: Run, tmp_path: Path) -> None:
    settings = RunConfig.load(finished.config)
    assert weights(train(settings, tmp_path / "again", monitor=False, progress=False)) == weights(finished)


def test_the_random_state_of_the_caller_is_used_for_nothing(finished: Run) -> None:
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    load(finished.path)
    assert torch.equal(torch.rand(3), expected)


class Fragile(nn.Module):
    """An encoder with dropout that breaks down in a given training step."""

    def __init__(self, breaks_at: int | None = None) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.linear = nn.Linear(3 * 16 * 16, 10)
        self.dropout = nn.Dropout(0.3)
        self.steps, self.breaks_at = 0, breaks_at

    def forward(self, images: Tensor) -> Tensor:
        if self.training and torch.is_grad_enabled():
            if self.steps == self.breaks_at:
                raise RuntimeError("out of luck")
            self.steps += 1
        return self.dropout(self.linear(images.flatten(1)))


OWN = RunConfig("moco", epochs=3, batch_size=512, method={"projection_dim": 8, "queue_size": 700})


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return train(OWN, tmp_path_factory.mktemp("own") / "run", encoder=Fragile(), progress=False)


@pytest.mark.parametrize("step", [2, 3, 5])
def test_broken_off_and_resumed(own: Run, tmp_path: Path, step: int) -> None:
    # Two steps an epoch. The queue, its momentum encoder and dropout must go on as if nothing had happened.
    with pytest.raises(RuntimeError, match="out of luck"):
        train(OWN, tmp_path / "run", encoder=Fragile(step), progress=False)
    with pytest.raises(InputError, match=r"no trained model yet.*--resume"):
        load(tmp_path / "run", encoder=Fragile())
    resumed = train(OWN, tmp_path / "run", resume=True, encoder=Fragile(), progress=False)
    assert weights(resumed) == weights(own)
    for name in ("metrics.csv", "diagnostics.json", "model/dipole.json"):
        assert (resumed.path / name).read_bytes() == (own.path / name).read_bytes(), name


@pytest.mark.parametrize("step", [0, 1])
def test_nothing_is_left_of_a_run_that_failed_in_its_first_epoch(tmp_path: Path, step: int) -> None:
    with pytest.raises(RuntimeError, match="out of luck"):
        train(OWN, tmp_path / "run", encoder=Fragile(step), progress=False)
    assert list(tmp_path.iterdir()) == []


def test_what_somebody_else_put_there_stays(tmp_path: Path) -> None:
    folder, encoder = tmp_path / "run", Fragile(1)

    def note(*_: Any) -> None:
        if folder.is_dir():
            (folder / "notes.txt").write_text("mine")

    encoder.linear.register_forward_hook(note)
    with pytest.raises(RuntimeError, match="out of luck"):
        train(OWN, folder, encoder=encoder, progress=False)
    assert [path.name for path in folder.iterdir()] == ["notes.txt"]


def test_a_module_of_the_callers_own_is_needed_again(own: Run) -> None:
    module = Fragile()
    method = load(own.path, encoder=module)
    with torch.inference_mode():
        expected = module.eval()((IMAGES - 0.5) / 0.25)
        torch.testing.assert_close(method.embed(IMAGES), expected)


@pytest.mark.usefixtures("unchecked")
def test_loading_without_it_says_so(own: Run) -> None:
    for refused in (lambda: load(own.path), lambda: evaluate(own.path, protocols=["knn"])):
        with pytest.raises(InputError, match="trained with a module of its own needs it again"):
            refused()


def test_killed_while_the_model_was_written(run: Run, finished: Run) -> None:
    (run.model / "dipole.json").unlink()
    (run.model / "model.safetensors").write_bytes(b"half")
    with pytest.raises(InputError, match="no trained model yet"):
        load(run.path)
    assert weights(train(SETTINGS, run.path, resume=True, progress=False)) == weights(finished)
    assert run.metrics.read_bytes() == finished.metrics.read_bytes()


def test_killed_before_the_first_checkpoint(run: Run, finished: Run) -> None:
    shutil.rmtree(run.model)
    shutil.rmtree(run.checkpoint.parent)
    assert weights(train(SETTINGS, run.path, resume=True, progress=False)) == weights(finished)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seed": 4}, r"another seed \(3, now 4\)"),
        ({"epochs": 1}, r"another epochs \(2, now 1\)"),
        ({"data": "shapes"}, r"another data \('digits', now 'shapes'\)"),
        ({"method": {**METHOD, "temperature": 0.5}}, r"another method\.temperature \(0\.2, now 0\.5\)"),
        ({"views": {"flip": 0.1}}, r"another views\.flip"),
        ({"trainer": {"accumulate_grad_batches": 2}}, r"another trainer\.accumulate_grad_batches \(None, now 2\)"),
        ({"name": "dcl"}, r"another name \('simclr', now 'dcl'\)"),
    ],
)
def test_other_settings_are_not_resumed(run: Run, changes: dict[str, Any], message: str) -> None:
    shutil.rmtree(run.model)
    before = {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()}
    with pytest.raises(InputError, match=message):
        train(replace(SETTINGS, **changes), run.path, resume=True, progress=False)
    assert {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()} == before


def test_a_tuple_is_resumed_as_the_list_that_yaml_made_of_it(tmp_path: Path) -> None:
    config = replace(SETTINGS, epochs=1, views={"crop_scale": (0.5, 1.0)})
    run = train(config, tmp_path / "run", monitor=False, progress=False)
    shutil.rmtree(run.model)
    assert train(config, run.path, resume=True, monitor=False, progress=False).finished


def test_places_that_cannot_be_written(run: Run, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thing").write_text("")
    for out, resume, message in (
        (run.path, False, "exists already: add --resume"),
        (run.path, True, "is finished: there is nothing to resume"),
        (tmp_path / "file", False, "exists already"),
        (tmp_path / "full", False, "exists already"),
        (tmp_path / "full", True, "is not a run: it has no config.yaml"),
        (tmp_path / "nowhere", True, "there is no run at"),
        (tmp_path / "file" / "run", False, "cannot write to .*: Not a directory. Choose another --out"),
    ):
        with pytest.raises(InputError, match=message):
            train(SETTINGS, out, resume=resume, progress=False)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "full", "run"]


def test_an_empty_folder_will_do(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    assert train(replace(SETTINGS, epochs=1), tmp_path / "run", monitor=False, progress=False).finished


@pytest.mark.parametrize("changes", [{"temprature": 1}, {"foo": 1, "bar": 2}])
def test_arguments_that_no_method_has(tmp_path: Path, changes: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=r"simclr has no argument '(temprature|bar)'.*--help"):
        train(replace(SETTINGS, method=changes), tmp_path / "run")
    with pytest.raises(InputError, match=r"views have no argument '(temprature|bar)': choose from"):
        train(replace(SETTINGS, views=changes), tmp_path / "run")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("trainer", "message"),
    [
        ({"accelerator": "gpu9"}, "do not work here: .*invalid accelerator name"),
        ({"strategy": "nonsense"}, "do not work here"),
        ({"devices": 0}, "do not work here"),
        ({"no_such_argument": 1}, "do not work here: .*no_such_argument"),
        ({"accumulate_grad_batches": 0}, "accumulate_grad_batches is 0"),
        ({"gradient_clip_val": -1.0}, "gradient_clip_val is -1.0"),
    ],
)
def test_trainers_that_do_not_work(tmp_path: Path, trainer: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        train(replace(SETTINGS, trainer=trainer), tmp_path / "run")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed", "64-true"])
def test_precisions(tmp_path: Path, precision: str) -> None:
    config = replace(SETTINGS, epochs=1, precision=precision)
    run = train(config, tmp_path / "run", progress=False)
    with torch.inference_mode():
        assert load(run.path).embed(IMAGES).isfinite().all()


@pytest.mark.slow
def test_a_compiled_encoder_and_a_machine_without_a_compiler(tmp_path: Path) -> None:
    # In processes of their own: types are checked here, which makes graphs of nothing but checks.
    flags = "simclr --data digits --epochs 1 --batch_size 1024 --method.encoder mlp-8 --monitor.every off --compile"
    command = [sys.executable, "-m", "dipole", "train", *flags.split(), "--out"]
    subprocess.run([*command, tmp_path / "run"], check=True, capture_output=True)
    assert Run(tmp_path / "run").settings().compile
    assert load(tmp_path / "run").embed(IMAGES).isfinite().all()
    elsewhere = {**os.environ, "CXX": "/nowhere", "TORCHINDUCTOR_CACHE_DIR": str(tmp_path / "cache")}
    found = subprocess.run([*command, tmp_path / "other"], env=elsewhere, capture_output=True, text=True, check=False)
    assert found.returncode == 2
    assert "the encoder cannot be compiled here" in found.stderr
    assert "Leave out --compile" in found.stderr
    assert not (tmp_path / "other").exists()


def test_images_at_hand_are_not_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from dipole.data import load_image_sets

    sets = load_image_sets("digits")
    config = replace(SETTINGS, epochs=1, data="not on this disk")
    assert train(config, tmp_path / "run", sets=sets, monitor=False, progress=False).finished


@pytest.mark.slow
@pytest.mark.parametrize("name", ["cacr", "cacr-moco", "cacr-moco-v3", "dclw", "dcl-moco", "hard-contrastive"])
def test_every_method_trains_and_loads(tmp_path: Path, name: str) -> None:
    config = RunConfig(name, epochs=1, batch_size=256, method=METHOD)
    run = train(config, tmp_path / "run", progress=False)
    again = train(config, tmp_path / "again", progress=False)
    assert weights(run) == weights(again)
    result = evaluate(run.path, protocols=["knn"])
    assert result.rows[0]["knn"] > 0.3  # five steps; chance is 0.1
