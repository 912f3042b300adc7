"""Losses of dipole beside their peers: time and additional memory of one forward and backward pass on the CPU.

    python benchmarks/losses.py            # the table
    python benchmarks/losses.py --rows 1024
    python benchmarks/losses.py --only "CLIP, wide" "CLOOB, wide" --large 0
    python benchmarks/losses.py --store    # for the tables of README.md, see results.py

Every measurement runs in a process of its own, so that the peak memory is its own; peers and dipole take turns.
"The bare work" is what a loss cannot avoid: its products of matrices, over one triangle where the matrix is symmetric,
and one exponential of each pair.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable

import torch
from results import BARE, Measured, store
from rich.console import Console
from rich.progress import Progress, TimeElapsedColumn
from rich.table import Table
from torch import Tensor
from torch.nn.functional import cross_entropy, normalize

from dipole.runs.memory import keep_freed_memory

TEMPERATURE = 0.1
BIAS = -10.0
KEEP = "DIPOLE_BENCHMARK_KEEPS_MEMORY"
OTHER_LOSS = "open_clip's CLIP"  # in the table for its size, not for its value: it takes a fifth of CLOOB's products
Loss = Callable[[], Tensor]


def nt_xent_dipole(z1: Tensor, z2: Tensor) -> Loss:
    from dipole.losses import nt_xent_loss

    return lambda: nt_xent_loss(z1, z2, temperature=TEMPERATURE)


def nt_xent_lightly(z1: Tensor, z2: Tensor) -> Loss:
    from lightly.loss import NTXentLoss

    criterion = NTXentLoss(temperature=TEMPERATURE)
    return lambda: criterion(z1, z2)


def nt_xent_metric_learning(z1: Tensor, z2: Tensor) -> Loss:
    from pytorch_metric_learning.losses import NTXentLoss, SelfSupervisedLoss

    criterion = SelfSupervisedLoss(NTXentLoss(temperature=TEMPERATURE))
    return lambda: criterion(z1, z2)


def nt_xent_plain(z1: Tensor, z2: Tensor) -> Loss:
    def loss() -> Tensor:
        z = normalize(torch.cat([z1, z2]), dim=1)
        logits = (z @ z.T / TEMPERATURE).fill_diagonal_(-torch.inf)
        rows = len(z1)
        target = torch.arange(2 * rows).roll(rows)
        return cross_entropy(logits, target)

    return loss


def clip_dipole(z1: Tensor, z2: Tensor) -> Loss:
    from dipole.losses import clip_loss

    return lambda: clip_loss(z1, z2, temperature=TEMPERATURE)


def clip_open_clip(z1: Tensor, z2: Tensor) -> Loss:
    from open_clip import ClipLoss

    criterion = ClipLoss()
    return lambda: criterion(normalize(z1, dim=1), normalize(z2, dim=1), torch.tensor(1 / TEMPERATURE))


def siglip_dipole(z1: Tensor, z2: Tensor) -> Loss:
    from dipole.losses import siglip_loss

    return lambda: siglip_loss(z1, z2, temperature=TEMPERATURE, bias=BIAS)


def siglip_open_clip(z1: Tensor, z2: Tensor) -> Loss:
    from open_clip.loss import SigLipLoss

    criterion, scale, bias = SigLipLoss(), torch.tensor(1 / TEMPERATURE), torch.tensor(BIAS)
    return lambda: criterion(normalize(z1, dim=1), normalize(z2, dim=1), scale, bias)


def several_texts_dipole(z1: Tensor, z2: Tensor) -> Loss:
    from dipole.losses import multi_text_clip_loss

    return lambda: multi_text_clip_loss(z1, torch.stack([z2, z2.roll(1, dims=1)]), temperature=TEMPERATURE)


def several_texts_open_clip(z1: Tensor, z2: Tensor) -> Loss:
    from open_clip import ClipLoss

    criterion, scale = ClipLoss(), torch.tensor(1 / TEMPERATURE)

    def loss() -> Tensor:
        image = normalize(z1, dim=1)
        texts = [normalize(text, dim=1) for text in (z2, z2.roll(1, dims=1))]
        total: Tensor = torch.stack([criterion(image, text, scale) for text in texts]).mean()
        return total

    return loss


def cloob_dipole(z1: Tensor, z2: Tensor) -> Loss:
    from dipole.losses import cloob_loss

    return lambda: cloob_loss(z1, z2, temperature=TEMPERATURE, beta=8.0)


def cloob_plain(z1: Tensor, z2: Tensor) -> Loss:
    def retrieve(stored: Tensor, queries: Tensor) -> Tensor:
        return normalize(torch.softmax(8.0 * queries @ stored.T, dim=1) @ stored, dim=1)

    def info_loob(anchors: Tensor, candidates: Tensor) -> Tensor:
        logits = anchors @ candidates.T / TEMPERATURE
        positive = logits.diagonal()
        own = torch.eye(len(logits), dtype=torch.bool)
        return TEMPERATURE * (logits.masked_fill(own, -torch.inf).logsumexp(dim=1) - positive).mean()

    def loss() -> Tensor:
        x, y = normalize(z1, dim=1), normalize(z2, dim=1)
        return info_loob(retrieve(x, x), retrieve(x, y)) + info_loob(retrieve(y, y), retrieve(y, x))

    return loss


def queue_dipole(z1: Tensor, z2: Tensor) -> Loss:
    from dipole.losses import cacr_queue_loss

    views, queue = torch.stack([z1, z2]), _queue(z1.shape[1])
    return lambda: cacr_queue_loss(views, views, queue)


def queue_plain(z1: Tensor, z2: Tensor) -> Loss:
    queue = _queue(z1.shape[1])

    def loss() -> Tensor:
        q = normalize(torch.stack([z1, z2]), dim=-1)
        total = (q[0] - q[1].detach()).square().sum(1).mean() / 2 + (q[1] - q[0].detach()).square().sum(1).mean() / 2
        for rows in q:
            similarities = torch.cat([rows @ queue.T, (rows @ rows.T).fill_diagonal_(-torch.inf)], dim=1)
            distances = 2 - 2 * similarities
            weights = torch.softmax(-2 * distances, dim=1).detach()
            total = total - torch.where(weights > 0, weights * distances, 0.0).sum(1).mean() / 2
        return total

    return loss


def _queue(dim: int) -> Tensor:
    return normalize(torch.randn(65536, dim, generator=torch.Generator().manual_seed(1)), dim=1)


def nt_xent_compiled(z1: Tensor, z2: Tensor) -> Loss:
    return torch.compile(nt_xent_plain(z1, z2))


def nt_xent_bare(z1: Tensor, z2: Tensor) -> Loss:
    return _Bare(torch.cat([z1, z2]), None, z1)


def clip_bare(z1: Tensor, z2: Tensor) -> Loss:
    return _Bare(z1, z2, z1)


class _Bare:
    """Tile by tile: the similarities, their exponentials, and the products of these with the rows of both sides."""

    def __init__(self, queries: Tensor, keys: Tensor | None, leaf: Tensor, side: int = 256) -> None:
        self.symmetric, self.leaf, self.side = keys is None, leaf, side
        self.queries = normalize(queries.detach(), dim=1)
        self.keys = self.queries if keys is None else normalize(keys.detach(), dim=1)

    @torch.no_grad()
    def _work(self) -> Tensor:
        buffer, of_queries, of_keys = torch.empty(self.side**2), torch.zeros_like(self.queries), self.queries
        of_keys = of_queries if self.symmetric else torch.zeros_like(self.keys)
        for top in range(0, len(self.queries), self.side):
            rows = slice(top, min(top + self.side, len(self.queries)))
            for left in range(top if self.symmetric else 0, len(self.keys), self.side):
                columns = slice(left, min(left + self.side, len(self.keys)))
                shape = rows.stop - rows.start, columns.stop - columns.start
                tile = buffer[: shape[0] * shape[1]].view(shape)
                torch.mm(self.queries[rows], self.keys[columns].T, out=tile)
                tile.exp2_()
                of_queries[rows].addmm_(tile, self.keys[columns])
                if not (self.symmetric and left == top):
                    of_keys[columns].addmm_(tile.T, self.queries[rows])
        return of_queries[:1].sum()

    def __call__(self) -> Tensor:
        return self._work() + 0 * self.leaf[:1].sum()


CASES: dict[str, dict[str, Callable[[Tensor, Tensor], Loss]]] = {
    "NT-Xent": {
        "dipole": nt_xent_dipole,
        "lightly": nt_xent_lightly,
        "pytorch-metric-learning": nt_xent_metric_learning,
        "plain PyTorch": nt_xent_plain,
        "plain PyTorch, compiled": nt_xent_compiled,
        BARE: nt_xent_bare,
    },
    "NT-Xent, 64 pairs": {"dipole": nt_xent_dipole, "plain PyTorch": nt_xent_plain, "lightly": nt_xent_lightly},
    "NT-Xent, 256 pairs": {"dipole": nt_xent_dipole, "plain PyTorch": nt_xent_plain, "lightly": nt_xent_lightly},
    "CLIP": {"dipole": clip_dipole, "open_clip": clip_open_clip, BARE: clip_bare},
    "CLIP, wide": {"dipole": clip_dipole, "open_clip": clip_open_clip, BARE: clip_bare},
    "SigLIP, wide": {"dipole": siglip_dipole, "open_clip": siglip_open_clip},
    "LaCLIP, two texts, wide": {"dipole": several_texts_dipole, "open_clip": several_texts_open_clip},
    "CLOOB, wide": {"dipole": cloob_dipole, "plain PyTorch": cloob_plain, OTHER_LOSS: clip_open_clip},
    "CACR, queue 65,536": {"dipole": queue_dipole, "plain PyTorch": queue_plain},
}
WIDE = (8192, 512)  # pairs and dimensions of the cases that are called so


def size_of(case: str, rows: int, dim: int) -> tuple[int, int]:
    """Pairs and dimensions of a case."""
    if "wide" in case:
        return WIDE
    if "pairs" in case:
        return int(case.split()[-2]), dim
    return (256 if "queue" in case else rows), dim


def measure(case: str, peer: str, rows: int, dim: int, repeats: int) -> None:
    """Print the median time, additional peak memory, value and gradient norm of one loss, as JSON."""
    if KEEP in os.environ:
        keep_freed_memory()
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
    parser.add_argument("--repeats", type=int, default=1, help="passes of a process at least; small batches have more")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", nargs="+", choices=CASES, default=list(CASES), metavar="CASE")
    parser.add_argument("--large", type=int, default=32768, help="pairs of the run that only dipole survives; 0: none")
    parser.add_argument("--keep", action="store_true", help="keep freed memory in the process, as `dipole train` does")
    parser.add_argument("--store", action="store_true", help="leave the figures for the tables of README.md")
    options = parser.parse_args()
    if options.keep:
        os.environ[KEEP] = "1"  # of the processes that measure
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
    """The rows of the table for one loss; peers take turns, and the median of the rounds counts."""
    rows, dim = size_of(case, options.rows, options.dim)
    found: dict[str, list[dict[str, float]]] = {peer: [] for peer in CASES[case]}
    failures: dict[str, str] = {}
    for _ in range(options.rounds):
        for peer in CASES[case]:
            result = run(case, peer, rows, dim, options.repeats)
            if isinstance(result, str):
                failures[peer] = result
            else:
                found[peer].append(result)
            advance()
    best = {peer: {key: sorted(r[key] for r in rs)[len(rs) // 2] for key in rs[0]} for peer, rs in found.items() if rs}
    own = best.get("dipole", {"seconds": float("nan"), "mebibytes": float("nan")})
    what = f"{case.partition(',')[0]}, {rows:,} pairs, {dim} dimensions"
    what = f"{case}, {rows:,} queries" if "queue" in case else what
    measured += [
        Measured(what, peer, each["seconds"] / own["seconds"], each["mebibytes"] / max(own["mebibytes"], 0.1))
        for peer, each in best.items()
        if peer not in ("dipole", OTHER_LOSS)
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
