"""SBCL."""

from collections.abc import Mapping
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from dipole.card import Card
from dipole.errors import InputError
from dipole.losses import sup_con_loss
from dipole.losses.sbcl import subclass_contrastive_loss
from dipole.losses.subclasses import class_concentration, class_concentration_temperature, num_subclasses
from dipole.methods.joint_embedding import JointEmbedding
from dipole.ops.checks import check_at_least, check_choice, check_temperature
from dipole.ops.cosine_clusters import balanced_kmeans, cosine_kmeans


class SBCL(JointEmbedding):
    """Large classes of a long tail are cut into subclasses as large as the smallest class. Needs labels.

        1. for some epochs: supervised contrast of classes
        2. every few epochs: cluster the embeddings of each class, and see how concentrated it is
        3. minimise the contrast of subclasses at τ, plus β times that of classes at a temperature of their own

    Args:
        temperature: τ of the subclasses.
        beta: β.
        base_temperature: the fine term is multiplied by τ / τ_base; the authors' code for CIFAR has 0.07; None for 1.
        delta: least number of samples in a subclass.
        class_epochs: epochs of supervised contrast at the start.
        step: epochs between two looks at the clusters.
        clustering: `"balanced"`, clusters of equal size, or `"plain"` k-means by cosine.
        temperature_mode: `"ratio"` or `"exp"`, see `class_concentration_temperature`.
        form: `"rank"`, or `"single_temperature"` for the authors' other coarse term.
        **options: arguments of `JointEmbedding` and `Method`.

    Example:
        >>> import torch
        >>> method = SBCL(image_size=8, delta=1)
        >>> batch = {"views": torch.rand(2, 4, 3, 8, 8), "index": torch.arange(4), "label": torch.tensor([0, 0, 0, 1])}
        >>> method.labels = batch["label"]
        >>> method.refreshed = method.refresh(torch.randn(4, 2), batch["index"])
        >>> int(method.refreshed["subclasses"]), sorted(method.loss_terms(batch))
        (4, ['loss'])
    """

    card = Card(
        name="sbcl",
        slug="sbcl",
        title="Subclass-balancing Contrastive Learning for Long-tailed Recognition",
        authors="Hou, Zhang, Wang, Zhou",
        year=2023,
        venue="ICCV",
        arxiv="2306.15925",
        field="recognition",
        summary="Large classes are cut into subclasses of the size of small ones; two levels of supervised contrast.",
        equations=(
            "the bi-granularity loss with its two temperatures, and its variant with one temperature",
            "the loss with a queue, KCL's loss, LDAM and weights by effective numbers (functions only)",
            "balanced clustering, the number of subclasses, the dynamic temperature of classes",
        ),
        official_code="JackHck/SBCL",
        differences=(
            "The paper's text could not be read in full; formulas are those of the authors' code.",
            "Clusters are balanced, as the paper has them; the released call of that function fails, so that published "
            'numbers may come from plain k-means (`clustering="plain"`).',
            "The factor τ/τ_base of the fine term is 1, as in the paper; the code for CIFAR has 0.1/0.07.",
            "Clustering sees images without augmentation; the authors' code clusters an augmented view.",
            "The warm-up of the learning rate rises from 0; in the authors' code its first epoch has a negative rate.",
            "There is no method with a queue; the losses with one are functions.",
        ),
    )
    views_share_batch_norm = True

    def __init__(
        self,
        *,
        temperature: float = 0.1,
        beta: float = 0.25,
        base_temperature: float | None = None,
        delta: int = 10,
        class_epochs: int = 10,
        step: int = 10,
        clustering: Literal["balanced", "plain"] = "balanced",
        temperature_mode: Literal["ratio", "exp"] = "ratio",
        form: Literal["rank", "single_temperature"] = "rank",
        **options: Any,
    ) -> None:
        super().__init__(**options)
        check_temperature(temperature)
        if base_temperature is not None:
            check_temperature(base_temperature, "base_temperature")
        for name, value, least in (("beta", beta, 0), ("delta", delta, 1), ("class_epochs", class_epochs, 0)):
            check_at_least(value, least, name)
        check_at_least(step, 1, "step")
        check_choice(clustering, ("balanced", "plain"), "clustering")
        check_choice(temperature_mode, ("ratio", "exp"), "temperature_mode")
        check_choice(form, ("rank", "single_temperature"), "form")
        self.temperature, self.beta, self.base_temperature = temperature, beta, base_temperature
        self.delta, self.class_epochs, self.refresh_every = delta, class_epochs, step
        self.clustering, self.temperature_mode, self.form = clustering, temperature_mode, form
        self.labels: Tensor | None = None

    def before_training(self, training_set: Any) -> None:
        """Take the labels, of which every image needs one."""
        self.labels = class_labels(training_set, "sbcl")

    @property
    def _next_epoch(self) -> int:
        """The epoch that a look is for; past those of classes where there is no run."""
        if self._trainer is None:
            return self.class_epochs
        return 0 if self.global_step == 0 else self.current_epoch + 1

    def refresh_embed(self, inputs: Any) -> Tensor:
        """Return the projections (N, D) in length 1."""
        return F.normalize(self.network(inputs).float(), dim=1)

    def refresh(self, embeddings: Tensor, index: Tensor) -> dict[str, Tensor]:
        """Cut classes into subclasses, and set the temperatures of classes."""
        assert self.labels is not None, "before_training() sets them"
        labels = self.labels
        number = num_subclasses(torch.bincount(labels), self.delta)
        if self._next_epoch < self.class_epochs:
            number = torch.ones_like(number)
        offsets = number.cumsum(0) - number
        cluster = balanced_kmeans if self.clustering == "balanced" else cosine_kmeans
        generator = torch.Generator().manual_seed(self._next_epoch)
        subclass = offsets[labels]
        for value in (number > 1).nonzero().flatten().tolist():
            members = (labels == value).nonzero().flatten()
            subclass[members] += cluster(embeddings[members], int(number[value]), generator=generator).assignment
        temperatures = class_concentration_temperature(
            class_concentration(F.normalize(embeddings, dim=1), labels),
            number,
            temperature=self.temperature,
            mode=self.temperature_mode,
        )
        return {"subclass": subclass, "class_temperature": temperatures, "subclasses": number.sum()}

    def loss_terms(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the contrast of classes at first, then that of both levels."""
        views, labels = self.project(batch["views"]), batch["label"]
        if self._trainer is not None and self.current_epoch < self.class_epochs:
            both = labels.repeat(len(views))
            return {"loss": sup_con_loss(views.flatten(0, 1), both, temperature=self.temperature, gather=self.gather)}
        subclasses = self.refreshed["subclass"].to(labels.device)[batch["index"]]
        loss = subclass_contrastive_loss(
            views,
            labels,
            subclasses,
            temperature=self.temperature,
            class_temperature=self.refreshed["class_temperature"].to(labels.device),
            beta=self.beta,
            base_temperature=self.base_temperature,
            form=self.form,
            gather=self.gather,
        )
        return {"loss": loss}


def class_labels(training_set: Any, name: str) -> Tensor:
    """Return the labels (N,) of a training set in which every class has images, and every image a class.

    Args:
        training_set: of images.
        name: of the method.

    Raises:
        InputError: a label is not known, there are fewer than two classes, or one has no image.

    Example:
        >>> from dipole.data import load_image_sets
        >>> class_labels(load_image_sets("digits")[0], "sbcl").shape
        torch.Size([1347])
    """
    labels: Tensor | None = training_set.seen_labels
    if labels is None or training_set.num_classes < 2:
        raise InputError(f"{training_set.name} has no labels of two classes or more: {name} learns from labels.")
    if int(labels.min()) < 0:
        raise InputError(f"{int((labels < 0).sum())} training images have no label: {name} needs one of every image.")
    counts = torch.bincount(labels, minlength=training_set.num_classes)
    if int(counts.min()) < 1:
        empty = training_set.class_names["label"][int(counts.argmin())]
        raise InputError(f"class {empty!r} has no training image: leave it out of the data, or keep an image of it.")
    return labels
