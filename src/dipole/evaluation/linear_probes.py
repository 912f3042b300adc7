"""Linear classifiers of several splits of the same samples, trained together."""

import warnings
from collections.abc import Sequence

import torch
from torch import Tensor

LEARNING_RATE = 0.01
SPARSE = 0.15  # share of values that are not 0 below which products are sparse


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
        self.sparse = int(x.count_nonzero()) < SPARSE * x.numel()
        bound = (6 / (width + classes)) ** 0.5
        first = [
            torch.empty(classes, width).uniform_(-bound, bound, generator=torch.Generator().manual_seed(seed))
            for seed in seeds
        ]
        weight = torch.stack(first).to(x.device)
        self.weight = weight.transpose(1, 2).contiguous() if self.sparse else weight  # (S, D, C) or (S, C, D)
        self.bias = torch.zeros(len(train), classes, 1, device=x.device)
        self.optimizer = torch.optim.Adam([self.weight, self.bias], lr=LEARNING_RATE, fused=True)
        sizes = torch.tensor([len(places) for places in train], device=x.device)
        longest = int(sizes.max())
        padded = torch.stack([torch.nn.functional.pad(places, (0, longest - len(places))) for places in train])
        if self.sparse:
            self.learned, self.transposed = _blocks(x, train, longest)
            self.whole = _csr(x)
        else:
            self.learned = x[padded].transpose(1, 2).contiguous()  # (S, D, n)
        self.wanted = torch.nn.functional.one_hot(targets[padded], classes).transpose(1, 2).float()  # (S, C, n)
        inside = torch.arange(longest, device=x.device) < sizes[:, None]
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
        count, classes = self.bias.shape[:2]
        if self.sparse:
            logits = self.whole @ self.weight.transpose(0, 1).flatten(1)
        else:
            logits = self.x @ self.weight.flatten(0, 1).T
        found: Tensor = (logits.view(-1, count, classes) + self.bias[:, :, 0]).argmax(dim=2)
        return found == self.targets[:, None]

    def _logits(self) -> Tensor:
        """(S, C, n) without the bias, of what is learned from."""
        if not self.sparse:
            return torch.bmm(self.weight, self.learned)
        flat = self.learned @ self.weight.flatten(0, 1)
        return flat.view(len(self.weight), -1, flat.shape[1]).transpose(1, 2).contiguous()

    def _gradient(self, error: Tensor) -> Tensor:
        """Of the weights, from errors (S, C, n)."""
        if not self.sparse:
            return torch.bmm(error, self.learned.transpose(1, 2))
        flat = error.transpose(1, 2).flatten(0, 1)
        return (self.transposed @ flat).view(self.weight.shape)


def _blocks(x: Tensor, train: Sequence[Tensor], longest: int) -> tuple[Tensor, Tensor]:
    """What each classifier learns from along the diagonal (S n, S D), rows of zeros after a shorter one; its transpose.

    One product serves all classifiers, and none multiplies the samples of another.
    """
    width, places, values = x.shape[1], [], []
    for number, own in enumerate(train):
        row, column = x[own].nonzero(as_tuple=True)
        places.append(torch.stack([row + number * longest, column + number * width]))
        values.append(x[own[row], column])
    size = (len(train) * longest, len(train) * width)
    whole = torch.sparse_coo_tensor(torch.cat(places, dim=1), torch.cat(values), size, check_invariants=False)
    return _csr(whole.coalesce()), _csr(whole.T.coalesce())


def _csr(x: Tensor) -> Tensor:
    """Compressed rows, with the indices of 32 bits that MKL multiplies without copying them."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*Sparse CSR tensor support is in beta.*")
        found = x.to_sparse_csr()
        inner = found.crow_indices(), found.col_indices()
        if len(found.values()) < 2**31:
            inner = inner[0].int(), inner[1].int()
        return torch.sparse_csr_tensor(*inner, found.values(), found.shape, check_invariants=False)
