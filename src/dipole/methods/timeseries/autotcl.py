"""AutoTCL: the augmentation is learned, in turns with the encoder."""

import sys
from collections.abc import Callable, Mapping
from typing import Any, Literal

import torch
from jaxtyping import Float
from lightning.pytorch.utilities import rank_zero_only
from torch import Tensor

from dipole.card import Card
from dipole.losses import (
    global_info_nce_loss,
    mask_size_penalty,
    multi_kernel_mmd,
    pool_time,
    temporal_consistency,
)
from dipole.methods.optimization import check_optimization
from dipole.methods.timeseries.embedding import SeriesEmbedding, kernels_up_to
from dipole.nn.timeseries import DilatedConvEncoder, LearnedAugmenter
from dipole.nn.timeseries.augmenter import GateLogit
from dipole.nn.timeseries.dilated import Features
from dipole.ops.checks import check_at_least, check_choice

COLLAPSED = 1e-6  # an MMD below it
FEWEST_STEPS = 4  # of a series whose neighbouring steps are compared


class AutoTCL(SeriesEmbedding):
    """A network learns what of a series to keep and how to transform it; the encoder contrasts series with such views.

        every M-th batch, the augmentation alone:
            1. v = g(x) ⊙ h(x) ⊙ x, with gates h drawn by chance
            2. minimise MMD(f(x), f(v)) + β · (what h keeps beyond a threshold) + consistency of h over time
        every batch, the encoder f alone, with new gates:
            3. minimise InfoNCE between x and v, and between neighbouring segments of x
            4. average its weights over all steps, for use after training

    Args:
        augmenter_features: A, features of the augmentation network.
        augmenter_hidden: width of its blocks.
        augmenter_depth: its number of blocks before the last one.
        augmenter_learning_rate: of the augmentation network.
        ratio_step: M; 0 never trains the augmentation: a random network.
        mask_weight: β, of what is kept beyond the threshold.
        mask_threshold: what may be kept freely, as a sum over the channels.
        consistency_weight: of the consistency over time.
        gumbel_bias: b of the gates' noise, see `hard_concrete`.
        gamma: γ of the gates.
        hard_mask: gates of 0 and 1.
        gate_logit: what opens a gate: `"sigmoid"`, w itself as in the authors' code, or `"raw"`, the logit of w.
        augment_features: what step 2 compares: `"trend"`, as step 3, or `"convolutions"`, the blocks before the last
            layer as in the authors' code.
        consistency: `"intended"`, or `"official"` as in the authors' code.
        objective: of the augmentation: `"pri"`, step 2, or `"adversarial"`, to maximise InfoNCE between x and v.
        channels: columns of the series; the data decide it.
        longest_kernel: of the last layer of both networks; see `SeriesEmbedding`.
        **options: arguments of `SeriesEmbedding` and `Method`.

    Raises:
        InputError: an argument is out of range.

    Example:
        >>> method = AutoTCL(channels=2, hidden=4, depth=1, features=8, longest_kernel=2)
        >>> batch = {"series": torch.randn(4, 32, 2), "index": torch.arange(4)}
        >>> sorted(method.loss_terms(batch)), sorted(method.augmentation_terms(batch))
        (['global', 'local', 'loss'], ['consistency', 'loss', 'mask_size', 'mmd'])
    """

    card = Card(
        name="autotcl",
        slug="autotcl",
        title="Parametric Augmentation for Time Series Contrastive Learning",
        authors="Zheng, Wang, Cheng, Ma, Chen, Sha, Luo",
        year=2024,
        venue="ICLR",
        arxiv="2402.10434",
        field="timeseries",
        summary="A network learns what of a series is kept in its view, in turns with the encoder that contrasts both.",
        equations=(
            "factorised view v = g(x) ⊙ h(x) ⊙ x",
            "principle of relevant information: MMD and mask size",
            "global and local contrast",
            "temporal consistency",
        ),
        official_code="AslanDing/AutoTCL",
        differences=(
            "The augmentation compares what the encoder's last layer says of series and views; the authors' code, by a "
            "misplaced argument, compares the layer before it: `--method.augment_features convolutions`.",
            "Gates take w, which is between 0 and 1, as their logit, as in the authors' code; the logit of w is "
            "`--method.gate_logit raw`.",
            "The local contrast is averaged over the batch; the authors' code looks at the first series alone: "
            "`--method.local_series first`.",
            "The consistency over time pulls neighbouring steps together and pushes distant ones apart; the authors' "
            "code does the reverse: `--method.consistency official`.",
            "Missing steps stay missing, in training too, and give finite representations; the authors' code replaces "
            "them by 0 in training, and gives NaN at the beginning of a long series.",
            "Masks of the encoder's input are never active in the authors' code; here they are `--method.input_mask`.",
            "The mean of the causal convolutions is computed as one convolution, of long filters by FFT.",
        ),
    )

    def __init__(
        self,
        *,
        augmenter_features: int = 16,
        augmenter_hidden: int = 64,
        augmenter_depth: int = 3,
        augmenter_learning_rate: float = 1.2e-2,
        ratio_step: int = 1,
        mask_weight: float = 0.2,
        mask_threshold: float = 0.4,
        consistency_weight: float = 0.002,
        gumbel_bias: float = 0.4,
        gamma: float = 0.005,
        hard_mask: bool = True,
        gate_logit: GateLogit = "sigmoid",
        augment_features: Features = "trend",
        consistency: Literal["intended", "official"] = "intended",
        objective: Literal["pri", "adversarial"] = "pri",
        channels: int = 1,
        longest_kernel: int = 128,
        **options: Any,
    ) -> None:
        super().__init__(channels=channels, longest_kernel=longest_kernel, **options)
        check_optimization(augmenter_learning_rate, self.weight_decay, self.momentum)
        for name, value in (
            ("ratio_step", ratio_step),
            ("mask_weight", mask_weight),
            ("mask_threshold", mask_threshold),
            ("consistency_weight", consistency_weight),
        ):
            check_at_least(value, 0, name)
        check_choice(augment_features, ("trend", "convolutions"), "augment_features")
        check_choice(consistency, ("intended", "official"), "consistency")
        check_choice(objective, ("pri", "adversarial"), "objective")
        trunk = DilatedConvEncoder(
            channels,
            hidden=augmenter_hidden,
            depth=augmenter_depth,
            features=augmenter_features,
            kernels=kernels_up_to(longest_kernel),
        )
        self.augmenter = LearnedAugmenter(trunk, bias=gumbel_bias, gamma=gamma, hard=hard_mask, gate_logit=gate_logit)
        self.augmenter_learning_rate, self.ratio_step = augmenter_learning_rate, ratio_step
        self.mask_weight, self.mask_threshold = mask_weight, mask_threshold
        self.consistency_weight = consistency_weight
        self.augment_features: Features = augment_features
        self.consistency, self.objective = consistency, objective
        self._largest_mmd, self._told = -1.0, False  # of an epoch
        # Two optimisers that take turns.
        self.automatic_optimization = False

    def training_step(self, batch: Mapping[str, Any], batch_idx: int) -> None:
        """Train the augmentation in every M-th batch, then the encoder."""
        encoder, augmenter = self.optimizers()  # type: ignore[attr-defined]
        terms: dict[str, Tensor] = {}
        if self.ratio_step and int(self.averaged.n_averaged) % self.ratio_step == 0:
            found = self._step(augmenter, self.augmentation_terms, batch)
            self._largest_mmd = max(self._largest_mmd, float(found["mmd"].detach()) if "mmd" in found else COLLAPSED)
            terms = {f"augmentation_{name}": value for name, value in found.items()}
        terms |= self._step(encoder, self.loss_terms, batch)
        schedules = self.lr_schedulers()
        for schedule in schedules[: 2 if self.ratio_step else 1]:  # type: ignore[index]
            schedule.step()
        self.after_step()
        self.log_terms(terms, batch)

    def on_train_epoch_end(self) -> None:
        """Say it, once, when the encoder has not told series and views apart in a whole epoch."""
        if self.ratio_step and 0 <= self._largest_mmd < COLLAPSED and not self._told:
            self._told = True
            rank_zero_only(sys.stderr.write)(
                f"the augmentation has collapsed: in epoch {self.current_epoch + 1} its MMD stayed below "
                f"{COLLAPSED:g}, so that views are to the encoder what the series are, and their contrast teaches "
                "nothing. What can help: a larger --method.mask_weight, a smaller --method.augmenter_learning_rate; "
                "or series-contrast.\n"
            )
        self._largest_mmd = -1.0

    def loss_terms(self, batch: Mapping[str, Any]) -> dict[str, Tensor]:
        """Return the loss of the encoder, for which the views are given."""
        series = batch["series"]
        with torch.no_grad():
            view = self.augmenter(series).view
        return self.contrast(series, view)

    def augmentation_terms(self, batch: Mapping[str, Any]) -> dict[str, Tensor]:
        """Return the loss of the augmentation, through the encoder, and its terms."""
        series: Float[Tensor, "n t c"] = batch["series"]
        view, kept = self.augmenter(series)
        with torch.no_grad():
            z = self.encoder(series, output=self.augment_features)
        z_view = self.encoder(view, output=self.augment_features)
        if self.objective == "adversarial":
            return {"loss": -global_info_nce_loss(z, z_view, temperature=self.temperature)}
        mmd = multi_kernel_mmd(pool_time(z), pool_time(z_view))
        size = mask_size_penalty(kept, threshold=self.mask_threshold)
        consistency = self._consistency(kept)
        loss = mmd + self.mask_weight * size + self.consistency_weight * consistency
        return {"loss": loss, "mmd": mmd, "mask_size": size, "consistency": consistency}

    def _consistency(self, kept: Float[Tensor, "n t c"]) -> Tensor:
        """Compare as many pairs of steps as there are series; none of them if the series are too short."""
        count, steps, _ = kept.shape
        if steps < FEWEST_STEPS:
            return kept.sum() * 0
        anchors, others = torch.randint(1, steps - 2, (2, count), device=kept.device)
        return temporal_consistency(kept, anchors, others, form=self.consistency)

    def _step(
        self, optimizer: Any, loss_terms: Callable[[Mapping[str, Any]], dict[str, Tensor]], batch: Mapping[str, Any]
    ) -> dict[str, Tensor]:
        """Take a step of one of the networks; gradients pass through the other one."""
        self.toggle_optimizer(optimizer)
        terms = loss_terms(batch)
        optimizer.zero_grad()
        self.manual_backward(terms["loss"])
        optimizer.step()
        self.untoggle_optimizer(optimizer)
        return terms

    def configure_optimizers(self) -> Any:
        """Build one optimiser for the encoder and one for the augmentation."""
        return (
            self.optimization(self.encoder.named_parameters(), self.learning_rate),
            self.optimization(self.augmenter.named_parameters(), self.augmenter_learning_rate),
        )
