"""A graph of several kinds of nodes -> one batch an epoch, for Lightning."""

from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningDataModule
from torch.utils.data import DataLoader

from dipole import ops
from dipole.data.graph.hetero_files import load_hetero
from dipole.data.graph.hetero_set import HeteroSet
from dipole.errors import InputError


class HeteroDataModule(LightningDataModule):
    """All target nodes as the only batch of an epoch: `index` (N,) and `views`, what the method reads of the graph.

    Args:
        data: see `load_hetero`; or a graph.
        data_root: relative paths are also looked up there.
        target: the kind of nodes that is embedded.
        metapaths: such as `author-paper-author`, with commas.
        normalize: scale the attributes of a node to the sum 1.
        encoding: of tables.
        seed: 0 or more.

    Raises:
        InputError: the seed is negative; and, when the graph is first needed, whatever `load_hetero` refuses.

    Example:
        >>> len(HeteroDataModule("toy-papers").graph_set)
        300
    """

    def __init__(
        self,
        data: Any = "toy-papers",
        *,
        data_root: str | Path | None = None,
        target: str | None = None,
        metapaths: str | None = None,
        normalize: bool = True,
        encoding: str = "utf-8",
        seed: int = 0,
    ) -> None:
        super().__init__()
        if seed < 0:
            raise InputError(f"seed is {seed}: expected 0 or more.")
        self.data, self.data_root, self.seed, self.normalize = data, data_root, seed, normalize
        self.options: dict[str, Any] = {"target": target, "metapaths": metapaths, "encoding": encoding}
        self.views: Callable[[HeteroSet], Any] | None = None  # set before training starts

    @cached_property
    def graph_set(self) -> HeteroSet:
        """The graph, loaded when it is first needed."""
        given = isinstance(self.data, HeteroSet)
        loaded = self.data if given else load_hetero(self.data, self.data_root, **self.options)
        if not self.normalize:
            return loaded
        sums = {kind: x.sum(dim=1, keepdim=True) for kind, x in loaded.attributes.items()}
        scaled = {kind: torch.where(s > 0, loaded.attributes[kind] / s, 0) for kind, s in sums.items()}
        return HeteroSet(**{**vars(loaded), "attributes": scaled})

    @cached_property
    def inputs(self) -> Any:
        """What the method reads of the graph, made when it is first needed."""
        assert self.views is not None
        return self.views(self.graph_set)

    def train_dataloader(self) -> DataLoader[Any]:
        """One batch: the graph.

        Raises:
            InputError: several processes.
        """
        if ops.world_size() > 1:
            raise InputError(f"{ops.world_size()} processes: a graph is one batch, so that one device trains on it.")
        batch = {"index": torch.arange(len(self.graph_set)), "views": self.inputs}
        return DataLoader(
            [batch],  # type: ignore[arg-type]
            batch_size=None,
            # Its own generator: starting an epoch must not move the random state that the method may use.
            generator=torch.Generator().manual_seed(self.seed),
        )
