"""How well the embeddings classify, while they are being trained."""

import logging
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from dipole.data.image_data_module import ImageDataModule
from dipole.data.image_set import ImageSet
from dipole.errors import InputError
from dipole.evaluation.embedding import embed_image_set
from dipole.evaluation.knn import TEMPERATURE, K, knn_accuracy
from dipole.nn import undisturbed

logger = logging.getLogger(__name__)


class OnlineKNN(Callback):
    """Logs `knn`, the accuracy of `weighted_knn` on a part of the test set, after every few epochs.

    Beside it stands `knn_untrained`, that of the encoder before its first step.

    The embeddings come from `pl_module.embed` in evaluation mode. Training does not notice: the mode of every module
    and all random states are restored. The images are drawn once, the same in every epoch. Without labels, or with
    another data module than `ImageDataModule`, nothing is logged and a warning says so.

    Args:
        every_n_epochs: epochs between two evaluations.
        k: neighbours.
        temperature: of the weights.
        max_train: training images used at most.
        max_test: test images used at most.

    Raises:
        InputError: a number below 1.
    """

    def __init__(
        self,
        every_n_epochs: int = 1,
        *,
        k: int = K,
        temperature: float = TEMPERATURE,
        max_train: int = 5000,
        max_test: int = 1000,
    ) -> None:
        if min(every_n_epochs, k, max_train, max_test) < 1:
            raise InputError(
                f"every_n_epochs={every_n_epochs}, k={k}, max_train={max_train}, max_test={max_test}: expected 1 or "
                "more of each."
            )
        self.every_n_epochs = every_n_epochs
        self.k = k
        self.temperature = temperature
        self.max_train = max_train
        self.max_test = max_test
        self._sets: tuple[ImageSet, ImageSet] | None = None
        self.untrained: float | None = None

    def state_dict(self) -> dict[str, Any]:
        """Return the accuracy before training."""
        return {"untrained": self.untrained}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take it back."""
        self.untrained = state_dict["untrained"]

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draw the images to evaluate on."""
        self._sets = None
        data = getattr(trainer, "datamodule", None)
        if not isinstance(data, ImageDataModule) or "knn" not in data.evaluations:
            logger.warning("OnlineKNN: there are no labelled images of two or more classes; knn is not logged.")
            return
        self._sets = (data.train_set.sample(self.max_train), data.test_set.sample(self.max_test))
        if self.untrained is None:
            self.untrained = self._accuracy(trainer, pl_module)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Evaluate after every `every_n_epochs`-th epoch and after the last one."""
        if self._sets is None:
            return
        last = trainer.max_epochs is not None and trainer.current_epoch + 1 == trainer.max_epochs
        if (trainer.current_epoch + 1) % self.every_n_epochs and not last:
            return
        accuracy = self._accuracy(trainer, pl_module)
        # Every process computes the same number from the same weights; their mean is that number.
        for name, value in (("knn", accuracy), ("knn_untrained", self.untrained)):
            pl_module.log(name, value, on_epoch=True, prog_bar=True, sync_dist=True)  # type: ignore[arg-type]

    def _accuracy(self, trainer: Trainer, pl_module: LightningModule) -> float:
        """The accuracy with the present weights."""
        assert self._sets is not None
        train, test = self._sets
        size: int = trainer.datamodule.image_size  # type: ignore[attr-defined]
        with undisturbed(pl_module):
            embedded = [
                embed_image_set(pl_module.embed, images, size, device=pl_module.device)  # type: ignore[arg-type]
                for images in (train, test)
            ]
        return knn_accuracy(
            embedded[0],
            train.labels["label"],
            embedded[1],
            test.labels["label"],
            k=self.k,
            temperature=self.temperature,
        )
