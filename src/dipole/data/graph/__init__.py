"""Graphs: nodes with attributes, edges between them, and perhaps a class for each node."""

from dipole.data.graph.graph_data_module import GraphDataModule
from dipole.data.graph.graph_set import GraphSet, make_graph
from dipole.data.graph.hetero_data_module import HeteroDataModule
from dipole.data.graph.hetero_files import available_heterographs, load_hetero
from dipole.data.graph.hetero_set import HeteroSet, make_hetero
from dipole.data.graph.npz_graph import load_npz_graph
from dipole.data.graph.planetoid import load_planetoid
from dipole.data.graph.registry import available_graphs, load_graph
from dipole.data.graph.table_graph import load_table_graph

__all__ = [
    "GraphDataModule",
    "GraphSet",
    "HeteroDataModule",
    "HeteroSet",
    "available_graphs",
    "available_heterographs",
    "load_graph",
    "load_hetero",
    "load_npz_graph",
    "load_planetoid",
    "load_table_graph",
    "make_graph",
    "make_hetero",
]
