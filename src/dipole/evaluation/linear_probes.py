"""Linear classifiers of several splits of the same samples, trained together."""

import warnings
from collections.abc import Sequence

import torch
from torch import Tensor

LEARNING_RATE = 0.01
SPARSE = 0.05  # share of values that are not 0 below which products are sparse


class LinearProbes:
    """S softmax classifiers, each of which minimises the cross entropy of its own samples by Adam.

    The gradient is written down, `Xᵀ (softmax(X W + b) − Y) / n`, which spares a graph of thousands of steps.

    Args:
        x: (N, D), none of which is infinite or NaN.
        targets: (N,) from 0.
        classes: C.
        train: for each classifier the places of the samples that it learns from.
        seeds: of the first weights of each.

    Example:
        >>> probes = LinearProbes(torch.eye(2), torch.tensor([0, 1]), 2, [torch.tensor([0, 1])], [0])
        >>> for _ in range(100):
        ...     probes.step()
        >>> probes.right().tolist()
        [[True], [True]]
    """

    def __init__(self, x: Tensor, targets: Tensor, classes: int, train: Sequence[Tensor], seeds: Sequence[int]) -> None:
        self.x, self.targets, width = x, targets, x.shape[1]
        bound = (6 / (width + classes)) ** 0.5
        first = [
            torch.empty(classes, width).uniform_(-bound, bound, generator=torch.Generator().manual_seed(seed))
            for seed in seeds
        ]
        self.weight = torch.stack(first).to(x.device)  # (S, C, D)
        self.bias = torch.zeros(len(train), classes, 1, device=x.device)
        self.optimizer = torch.optim.Adam([self.weight, self.bias], lr=LEARNING_RATE, foreach=False)
        sizes = torch.tensor([len(places) for places in train], device=x.device)
        self.sparse = int(x.count_nonzero()) < SPARSE * x.numel()
        if self.sparse:
            rows = torch.unique(torch.cat(list(train)))
            self.learned = _csr(x[rows])
            self.transposed = _csr(x[rows].T)
            self.whole = _csr(x)
            inside = torch.stack([torch.isin(rows, places) for places in train])  # (S, n)
            own = targets[rows].expand(len(train), -1)
        else:
            longest = int(sizes.max())
            padded = torch.stack([torch.nn.functional.pad(places, (0, longest - len(places))) for places in train])
            self.learned = x[padded].transpose(1, 2).contiguous()  # (S, D, n)
            inside = torch.arange(longest, device=x.device) < sizes[:, None]
            own = targets[padded]
        self.wanted = torch.nn.functional.one_hot(own, classes).transpose(1, 2).float()  # (S, C, n)
        self.share = (inside / sizes[:, None])[:, None]  # (S, 1, n)

    @torch.no_grad()
    def step(self) -> None:
        """Let every classifier take a step."""
        probabilities = (self._logits() + self.bias).softmax(dim=1)
        error = probabilities.sub_(self.wanted).mul_(self.share)
        self.bias.grad = error.sum(dim=2, keepdim=True)
        self.weight.grad = self._gradient(error)
        self.optimizer.step()

    @torch.no_grad()
    def right(self) -> Tensor:
        """Return (N, S): whether each classifier names the class of each sample."""
        count, classes, width = self.weight.shape
        flat = self.weight.reshape(count * classes, width).T
        logits = (self.whole @ flat if self.sparse else self.x @ flat).view(-1, count, classes)
        found: Tensor = (logits + self.bias[:, :, 0]).argmax(dim=2)
        return found == self.targets[:, None]

    def _logits(self) -> Tensor:
        """(S, C, n) without the bias, of what is learned from."""
        if not self.sparse:
            return torch.bmm(self.weight, self.learned)
        count, classes, width = self.weight.shape
        flat = self.learned @ self.weight.reshape(count * classes, width).T.contiguous()
        return flat.T.reshape(count, classes, -1)

    def _gradient(self, error: Tensor) -> Tensor:
        """(S, C, D) of errors (S, C, n)."""
        if not self.sparse:
            return torch.bmm(error, self.learned.transpose(1, 2))
        flat = self.transposed @ error.reshape(-1, error.shape[2]).T.contiguous()
        return flat.T.reshape(self.weight.shape)


def _csr(x: Tensor) -> Tensor:
    """Compressed rows."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*Sparse CSR tensor support is in beta.*")
        return x.to_sparse_csr()
