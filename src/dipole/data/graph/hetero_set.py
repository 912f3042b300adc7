"""One graph of several kinds of nodes: attributes of each kind, relations between kinds, meta-paths."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from scipy.sparse import csr_matrix
from torch import Tensor

from dipole.errors import InputError

Kinds = tuple[str, ...]


@dataclass(frozen=True)
class HeteroSet:
    """A graph of several kinds of nodes, and the kind that is embedded.

    Attributes:
        name: of the graph.
        target: the kind whose nodes are embedded.
        sizes: number of nodes of each kind.
        attributes: (N_k, F_k) float32 of the kinds that have any; nodes of others are told apart by their number.
        relations: (N_a, N_b) sparse, how often a node of kind a is joined to one of kind b, by (a, b).
        metapaths: kinds along each path, from the target back to it.
        y: (N,) classes of the target, −1 where unknown; None if there are none.
        class_names: of the classes.
        ids: names of the target nodes; their numbers if None.
        splits: given divisions of the target nodes into train, validation and test, by labels of a class.
        notes: what was put right.
    """

    name: str
    target: str
    sizes: Mapping[str, int]
    attributes: Mapping[str, Tensor]
    relations: Mapping[tuple[str, str], csr_matrix]
    metapaths: tuple[Kinds, ...]
    y: Tensor | None = None
    class_names: tuple[str, ...] = ()
    ids: tuple[str, ...] | None = None
    splits: Mapping[int, tuple[Tensor, Tensor, Tensor]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return self.sizes[self.target]

    @property
    def labels(self) -> Tensor | None:
        """The class of each target node, −1 where unknown; None if two classes are not known."""
        return self.y if self.y is not None and len(torch.unique(self.y[self.y >= 0])) > 1 else None

    @property
    def kinds(self) -> list[str]:
        """The target kind, then the others that lie on a meta-path, in the order in which they are met."""
        met = dict.fromkeys(kind for path in self.metapaths for kind in path)
        return [self.target, *(kind for kind in met if kind != self.target)]

    def node_ids(self) -> list[str]:
        """Return the name of every target node."""
        return list(self.ids) if self.ids is not None else [str(index) for index in range(len(self))]

    def classes(self) -> list[str | None]:
        """Return the name of the class of every target node; None where it is unknown."""
        if self.y is None:
            return [None] * len(self)
        names = self.class_names
        return [None if v < 0 else names[v] if v < len(names) else str(v) for v in self.y.tolist()]

    def between(self, first: str, second: str) -> csr_matrix:
        """Return how often nodes of two kinds are joined, (N_first, N_second).

        Raises:
            InputError: there is no relation between them.
        """
        if (first, second) in self.relations:
            return self.relations[first, second]
        if (second, first) in self.relations:
            return self.relations[second, first].T.tocsr()
        known = ", ".join("-".join(pair) for pair in self.relations)
        raise InputError(f"{self.name} has no relation between {first!r} and {second!r}. There are {known}.")

    def along(self, path: Sequence[str]) -> csr_matrix:
        """Return the number of paths between the nodes at both ends, (N_first, N_last)."""
        product = None
        for pair in pairwise(path):
            step = self.between(*pair)
            product = step if product is None else (product @ step).tocsr()
        assert product is not None
        return product


def make_hetero(
    name: str,
    relations: Mapping[tuple[str, str], Any],
    *,
    sizes: Mapping[str, int],
    attributes: Mapping[str, Tensor] | None = None,
    target: str | None = None,
    metapaths: Sequence[Sequence[str]] | None = None,
    y: Tensor | None = None,
    **others: Any,
) -> HeteroSet:
    """Put a graph of several kinds of nodes together.

    Args:
        name: of the graph.
        relations: (2, E) edges or a sparse matrix, by the two kinds that they join. An edge that stands several times
            counts as often.
        sizes: number of nodes of each kind.
        attributes: (N_k, F_k) of some kinds.
        target: the kind that is embedded; the first of the meta-paths by default, else the only one with relations to
            all others.
        metapaths: kinds along each path; from the target to each of its neighbours and back by default.
        y: (N,) classes of the target.
        **others: attributes of `HeteroSet`.

    Raises:
        InputError: kinds, sizes, relations and paths do not fit together.

    Example:
        >>> pairs = torch.tensor([[0, 1, 1], [0, 0, 1]])
        >>> graph = make_hetero("g", {("paper", "author"): pairs}, sizes={"paper": 2, "author": 2}, target="paper")
        >>> graph.metapaths, graph.along(graph.metapaths[0]).toarray().tolist()
        ((('paper', 'author', 'paper'),), [[1.0, 1.0], [1.0, 2.0]])
    """
    for kind, count in sizes.items():
        if count < 1:
            raise InputError(f"{name} has {count} nodes of kind {kind!r}: expected one or more.")
    matrices = {pair: _incidence(name, pair, edges, sizes) for pair, edges in relations.items()}
    if not matrices:
        raise InputError(f"{name} has no relations: nodes of several kinds are joined by some.")
    paths = None if metapaths is None else tuple(tuple(path) for path in metapaths)
    target = target or (paths[0][0] if paths else _only_centre(name, matrices, sizes))
    if target not in sizes:
        raise InputError(f"{name} has no nodes of kind {target!r}. There are {', '.join(sizes)}.")
    if paths is None:
        around = dict.fromkeys(
            other for pair in matrices for other in pair if target in pair and (other != target or pair[0] == pair[1])
        )
        paths = tuple((target, other, target) for other in around if other != target)
    given = {kind: _attributes(name, kind, x, sizes) for kind, x in (attributes or {}).items()}
    if y is not None and len(y) != sizes[target]:
        raise InputError(f"{name}: {len(y)} classes came for {sizes[target]} nodes of kind {target!r}.")
    made = HeteroSet(name, target, dict(sizes), given, matrices, paths, y, **others)
    _check_paths(made)
    return made


def parse_metapaths(text: str) -> tuple[Kinds, ...]:
    """Read `author-paper-author,author-paper-venue-paper-author`.

    Raises:
        InputError: a path is no kinds with hyphens between them.

    Example:
        >>> parse_metapaths("a-b-a, a-c-a")
        (('a', 'b', 'a'), ('a', 'c', 'a'))
    """
    paths = tuple(tuple(kind.strip() for kind in part.split("-")) for part in text.split(",") if part.strip())
    if not paths or not all(len(path) >= 3 and all(path) for path in paths):
        raise InputError(f"metapaths are {text!r}: expected kinds of nodes, such as author-paper-author, with commas.")
    return paths


def _check_paths(graph: HeteroSet) -> None:
    """Require paths from the target back to it over relations that are there."""
    if not graph.metapaths:
        raise InputError(f"{graph.name}: nothing leads from {graph.target!r} to other kinds: name --loading.metapaths.")
    for path in graph.metapaths:
        if len(path) < 3 or path[0] != graph.target or path[-1] != graph.target:
            raise InputError(
                f"the meta-path {'-'.join(path)} does not lead from {graph.target!r} over others back to it: choose "
                "--loading.target, or paths such as author-paper-author."
            )
        for pair in pairwise(path):
            graph.between(*pair)


def _incidence(name: str, pair: tuple[str, str], edges: Any, sizes: Mapping[str, int]) -> csr_matrix:
    """A relation as a sparse matrix of numbers of edges."""
    for kind in pair:
        if kind not in sizes:
            raise InputError(f"{name}: the relation {'-'.join(pair)} names the kind {kind!r}, of which no nodes came.")
    shape = (sizes[pair[0]], sizes[pair[1]])
    if not isinstance(edges, Tensor | np.ndarray):
        matrix = csr_matrix(edges, dtype=np.float64)
        if matrix.shape != shape:
            raise InputError(f"{name}: the relation {'-'.join(pair)} has shape {matrix.shape}, expected {shape}.")
        return matrix
    table = np.asarray(edges)
    if table.ndim != 2 or len(table) != 2:
        raise InputError(f"{name}: the relation {'-'.join(pair)} has shape {table.shape}: expected (2, E).")
    if table.size and (table.min() < 0 or (table.max(axis=1) >= shape).any()):
        raise InputError(
            f"{name}: the relation {'-'.join(pair)} names nodes up to {table.max(axis=1).tolist()}, and there are "
            f"{list(shape)}, counted from 0."
        )
    return csr_matrix((np.ones(table.shape[1]), (table[0], table[1])), shape=shape)


def _attributes(name: str, kind: str, x: Tensor, sizes: Mapping[str, int]) -> Tensor:
    """Attributes of a kind."""
    if kind not in sizes or x.ndim != 2 or len(x) != sizes[kind] or not x.shape[1] or not bool(x.isfinite().all()):
        raise InputError(
            f"{name}: attributes of {kind!r} have shape {tuple(x.shape)}: expected finite numbers, a row for each of "
            f"{sizes.get(kind, 0)} nodes."
        )
    return x.float().contiguous()


def _only_centre(name: str, relations: Mapping[tuple[str, str], Any], sizes: Mapping[str, int]) -> str:
    """The one kind that has a relation to every other."""
    joined = {frozenset(pair) for pair in relations}
    centres = [kind for kind in sizes if all(other == kind or {kind, other} in joined for other in sizes)]
    if len(centres) != 1:
        raise InputError(f"{name} has nodes of the kinds {', '.join(sizes)}: say with --loading.target which to embed.")
    return centres[0]
