"""Sort images without a label into known classes and new ones."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from dipole.errors import InputError
from dipole.evaluation.embedding import embed_image_set
from dipole.files import atomic_write
from dipole.ops.cosine_clusters import check_clusters
from dipole.ops.door import public
from dipole.ops.matching import contingency, match
from dipole.runs.directory import Run
from dipole.runs.domains import domain_of
from dipole.runs.loading import load

TEMPERATURE = 0.1  # of the confidence


@dataclass(frozen=True)
class Discovered:
    """What `discover` wrote.

    Args:
        path: of the table.
        rows: images without a label.
        classes: how many of them each class, or new one, has.
    """

    path: Path
    rows: int
    classes: dict[str, int]


@public
def named_clusters(
    clusters: Int[Tensor, "n"], labels: Int[Tensor, "n"], names: tuple[str, ...], size: int
) -> tuple[str, ...]:
    """Name each cluster: by the known class that it is matched with, or `new 1`, `new 2` … by size.

    One matching puts as large a share of clusters' labelled images right as can be (the Hungarian method).

    Args:
        clusters: (N,) of all images.
        labels: (N,) known classes, −1 without a label.
        names: of the known classes.
        size: number of clusters.

    Raises:
        InputError: fewer clusters than known classes, or a known class without a labelled image.

    Example:
        >>> named_clusters(torch.tensor([0, 1, 1, 2]), torch.tensor([-1, 0, -1, -1]), ("cat",), 3)
        ('new 1', 'cat', 'new 2')
    """
    if len(names) > size:
        raise InputError(f"{size} clusters were asked for, and {len(names)} classes are known: ask for more.")
    known = labels >= 0
    counts = torch.bincount(labels[known], minlength=len(names))
    if len(names) and int(counts.min()) < 1:
        raise InputError(f"class {names[int(counts.argmin())]!r} is known and has no labelled sample.")
    sizes = torch.bincount(clusters, minlength=size)
    shares = contingency(clusters[known], labels[known], size).double() / sizes.clamp_min(1)[:, None]
    columns = match(shares).tolist()
    found = [names[column] if column < len(names) else "" for column in columns]
    order = sizes.argsort(descending=True, stable=True).tolist()
    for number, cluster in enumerate([each for each in order if not found[each]], start=1):
        found[cluster] = f"new {number}"
    return tuple(found)


@public
def cluster_confidence(
    features: Float[Tensor, "n d"], clusters: Int[Tensor, "n"], size: int, *, temperature: float = TEMPERATURE
) -> Float[Tensor, "n"]:
    """Return the softmax, over the centres of the clusters, of a row's cosines at a temperature, for its own cluster.

    Args:
        features: (N, D).
        clusters: (N,).
        size: number of clusters.
        temperature: of the softmax.

    Example:
        >>> cluster_confidence(torch.eye(2), torch.tensor([0, 1]), 2).round(decimals=3)
        tensor([1., 1.])
    """
    rows = F.normalize(features, dim=1)
    centres = F.normalize(rows.new_zeros(size, rows.shape[1]).index_add(0, clusters, rows), dim=1)
    return (rows @ centres.T / temperature).softmax(dim=1).gather(1, clusters[:, None])[:, 0]


def discover(
    path: str | Path,
    out: str | Path,
    *,
    clusters: int | None = None,
    data: str | None = None,
    data_root: str | Path | None = None,
    loading: Mapping[str, Any] | None = None,
    progress: bool = False,
) -> Discovered:
    """Cluster the training images of a run, and write the cluster and the class of each one without a label.

    Args:
        path: a run of a method for images.
        out: .parquet or .csv to write, with the columns `id`, `cluster`, `class` and `confidence`.
        clusters: how many there are, known classes and new ones; as the run was trained if None.
        data: other images than those of the run.
        data_root: folder of named data sets.
        loading: how images are labelled, where it differs from the run.
        progress: show a progress bar.

    Raises:
        InputError: the run is not of images or has no model, every image has a label, or there are fewer images than
            clusters.
    """
    from dipole.evaluation.protocols.discovery import kmeans_clusters
    from dipole.runs.domains.images import Images

    out = Path(out)
    if out.suffix.lower() not in (".parquet", ".csv"):
        raise InputError(f"--out is {out}: expected a name that ends in .parquet or .csv.")
    run = replace(Run.open(path), other_loading=loading or {}, other_data=data)
    settings = run.settings()
    domain = domain_of(settings.name, settings.method)
    if not isinstance(domain, Images):
        raise InputError(f"{path} is a run on {domain.name}: categories are discovered among images.")
    method = load(run.path)
    images = domain.labelled_sets(settings, data_root=data_root, unlabelled=True)[0]
    labels, names = images.seen_labels, images.class_names.get("label", ())
    labels = torch.full((len(images),), -1) if labels is None else labels
    known = names[: int(getattr(images, "known", None) or len(names))]
    if bool((labels >= 0).all()):
        raise InputError(
            f"every training image of {images.name} has a label: there is nothing to discover. Leave cells of "
            "--labels empty, or hide classes with --loading.known."
        )
    number = clusters or int(getattr(method, "total", 0)) or len(names)
    check_clusters(len(images), number)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    method.to(device)
    size = settings.image_size or images.default_size
    features = embed_image_set(method.embed, images, size, device=device, progress=progress)
    found = kmeans_clusters(features, number, seed=settings.seed)
    of_cluster = named_clusters(found, labels, tuple(known), number)
    confidence = cluster_confidence(features, found, number)
    rows = (labels < 0).nonzero().flatten().tolist()
    classes = [of_cluster[int(found[row])] for row in rows]
    _write(out, [images.ids[row] for row in rows], found[rows].tolist(), classes, confidence[rows].tolist())
    ordered = sorted(set(of_cluster), key=of_cluster.index)
    return Discovered(out, len(rows), {name: classes.count(name) for name in (*known, *_new(ordered))})


def _new(names: list[str]) -> list[str]:
    """The new classes, in the order of their numbers."""
    return sorted((name for name in names if name.startswith("new ")), key=lambda name: int(name[4:]))


def _write(out: Path, ids: list[str], clusters: list[int], classes: list[str], confidence: list[float]) -> None:
    """Write the table, whole or not at all."""
    import pyarrow as pa
    import pyarrow.csv as pc
    import pyarrow.parquet as pq

    table = pa.table({"id": ids, "cluster": clusters, "class": classes, "confidence": confidence})
    with atomic_write(out) as temporary:
        if out.suffix.lower() == ".csv":
            pc.write_csv(table, temporary)
        else:
            pq.write_table(table, temporary)
