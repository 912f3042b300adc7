"""Images -> batches with views, for Lightning."""

from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import torch
from lightning.pytorch import LightningDataModule
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from dipole import ops
from dipole.data.epoch_sampler import EpochSampler, Place, PlaceSampler
from dipole.data.image_roles import ImageRoles, Role, with_roles
from dipole.data.image_set import ImageSet
from dipole.data.inflated import InflatedImageSet, Inflation, Replicated, inflate, load_generated
from dipole.data.randomness import keyed_generator
from dipole.data.registry import load_image_sets
from dipole.data.samplers import Order, Sampling, Weighted
from dipole.data.workers import outlive_termination
from dipole.errors import InputError
from dipole.ops.checks import check_at_least, check_choice

Batch = dict[str, Tensor]
_CROPS = 1  # sets the random numbers of crops apart from those of the rest of the views


class ImageDataModule(LightningDataModule):
    """Batches of images and, in training, of their views.

    A batch is a dictionary: `images` uint8 (N, 3, H, W), `index` (N,), `label` (N,) and any further kind of label the
    set has. In training, `views` float (V, N, 3, S, S) in [0, 1] is added on the device of the batch. Where images are
    files and the views begin with a random crop, the loading processes take the crops from the whole photos: a batch
    has `crops` uint8 (V, N, 3, S, S) until they are made into views, and no `images`.

    Everything random is a pure function of `seed` and the progress of the run: the order of an epoch of (seed, epoch),
    the views of a batch of (seed, number of batches before it, rank), crops in loading processes of (seed, epoch,
    number of batches before it in the epoch, rank). A run that resumes at the start of an epoch or within it repeats
    the rest bit for bit, with any number of workers.

    Training leaves out a last batch that is not full, because the number of negatives would change with it; the
    images it would have held differ from epoch to epoch. A set smaller than one batch is one batch.

    Args:
        data: a name, a path or `torchvision:NAME`, see `load_image_sets`; or a training and a test set.
        data_root: folder of the sets that are read from files.
        batch_size: images in a batch (of each process), 2 or more.
        image_size: side S of the square that the encoder sees; by default that of `views`, else the set's own.
        views: `(images, generator=...) -> (V, N, 3, S, S)`, e.g. a `dipole.views.image.ImageViews`. May be set later;
            without it batches carry no views.
        num_workers: processes that load batches; worth it for image folders, not for sets in memory.
        seed: 0 or more.
        generated: a folder or an .npz file of generated images that are trained on beside the real ones, see
            `dipole.data.inflated`; or a set of them. Only training draws them: `train_set` holds the real ones.
        replication: how often each real image is drawn while a generated one is drawn once.
        drawing: `"replicate"`: an epoch has every copy once; `"sampler"`: it has as many draws as there are real
            images, by the same probabilities, so that epochs are as long as without generated images.
        roles: how images get labels and training images are chosen; as the set has it if None.
        role: of the labels, see `with_roles`.
        unlabelled: keep training images without a label, see `with_roles`.
        column: of a table that holds the images, see `load_image_sets`.
        check: which images of a table are looked at first, see `load_image_sets`.

    Raises:
        InputError: a setting is out of range, or `views.size` differs from `image_size`; and, when the sets are first
            needed, whatever `load_image_sets` refuses.

    Example:
        >>> module = ImageDataModule("shapes", batch_size=64)
        >>> batch = next(iter(module.train_dataloader()))
        >>> batch["images"].shape, batch["label"].shape, module.num_classes
        (torch.Size([64, 3, 32, 32]), torch.Size([64]), 6)
    """

    def __init__(
        self,
        data: str | tuple[ImageSet, ImageSet] = "digits",
        *,
        data_root: str | Path | None = None,
        batch_size: int = 256,
        image_size: int | None = None,
        views: Callable[..., Tensor] | None = None,
        num_workers: int = 0,
        seed: int = 0,
        generated: str | Path | ImageSet | None = None,
        replication: int = 10,
        drawing: Literal["replicate", "sampler"] = "replicate",
        roles: ImageRoles | None = None,
        role: Role = "classes",
        unlabelled: bool = False,
        column: str | None = None,
        check: str = "drawn",
    ) -> None:
        super().__init__()
        check_at_least(replication, 0, "replication")
        check_choice(drawing, ("replicate", "sampler"), "drawing")
        self.generated, self.replication, self.drawing = generated, replication, drawing
        if batch_size < 2:
            raise InputError(f"batch_size is {batch_size}: contrasting needs 2 or more images in a batch.")
        if num_workers < 0 or seed < 0 or (image_size is not None and image_size < 1):
            raise InputError(
                f"num_workers={num_workers}, seed={seed}, image_size={image_size}: expected 0 or more, 0 or more, 1 or "
                "more."
            )
        self.data = data
        self.data_root = data_root
        self.batch_size = batch_size
        self.num_workers = num_workers
        self.seed = seed
        self._image_size = image_size
        self.views = views
        self.sampling: Sampling | None = None
        self.roles, self.role, self.unlabelled = roles or ImageRoles(), role, unlabelled
        self.column, self.check = column, check

    @property
    def views(self) -> Callable[..., Tensor] | None:
        """What makes the views of a training batch."""
        return self._views

    @views.setter
    def views(self, views: Callable[..., Tensor] | None) -> None:
        size = getattr(views, "size", None)
        if None not in (size, self._image_size) and size != self._image_size:
            raise InputError(
                f"views.size is {size} but image_size {self._image_size}: give one of them, or both alike."
            )
        self._views = views

    @property
    def image_size(self) -> int:
        """Side S of the square that the encoder sees."""
        size = self._asked_size
        return self.train_set.default_size if size is None else size

    @property
    def _asked_size(self) -> int | None:
        """The size that the caller chose, here or in the views."""
        size: int | None = self._image_size or getattr(self._views, "size", None)
        return size

    @cached_property
    def _sets(self) -> tuple[ImageSet, ImageSet]:
        """Both sets, loaded when they are first needed."""
        sets = self.data
        if isinstance(sets, str):
            sets = load_image_sets(sets, self.data_root, self._asked_size, self.column, self.check)
        return with_roles(sets, self.roles, self.role, unlabelled=self.unlabelled, seed=self.seed)

    @property
    def train_set(self) -> ImageSet:
        """The training images."""
        return self._sets[0]

    @property
    def test_set(self) -> ImageSet:
        """The test images."""
        return self._sets[1]

    @cached_property
    def drawn_set(self) -> ImageSet:
        """What training draws from: the training images and, if there are any, the generated ones behind them."""
        if self.generated is None:
            return self.train_set
        made = self.generated
        return InflatedImageSet(
            self.train_set, made if isinstance(made, ImageSet) else load_generated(made, self.train_set.input_shape)
        )

    @property
    def inflation(self) -> Inflation | None:
        """How real and generated images are mixed; None without generated ones."""
        if self.generated is None:
            return None
        real = len(self.train_set)
        return inflate(real, len(self.drawn_set) - real, self.replication)

    @property
    def num_classes(self) -> int:
        """Number of classes of the main label; 0 without labels."""
        return self.train_set.num_classes

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """`(3, S, S)`: one image as the encoder sees it."""
        return (3, self.image_size, self.image_size)

    @property
    def evaluations(self) -> tuple[str, ...]:
        """Protocols that make sense for the data: kNN and linear probe if there are classes."""
        labels = [images.labels.get("label", torch.tensor([-1])) for images in self._sets]
        complete = all(len(own) and int(own.min()) >= 0 for own in labels)
        # Of classes that are held out, training images know nothing.
        shared = complete and bool(torch.isin(labels[1], labels[0]).any())
        return ("knn", "linear") if self.num_classes > 1 and shared else ()

    def prepare_data(self) -> None:
        """Load once on one process of each machine, so that a download happens once."""
        _ = self._sets

    def train_dataloader(self) -> DataLoader[Batch]:
        """Full batches in the order of the sampler's epoch.

        Raises:
            InputError: there are fewer than two images for each process.
        """
        images: Any = self.drawn_set
        sampler = EpochSampler(images, self.seed, order=self._order())
        if hasattr(images, "fetch_crops") and hasattr(self._views, "draw_crops"):
            sampler = PlaceSampler(images, self.seed, order=self._order())
            images = CroppedImages(images, self._views, self.batch_size, self.seed, ops.rank())
        if self.trainer is not None:  # one that has read how far it was; runs tell the sampler when theirs has
            sampler.go_on(self.trainer, self.batch_size)
        if len(sampler) < 2:
            raise InputError(
                f"{self.train_set.name} has {len(self.train_set)} training images for {ops.world_size()} processes: "
                "each needs 2 or more."
            )
        return self._loader(images, sampler=sampler, drop_last=len(sampler) >= self.batch_size)

    def _order(self) -> Order | None:
        """The order that the method asks for, or that of real and generated images."""
        asked = None if self.sampling is None else self.sampling(self.drawn_set, self.batch_size * ops.world_size())
        mixture = self.inflation
        if mixture is None:
            return asked
        if asked is not None:
            raise InputError("the method draws its batches by an order of its own: leave out --loading.generated.")
        if self.drawing == "sampler":
            return Weighted(mixture.weights, len(self.train_set))
        return Replicated(mixture)

    def embed_dataloader(self, which: str = "test") -> DataLoader[Batch]:
        """Every image once, in the order of the set, without views.

        Args:
            which: `"train"` or `"test"`.

        Raises:
            InputError: another part.
        """
        if which not in ("train", "test"):
            raise InputError(f"which is {which!r}: expected 'train' or 'test'.")
        return self._loader(self.train_set if which == "train" else self.test_set, shuffle=False)

    def _loader(self, images: Dataset[Batch], **options: Any) -> DataLoader[Batch]:
        """A loader that fetches whole batches."""
        return DataLoader(
            images,
            batch_size=self.batch_size,
            num_workers=self.num_workers,
            worker_init_fn=outlive_termination,
            collate_fn=_as_it_is,
            persistent_workers=self.num_workers > 0,
            pin_memory=torch.cuda.is_available(),
            # Its own generator: starting an epoch must not move the random state that the method may use.
            generator=torch.Generator().manual_seed(self.seed),
            **options,
        )

    def on_after_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
        """Add `views` to a training batch, on the device it has been moved to."""
        if self._views is None or self.trainer is None or not self.trainer.training:
            return batch
        device = batch["index"].device
        if isinstance(self._views, nn.Module):
            self._views.to(device)
        generator = self.views_generator(self.trainer.fit_loop.epoch_loop.batch_progress.total.ready, device)
        if "crops" in batch:
            views = self._views.finish(batch.pop("crops"), generator=generator)  # type: ignore[attr-defined]
        else:
            views = self._views(batch["images"], generator=generator)
        return {**batch, "views": views}

    def views_generator(self, step: int, device: torch.device | str = "cpu") -> torch.Generator:
        """The random numbers for the views of one batch: a pure function of (seed, step, rank).

        Args:
            step: number of training batches of the whole run before this one. Optimiser steps would not do: with
                accumulated gradients several batches share one.
            device: where the views are made; devices differ in their numbers.
        """
        return keyed_generator(self.seed, step, ops.rank(), device=device)


class CroppedImages(Dataset[Batch]):
    """Batches of random crops of whole photos, drawn and taken where the photos are decoded.

    Args:
        images: a set with `fetch_crops`.
        views: say how crops are drawn, and how many of each image.
        batch_size: images in a batch.
        seed: 0 or more.
        rank: index of this process.
    """

    def __init__(self, images: Any, views: Any, batch_size: int, seed: int, rank: int) -> None:
        self._images, self._views = images, views
        self._batch_size, self._seed, self._rank = batch_size, seed, rank

    def __len__(self) -> int:
        return len(self._images)

    def __getitems__(self, places: list[Place]) -> Batch:
        epoch, position, _ = places[0]
        key = (self._seed, epoch, position // self._batch_size, self._rank, _CROPS)
        drawn = self._views.draw_crops(len(places), keyed_generator(*key))
        rows = torch.tensor([index for _, _, index in places])

        def boxes(row: int, height: int, width: int) -> Tensor:
            return self._views.boxes(drawn[row], height, width)

        crops = self._images.fetch_crops(rows, boxes, self._views.size)
        return {"crops": crops, **self._images.known_of(rows)}


def _as_it_is(batch: Any) -> Any:
    """The sets already return batches."""
    return batch
