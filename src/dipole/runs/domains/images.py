"""Images: views on the device, kNN and linear probe beside raw pixels, thumbnails."""

from collections.abc import Iterator, Mapping, Sequence
from copy import copy
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, cast

import lightning
import torch
from rich.console import Console
from rich.progress import track
from torch import Tensor, nn

from dipole.data import ImageDataModule, ImageSet, available, load_image_sets, load_images
from dipole.data.embedding_file import read_embeddings
from dipole.data.image_folder import class_folders
from dipole.data.image_roles import ImageRoles, with_roles
from dipole.data.stored import find_store
from dipole.data.stored_image_set import StoredImageSet, load_stored_images
from dipole.diagnostics import GeometryMonitor
from dipole.errors import InputError
from dipole.evaluation import OnlineKNN, embed_image_set
from dipole.evaluation.materials import ImageMaterial
from dipole.methods.base import Method
from dipole.methods.joint_embedding import JointEmbedding
from dipole.methods.registry import get_method
from dipole.methods.wrapping import unwrapped
from dipole.runs.config import RunConfig
from dipole.runs.directory import Run
from dipole.runs.domains.base import Domain, Embeddings
from dipole.views import ImageViews, resize

MONITORED_IMAGES = 512
MOST_IMAGES = 1500  # of a report or an analysis
STORED = ("column", "check")  # options of loading about tables
GENERATED = ("generated", "replication", "drawing")  # options of loading about images beside the real ones


class Images(Domain):
    """Sets of images, in memory or in folders."""

    name = "images"
    default_data = "digits"
    derived_view_options = ("size", "num_views")
    derived_method_options = ("image_size", "num_classes", "stage")
    derived_loading_options = ("share_of_real",)
    loading_paths = ("labels", "indices")

    @staticmethod
    def loading_options(
        labels: str | None = None,
        label_column: str | None = None,
        id_column: str | None = None,
        background: str | None = None,
        held_out: str | None = None,
        known: str | None = None,
        labelled: float = 0.5,
        imbalance: float | None = None,
        indices: str | None = None,
        generated: str | None = None,
        replication: int = 10,
        drawing: Literal["replicate", "sampler"] = "replicate",
        column: str | None = None,
        check: Literal["drawn", "all"] = "drawn",
    ) -> None:
        """What images are labelled with, which of them training sees, and what it sees beside them.

        Args:
            labels: table with a row for each image; `--labels` in short.
            label_column: of the table, or a kind of label that the set has; `label` if none. `--label_column` in short.
            id_column: of the table, that names the images.
            background: COLUMN=VALUE, the images of the background population; all others are the target.
            held_out: classes that training does not see and test images are of: names with commas, or `last 4`.
            known: classes that training knows, for category discovery: names with commas, or `first 5`.
            labelled: share of the training images of known classes that have a label.
            imbalance: ratio of the largest to the smallest class of a long-tailed training set.
            indices: file of the places of the training images that are kept, one a line.
            generated: a folder or an .npz file of generated images; only training draws them.
            replication: how often a real image is drawn while a generated one is drawn once.
            drawing: `replicate`: every copy once in an epoch; `sampler`: as many draws as there are real images.
            column: of a table or of shards that holds the images; the only one that does if None.
            check: which images of shards are looked at first: `drawn`, up to 50,000 all and of more 10,000; or `all`.
        """

    def _roles(self, config: RunConfig) -> dict[str, Any]:
        """The options of loading, and what the method wants of labels."""
        cls = get_method(config.name)
        loading = self.loading(config)
        return {
            "roles": ImageRoles(**{name: loading[name] for name in loading if name not in (*GENERATED, *STORED)}),
            "role": cls.label_role,
            "unlabelled": cls.keeps_unlabelled,
        }

    @staticmethod
    def named_sets() -> Sequence[str]:
        """Return the names of the known sets."""
        return [info.name for info in available()]

    def data_module(self, config: RunConfig, sets: Any = None) -> ImageDataModule:
        """Return the images of a run."""
        return ImageDataModule(
            (config.data or self.default_data) if sets is None else sets,
            data_root=config.data_root,
            batch_size=config.batch_size,
            image_size=config.image_size,
            num_workers=config.num_workers,
            seed=config.seed,
            **self._roles(config),
            **{name: value for name, value in self.loading(config).items() if name in (*GENERATED, *STORED)},
        )

    def facts(self, data: lightning.LightningDataModule) -> dict[str, Any]:
        """The size of the images, unless the settings give one."""
        assert isinstance(data, ImageDataModule)
        return {"image_size": data.image_size}

    def resolve(
        self, config: RunConfig, cls: type[Method], data: lightning.LightningDataModule, *, encoder_given: bool
    ) -> RunConfig:
        """The data also say how many classes there are, which they need not be read for if no one asks."""
        if "num_classes" in cls.arguments():
            assert isinstance(data, ImageDataModule)
            config = replace(config, method={**config.method, "num_classes": data.num_classes})
        resolved = super().resolve(config, cls, data, encoder_given=encoder_given)
        assert isinstance(data, ImageDataModule)
        if data.inflation is None:
            return resolved
        if "num_classes" in cls.arguments():
            raise InputError(f"{config.name} learns from labels, which generated images lack: leave them out.")
        if "stage" in cls.arguments():
            raise InputError(f"{config.name} draws its batches by an order of its own: leave out --loading.generated.")
        generated = self._lasting(str(resolved.loading["generated"]))
        return replace(
            resolved, loading={**resolved.loading, "generated": generated, "share_of_real": data.inflation.share}
        )

    def attach_views(self, method: Method, data: lightning.LightningDataModule, config: RunConfig) -> None:
        """Views are made of batches, on their device."""
        assert isinstance(data, ImageDataModule)
        method.before_training(data.train_set)
        data.views = self.views(method, config)

    def views(self, method: Method, config: RunConfig) -> nn.Module | None:
        """Return the views that a method trains on; None if it has none.

        Raises:
            InputError: an argument that the views do not have.
        """
        if not isinstance(unwrapped(method), JointEmbedding):
            return None
        assert config.image_size is not None, "resolve() sets it"
        options = self.view_options(type(unwrapped(method)), config)
        joint = cast(JointEmbedding, method)
        return joint.views_class(size=config.image_size, num_views=joint.num_views, **options)

    def monitors(self, method: Method, data: lightning.LightningDataModule, run: Run) -> list[lightning.Callback]:
        """kNN accuracy, if there are labels, and the geometry of the embeddings of some test images."""
        assert isinstance(data, ImageDataModule)
        found: list[lightning.Callback] = []
        if "knn" in data.evaluations:
            found.append(OnlineKNN())
        if isinstance(unwrapped(method), JointEmbedding) and data.views is not None and len(data.test_set) > 1:
            shown = data.test_set.sample(MONITORED_IMAGES)
            images = shown.fetch(torch.arange(len(shown)))
            views = data.views
            if isinstance(views, ImageViews) and views.num_views < 2:
                views = copy(views)
                views.num_views = 2
            found.append(GeometryMonitor(images, views, shown.labels.get("label"), path=run.diagnostics))
        return found

    def embed_training(
        self, method: Method, data: lightning.LightningDataModule, index: Tensor, progress: bool = False
    ) -> Tensor:
        """Embeddings of training images without augmentation."""
        assert isinstance(data, ImageDataModule)
        images = data.drawn_set.select(index)
        stored = getattr(method, "stored_embeddings", None)
        if stored is not None:
            return read_embeddings(stored, images.ids)
        return embed_image_set(method.refresh_embed, images, data.image_size, device=method.device, progress=progress)

    def _shared_facts(self, config: RunConfig) -> dict[str, Any]:
        """What images are resized to."""
        return {"image_size": config.image_size}

    def material(
        self,
        methods: Mapping[str, Method],
        settings: RunConfig,
        *,
        data: str | None = None,
        data_root: str | Path | None = None,
        protocols: Sequence[str] = (),
        progress: bool = False,
    ) -> ImageMaterial:
        """Training and test images, resized as the encoder sees them."""
        train, test = self.labelled_sets(settings, data, data_root)
        notes = {"train_images": len(train), "test_images": len(test), "seed": settings.seed}
        parts = [_with_label(images) for images in (train, test)]
        if all(map(len, parts)) and sum(map(len, parts)) < len(train) + len(test):
            notes["left out, without a label"] = len(train) + len(test) - sum(map(len, parts))
            train, test = parts
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        return ImageMaterial(
            train.name,
            {name: method.to(device) for name, method in methods.items()},
            settings.seed,
            progress,
            notes,
            train=train,
            test=test,
            image_size=settings.image_size or train.default_size,
            device=device,
            data_root=data_root or settings.data_root,
        )

    def labelled_sets(
        self,
        settings: RunConfig,
        data: str | None = None,
        data_root: str | Path | None = None,
        *,
        unlabelled: bool = False,
    ) -> tuple[ImageSet, ImageSet]:
        """Return training and test images of a run, labelled as its settings say.

        Args:
            settings: of the run.
            data: other data than those of the run.
            data_root: folder of named data sets; that of the run if it is None.
            unlabelled: keep images without a label even if the method learns from labelled ones alone.
        """
        options = self._roles(settings)
        options["unlabelled"] |= unlabelled
        stored = {name: self.loading(settings)[name] for name in STORED}
        sets = load_image_sets(data or settings.data, data_root or settings.data_root, settings.image_size, **stored)
        return with_roles(sets, seed=settings.seed, **options)

    def embeddings(
        self,
        method: Method,
        config: Mapping[str, Any],
        source: str,
        *,
        data_root: str | Path | None = None,
        batch_size: int = 256,
        progress: bool = False,
    ) -> Embeddings:
        """Embed an image file, a folder of images (searched through), or both splits of a named data set.

        A named data set also has the columns `split` (`train` or `test`) and `label`, a folder with one folder for each
        class the column `label`. A damaged image is left out and
        listed.
        """
        size = int(config["image_size"])
        parts = _image_sets(source, data_root, size, config.get("loading", {}).get("column"))
        found = Embeddings(iter(()), [entry for _, images in parts[:1] for entry in images.skipped])
        found.empty = f"{source} holds no image that can be decoded."
        in_folder = [images for split, images in parts if split is None and not isinstance(images, StoredImageSet)]
        paths = [path for images in in_folder for path in images.ids]
        classes = dict(zip(paths, class_folders(source, paths), strict=True))

        def batches(start: int, end: int) -> Iterator[tuple[dict[str, list[Any]], Tensor]]:
            for split, images in parts:
                inside = torch.arange(len(images))[max(0, start) : max(0, end)]
                start, end = start - len(images), end - len(images)
                for ids, batch, labels in _batches(images, inside, batch_size, found.skipped, progress):
                    vectors = method.embed(resize(batch.to(method.device), size))
                    columns: dict[str, list[Any]] = {"id": ids}
                    if split is None and any(classes.values()):
                        columns["label"] = [classes[name] for name in ids]
                    if split is None and isinstance(images, StoredImageSet) and images.labels:
                        columns["label"] = labels
                    if split is not None:
                        columns |= {"split": [split] * len(ids), "label": labels}
                    yield columns, vectors

        found.count, found.part = sum(len(images) for _, images in parts), batches
        found.batches = batches(0, found.count)
        return found

    def report_arguments(
        self, method: Method, run: Run, *, data_root: str | Path | None = None, progress: bool = False
    ) -> dict[str, Any]:
        """Embeddings, thumbnails and labels of test images."""
        images = self.labelled_sets(run.settings(), data_root=data_root)[1].sample(MOST_IMAGES)
        size = run.settings().image_size
        assert size is not None
        return {
            "embeddings": embed_image_set(method.embed, images, size, progress=progress),
            "images": images.fetch(torch.arange(len(images))),
            "labels": images.labels,
            "class_names": images.class_names,
            "ids": images.ids,
            "data": images.name,
        }


def _with_label(images: ImageSet) -> ImageSet:
    """The images whose label is known; all where there are no labels."""
    labels = images.labels.get("label")
    return (
        images if labels is None or not bool((labels < 0).any()) else images.select((labels >= 0).nonzero().flatten())
    )


def sample_images(run: Run, data_root: str | Path | None = None) -> ImageSet:
    """Return at most 1500 of the run's test images."""
    settings = run.settings()
    stored = {name: DOMAIN.loading(settings)[name] for name in STORED}
    _, test = load_image_sets(settings.data, data_root or settings.data_root, settings.image_size, **stored)
    return test.sample(MOST_IMAGES)


def _image_sets(
    source: str, data_root: str | Path | None, size: int, column: str | None
) -> list[tuple[str | None, ImageSet]]:
    """The images of a file, a folder or a table, or both splits of a named data set."""
    path = Path(source).expanduser()
    store = None if source in Images.named_sets() else find_store(source, data_root)
    if store is not None:
        return [(None, load_stored_images(store, size, column))]
    if path.is_dir() or (path.is_file() and path.suffix.lower() != ".npz"):
        return [(None, load_images(path, size))]
    train, test = load_image_sets(source, data_root, size)
    return [("train", train), ("test", test)]


def _batches(
    images: ImageSet, inside: Tensor, batch_size: int, skipped: list[tuple[str, str]], progress: bool
) -> Iterator[tuple[list[str], Tensor, list[str | None]]]:
    """Ids, images and class names, batch by batch; images that cannot be decoded are added to `skipped`."""
    label, names = images.labels.get("label"), images.class_names.get("label", ())
    batches = inside.split(batch_size) if len(inside) else ()
    for indices in (
        track(batches, description=f"embedding {images.name}", console=Console(stderr=True)) if progress else batches
    ):
        try:
            batch = images.fetch(indices)
        except InputError:
            indices, batch = _decodable(images, indices, skipped)
        if len(indices):
            classes = [None if label is None else names[int(label[index])] for index in indices]
            yield [images.ids[int(index)] for index in indices], batch, classes


def _decodable(images: ImageSet, indices: Tensor, skipped: list[tuple[str, str]]) -> tuple[Tensor, Tensor]:
    """The images of a batch that can be decoded, one by one."""
    kept, decoded = [], []
    for index in indices:
        try:
            decoded.append(images.fetch(index[None]))
            kept.append(index)
        except InputError as error:
            skipped.append((images.ids[int(index)], str(error.__cause__ or error)))
    return (torch.stack(kept), torch.cat(decoded)) if kept else (indices[:0], torch.empty(0))


DOMAIN = Images()
