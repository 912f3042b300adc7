"""Lightning, without what is said elsewhere."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quiet() -> Iterator[None]:
    """Keep Lightning from printing what a progress bar and a table already say."""
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".*does not have many workers.*")
            # What only the first process measures is not averaged over the processes.
            warnings.filterwarnings("ignore", ".*recommended to use `self.log.*sync_dist=True.*")
            # EpochSampler goes on within an epoch; kept checkpoints lie where the run lies now.
            warnings.filterwarnings("ignore", ".*your dataloader is not resumable.*")
            warnings.filterwarnings("ignore", ".*The dirpath has changed from.*")
            warnings.filterwarnings("ignore", ".*Checkpoint directory .* exists and is not empty.*")
            warnings.filterwarnings("ignore", ".*smaller than the logging interval.*")
            warnings.filterwarnings("error", ".*could not find the monitored key.*")
            # What has no order of its own says so at every step.
            warnings.filterwarnings("ignore", ".*does not have a deterministic implementation.*")
            # Locked encoders are meant to be.
            warnings.filterwarnings("ignore", ".*in eval mode at the start of training.*")
            warnings.filterwarnings("ignore", ".*isinstance\\(treespec, LeafSpec\\).*")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
