"""A look at the whole training set between epochs."""

from collections.abc import Callable
from typing import Any

import lightning
import torch
from torch import Tensor

from dipole import ops
from dipole.errors import InputError
from dipole.methods.base import Method
from dipole.nn import undisturbed

# (method, index=(n,), progress=bool) -> embeddings (n, F) of these training samples
Embed = Callable[..., Tensor]


class Refresh(lightning.Callback):
    """Call `Method.refresh` before the first epoch and after every `refresh_every` epochs.

    The training samples are spread over the processes. Training is not disturbed: every part is in evaluation mode
    meanwhile and returns to its own, and the random states are put back. What was found is part of the checkpoint of
    the epoch, so that a run which is interrupted here repeats the epoch, and a resumed one does not look again.

    Args:
        embed: embeds training samples.
        size: number of training samples.
        progress: show a progress bar.
    """

    def __init__(self, embed: Embed, size: int, progress: bool = False) -> None:
        self.embed, self.size, self.progress = embed, size, progress

    def setup(self, trainer: lightning.Trainer, pl_module: Any, stage: str) -> None:
        """Look once before the first epoch, before anything draws an order or asks how many steps there will be.

        A run that is resumed takes what its checkpoint holds, unless that is read too late (divided weights).
        """
        kept = trainer.ckpt_path and not trainer.strategy.restore_checkpoint_after_setup
        if pl_module.refresh_every and not pl_module.refreshed and not kept:
            self._refresh(pl_module.to(trainer.strategy.root_device))

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: Any) -> None:
        """Log what the epoch went by, and look again, unless no epoch follows."""
        state = pl_module.refreshed
        numbers = {f"refresh/{name}": value.float() for name, value in state.items() if value.ndim == 0}
        pl_module.log_dict(numbers, on_epoch=True, sync_dist=True)
        epoch = trainer.current_epoch + 1
        if pl_module.refresh_every and epoch % pl_module.refresh_every == 0 and epoch < (trainer.max_epochs or 0):
            self._refresh(pl_module)

    @torch.no_grad()
    def _refresh(self, method: Method) -> None:
        """Embed everything, and let the method look at it."""
        with undisturbed(method):
            own = torch.arange(ops.rank(), self.size, ops.world_size())
            embedded = self.embed(method, index=own, progress=self.progress and ops.rank() == 0)
            index = own
            if ops.world_size() > 1:
                # Processes may differ by one sample; gathering wants equal numbers.
                most = -(-self.size // ops.world_size())
                padding = most - len(own)
                index = ops.gather(torch.nn.functional.pad(own, (0, padding), value=-1).to(method.device)).cpu()
                padded = torch.nn.functional.pad(embedded, (0, 0, 0, padding)).to(method.device)
                embedded = ops.gather(padded).cpu()[index >= 0]
                index = index[index >= 0]
            order = index.argsort()
            embedded = embedded[order].float()
            if not bool(embedded.isfinite().all()):
                raise InputError("embeddings of the training set are not finite: lower the learning rate.")
            method.refreshed = method.refresh(embedded, index[order])
