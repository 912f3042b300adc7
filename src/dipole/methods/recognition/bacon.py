"""BaCon."""

import copy
from collections.abc import Mapping
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dipole.card import Card
from dipole.data.samplers import Weighted
from dipole.errors import InputError
from dipole.losses import nt_xent_loss, sup_con_loss
from dipole.losses.bacon import (
    distribution_regularizer,
    self_distillation_loss,
    soft_contrastive_loss,
    soft_label_rows,
    teacher_temperature,
)
from dipole.methods.joint_embedding import JointEmbedding, project_views
from dipole.ops.checks import check_at_least, check_choice, check_temperature
from dipole.ops.clusters import exact_kmeans
from dipole.ops.cosine_clusters import check_clusters
from dipole.ops.matching import estimate_class_distribution


class BaCon(JointEmbedding):
    """Categories, known and novel ones, of a long tail: a contrastive and a pseudo-label branch advise each other.

        1. every few epochs: cluster the embeddings, match clusters with known classes, read off the sizes of all
        2. classifier: cross entropy of labelled images, self-distillation of all, predictions as the sizes say
        3. contrast: views of an image, images of a label, and images of like soft labels, debiased by the sizes

    Images may lack a label; which classes are known says `--loading.known`, or the table of labels, in which the
    cells of the others are empty. Categories are found by `dipole discover RUN`.

    Args:
        num_classes: classes that have a name; a run takes it from the data.
        novel_classes: classes beside these, where the data have no names for them.
        supervised_weight: w of what labels say, against 1 − w.
        temperature: of the contrast of views.
        supervised_temperature: of the contrast of labels and of soft labels.
        student_temperature: of the classifier's predictions.
        teacher_start: temperature of the teacher at the first epoch.
        teacher_end: the same after its warm-up.
        teacher_epochs: of the warm-up.
        regularizer_weight: of the distance from the estimated sizes.
        regularizer_form: `"entropy"`, as in the authors' code, or `"kl"`, as in the paper.
        prior_exponent: p of the sizes in it.
        alpha: exponent of the sampling rate of classes that have labels in the batch.
        beta: the same for the others.
        kappa: exponent of the sizes by which soft labels are debiased.
        similarity: `"dot"` or `"cosine"` of soft labels.
        contrast_epochs: epochs before soft labels are contrasted.
        step: epochs between two estimates of the sizes.
        **options: arguments of `JointEmbedding` and `Method`.

    Example:
        >>> import torch
        >>> method = BaCon(image_size=8, num_classes=3)
        >>> labelled = torch.tensor([True, True, False, False])
        >>> label = torch.tensor([0, 1, -1, -1])
        >>> batch = {"views": torch.rand(2, 4, 3, 8, 8), "index": torch.arange(4), "label": label}
        >>> method.refreshed = {"class_sizes": torch.ones(3)}
        >>> sorted(method.loss_terms({**batch, "labelled": labelled}))
        ['classifier', 'contrast', 'loss']
    """

    card = Card(
        name="bacon",
        slug="bacon",
        title="Towards Distribution-Agnostic Generalized Category Discovery",
        authors="Bai, Liu, Wang et al.",
        year=2023,
        venue="NeurIPS",
        arxiv="2310.01376",
        field="recognition",
        summary="Known and novel categories of a long tail: soft labels debiased by sizes that clusters tell.",
        equations=(
            "eq. 2 (regulariser), 6 (soft contrast)",
            "debiased soft labels, sampling rates, self-distillation",
            "the estimate of the sizes of classes, the evaluation by matched clusters",
        ),
        official_code="JianhongBai/BaCon",
        differences=(
            "The recipe trains two small encoders from scratch; the authors tune the last block of a DINO ViT, with a "
            "DINO head of 65,536 outputs in the contrast.",
            "Both branches have a copy of the encoder and one optimiser; they exchange no gradients.",
            "A batch without labelled images has no supervised terms; they are NaN in the authors' code.",
            "An empty cluster counts as a class of size 1.",
            "Classes are estimated anew between epochs, not within one; results are those of the last epoch.",
        ),
    )
    views_share_batch_norm = True
    keeps_unlabelled = True

    def __init__(
        self,
        *,
        num_classes: int = 10,
        novel_classes: int = 0,
        supervised_weight: float = 0.35,
        temperature: float = 1.0,
        supervised_temperature: float = 0.07,
        student_temperature: float = 0.1,
        teacher_start: float = 0.07,
        teacher_end: float = 0.04,
        teacher_epochs: int = 30,
        regularizer_weight: float = 1.0,
        regularizer_form: Literal["entropy", "kl"] = "entropy",
        prior_exponent: float = 1.1,
        alpha: float = 0.0,
        beta: float = 0.5,
        kappa: float = 0.5,
        similarity: Literal["dot", "cosine"] = "dot",
        contrast_epochs: int = 1,
        step: int = 10,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        if num_classes < 2:
            raise InputError(f"the data have {num_classes} classes: bacon learns from labels of known ones, 2 or more.")
        if not 0 <= supervised_weight <= 1:
            raise InputError(f"supervised_weight is {supervised_weight}: expected a share from 0 to 1.")
        for name, value in (
            ("temperature", temperature),
            ("supervised_temperature", supervised_temperature),
            ("student_temperature", student_temperature),
            ("teacher_start", teacher_start),
            ("teacher_end", teacher_end),
        ):
            check_temperature(value, name)
        for name, value in (("alpha", alpha), ("beta", beta), ("kappa", kappa), ("novel_classes", novel_classes)):
            check_at_least(value, 0, name)
        check_at_least(regularizer_weight, 0, "regularizer_weight")
        check_at_least(step, 1, "step")
        check_choice(regularizer_form, ("entropy", "kl"), "regularizer_form")
        check_choice(similarity, ("dot", "cosine"), "similarity")
        self.total = num_classes + novel_classes
        self.known = num_classes
        self.supervised_weight, self.temperature = supervised_weight, temperature
        self.supervised_temperature, self.student_temperature = supervised_temperature, student_temperature
        self.teacher = {"start": teacher_start, "end": teacher_end, "warmup_epochs": teacher_epochs}
        self.regularizer_weight, self.prior_exponent = regularizer_weight, prior_exponent
        self.regularizer_form: Literal["entropy", "kl"] = regularizer_form
        self.alpha, self.beta, self.kappa, self.similarity = alpha, beta, kappa, similarity
        self.contrast_epochs, self.refresh_every = contrast_epochs, step
        # The branches begin with the same weights, as those of the authors do.
        self.classifier_encoder = copy.deepcopy(self.encoder)
        self.classifier = nn.Parameter(torch.randn(self.total, self.classifier_encoder.width))
        self.labels: Tensor | None = None

    def before_training(self, training_set: Any) -> None:
        """Take the labels of known classes.

        Raises:
            InputError: no image lacks a label, or none has one; or there are fewer images than classes.
        """
        labels = training_set.seen_labels
        if labels is None or not bool((labels >= 0).any()):
            raise InputError(
                f"{training_set.name} has no labels: bacon learns known classes from some. Name them with "
                "--loading.known, or give a table with --labels."
            )
        self.known = getattr(training_set, "known", None) or training_set.num_classes
        counts = torch.bincount(labels[labels >= 0], minlength=self.known)
        if int(counts.min()) < 1:
            names = training_set.class_names["label"]
            raise InputError(f"class {names[int(counts.argmin())]!r} is known and has no labelled sample: label one.")
        check_clusters(len(labels), self.total)
        self.labels = labels

    def sampling(self, training_set: Any, batch_size: int) -> Weighted:
        """Return an order whose batches are half labelled."""
        labelled = training_set.seen_labels >= 0
        share = float(labelled.sum()) / max(1.0, float((~labelled).sum()))
        return Weighted(torch.where(labelled, 1.0, share))

    def refresh_embed(self, inputs: Any) -> Tensor:
        """Return the features (N, F) of the contrastive branch in length 1."""
        return F.normalize(self.encoder(inputs).float(), dim=1)

    def refresh(self, embeddings: Tensor, index: Tensor) -> dict[str, Tensor]:
        """Estimate the sizes of all classes from clusters and known labels."""
        assert self.labels is not None, "before_training() sets them"
        sizes = estimate_class_distribution(
            exact_kmeans(embeddings, self.total)[0],
            self.labels,
            self.labels >= 0,
            num_known=self.known,
            num_classes=self.total,
        )
        return {"class_sizes": sizes.clamp_min(1)}

    def loss_terms(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the sum of both branches' losses, and each of them."""
        views, labels = batch["views"], batch["label"]
        labelled = labels >= 0
        epoch = 0 if self._trainer is None else self.current_epoch
        features = project_views(self.classifier_encoder, views, self.views_share_batch_norm)
        logits = F.normalize(features, dim=-1) @ F.normalize(self.classifier, dim=1).T
        sizes = self.refreshed["class_sizes"].to(logits)
        of_classifier = self._classifier_loss(logits, labels, labelled, sizes, epoch)
        z = F.normalize(self.project(views), dim=-1)
        of_contrast = self._contrast_loss(z, logits.detach(), labels, labelled, sizes, epoch)
        return {"loss": of_classifier + of_contrast, "classifier": of_classifier, "contrast": of_contrast}

    def _classifier_loss(self, logits: Tensor, labels: Tensor, labelled: Tensor, sizes: Tensor, epoch: int) -> Tensor:
        """Cross entropy of labelled images, self-distillation and regulariser of all."""
        w, student = self.supervised_weight, self.student_temperature
        distilled = self_distillation_loss(logits, teacher=teacher_temperature(epoch, **self.teacher), student=student)  # type: ignore[arg-type]
        regularised = distribution_regularizer(
            logits.flatten(0, 1), sizes, p=self.prior_exponent, temperature=student, form=self.regularizer_form
        )
        loss = (1 - w) * (distilled + self.regularizer_weight * regularised)
        if bool(labelled.any()):
            rows = logits[:, labelled].flatten(0, 1) / student
            loss = loss + w * F.cross_entropy(rows, labels[labelled].repeat(len(logits)))
        return loss

    def _contrast_loss(
        self, z: Tensor, logits: Tensor, labels: Tensor, labelled: Tensor, sizes: Tensor, epoch: int
    ) -> Tensor:
        """Contrast of views, of labels, and after some epochs of soft labels."""
        w, tau = self.supervised_weight, self.supervised_temperature
        loss = (1 - w) * nt_xent_loss(*z, temperature=self.temperature)
        soft = epoch >= self.contrast_epochs
        if bool(labelled.any()):
            rows = z[:, labelled].flatten(0, 1)
            of_labels = sup_con_loss(rows, labels[labelled].repeat(len(z)), temperature=tau)
            loss = loss + (w / 2 if soft else w) * of_labels
        if soft:
            draws = torch.rand(int((~labelled).sum()), device=z.device)
            places, chosen = soft_label_rows(
                logits,
                labels,
                labelled,
                sizes,
                draws,
                alpha=self.alpha,
                beta=self.beta,
                kappa=self.kappa,
                student=self.student_temperature,
            )
            if len(places):
                of_soft = soft_contrastive_loss(z[:, places], chosen, temperature=tau, similarity=self.similarity)
                loss = loss + w / 2 * of_soft
        return loss
