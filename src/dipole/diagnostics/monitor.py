"""Follow the geometry of the embeddings while a method trains."""

import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int, UInt8
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from dipole.diagnostics.geometry import geometry
from dipole.diagnostics.rows import check_labels, check_two_samples
from dipole.errors import InputError
from dipole.files import write_json
from dipole.losses.common import accumulate
from dipole.nn import undisturbed
from dipole.nn.modes import moved

CHUNK = 256  # images that pass through the encoder at a time


class GeometryMonitor(Callback):
    """Measure alignment, uniformity, tolerance, effective rank and score distributions after each training epoch.

    A fixed set of images is seen through the same views every epoch, so that only the encoder changes between entries.
    The first two views are compared. Training is not disturbed: the views have a generator of their own, the global
    random state is put back, the module is in eval mode meanwhile and every part returns to its own mode.

    The entries are kept in checkpoints, so that a resumed run continues its list. With several processes only the first
    one measures.

    Args:
        images: (N, 3, H, W) uint8 images to follow; some hundred to a few thousand.
        views: called as `views(images, generator=...)` with a part of them; returns (V, n, 3, S, S), V ≥ 2, such as
            `dipole.views.image.ImageViews`.
        labels: (N,) classes for the tolerance, or None.
        seed: of the views.
        path: `diagnostics.json` to write after each epoch, or None.

    Raises:
        InputError: fewer than two images, or labels that do not fit.

    Example:
        >>> images = torch.zeros(8, 3, 4, 4, dtype=torch.uint8)
        >>> def noisy(images, generator=None):
        ...     return images + torch.randn(2, *images.shape, generator=generator)
        >>> monitor = GeometryMonitor(images, noisy)  # Trainer(callbacks=[monitor])
        >>> monitor.entries
        []
    """

    def __init__(
        self,
        images: UInt8[Tensor, "n 3 h w"],
        views: Callable[..., Tensor],
        labels: Int[Tensor, "n"] | None = None,
        seed: int = 0,
        path: str | Path | None = None,
    ) -> None:
        check_two_samples(len(images), "GeometryMonitor")
        if labels is not None:
            check_labels(labels, len(images))
        self.images, self.views, self.labels, self.seed = images, views, labels, seed
        self.path = None if path is None else Path(path)
        self.entries: list[dict[str, Any]] = []

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Measure, log and write, on the first process."""
        if not trainer.is_global_zero:
            return
        found = self._look(trainer, pl_module, trainer.current_epoch)
        scalars = {
            "alignment": found["alignment"],
            "uniformity": found["uniformity"],
            "effective_rank": found["effective_rank"],
            "positive_mean": found["positive"]["mean"],
            "positive_variance": found["positive"]["variance"],
            "negative_mean": found["negative"]["mean"],
            "negative_variance": found["negative"]["variance"],
            "score_auc": found["auc"],
        }
        if found["tolerance"] is not None:
            scalars["tolerance"] = found["tolerance"]
        for name, value in scalars.items():
            pl_module.log(name, value, rank_zero_only=True)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Measure once more where training has ended between two measurements, as early stopping may end it."""
        last = trainer.fit_loop.epoch_progress.current.completed - 1
        if trainer.is_global_zero and last >= 0 and [entry["epoch"] for entry in self.entries[-1:]] != [last]:
            self._look(trainer, pl_module, last)

    def _look(self, trainer: Trainer, module: LightningModule, epoch: int) -> Any:
        """Measure and write."""
        x, y = self._embed(trainer, module)
        found = geometry(x, y, None if self.labels is None else self.labels.to(x.device))
        self.entries.append({"epoch": epoch, **found})
        if self.path is not None:
            write_json(self.path, {"epochs": self.entries})
        return found

    def state_dict(self) -> dict[str, Any]:
        """Return the entries so far, for the checkpoint."""
        return {"entries": list(self.entries)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue the list of the checkpoint."""
        self.entries = list(state_dict["entries"])

    @torch.no_grad()
    def _embed(self, trainer: Trainer, module: LightningModule) -> tuple[Tensor, Tensor]:
        """Unit embeddings (N, D) of the first two views."""
        project = getattr(module, "project", None)
        if project is None:
            raise InputError(
                f"{type(module).__name__} has no method project(views): GeometryMonitor needs (V, N, D) embeddings."
            )
        chunks = []
        with undisturbed(module):
            for views in self._views(module):
                # Autocast is for the network alone: views are made in full precision, as in training.
                with trainer.precision_plugin.forward_context():
                    chunks.append(accumulate(project(trainer.precision_plugin.convert_input(views))[:2]))
        embeddings = F.normalize(torch.cat(chunks, dim=1), dim=-1)
        return embeddings[0], embeddings[1]

    def _views(self, module: LightningModule) -> Iterator[Any]:
        """What the module projects, a part at a time."""
        generator = torch.Generator(module.device).manual_seed(self.seed)
        for images in self.images.split(CHUNK):
            views = self.views(images.to(module.device), generator=generator)
            if len(views) < 2:
                raise InputError(f"views made {len(views)} view of each image: 2 or more are needed to compare.")
            yield views[:2]


class ModalityGeometryMonitor(GeometryMonitor):
    """The same for two modalities of a sample, which take the place of two views.

    Args:
        inputs: of two modalities, the same samples in the same order; the module embeds them with `embed`.
        path: `diagnostics.json` to write after each epoch, or None.

    Raises:
        InputError: another number of modalities, or fewer than two samples.

    Example:
        >>> ModalityGeometryMonitor({"a": torch.zeros(4, 2), "b": torch.zeros(4, 3)}).entries
        []
    """

    def __init__(self, inputs: Mapping[str, Tensor], path: str | Path | None = None) -> None:
        if len(inputs) != 2:
            raise InputError(f"ModalityGeometryMonitor was given {sorted(inputs)}: expected two modalities.")
        for values in inputs.values():
            check_two_samples(len(values), "ModalityGeometryMonitor")
        self.inputs, self.labels = dict(inputs), None
        self.path = None if path is None else Path(path)
        self.entries: list[dict[str, Any]] = []

    @torch.no_grad()
    def _embed(self, trainer: Trainer, module: LightningModule) -> tuple[Tensor, Tensor]:
        """Unit embeddings (N, D) of both modalities."""
        embed: Any = module.embed
        sides = []
        with undisturbed(module), trainer.precision_plugin.forward_context():
            for name, values in self.inputs.items():
                parts = [accumulate(embed({name: part.to(module.device)})) for part in values.split(CHUNK)]
                sides.append(F.normalize(torch.cat(parts), dim=-1))
        return sides[0], sides[1]


class TextGeometryMonitor(GeometryMonitor):
    """The same for texts, with dropout on, because the two views of a text may differ in nothing else.

    Args:
        records: texts as the views take them; some hundred to a few thousand.
        views: called as `views(records, tokenizer, generator=...)` with a part of them; returns `input_ids` and
            `attention_mask` (V, n, T).
        tokenizer: of the encoder.
        seed: of the views.
        path: `diagnostics.json` to write after each epoch, or None.

    Raises:
        InputError: fewer than two texts.

    Example:
        >>> TextGeometryMonitor([{"text": "one"}, {"text": "two"}], views=print, tokenizer=None).entries
        []
    """

    def __init__(
        self,
        records: list[dict[str, Any]],
        views: Callable[..., dict[str, Tensor]],
        tokenizer: Any,
        seed: int = 0,
        path: str | Path | None = None,
    ) -> None:
        check_two_samples(len(records), "TextGeometryMonitor")
        self.records, self.text_views, self.tokenizer, self.seed, self.labels = records, views, tokenizer, seed, None
        self.path = None if path is None else Path(path)
        self.entries: list[dict[str, Any]] = []

    def _views(self, module: LightningModule) -> Iterator[Any]:
        """Token ids of the views of some texts at a time."""
        generator = torch.Generator().manual_seed(self.seed)
        torch.manual_seed(self.seed)  # of the dropout; the caller puts the state back
        module.train()
        for start in range(0, len(self.records), CHUNK):
            views = self.text_views(self.records[start : start + CHUNK], self.tokenizer, generator=generator)
            yield {name: value.to(module.device) for name, value in views.items()}


class GraphGeometryMonitor(GeometryMonitor):
    """The same for some nodes of a graph, now and then, because an epoch on a graph is one step.

    Args:
        x: (N, F) attributes.
        edge_index: (2, E).
        nodes: (K,) that are followed; views are made of the whole graph.
        views: called as `views(x, edge_index, generator=...)`; returns `views`, pairs of attributes and edges.
        labels: (K,) classes for the tolerance, or None.
        times: measurements in a run, spread over its epochs up to the last.
        seed: of the views.
        path: `diagnostics.json` to write after each measurement, or None.

    Raises:
        InputError: fewer than two nodes, or labels that do not fit.

    Example:
        >>> x, edges = torch.ones(3, 2), torch.tensor([[0, 1], [1, 0]])
        >>> GraphGeometryMonitor(x, edges, torch.arange(2), views=print).entries
        []
    """

    def __init__(
        self,
        x: Float[Tensor, "n f"],
        edge_index: Int[Tensor, "2 e"],
        nodes: Int[Tensor, "k"],
        views: Callable[..., dict[str, Any]],
        labels: Int[Tensor, "k"] | None = None,
        times: int = 40,
        seed: int = 0,
        path: str | Path | None = None,
    ) -> None:
        check_two_samples(len(nodes), "GraphGeometryMonitor")
        if labels is not None:
            check_labels(labels, len(nodes))
        self.x, self.edge_index, self.nodes, self.labels = x, edge_index, nodes, labels
        self.graph_views, self.times, self.seed = views, times, seed
        self.path = None if path is None else Path(path)
        self.entries: list[dict[str, Any]] = []

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Measure if it is time."""
        epochs = trainer.max_epochs or 1
        left = epochs - trainer.current_epoch - 1
        if left % math.ceil(epochs / self.times) == 0:
            super().on_train_epoch_end(trainer, pl_module)

    def _embed(self, trainer: Trainer, module: LightningModule) -> tuple[Tensor, Tensor]:
        """Unit embeddings (K, D) of the nodes in two views."""
        x, y = super()._embed(trainer, module)
        nodes = self.nodes.to(x.device)
        return x[nodes], y[nodes]

    def _views(self, module: LightningModule) -> Iterator[Any]:
        """The two views of the graph."""
        generator = torch.Generator(module.device).manual_seed(self.seed)
        made = self.graph_views(self.x.to(module.device), self.edge_index.to(module.device), generator=generator)
        yield made["views"]


class MetaPathGeometryMonitor(GraphGeometryMonitor):
    """The same for target nodes of a graph of several kinds, whose coarse and fine view take the place of two views.

    Args:
        inputs: what the module projects, `dipole.nn.graph.meta_paths.MetaPathViews`; nothing is drawn.
        nodes: (K,) that are followed.
        labels: (K,) classes for the tolerance, or None.
        times: measurements in a run, spread over its epochs up to the last.
        path: `diagnostics.json` to write after each measurement, or None.

    Raises:
        InputError: fewer than two nodes, or labels that do not fit.

    Example:
        >>> MetaPathGeometryMonitor(None, torch.arange(2)).entries
        []
    """

    def __init__(
        self,
        inputs: Any,
        nodes: Int[Tensor, "k"],
        labels: Int[Tensor, "k"] | None = None,
        times: int = 40,
        path: str | Path | None = None,
    ) -> None:
        check_two_samples(len(nodes), "MetaPathGeometryMonitor")
        if labels is not None:
            check_labels(labels, len(nodes))
        self.inputs, self.nodes, self.labels, self.times = inputs, nodes, labels, times
        self.path = None if path is None else Path(path)
        self.entries: list[dict[str, Any]] = []

    @torch.no_grad()
    def _embed(self, trainer: Trainer, module: LightningModule) -> tuple[Tensor, Tensor]:
        """Unit embeddings (K, D) of the nodes in both views."""
        project: Any = module.project
        with undisturbed(module), trainer.precision_plugin.forward_context():
            coarse, fine = (accumulate(view) for view in project(moved(self.inputs, module.device)))
        nodes = self.nodes.to(fine.device)
        return F.normalize(coarse[nodes], dim=-1), F.normalize(fine[nodes], dim=-1)
