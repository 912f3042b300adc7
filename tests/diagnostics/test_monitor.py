"""The monitor inside real training runs."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import Tensor, nn
from torch.utils.data import DataLoader

from dipole.diagnostics import GeometryMonitor, geometry
from dipole.errors import InputError

IMAGES = torch.randint(0, 256, (20, 3, 4, 4), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
LABELS = torch.arange(20) % 2

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*LeafSpec.*:FutureWarning"),  # Lightning's own use of torch
    pytest.mark.filterwarnings("ignore:.*does not have many workers.*"),
    pytest.mark.filterwarnings("ignore:.*Checkpoint directory.*exists.*"),
]


def noisy_views(images: Tensor, generator: torch.Generator | None = None) -> Tensor:
    torch.rand(3)  # careless use of the global generator, which must not reach the training
    noise = torch.rand(2, *images.shape, generator=generator, device=images.device)
    return (images / 255 + 0.1 * noise).clamp(max=1)


class TinyMethod(LightningModule):
    """An encoder with batch statistics and dropout, which betray a forward pass in training mode."""

    def __init__(self) -> None:
        super().__init__()
        self.frozen = nn.Dropout(0.5)
        self.net = nn.Sequential(nn.Flatten(), nn.Linear(48, 8), nn.BatchNorm1d(8), nn.Dropout(0.2), nn.Linear(8, 4))

    def project(self, views: Tensor) -> Tensor:
        return self.net(views.flatten(0, 1)).unflatten(0, views.shape[:2])

    def training_step(self, batch: dict[str, Tensor]) -> Tensor:
        z1, z2 = self.project(noisy_views(batch["images"]))
        return (z1 - z2).square().mean()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)

    def on_train_epoch_start(self) -> None:
        self.frozen.eval()


def fit(tmp_path: Path, callbacks: list[Any], epochs: int = 2, resume: str | None = None) -> TinyMethod:
    torch.manual_seed(0)
    method = TinyMethod()
    trainer = Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        callbacks=callbacks,
        logger=False,
        enable_checkpointing=any(isinstance(callback, ModelCheckpoint) for callback in callbacks),
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=tmp_path,
    )
    loader = DataLoader([{"images": image} for image in IMAGES], batch_size=10)
    trainer.fit(method, loader, ckpt_path=resume)
    method.trainer_metrics = dict(trainer.callback_metrics)
    return method


def test_it_measures_every_epoch_and_writes_the_file(tmp_path: Path) -> None:
    path = tmp_path / "run" / "diagnostics.json"
    monitor = GeometryMonitor(IMAGES, noisy_views, LABELS, path=path)
    method = fit(tmp_path, [monitor])
    written = json.loads(path.read_text())
    assert written == {"epochs": monitor.entries}
    assert [entry["epoch"] for entry in written["epochs"]] == [0, 1]
    entry = written["epochs"][-1]
    method.eval()
    with torch.no_grad():
        x, y = method.project(noisy_views(IMAGES, torch.Generator().manual_seed(0)))
    expected = geometry(x, y, LABELS)
    assert entry["alignment"] == pytest.approx(expected["alignment"], rel=1e-5)
    assert entry["tolerance"] == pytest.approx(expected["tolerance"], rel=1e-5)
    assert len(entry["histogram"]["positive"]) == 50
    assert float(method.trainer_metrics["uniformity"]) == pytest.approx(entry["uniformity"], rel=1e-5)
    assert float(method.trainer_metrics["positive_mean"]) == pytest.approx(entry["positive"]["mean"], rel=1e-5)


def test_training_does_not_notice_it(tmp_path: Path) -> None:
    alone = fit(tmp_path, [])
    watched = fit(tmp_path, [GeometryMonitor(IMAGES, noisy_views)])
    for name, value in alone.state_dict().items():
        assert torch.equal(value, watched.state_dict()[name]), name
    assert watched.net.training
    assert not watched.frozen.training


def test_a_resumed_run_continues_the_list(tmp_path: Path) -> None:
    whole = GeometryMonitor(IMAGES, noisy_views, LABELS)
    fit(tmp_path, [whole], epochs=2)
    first, second = GeometryMonitor(IMAGES, noisy_views, LABELS), GeometryMonitor(IMAGES, noisy_views, LABELS)
    checkpoints = [ModelCheckpoint(tmp_path, filename=name, save_on_train_epoch_end=True) for name in ("one", "two")]
    fit(tmp_path, [first, checkpoints[0]], epochs=1)
    fit(tmp_path, [second, checkpoints[1]], epochs=2, resume=str(tmp_path / "one.ckpt"))
    assert [entry["epoch"] for entry in second.entries] == [0, 1]
    assert second.entries[0] == first.entries[0] == whole.entries[0]


def test_without_labels_there_is_no_tolerance(tmp_path: Path) -> None:
    monitor = GeometryMonitor(IMAGES, noisy_views)
    method = fit(tmp_path, [monitor], epochs=1)
    assert monitor.entries[0]["tolerance"] is None
    assert "tolerance" not in method.trainer_metrics


def test_chunks_do_not_change_the_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def steady(images: Tensor, generator: torch.Generator | None = None) -> Tensor:
        return torch.stack([images / 255, images.flip(3) / 255])

    together = GeometryMonitor(IMAGES, steady)
    fit(tmp_path, [together], epochs=1)
    monkeypatch.setattr("dipole.diagnostics.monitor.CHUNK", 7)
    apart = GeometryMonitor(IMAGES, steady)
    fit(tmp_path, [apart], epochs=1)
    assert apart.entries[0]["alignment"] == pytest.approx(together.entries[0]["alignment"], rel=1e-5)


def test_wrong_input_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="GeometryMonitor compares different samples, and 1 came"):
        GeometryMonitor(IMAGES[:1], noisy_views)
    with pytest.raises(InputError, match="1 view of each image"):
        fit(tmp_path, [GeometryMonitor(IMAGES, lambda images, generator=None: noisy_views(images, generator)[:1])])
    monkey = GeometryMonitor(IMAGES, noisy_views)
    with pytest.raises(InputError, match="no method project"):
        monkey._embed(Trainer(accelerator="cpu", logger=False, enable_checkpointing=False), LightningModule())
