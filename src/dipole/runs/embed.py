"""Write embeddings of images to a Parquet file."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from rich.progress import track
from torch import Tensor

from dipole.data import ImageSet, load_image_sets, load_images
from dipole.errors import InputError
from dipole.files import atomic_write
from dipole.runs.model import load, model_config
from dipole.views import resize


@dataclass(frozen=True)
class Embedded:
    """What `embed_to_parquet` wrote.

    Args:
        path: of the file.
        rows: number of embeddings.
        dimensions: of each.
        skipped: `(path, reason)` of the files that have no row.
    """

    path: Path
    rows: int
    dimensions: int
    skipped: tuple[tuple[str, str], ...]


def embed_to_parquet(
    run: str | Path,
    source: str,
    out: str | Path,
    *,
    data_root: str | Path | None = None,
    batch_size: int = 256,
    progress: bool = False,
) -> Embedded:
    """Embed images and write a table with the columns `id` and `vector`, a batch at a time.

    A named data set also has the columns `split` (`train` or `test`) and `label`. A damaged image is left out and
    listed. Memory does not grow with the number of images.

    Args:
        run: a run directory or a model folder.
        source: an image file, a folder of images (searched through), or the name of a data set.
        out: the Parquet file to write.
        data_root: folder of named data sets.
        batch_size: images embedded at once.
        progress: show a progress bar.

    Returns:
        What was written.

    Raises:
        InputError: the run has no model, the source holds no image, or `out` is a folder.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    out = Path(out)
    if out.is_dir():
        raise InputError(f"--out {out} is a folder: name a file, e.g. {out / 'embeddings.parquet'}.")
    if batch_size < 1:
        raise InputError(f"batch_size is {batch_size}: expected 1 or more images at a time.")
    method = load(run)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    method.to(device)
    size = int(model_config(run)["image_size"])
    parts = _image_sets(source, data_root, size)
    skipped = [entry for _, images in parts[:1] for entry in images.skipped]
    rows = dimensions = 0
    with atomic_write(out) as temporary:
        writer = None
        for split, images in parts:
            for ids, batch, labels in _batches(images, batch_size, skipped, progress):
                with torch.inference_mode():
                    vectors = method.embed(resize(batch.to(device), size)).float().cpu()
                columns: dict[str, Any] = {"id": pa.array(ids), "vector": _vectors(vectors)}
                if split is not None:
                    columns |= {"split": pa.array([split] * len(ids)), "label": pa.array(labels, pa.string())}
                table = pa.table(columns)
                writer = writer or pq.ParquetWriter(temporary, table.schema)
                writer.write_table(table)
                rows, dimensions = rows + len(ids), vectors.shape[1]
        if writer is None:
            raise InputError(f"{source} holds no image that can be decoded.")
        writer.close()
    return Embedded(out, rows, dimensions, tuple(skipped))


def _image_sets(source: str, data_root: str | Path | None, size: int) -> list[tuple[str | None, ImageSet]]:
    """The images of a file or a folder, or both splits of a named data set."""
    path = Path(source).expanduser()
    if path.is_dir() or (path.is_file() and path.suffix != ".npz"):
        return [(None, load_images(path, size))]
    train, test = load_image_sets(source, data_root, size)
    return [("train", train), ("test", test)]


def _batches(
    images: ImageSet, batch_size: int, skipped: list[tuple[str, str]], progress: bool
) -> Iterator[tuple[list[str], Tensor, list[str | None]]]:
    """Ids, images and class names, batch by batch; images that cannot be decoded are added to `skipped`."""
    label, names = images.labels.get("label"), images.class_names.get("label", ())
    batches = torch.arange(len(images)).split(batch_size)
    for indices in track(batches, description=f"embedding {images.name}") if progress else batches:
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


def _vectors(vectors: Tensor) -> Any:
    """A column of fixed-size lists of float32."""
    import pyarrow as pa

    return pa.FixedSizeListArray.from_arrays(pa.array(vectors.flatten().numpy()), vectors.shape[1])
