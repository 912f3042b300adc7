"""Graphs in NumPy's .npz files: those of Amazon and Coauthor, and plain arrays."""

import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dipole.data.graph.graph_set import SPLITS, GraphSet, make_graph
from dipole.errors import InputError


def load_npz_graph(path: str | Path) -> GraphSet:
    """Read a graph from an .npz file; objects in it are not unpickled.

    Two forms: `edge_index` (2, E) or (E, 2) with, if known, `x` (N, F), `y` (N,), `num_nodes`, `train_mask`,
    `val_mask`, `test_mask`; or the compressed rows of Shchur et al.: *Pitfalls of Graph Neural Network Evaluation*
    (2018), such as Amazon Computers and Photo, Coauthor CS and Physics: `adj_data, adj_indices, adj_indptr, adj_shape`,
    the same with `attr_`, and `labels`. In that form attributes become 0 or 1 and self-loops are left out, as PyTorch
    Geometric does.

    Args:
        path: the file.

    Raises:
        InputError: the file is missing, damaged, or has neither form.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            archive = np.load(file, allow_pickle=False)
            if not isinstance(archive, np.lib.npyio.NpzFile):
                raise InputError(f"{path} holds one bare array: save edge_index, x and y with numpy.savez.")
            if "edge_index" in archive:
                return _plain(path, archive)
            if {"adj_data", "adj_indices", "adj_indptr", "adj_shape"} <= set(archive.files):
                return _compressed(path, archive)
            found = ", ".join(archive.files) or "none"
    except FileNotFoundError as error:
        raise InputError(f"{path} does not exist. Check the path.") from error
    except InputError:
        raise
    except (OSError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise InputError(f"cannot read {path}: {error}. The file is damaged or incomplete; get it again.") from error
    except (AttributeError, KeyError, TypeError, ValueError, IndexError) as error:
        raise InputError(f"{path} does not hold the plain arrays of a graph ({error}).") from error
    raise InputError(
        f"{path} has the keys {found}: expected edge_index, or adj_data, adj_indices, adj_indptr, adj_shape."
    )


def _plain(path: Path, archive: Any) -> GraphSet:
    """The form of our own."""
    edges = torch.from_numpy(archive["edge_index"].astype(np.int64))
    if edges.ndim == 2 and len(edges) != 2 and edges.shape[1] == 2:
        edges = edges.T
    if edges.ndim != 2 or len(edges) != 2:
        raise InputError(f"{path}: edge_index has shape {tuple(edges.shape)}, expected (2, E) or (E, 2).")
    x = torch.from_numpy(archive["x"].astype(np.float32)) if "x" in archive else None
    y, names = _classes(archive["y"]) if "y" in archive else (None, ())
    count = int(archive["num_nodes"]) if "num_nodes" in archive else None
    known = x if x is not None else y
    if count is None:
        count = len(known) if known is not None else int(edges.max()) + 1 if edges.numel() else 0
    masks = {mask: torch.from_numpy(archive[mask].astype(bool)) for mask in SPLITS if mask in archive}
    return make_graph(path.stem, edges, num_nodes=count, x=x, y=y, masks=masks, class_names=names)


def _compressed(path: Path, archive: Any) -> GraphSet:
    """The form of Shchur et al."""
    adjacency = _matrix(archive, "adj").tocoo()
    edges = torch.from_numpy(np.stack([adjacency.row, adjacency.col]).astype(np.int64))
    edges = edges[:, edges[0] != edges[1]]
    x = None
    if "attr_data" in archive:
        x = torch.from_numpy((_matrix(archive, "attr").toarray() > 0).astype(np.float32))
    y, names = _classes(archive["labels"]) if "labels" in archive else (None, ())
    return make_graph(path.stem, edges, num_nodes=adjacency.shape[0], x=x, y=y, class_names=names)


def _matrix(archive: Any, prefix: str) -> Any:
    """A matrix of compressed rows, checked."""
    from scipy.sparse import csr_matrix

    arrays = tuple(archive[f"{prefix}_{part}"] for part in ("data", "indices", "indptr"))
    matrix = csr_matrix(arrays, shape=tuple(archive[f"{prefix}_shape"].tolist()))
    matrix.check_format(full_check=True)
    return matrix


def _classes(labels: np.ndarray) -> tuple[Tensor, tuple[str, ...]]:
    """Numbers from 0, −1 where the class is unknown, and the values that they stand for."""
    values = labels.reshape(-1)
    known = np.ones(len(values), bool) if values.dtype.kind not in "iu" else values >= 0
    names, place = np.unique(values[known], return_inverse=True)
    numbered = np.full(len(values), -1, np.int64)
    numbered[known] = place
    return torch.from_numpy(numbered), tuple(map(str, names))
