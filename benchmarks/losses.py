"""Losses of dipole beside their peers: time and additional memory of one forward and backward pass on the CPU.

    python benchmarks/losses.py            # the table
    python benchmarks/losses.py --rows 1024
    python benchmarks/losses.py --only "CLIP, wide" "CLOOB, wide" --large 0
    python benchmarks/losses.py --store    # for the tables of README.md, see results.py

Every measurement runs in a process of its own, so that the peak memory is its own; peers and dipole take turns.
Which losses and peers there are is said in peers.py. "The bare work" is what a loss cannot avoid: its products of
matrices, over one triangle where the matrix is symmetric, and one exponential of each pair.
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable

import torch
from peers import CASES
from results import BARE, Measured, store
from rich.console import Console
from rich.progress import Progress, TimeElapsedColumn
from rich.table import Table

LONG_ROUND = 60.0  # seconds
WIDE = (8192, 512)  # pairs and dimensions of the cases that are called so


def size_of(case: str, rows: int, dim: int) -> tuple[int, int]:
    """Pairs and dimensions of a case."""
    if "wide" in case:
        return WIDE
    if "pairs" in case:
        return int(case.split()[-2]), dim
    return (256 if "queue" in case else rows), dim


def measure(case: str, peer: str, rows: int, dim: int, repeats: int) -> None:
    """Print the shortest time, additional peak memory, value and gradient norm of one loss, as JSON."""
    torch.manual_seed(0)
    z1, z2 = torch.randn(rows, dim, requires_grad=True), torch.randn(rows, dim, requires_grad=True)
    small = [torch.randn(16, dim, requires_grad=True) for _ in range(2)]
    CASES[case][peer](small[0], small[1])().backward()  # imports, thread pools and the allocator's arenas
    loss = CASES[case][peer](z1, z2)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    seconds = []
    for _ in range(max(repeats, min(300, 10_000 // rows))):
        z1.grad = z2.grad = None
        start = time.perf_counter()
        value = loss()
        value.backward()
        seconds.append(time.perf_counter() - start)
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert z1.grad is not None
    result = {"seconds": min(seconds), "mebibytes": (after - before) / 1024}
    print(json.dumps({**result, "value": value.item(), "gradient": z1.grad.norm().item()}))


def run(case: str, peer: str, rows: int, dim: int, repeats: int) -> dict[str, float] | str:
    """Measure in a process of its own."""
    command = [sys.executable, __file__, "--measure", case, peer, "--rows", str(rows), "--dim", str(dim)]
    result = subprocess.run([*command, "--repeats", str(repeats)], capture_output=True, text=True, check=False)
    if result.returncode != 0:
        return (result.stderr.strip().splitlines() or ["killed: out of memory?"])[-1]
    found: dict[str, float] = json.loads(result.stdout.splitlines()[-1])
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--measure", nargs=2, metavar=("CASE", "PEER"))
    parser.add_argument("--rows", type=int, default=4096, help="pairs in the batch (the queue case uses 256)")
    parser.add_argument("--dim", type=int, default=128)
    parser.add_argument("--repeats", type=int, default=2, help="passes of a process at least; small batches have more")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--only", nargs="+", choices=CASES, default=list(CASES), metavar="CASE")
    parser.add_argument("--large", type=int, default=32768, help="pairs of the run that only dipole survives; 0: none")
    parser.add_argument("--store", action="store_true", help="leave the figures for the tables of README.md")
    options = parser.parse_args()
    if options.measure:
        measure(*options.measure, options.rows, options.dim, options.repeats)
        return
    table = Table(title=f"Forward and backward, float32, {torch.get_num_threads()} threads")
    for heading in ("loss", "pairs", "D", "implementation", "time / dipole", "memory / dipole", "MiB", "ms", "value"):
        table.add_column(heading, justify="left" if heading in ("loss", "implementation") else "right")
    measured: list[Measured] = []
    total = options.rounds * sum(len(CASES[case]) for case in options.only)
    with Progress(*Progress.get_default_columns(), TimeElapsedColumn(), console=Console(stderr=True)) as progress:
        task = progress.add_task("measuring", total=total + bool(options.large))
        for case in options.only:
            for row in compare(case, options, lambda: progress.advance(task), measured):
                table.add_row(*row)
                progress.console.print("  ".join(row), highlight=False)
        if options.large:
            table.add_row(*alone(options.large, options.dim))
            progress.advance(task)
    Console().print(table)
    if options.store:
        store("losses", measured)


def compare(
    case: str, options: argparse.Namespace, advance: Callable[[], None], measured: list[Measured]
) -> list[list[str]]:
    """The rows of the table for one loss; peers take turns, and the fastest of the rounds counts.

    A round that took long is not followed by another: disturbances are short.
    """
    rows, dim = size_of(case, options.rows, options.dim)
    found: dict[str, list[dict[str, float]]] = {peer: [] for peer in CASES[case]}
    failures: dict[str, str] = {}
    start = time.perf_counter()
    for _ in range(options.rounds):
        long = time.perf_counter() - start > LONG_ROUND
        for peer in CASES[case]:
            advance()
            if long:
                continue
            result = run(case, peer, rows, dim, options.repeats)
            if isinstance(result, str):
                failures[peer] = result
            else:
                found[peer].append(result)
    best = {peer: min(results, key=lambda result: result["seconds"]) for peer, results in found.items() if results}
    own = best.get("dipole", {"seconds": float("nan"), "mebibytes": float("nan")})
    what = f"{case.partition(',')[0]}, {rows:,} pairs, {dim} dimensions"
    what = f"{case}, {rows:,} queries" if "queue" in case else what
    measured += [
        Measured(what, peer, each["seconds"] / own["seconds"], each["mebibytes"] / max(own["mebibytes"], 0.1))
        for peer, each in best.items()
        if peer != "dipole"
    ]
    table = [
        [
            case,
            str(rows),
            str(dim),
            peer,
            f"{result['seconds'] / own['seconds']:.2f}×",
            "" if peer == BARE else f"{result['mebibytes'] / max(own['mebibytes'], 0.1):.1f}×",
            "" if peer == BARE else f"{result['mebibytes']:.0f}",
            f"{result['seconds'] * 1e3:.2f}",
            "" if peer == BARE else f"{result['value']:.6f}",
        ]
        for peer, result in best.items()
    ]
    failed = [[case, str(rows), str(dim), peer, reason] for peer, reason in failures.items() if peer not in best]
    return table + failed


def alone(rows: int, dim: int) -> list[str]:
    """The row of a batch that the others cannot hold."""
    result = run("NT-Xent", "dipole", rows, dim, 1)
    if isinstance(result, str):
        return ["NT-Xent", str(rows), str(dim), "dipole", result]
    measured = f"{result['mebibytes']:.0f}", f"{result['seconds'] * 1e3:.0f}"
    return ["NT-Xent", str(rows), str(dim), "dipole", "", "", *measured, f"{result['value']:.6f}"]


if __name__ == "__main__":
    main()
