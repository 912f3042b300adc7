"""MCLRec: learnable augmenters of embeddings, trained in turns with the encoder."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from dipole.card import Card
from dipole.losses.mclrec import GAMMA, MCLRecTerms, Scope, mclrec_terms
from dipole.methods.recommendation.cl4srec import CL4SRec
from dipole.nn.recommendation import AttentionAugmenter, ModelAugmenter
from dipole.ops.checks import check_at_least, check_choice, check_temperature


class MCLRec(CL4SRec):
    """SASRec with contrast of two views of a history and of what two small networks make of their states.

    For every batch, with h = f(history), h₁, h₂ = f(two views of it), z₁ = g₁(h₁), z₂ = g₂(h₂) and fresh dropout:

        1. one step of the encoder f on       A = L_rec + λ L_cl1(h₁, h₂) + β (L_cl2(h₁, h₂, z₁, z₂) + γ R)
        2. one step of the augmenters g on    M = λ L_cl1 + L_cl2 + γ R,   with the new encoder, held fixed
        3. one step of the encoder on         A, with the new augmenters

    The losses are in `dipole.losses.mclrec`. Recommendations use f alone.

    Args:
        sequence_weight: λ of L_cl1.
        view_weight: β of L_cl2 and R in the steps of the encoder.
        regularizer_weight: γ; 0 leaves R out.
        regularize_encoder: R is part of A, as in the authors' code; False: of M alone, as in the paper.
        scope: of R, `"row"` (authors' code) or `"batch"` (paper).
        view_temperature: of L_cl2.
        augmenter: `"mlp"` or `"attention"`.
        augmenter_hidden: widths between the layers of the MLP.
        update: `"alternating"`, or `"joint"`: one step of both on A.
        **options: arguments of `CL4SRec`, `SequentialRecommender` and `Method`.

    Raises:
        InputError: an argument is out of range.
    """

    card = Card(
        name="mclrec",
        slug="mclrec",
        title="Meta-optimized Contrastive Learning for Sequential Recommendation",
        authors="Qin, Yuan, Zhao, Fang, Liu, Xiong, Sheng, Zhao",
        year=2023,
        venue="SIGIR",
        arxiv="2304.07763",
        field="recommendation",
        summary="Views of histories are made by hand, then by networks that are trained in turns with the encoder.",
        equations=("L_cl1, L_cl2", "contrastive regularisation R", "meta-optimised steps"),
        official_code="QinHsiu/MCLRec",
        differences=(
            "R compares every row with its own negatives, as in the authors' code; the paper's sets of the whole batch "
            "are `--method.scope batch`.",
            "R is part of the encoder's steps, as in the authors' code; not so in the paper: "
            "`--method.regularize-encoder false`.",
            "λ and β are those of the authors' settings file (0, 0.01); their scripts choose others for each data set.",
            "The item table lacks the authors' spare row, which nothing uses.",
            "The authors' third augmenter, a CNN, is left out.",
            "A run ends after its epochs; the authors stop early by MRR@10 on the validation rows, which is monitored.",
        ),
    )

    def __init__(
        self,
        *,
        sequence_weight: float = 0.0,
        view_weight: float = 0.01,
        regularizer_weight: float = GAMMA,
        regularize_encoder: bool = True,
        scope: Scope = "row",
        view_temperature: float = 1.0,
        augmenter: Literal["mlp", "attention"] = "mlp",
        augmenter_hidden: Sequence[int] = (32, 16),
        update: Literal["alternating", "joint"] = "alternating",
        **options: Any,
    ) -> None:
        super().__init__(sequence_weight=sequence_weight, **options)
        check_at_least(view_weight, 0, "view_weight")
        check_at_least(regularizer_weight, 0, "regularizer_weight")
        check_temperature(view_temperature, "view_temperature")
        for name, value, choices in (
            ("scope", scope, ("row", "batch")),
            ("augmenter", augmenter, ("mlp", "attention")),
            ("update", update, ("alternating", "joint")),
        ):
            check_choice(value, choices, name)
        self.view_weight, self.regularizer_weight = view_weight, regularizer_weight
        self.regularize_encoder, self.update = regularize_encoder, update
        self.scope: Scope = scope
        self.view_temperature = view_temperature
        width = self.encoder.width
        self.augmenters = nn.ModuleList(
            ModelAugmenter(width, augmenter_hidden) if augmenter == "mlp" else AttentionAugmenter(width)
            for _ in range(2)
        )
        self.automatic_optimization = False

    def encoder_loss(self, views: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return A under `"loss"`, and its parts."""
        h, h1, h2 = self.encode_views(views)
        recommendation = self.next_item_loss(h, views["target"])
        terms = self._compare(h1, h2)
        compared = terms.views
        if self.regularize_encoder:
            compared = compared + self.regularizer_weight * terms.regularizer
        loss = recommendation + self.sequence_weight * terms.sequences + self.view_weight * compared
        return {"loss": loss, "recommendation": recommendation, **terms._asdict()}

    def augmenter_loss(self, h1: Tensor, h2: Tensor) -> Tensor:
        """Return M of the states (N, H) of two views."""
        terms = self._compare(h1, h2)
        return self.sequence_weight * terms.sequences + terms.views + self.regularizer_weight * terms.regularizer

    def _compare(self, h1: Tensor, h2: Tensor) -> MCLRecTerms:
        """The parts that compare views."""
        return mclrec_terms(
            h1,
            h2,
            self.augmenters[0](h1),
            self.augmenters[1](h2),
            temperature=self.temperature,
            similarity=self.similarity,
            view_temperature=self.view_temperature,
            scope=self.scope,
        )

    def alternate(
        self,
        views: Mapping[str, Tensor],
        encoder_optimizer: Any,
        augmenter_optimizer: Any,
        backward: Callable[..., None],
    ) -> list[dict[str, Tensor]]:
        """Make the three steps on a batch.

        Args:
            views: of the batch, the same in all steps.
            encoder_optimizer: of f.
            augmenter_optimizer: of g.
            backward: `(loss, inputs=parameters)`, as `torch.autograd.backward`.

        Returns:
            The terms of each step, `"loss"` among them.
        """

        def encoder_step() -> dict[str, Tensor]:
            terms = self.encoder_loss(views)
            self._step(encoder_optimizer, self.encoder, terms["loss"], backward)
            return {name: value.detach() for name, value in terms.items()}

        before = encoder_step()
        with torch.no_grad():
            _, h1, h2 = self.encode_views(views)
        loss = self.augmenter_loss(h1, h2)
        self._step(augmenter_optimizer, self.augmenters, loss, backward)
        return [before, {"loss": loss.detach()}, encoder_step()]

    @staticmethod
    def _step(optimizer: Any, module: nn.Module, loss: Tensor, backward: Callable[..., None]) -> None:
        """One step on the parameters of one module."""
        optimizer.zero_grad()
        backward(loss, inputs=list(module.parameters()))
        optimizer.step()

    def loss_terms(self, batch: Mapping[str, Any]) -> dict[str, Tensor]:
        """Return A and its parts."""
        return self.encoder_loss(batch["views"])

    def training_step(self, batch: Mapping[str, Any], batch_idx: int) -> None:
        """Make the steps of a batch and log the terms of the last; `loss` is the sum of the losses of all steps."""
        views = batch["views"]
        optimizers: Any = self.optimizers()
        if self.update == "alternating":
            steps = self.alternate(views, optimizers[0], optimizers[1], self.manual_backward)
        else:
            terms = self.encoder_loss(views)
            for optimizer in optimizers:
                optimizer.zero_grad()
            self.manual_backward(terms["loss"])
            for optimizer in optimizers:
                optimizer.step()
            steps = [{name: value.detach() for name, value in terms.items()}]
        schedules: Any = self.lr_schedulers()
        for schedule in schedules:
            schedule.step()
        loss = torch.stack([terms["loss"] for terms in steps]).sum()
        self.log_terms({**steps[-1], "loss": loss}, batch)

    def configure_optimizers(self) -> Any:
        """Build an optimiser for the encoder and one for the augmenters."""
        parts = (self.encoder, self.augmenters)
        return [self.optimization(part.named_parameters(), self.learning_rate) for part in parts]
