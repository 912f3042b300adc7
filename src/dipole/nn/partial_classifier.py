"""A classifier over very many classes, of which each step touches a share."""

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from dipole.errors import InputError
from dipole.losses.common import Reduction, inner_products, reduce, unit_rows
from dipole.losses.mlcd import (
    MARGINS,
    ClassTerms,
    Discrimination,
    Margin,
    class_terms,
    discrimination,
    margin_logits,
    masked_logsumexp,
    own_classes,
    sample_classes,
)
from dipole.ops import gather, rank, world_size
from dipole.ops.checks import check_at_least, check_choice

BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8  # of AdamW
ROWS_AT_ONCE = 2**14  # that are drawn


class PartialClassifier(nn.Module):
    """Class weights W (K, D), the loss of a batch against a sampled share of them, and their optimiser (PartialFC).

    A step computes with the sampled rows alone: memory beyond the weights and their two moments grows with r K, not
    with K. Rows that were not sampled do not move. Several processes hold a part of the classes each; every one sees
    the embeddings of all, and the terms of the parts are joined, so that the loss is that of one process.

    The weights are no parameters: Lightning's optimiser and checkpoint see whole tensors only. `update` makes their
    step, `stored` and `restore` take them through a checkpoint.

    An et al.: *Partial FC* (CVPR 2022); *Multi-label Cluster Discrimination* (ECCV 2024).

    Args:
        dim: D.
        classes: K.
        ratio: r, the share of the classes that is sampled.
        scale: see `dipole.losses.margin_logits`.
        margin: of a sample's own classes.
        kind: of the margin.
        mode: `"mlcd"`, `"mlc"`, or `"softmax"`, in which the first class of a sample is its only one.

    Raises:
        InputError: a setting is out of range.

    Example:
        >>> classifier = PartialClassifier(4, 100, ratio=0.1)
        >>> loss = classifier(torch.randn(2, 4), torch.tensor([[3, 5], [7, -1]]))
        >>> len(classifier.kept)
        10
        >>> loss.backward()
        >>> classifier.update(learning_rate=0.1)
        >>> int(classifier.steps.sum())
        10
    """

    weight: Tensor
    first_moment: Tensor
    second_moment: Tensor
    steps: Tensor

    def __init__(
        self,
        dim: int,
        classes: int,
        *,
        ratio: float = 0.1,
        scale: float = 64.0,
        margin: float = 0.3,
        kind: Margin = "cosface",
        mode: Discrimination = "mlcd",
    ) -> None:
        super().__init__()
        check_at_least(dim, 1, "dim")
        check_at_least(classes, world_size(), "classes")
        check_at_least(scale, 0, "scale")
        check_at_least(margin, 0, "margin")
        check_choice(kind, MARGINS, "kind")
        check_choice(mode, ("mlcd", "mlc", "softmax"), "mode")
        if not 0 < ratio <= 1:
            raise InputError(f"ratio is {ratio}: expected the share of the classes that is sampled, above 0, up to 1.")
        self.classes, self.ratio, self.scale, self.margin = classes, ratio, scale, margin
        self.kind, self.mode = kind, mode
        self.first, count = shard(classes)
        for name, value in (
            ("weight", _drawn(classes, dim, self.first, count)),
            ("first_moment", torch.zeros(count, dim)),
            ("second_moment", torch.zeros(count, dim)),
            ("steps", torch.zeros(count, dtype=torch.int32)),
        ):
            self.register_buffer(name, value, persistent=False)
        self.kept: Tensor | None = None
        self.rows: Tensor | None = None

    def forward(
        self,
        embeddings: Float[Tensor, "n d"],
        labels: Int64[Tensor, "n l"],
        *,
        uniform: Float[Tensor, "k"] | None = None,
        reduction: Reduction = "mean",
    ) -> Float[Tensor, ""] | Float[Tensor, "n"]:
        """Sample classes for the batch of all processes, and return the loss of this process's rows.

        Args:
            embeddings: (N, D).
            labels: (N, L) classes of each sample among all K; −1 for none.
            uniform: random numbers to sample by, see `sample_classes`.
            reduction: over the rows of this process.
        """
        if self.mode == "softmax":
            labels = labels[:, :1]
        everyone, labels = gather(embeddings), gather(labels)
        here = (labels >= self.first) & (labels < self.first + len(self.weight))
        own = torch.where(here, labels - self.first, -1)
        self.kept, places = sample_classes(own, len(self.weight), self.ratio, uniform=uniform)
        self.rows = self.weight[self.kept].requires_grad_()
        positive = own_classes(places, len(self.kept))
        cosine = inner_products(unit_rows(everyone), unit_rows(self.rows))
        logits = margin_logits(cosine, positive, scale=self.scale, margin=self.margin, kind=self.kind)
        values = discrimination(_joined(class_terms(logits, positive, ~positive)), self.mode)
        start = rank() * len(embeddings)
        return reduce(values[start : start + len(embeddings)], reduction)

    @torch.no_grad()
    def update(self, learning_rate: float, weight_decay: float = 0.0) -> None:
        """Make a step of AdamW with the gradients of the sampled rows; the others stay, and so do their moments.

        The bias of a row's moments is corrected by the number of its own steps.
        """
        if self.rows is None or self.rows.grad is None or self.kept is None:
            return
        # The mean of a loss is over the rows of a process, and no one averages over the processes here.
        gradient = self.rows.grad / world_size()
        kept, self.kept, self.rows = self.kept, None, None
        first = self.first_moment[kept].lerp_(gradient, 1 - BETA1)
        self.first_moment[kept] = first
        second = self.second_moment[kept].lerp_(gradient.square_(), 1 - BETA2)
        self.second_moment[kept] = second
        del gradient
        self.steps[kept] += 1
        steps = self.steps[kept, None].to(first.dtype)
        root = second.div_(1 - BETA2**steps).sqrt_().add_(EPSILON)
        change = first.div_(1 - BETA1**steps).div_(root)
        self.weight[kept] = self.weight[kept].mul_(1 - learning_rate * weight_decay).sub_(change, alpha=learning_rate)

    def stored(self) -> dict[str, Tensor]:
        """Return weights, moments and steps of all classes; every process has to ask."""
        sizes = [shard(self.classes, number)[1] for number in range(world_size())]
        found = {}
        for name, value in self.named_buffers():
            padded = torch.cat([value, value.new_zeros(max(sizes) - len(value), *value.shape[1:])])
            parts = gather(padded).split(max(sizes))
            found[name] = torch.cat([part[:size] for part, size in zip(parts, sizes, strict=True)])
        return found

    def restore(self, stored: dict[str, Tensor]) -> None:
        """Take back what `stored` has returned, also in another number of processes."""
        for name, value in self.named_buffers():
            value.copy_(stored[name][self.first : self.first + len(value)])


def _drawn(classes: int, dim: int, first: int, count: int) -> Tensor:
    """The first weights of a part of the classes: those of all are drawn, whatever the number of processes."""
    weight = torch.empty(count, dim)
    for start in range(0, classes, ROWS_AT_ONCE):
        part = torch.randn(min(ROWS_AT_ONCE, classes - start), dim).mul_(0.01)
        low, high = max(start, first), min(start + len(part), first + count)
        if low < high:
            weight[low - first : high - first] = part[low - start : high - start]
    return weight


def shard(classes: int, of: int | None = None) -> tuple[int, int]:
    """Return the first class of a process and the number of its classes.

    Example:
        >>> shard(7)
        (0, 7)
    """
    share, rest = divmod(classes, world_size())
    number = rank() if of is None else of
    return number * share + min(number, rest), share + (number < rest)


def _joined(terms: ClassTerms) -> ClassTerms:
    """The terms of all processes' classes."""
    if world_size() == 1:
        return terms
    lowest = torch.finfo(terms.attraction.dtype).min  # stands for −inf, which is not sent
    found = [gather(term.clamp_min(lowest)[None]).T for term in terms]
    return ClassTerms(*(masked_logsumexp(parts, parts > lowest) for parts in found))
