"""Real and generated images in one training set."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from dipole.cli import main
from dipole.data import ImageDataModule, load_image_sets
from dipole.data.inflated import InflatedImageSet, inflate, load_generated
from dipole.errors import InputError
from dipole.runs import Run, RunConfig, train

SMALL: dict[str, Any] = {"encoder": "convnet4-2", "projection_dim": 6}


@pytest.fixture
def generated(tmp_path: Path) -> Path:
    """Seven grey images, the i-th of value i."""
    path = tmp_path / "generated.npz"
    np.savez(path, image=np.arange(7, dtype=np.uint8)[:, None, None].repeat(8, 1).repeat(8, 2), label=-np.ones(7))
    return path


def test_counts_of_an_epoch_are_exact(generated: Path) -> None:
    data = ImageDataModule("digits", batch_size=64, generated=generated, replication=2, seed=3)
    real = len(data.train_set)
    order = data._order()
    assert order is not None
    drawn = order.draw(torch.Generator().manual_seed(0))
    assert drawn.bincount().tolist() == [2] * real + [1] * 7
    assert data.inflation is not None
    assert data.inflation.share == pytest.approx(2 * real / (2 * real + 7))
    batch = next(iter(data.train_dataloader()))
    made = batch["index"] >= real
    assert torch.equal(batch["label"] < 0, made)


def test_a_sampler_keeps_the_length_of_an_epoch(generated: Path) -> None:
    data = ImageDataModule("digits", batch_size=64, generated=generated, drawing="sampler")
    plain = ImageDataModule("digits", batch_size=64)
    assert len(data.train_dataloader()) == len(plain.train_dataloader())


def test_what_is_measured_are_the_real_images(generated: Path) -> None:
    data = ImageDataModule("digits", generated=generated)
    real, _ = load_image_sets("digits")
    assert len(data.train_set) == len(real)
    assert int(data.train_set.labels["label"].min()) == 0
    assert len(data.drawn_set) == len(real) + 7
    last = torch.tensor([len(real) + 6, 2])
    fetched = data.drawn_set.fetch(last)
    assert int(fetched[0].max()) == int(fetched[0].min()) == 6
    assert torch.equal(fetched[1], real.fetch(last[1:])[0])


def test_the_share_stands_in_the_settings_and_a_run_repeats_itself(generated: Path, tmp_path: Path) -> None:
    config = RunConfig("adainf", epochs=1, batch_size=128, image_size=8, method={"base": {"name": "simclr", **SMALL}})
    config.loading = {"generated": str(generated), "replication": 1}
    runs = [train(config, tmp_path / name, monitor=False, progress=False) for name in ("a", "b")]
    saved = Run.open(runs[0].path).settings()
    assert saved.loading["share_of_real"] == pytest.approx(1347 / 1354)
    assert saved.views["crop_scale"] == [0.2, 1.0] or tuple(saved.views["crop_scale"]) == (0.2, 1.0)
    assert saved.views["jitter"] == 0.4
    weights = [(run.model / "model.safetensors").read_bytes() for run in runs]
    assert weights[0] == weights[1]


def test_the_mixture_is_as_far_from_the_real_images_as_the_theorem_says() -> None:
    p, q = torch.tensor([0.5, 0.3, 0.2]), torch.tensor([0.1, 0.1, 0.8])
    share = inflate(5, 4, 3).share
    mixed = share * p + (1 - share) * q
    torch.testing.assert_close((mixed - p).abs().sum(), (1 - share) * (q - p).abs().sum())


def test_what_is_refused(generated: Path, tmp_path: Path) -> None:
    real, _ = load_image_sets("shapes")
    for name, array in (("half", np.zeros((2, 16, 16, 3), np.uint8)), ("real", np.zeros((2, 32, 32, 3)))):
        np.savez(tmp_path / f"{name}.npz", image=array)
    np.savez(tmp_path / "other.npz", pictures=np.zeros((2, 32, 32, 3), np.uint8))
    for name, message in (("half", "one size"), ("real", "expected uint8"), ("other", "expected 'image'")):
        with pytest.raises(InputError, match=message):
            InflatedImageSet(real, load_generated(tmp_path / f"{name}.npz", real.input_shape))
    with pytest.raises(InputError, match="no generated images"):
        load_generated(tmp_path / "nowhere", real.input_shape)
    for arguments, message in (((0, 3, 1), "real is 0"), ((3, 0, 0), "nothing to draw"), ((3, 1, -1), "replication")):
        with pytest.raises(InputError, match=message):
            inflate(*arguments)


def test_a_method_that_learns_from_labels_is_refused(
    generated: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ["--loading.generated", str(generated), "--out", str(tmp_path / "run")]
    assert main(["train", "hydra", "--data", "digits", *flags]) == 2
    assert "generated images lack" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
