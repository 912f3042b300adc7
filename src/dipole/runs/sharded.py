"""Weights, gradients and states of the optimiser divided between processes (FSDP2), without pickles."""

from collections.abc import Mapping
from itertools import count
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.strategies import ModelParallelStrategy
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor import DTensor, Shard

from dipole.errors import InputError


class ShardedStrategy(ModelParallelStrategy):
    """Fully sharded data parallelism: `--trainer.strategy fsdp2`.

    Each process holds a part of every weight, of its gradient and of the optimiser's state. The layers of a list (the
    blocks of a transformer) are put together when they are needed, one by one. A checkpoint is one file of safetensors
    a process, and a small file that names them, which is replaced when all of them are there.

    Raises:
        InputError: a checkpoint was written by another number of processes, or without sharding.
    """

    def setup_environment(self) -> None:
        """Take all processes for copies of the data; layers are not split."""
        assert self.parallel_devices is not None
        self._data_parallel_size, self._tensor_parallel_size = self.num_nodes * len(self.parallel_devices), 1
        super().setup_environment()

    @property
    def lightning_restore_optimizer(self) -> bool:
        """Whether Lightning gives the state back to the optimiser."""
        return True

    def lightning_module_state_dict(self) -> dict[str, Any]:
        """Return this process's part."""
        return self._module.state_dict()

    def optimizer_state(self, optimizer: Any) -> dict[str, Any]:
        """Return this process's part."""
        return getattr(optimizer, "_optimizer", optimizer).state_dict()

    def load_model_state_dict(self, checkpoint: Mapping[str, Any], strict: bool = True) -> None:
        """Take this process's part."""
        self._module.load_state_dict(checkpoint["state_dict"], strict=strict)

    def load_optimizer_state_dict(self, checkpoint: Mapping[str, Any]) -> None:
        """Take this process's part."""
        for optimizer, state in zip(self.optimizers, checkpoint["optimizer_states"], strict=True):
            optimizer.load_state_dict(state)

    def save_checkpoint(self, checkpoint: dict[str, Any], filepath: str | Path, storage_options: Any = None) -> None:
        """Write one file for each process, and then the one that names them."""
        path = Path(self.broadcast(str(filepath)))
        names = self.broadcast(_new_parts(path, checkpoint["global_step"], self.world_size))
        self.checkpoint_io.save_checkpoint(_local(checkpoint), path.with_name(names[self.global_rank]))
        self.barrier()
        if self.global_rank == 0:
            self.checkpoint_io.save_checkpoint({"parts": names}, path)
            _remove_parts(path, but=names)
        self.barrier()

    def load_checkpoint(self, checkpoint_path: str | Path, weights_only: bool | None = None) -> dict[str, Any]:
        """Read the part of this process."""
        path = Path(checkpoint_path)
        names = self.checkpoint_io.load_checkpoint(path).get("parts")
        if names is None:
            raise InputError(f"{path} was written without fsdp2: resume it with the strategy of before.")
        if len(names) != self.world_size:
            raise InputError(
                f"{path} was written by {len(names)} processes, now there are {self.world_size}: take as many."
            )
        content: dict[str, Any] = _sharded(
            self.checkpoint_io.load_checkpoint(path.with_name(Path(names[self.global_rank]).name)),
            self.device_mesh["data_parallel"],
        )
        return content

    def remove_checkpoint(self, filepath: str | Path) -> None:
        """Delete a checkpoint with its parts."""
        if self.global_rank == 0:
            self.checkpoint_io.remove_checkpoint(filepath)
            _remove_parts(Path(filepath), but=())

    @property
    def _module(self) -> nn.Module:
        """What is trained."""
        assert self.lightning_module is not None
        return self.lightning_module


def _new_parts(path: Path, step: int, processes: int) -> list[str]:
    """Names of the files of the processes, none of which is there: two checkpoints may be of the same step."""
    for number in count():
        stem = f"{path.stem}.{step}" + (f".{number}" if number else "")
        names = [f"{stem}-{rank + 1}-of-{processes}{path.suffix}" for rank in range(processes)]
        if not any(path.with_name(name).exists() for name in names):
            break
    return names


def _remove_parts(path: Path, but: Any) -> None:
    """Delete the files of processes that belong to a checkpoint, but some."""
    for found in path.parent.glob(f"{path.stem}.*-of-*{path.suffix}"):
        if found.name not in but:
            found.unlink(missing_ok=True)


def _local(value: Any) -> Any:
    """Nested containers, with the part of this process in place of divided tensors."""
    if isinstance(value, DTensor):
        return {"part": value.to_local(), "shape": list(value.shape)}
    if isinstance(value, dict):
        return {key: _local(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_local(entry) for entry in value)
    return value


def _sharded(value: Any, mesh: DeviceMesh) -> Any:
    """Undo `_local`."""
    if isinstance(value, dict):
        if value.keys() == {"part", "shape"} and isinstance(value["part"], Tensor):
            shape = torch.Size(value["shape"])
            stride = torch.empty(shape, device="meta").stride()
            local = value["part"].to(mesh.device_type)
            return DTensor.from_local(local, mesh, [Shard(0)], run_check=False, shape=shape, stride=stride)
        return {key: _sharded(entry, mesh) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_sharded(entry, mesh) for entry in value)
    return value
