"""Parts of networks for graphs."""

from dipole.nn.graph.encoder import GraphEncoder, build_graph_encoder
from dipole.nn.graph.pyg import torch_geometric

__all__ = ["GraphEncoder", "build_graph_encoder", "torch_geometric"]
