"""Nothing is unpickled, and a file that is not whole is told from one that is."""

import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from dipole.errors import InputError
from dipole.runs import Run, RunConfig, load, train
from dipole.runs.evaluate import evaluate
from dipole.runs.safety import is_pickle

SETTINGS = RunConfig("simclr", epochs=1, batch_size=512, method={"encoder": "convnet4-4", "projection_dim": 8})


class Trap:
    """Unpickling it makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return Path.touch, (self.path,)  # type: ignore[return-value]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return train(SETTINGS, tmp_path_factory.mktemp("runs") / "run", monitor=False, progress=False)


@pytest.fixture
def run(trained: Run, tmp_path: Path) -> Run:
    shutil.copytree(trained.path, tmp_path / "run")
    return Run(tmp_path / "run")


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("name", ["model.safetensors", "extra.bin", "notes.txt"])
def test_a_pickle_under_any_name_is_refused(run: Run, protocol: int, name: str, tmp_path: Path) -> None:
    sprung = tmp_path / "sprung"
    (run.model / name).write_bytes(pickle.dumps(Trap(sprung), protocol=protocol))
    with pytest.raises(InputError, match=r"is a pickle.*refused"):
        load(run.path)
    with pytest.raises(InputError, match="is a pickle"):
        evaluate(run.path)
    assert not sprung.exists()


def test_what_torch_save_writes_is_refused(run: Run, tmp_path: Path) -> None:
    sprung = tmp_path / "sprung"
    torch.save({"weights": Trap(sprung)}, run.checkpoint)
    shutil.rmtree(run.model)  # an unfinished run
    with pytest.raises(InputError, match="is a pickle"):
        train(SETTINGS, run.path, resume=True, monitor=False, progress=False)
    with pytest.raises(InputError):
        load(run.path)
    assert not sprung.exists()


def test_arrays_of_objects_are_refused(run: Run) -> None:
    np.save(run.model / "labels.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    np.savez(run.model / "labels.npz", np.array([{"a": 1}], dtype=object))
    assert is_pickle(run.model / "labels.npy")
    assert is_pickle(run.model / "labels.npz")


def test_honest_files_are_no_pickles(run: Run) -> None:
    assert not any(is_pickle(path) for path in run.path.rglob("*") if path.is_file())
    plain = run.path / "plain.npz"
    np.savez(plain, a=np.arange(3))
    assert not is_pickle(plain)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.99])
def test_truncated_weights(run: Run, share: float) -> None:
    weights = run.model / "model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(InputError, match="does not hold the weights"):
        load(run.path)


def test_truncated_checkpoint(run: Run) -> None:
    whole = run.checkpoint.read_bytes()
    run.checkpoint.write_bytes(whole[: len(whole) // 2])
    shutil.rmtree(run.model)
    with pytest.raises(InputError, match="not a whole checkpoint"):
        train(SETTINGS, run.path, resume=True, monitor=False, progress=False)


def test_weights_of_another_network(run: Run) -> None:
    config = run.model / "dipole.json"
    config.write_text(config.read_text().replace("convnet4-4", "convnet4-8"))
    with pytest.raises(InputError, match="does not hold the weights of this model"):
        load(run.path)


def test_a_model_folder_can_be_moved(run: Run, tmp_path: Path) -> None:
    images = torch.rand(4, 3, 16, 16)
    with torch.inference_mode():
        expected = load(run.path).embed(images)
        shutil.copytree(run.model, tmp_path / "shared")
        torch.testing.assert_close(load(tmp_path / "shared").embed(images), expected, rtol=0, atol=0)
