"""Cora, CiteSeer and PubMed in the files of Planetoid.

Seven of the eight files are pickles of NumPy arrays, SciPy matrices and a dictionary. They are read by a machine that
knows a handful of names and stands in for each with an object that can do nothing but hold what the file says.
"""

import io
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dipole.data.graph.graph_set import GraphSet, make_graph
from dipole.errors import InputError

PARTS = ("x", "tx", "allx", "y", "ty", "ally", "graph", "test.index")
VALIDATION_NODES = 500  # which follow the training nodes in the public split
CLASSES = {
    "cora": (
        "theory",
        "reinforcement learning",
        "genetic algorithms",
        "neural networks",
        "probabilistic methods",
        "case based",
        "rule learning",
    ),
}


def load_planetoid(folder: str | Path, name: str) -> GraphSet:
    """Read a citation graph with its public split.

    Yang, Cohen, Salakhutdinov: *Revisiting Semi-Supervised Learning with Graph Embeddings* (ICML 2016). Duplicates and
    self-loops of the files are left out, as everywhere.

    Args:
        folder: with the files `ind.NAME.x`, `tx`, `allx`, `y`, `ty`, `ally`, `graph` and `test.index`.
        name: `"cora"`, `"citeseer"` or `"pubmed"`.

    Raises:
        InputError: a file is missing, damaged, or holds anything but arrays, matrices and lists of numbers.
    """
    folder, name = Path(folder), name.lower()
    parts = {part: _read(folder / f"ind.{name}.{part}") for part in PARTS}
    path = folder / f"ind.{name}.graph"
    try:
        matrices = {part: _dense(parts[part]) for part in PARTS[:6]}
        test = torch.from_numpy(np.array(parts["test.index"].split(), dtype=np.int64))
        x, y = _in_order(matrices, test)
        pairs = [(source, target) for source, targets in parts["graph"].items() for target in targets]
        edges = torch.tensor(pairs, dtype=torch.long).reshape(-1, 2).T
    except (AttributeError, KeyError, TypeError, ValueError, IndexError, RuntimeError, OverflowError) as error:
        raise InputError(
            f"the files ind.{name}.* in {folder} do not fit together ({error}). Get them again."
        ) from error
    if len(parts["graph"]) > len(x):
        raise InputError(f"{path} has {len(parts['graph'])} nodes and the attributes {len(x)}: get the files again.")
    train = len(matrices["y"])
    places = {
        "train_mask": torch.arange(train),
        "val_mask": torch.arange(train, min(train + VALIDATION_NODES, len(x))),
        "test_mask": test,
    }
    masks = {mask: torch.zeros(len(x), dtype=torch.bool).index_fill(0, nodes, True) for mask, nodes in places.items()}
    edges = edges[:, edges[0] != edges[1]]
    unique = torch.unique(edges, dim=1)
    return make_graph(name, unique, num_nodes=len(x), x=x, y=y, masks=masks, class_names=CLASSES.get(name, ()))


def _in_order(matrices: dict[str, Tensor], test: Tensor) -> tuple[Tensor, Tensor]:
    """Attributes and classes by node: the test nodes stand last, in the order of `test.index`, which may have gaps."""
    known = len(matrices["allx"])
    nodes = max(known + len(matrices["tx"]), int(test.max()) + 1)
    x = torch.zeros(nodes, matrices["allx"].shape[1])
    classes = torch.zeros(nodes, matrices["ally"].shape[1])
    x[:known], classes[:known] = matrices["allx"], matrices["ally"]
    # A number that test.index leaves out is a node without attributes, class or edges (CiteSeer).
    x[test], classes[test] = matrices["tx"], matrices["ty"]
    return x, torch.where(classes.amax(dim=1) > 0, classes.argmax(dim=1), -1)


def _read(path: Path) -> Any:
    """The content of one file: text of `test.index`, stand-ins of the others."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}. Planetoid has eight files for each graph.") from error
    if path.name.endswith("test.index"):
        return content.decode("ascii", errors="replace")
    try:
        return _Reader(io.BytesIO(content), encoding="latin1").load()
    except InputError:
        raise
    except Exception as error:  # a damaged pickle can fail in any way
        raise InputError(f"{path} is damaged or no file of Planetoid ({error}). Get it again.") from error


class _Array:
    """What a pickle says about an array."""

    def __init__(self, *_: Any) -> None:
        self.state: tuple[Any, ...] = ()

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.state = state

    def numbers(self) -> np.ndarray:
        _, shape, kind, fortran, data = self.state
        raw = data.encode("latin1") if isinstance(data, str) else data
        return np.frombuffer(raw, kind.dtype()).reshape(shape, order="F" if fortran else "C")


class _Type:
    """What a pickle says about the type of an array."""

    def __init__(self, code: str, *_: Any) -> None:
        self.code, self.order = code, "<"

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.order = state[1]

    def dtype(self) -> np.dtype:
        found = np.dtype(self.code)
        if found.kind not in "fiub":
            raise ValueError(f"an array of type {self.code}")
        return found.newbyteorder(">") if self.order == ">" else found


class _Matrix:
    """What a pickle says about a sparse matrix."""


class _Dictionary(dict[int, list[int]]):
    """A dictionary, whatever it was called with."""

    def __init__(self, *_: Any) -> None:
        super().__init__()


def _rebuilt(kind: type, *_: Any) -> Any:
    """What old protocols call for a new object."""
    if kind is not _Matrix:
        raise ValueError("an object that is no matrix")
    return _Matrix()


def _encoded(text: str, *_: Any) -> bytes:
    """How Python 3 writes bytes for Python 2."""
    return text.encode("latin1")


_KNOWN: dict[tuple[str, str], Any] = {
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _Type,
    ("numpy.core.multiarray", "_reconstruct"): _Array,
    ("numpy._core.multiarray", "_reconstruct"): _Array,
    ("scipy.sparse.csr", "csr_matrix"): _Matrix,
    ("scipy.sparse._csr", "csr_matrix"): _Matrix,
    ("collections", "defaultdict"): _Dictionary,
    ("__builtin__", "list"): _Array,
    ("builtins", "list"): _Array,
    ("__builtin__", "object"): _Array,
    ("builtins", "object"): _Array,
    ("copy_reg", "_reconstructor"): _rebuilt,
    ("copyreg", "_reconstructor"): _rebuilt,
    ("_codecs", "encode"): _encoded,
}


class _Reader(pickle.Unpickler):
    """Knows the names above and nothing else, so that a file can call nothing that does anything."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _KNOWN:
            raise InputError(
                f"a file of Planetoid asks for {module}.{name}: refused, because reading it could run code. Only "
                "arrays, sparse matrices and lists of numbers are read; get the files again."
            )
        return _KNOWN[module, name]


def _dense(part: Any) -> Tensor:
    """A matrix of floats from a stand-in."""
    if isinstance(part, _Array):
        return torch.from_numpy(part.numbers().astype(np.float32))
    from scipy.sparse import csr_matrix

    state = vars(part)
    arrays = tuple(state[name].numbers() for name in ("data", "indices", "indptr"))
    matrix = csr_matrix(arrays, shape=tuple(state.get("_shape") or state["shape"]))
    matrix.check_format(full_check=True)
    return torch.from_numpy(matrix.toarray().astype(np.float32))
