"""Losses of dipole, the same losses by others, and the work that none of them can avoid.

Each function takes two leaves (N, D), one view each, and returns a function of no arguments that computes the loss.
"""

from collections.abc import Callable

import torch
from results import BARE
from torch import Tensor
from torch.nn.functional import cross_entropy, logsigmoid, normalize

TEMPERATURE = 0.1
BIAS = -10.0
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


def nt_xent_plain(z1: Tensor, z2: Tensor, temperature: float = TEMPERATURE) -> Loss:
    def loss() -> Tensor:
        z = normalize(torch.cat([z1, z2]), dim=1)
        logits = (z @ z.T / temperature).fill_diagonal_(-torch.inf)
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


def clip_plain(z1: Tensor, z2: Tensor) -> Loss:
    return lambda: _plain_clip(normalize(z1, dim=1), normalize(z2, dim=1))


def _plain_clip(images: Tensor, texts: Tensor) -> Tensor:
    logits, target = images @ texts.T / TEMPERATURE, torch.arange(len(images))
    return (cross_entropy(logits, target) + cross_entropy(logits.T, target)) / 2


def siglip_dipole(z1: Tensor, z2: Tensor) -> Loss:
    from dipole.losses import siglip_loss

    return lambda: siglip_loss(z1, z2, temperature=TEMPERATURE, bias=BIAS)


def siglip_open_clip(z1: Tensor, z2: Tensor) -> Loss:
    from open_clip.loss import SigLipLoss

    criterion, scale, bias = SigLipLoss(), torch.tensor(1 / TEMPERATURE), torch.tensor(BIAS)
    return lambda: criterion(normalize(z1, dim=1), normalize(z2, dim=1), scale, bias)


def siglip_plain(z1: Tensor, z2: Tensor) -> Loss:
    def loss() -> Tensor:
        logits = normalize(z1, dim=1) @ normalize(z2, dim=1).T / TEMPERATURE + BIAS
        signs = 2 * torch.eye(len(z1)) - 1
        return -logsigmoid(signs * logits).sum() / len(z1)

    return loss


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


def several_texts_plain(z1: Tensor, z2: Tensor) -> Loss:
    def loss() -> Tensor:
        image = normalize(z1, dim=1)
        texts = [normalize(text, dim=1) for text in (z2, z2.roll(1, dims=1))]
        return torch.stack([_plain_clip(image, text) for text in texts]).mean()

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


def compiled(plain: Callable[[Tensor, Tensor], Loss]) -> Callable[[Tensor, Tensor], Loss]:
    return lambda z1, z2: torch.compile(plain(z1, z2), dynamic=False)


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
        "plain PyTorch": nt_xent_plain,
        "plain PyTorch, compiled": compiled(nt_xent_plain),
        BARE: nt_xent_bare,
    },
    "NT-Xent, 64 pairs": {"dipole": nt_xent_dipole, "plain PyTorch": nt_xent_plain, "lightly": nt_xent_lightly},
    "NT-Xent, 256 pairs": {
        "dipole": nt_xent_dipole,
        "plain PyTorch": nt_xent_plain,
        "lightly": nt_xent_lightly,
        "pytorch-metric-learning": nt_xent_metric_learning,  # which cannot hold 4,096 in 24 GB
    },
    "CLIP": {"dipole": clip_dipole, "open_clip": clip_open_clip, "plain PyTorch": clip_plain, BARE: clip_bare},
    "CLIP, wide": {"dipole": clip_dipole, "open_clip": clip_open_clip, "plain PyTorch": clip_plain, BARE: clip_bare},
    "SigLIP, wide": {"dipole": siglip_dipole, "open_clip": siglip_open_clip, "plain PyTorch": siglip_plain},
    "LaCLIP, two texts, wide": {
        "dipole": several_texts_dipole,
        "open_clip": several_texts_open_clip,
        "plain PyTorch": several_texts_plain,
    },
    "CLOOB, wide": {
        "dipole": cloob_dipole,
        "plain PyTorch": cloob_plain,
        "plain PyTorch, compiled": compiled(cloob_plain),
    },
    "CACR, queue 65,536": {
        "dipole": queue_dipole,
        "plain PyTorch": queue_plain,
        "plain PyTorch, compiled": compiled(queue_plain),
    },
}
