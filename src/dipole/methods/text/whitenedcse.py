"""WhitenedCSE."""

from collections.abc import Mapping
from typing import Any, Literal

from torch import Tensor

from dipole.card import Card
from dipole.errors import InputError
from dipole.losses import multi_positive_info_nce_loss
from dipole.methods.text.simcse import SimCSE
from dipole.nn.whitening import ShuffledGroupWhitening
from dipole.ops.checks import check_at_least
from dipole.views.text import DropoutTwins


class WhitenedCSE(SimCSE):
    """SimCSE with several positives, each whitened in other groups of channels.

        1. encode every sentence V times, with dropout
        2. of every view: draw a permutation of the channels, whiten them in G groups over the batch (ZCA)
        3. z = tanh(A y + b)
        4. minimise Σ_v λ_v InfoNCE(z₀, z_v) over the views v ≥ 1, with cosine similarities and temperature τ

    Args:
        num_views: V, the anchor and its V − 1 positives.
        num_groups: G, a divisor of the encoder's width; authors: 128 of 768 channels.
        shuffle: draw the channels of the groups.
        whitening_eps: smallest eigenvalue, as a share of the mean variance; authors: 0.
        detach_whitening: treat the whitening matrix as a constant in the gradient.
        layout: `"paper"` whitens every view over the batch; `"official"` as the authors' code, see
            `ShuffledGroupWhitening`.
        weights: λ, one a positive; 1 each if None.
        mode: weigh the positives outside (`"sum"`) or inside the logarithm (`"inside_log"`).
        learning_rate: after warm-up.
        **options: arguments of `SimCSE`, `SentenceEmbedding` and `Method`.

    Example:
        >>> import tempfile, torch
        >>> from dipole.nn.text import new_bert
        >>> texts = ["a cat", "two dogs", "a bird"]
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     method = WhitenedCSE(encoder=str(new_bert(texts, folder, width=8)), num_groups=4)
        >>> views = method.build_views()([{"text": text} for text in texts], method.encoder.tokenizer)
        >>> sorted(method.loss_terms({"views": views, "index": torch.arange(3)}))
        ['loss']
    """

    card = Card(
        name="whitenedcse",
        slug="whitenedcse",
        title="WhitenedCSE: Whitening-based Contrastive Learning of Sentence Embeddings",
        authors="Zhuo, Sun, Wang, Zhu, Yang",
        year=2023,
        venue="ACL",
        arxiv="2305.17746",
        field="text",
        summary="Several dropout views of a sentence, each whitened in other groups of channels, attract their anchor.",
        equations=("shuffled group whitening", "multi-positive contrastive loss"),
        official_code="SupstarZh/WhitenedCSE",
        differences=(
            "A view is whitened over the samples of the batch, as the paper says. The authors' code flattens sample by "
            'sample and whitens blocks that hold all views of some samples: `layout="official"`.',
            "The whitening matrix is a constant in the gradient, as in the authors' code, which detaches it without "
            "saying so; `detach_whitening=False` differentiates it.",
            "Eigenvalues are clamped at 1e-5 of the mean variance; the authors' code does not clamp.",
            "λ = 1 for each positive, as in the latest authors' code; a compiled file beside it has (1, 0.8).",
            "The number of groups is the code's 128; the paper may report its best with larger groups.",
            "Embeddings for inference are the encoder's, by which the authors choose the checkpoint. Their table has "
            "them pass the head, without whitening: `embed(inputs, head=True)`.",
            "In a distributed run statistics are those of the process, and gradients reach the embeddings of all.",
            "The authors' published code does not run as it is; it was read with its syntax repaired.",
        ),
    )
    views_class = DropoutTwins

    def __init__(
        self,
        *,
        num_views: int = 3,
        num_groups: int = 128,
        shuffle: bool = True,
        whitening_eps: float = 1e-5,
        detach_whitening: bool = True,
        layout: Literal["paper", "official"] = "paper",
        weights: list[float] | None = None,
        mode: Literal["sum", "inside_log"] = "sum",
        learning_rate: float = 1e-5,
        **options: Any,
    ) -> None:
        super().__init__(learning_rate=learning_rate, **options)
        check_at_least(num_views, 2, "num_views")
        if weights is not None and len(weights) != num_views - 1:
            raise InputError(f"weights are {weights}: expected {num_views - 1}, one for each positive.")
        self._num_views, self.weights, self.mode = num_views, weights, mode
        self.whitening = ShuffledGroupWhitening(
            self.encoder.width,
            num_groups,
            shuffle=shuffle,
            eps=whitening_eps,
            detach=detach_whitening,
            layout=layout,
        )

    @property
    def num_views(self) -> int:
        """V."""
        return self._num_views

    def loss_terms(self, batch: Mapping[str, Any], *, permutations: Tensor | None = None) -> dict[str, Tensor]:
        """Return the loss of the first view against every other one.

        Args:
            batch: `views` (V, N, T), `index` (N,).
            permutations: (V, D) of the channels, in place of a draw.
        """
        z = self.head(self.whitening(self.project(batch["views"]), permutations))
        loss = multi_positive_info_nce_loss(
            z[0],
            z[1:],
            temperature=self.temperature,
            weights=self.weights,
            mode=self.mode,
            gather=self.gather,
        )
        return {"loss": loss}
