import pytest
import torch
from lightning.pytorch import LightningModule, Trainer
from PIL import Image
from torch import nn

from dipole.data import ImageDataModule
from dipole.errors import InputError
from dipole.evaluation import OnlineKNN

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*does not have many workers.*"),
    pytest.mark.filterwarnings("ignore:The number of training batches.*"),
    pytest.mark.filterwarnings("ignore:.*LeafSpec.*:FutureWarning"),
    pytest.mark.filterwarnings("ignore:Found 1 module.*in eval mode.*"),
]


class Small(LightningModule):
    """An encoder whose training draws random numbers, and whose mode and batch statistics can be disturbed."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.net = nn.Sequential(nn.Flatten(), nn.Linear(192, 16), nn.BatchNorm1d(16), nn.Dropout(0.5))
        self.frozen = nn.Dropout().eval()
        self.modes, self.sizes = [], []

    def embed(self, images):
        self.modes.append(self.net.training)
        self.sizes.append(len(images))
        torch.rand(3)
        return self.net(images)

    def training_step(self, batch, batch_idx):
        assert self.net.training
        assert not self.frozen.training
        assert torch.is_grad_enabled()
        return self.net(batch["images"].float() / 255).square().mean()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


def fit(module, *callbacks, data="digits", epochs=2):
    trainer = Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        logger=False,
        callbacks=list(callbacks),
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
    )
    trainer.fit(module, datamodule=ImageDataModule(data, image_size=8, batch_size=500))
    return trainer


def test_the_accuracy_is_logged_and_training_not_disturbed():
    alone, watched = Small(), Small()
    torch.manual_seed(1)
    fit(alone)
    after = torch.get_rng_state()
    torch.manual_seed(1)
    trainer = fit(watched, OnlineKNN(max_train=600, max_test=100))
    assert 0.5 < trainer.callback_metrics["knn"] <= 1.0
    assert torch.equal(torch.get_rng_state(), after)
    for name, value in alone.state_dict().items():
        assert torch.equal(watched.state_dict()[name], value), name
    assert not any(watched.modes)
    assert sum(watched.sizes) == 3 * 700, "once before training, then after each epoch"


@pytest.mark.parametrize(("every", "epochs", "times"), [(1, 3, 3), (2, 3, 2), (5, 3, 1), (2, 4, 2)])
def test_it_runs_every_few_epochs_and_at_the_end(every, epochs, times):
    module = Small()
    fit(module, OnlineKNN(every, max_train=50, max_test=50), epochs=epochs)
    assert len(module.sizes) == 2 * (times + 1)


def test_without_labels_it_says_so_and_logs_nothing(tmp_path, caplog):
    for index in range(10):
        Image.new("RGB", (8, 8), (index, 0, 0)).save(tmp_path / f"{index}.png")
    trainer = fit(Small(), OnlineKNN(), data=str(tmp_path))
    assert "knn" not in trainer.callback_metrics
    assert "knn is not logged" in caplog.text


def test_numbers_below_one_are_refused():
    with pytest.raises(InputError, match="every_n_epochs=0"):
        OnlineKNN(0)
