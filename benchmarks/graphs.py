"""One epoch of CSGCL on graphs with power-law degrees: time, time a node, and the peak memory of the process.

    python benchmarks/graphs.py                       # 10,000, 50,000 and 200,000 nodes, a share of them as anchors
    python benchmarks/graphs.py --nodes 10000 --anchors 0   # the loss of all nodes

Every measurement runs in a process of its own, so that the peak memory is its own. Seconds are those of the processor,
on one thread. A graph has ten edges a node, each in both directions, and 128 attributes; the encoder is a GCN of
2 · 128 and 128 channels.
"""

import argparse
import json
import random
import resource
import subprocess
import sys
import time

import torch
from progress import add_row, tracked
from rich.console import Console
from rich.table import Table

WIDTH, EDGES_A_NODE, EXPONENT = 128, 10, 2.5


def measure(nodes: int, anchors: int | None) -> dict[str, float]:
    import igraph

    from dipole.data.graph import make_graph
    from dipole.methods.graph.csgcl import CSGCL

    igraph.set_random_number_generator(random.Random(0))
    made = igraph.Graph.Static_Power_Law(nodes, EDGES_A_NODE * nodes, EXPONENT)
    x = torch.rand(nodes, WIDTH, generator=torch.Generator().manual_seed(0))
    graph = make_graph("power law", torch.tensor(made.get_edgelist()).T, num_nodes=nodes, x=x).normalized().graph
    del made
    torch.manual_seed(0)
    method = CSGCL(
        num_features=WIDTH, hidden=WIDTH, projector_hidden=WIDTH, team_up_start=0, team_up_ramp=1, anchors=anchors
    )
    optimizer = torch.optim.Adam(method.parameters(), lr=0.01)
    views = method.build_views()
    began = time.process_time()
    views.prepare(graph.x, graph.edge_index)
    prepared = time.process_time()
    batch = views(graph.x, graph.edge_index, generator=torch.Generator().manual_seed(0))
    loss = method.loss_terms(batch)["loss"]
    loss.backward()
    optimizer.step()
    finished = time.process_time()
    return {
        "edges": graph.edge_index.shape[1] // 2,
        "prepare": prepared - began,
        "epoch": finished - prepared,
        "gigabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
        "loss": float(loss.detach()),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nodes", type=int, nargs="+", default=[10_000, 50_000, 200_000])
    parser.add_argument("--anchors", type=int, default=2000, help="nodes whose loss is computed; 0 for all")
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        torch.set_num_threads(1)
        print(json.dumps(measure(options.nodes[0], options.anchors or None)))
        return
    table = Table("nodes", "edges", "anchors", "communities once, s", "epoch, s", "epoch, µs a node", "peak memory, GB")
    for nodes in tracked(options.nodes, "graphs"):
        command = [sys.executable, __file__, "--one", "--nodes", str(nodes), "--anchors", str(options.anchors)]
        result = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)
        found = json.loads(result.stdout.splitlines()[-1])
        anchors = min(options.anchors or nodes, nodes)
        row = [found["prepare"], found["epoch"], 1e6 * found["epoch"] / nodes, found["gigabytes"]]
        add_row(table, f"{nodes:,}", f"{found['edges']:,}", f"{anchors:,}", *(f"{value:.2f}" for value in row))
    Console().print(table)


if __name__ == "__main__":
    main()
