"""COCONUT."""

import copy
import logging
import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from dipole.card import Card
from dipole.data.samplers import Order, Subset
from dipole.errors import InputError
from dipole.losses import coconut_loss
from dipole.losses.common import accumulate
from dipole.methods.audio.base import SoundText
from dipole.negatives.rehearsal import Selection, choose_exemplars
from dipole.nn import undisturbed
from dipole.ops.checks import check_at_least, check_choice, check_temperature

logger = logging.getLogger(__name__)
ONCE = 2**31  # epochs between two looks: there is one, before the first
AT_ONCE = 256  # sounds that are classified together


class Coconut(SoundText):
    """Classes of spoken commands are learned a few at a time, and the old ones are not forgotten.

        task 0:  learn the classes of the first task
        task t:  1. keep exemplars of the classes of task t − 1 in the memory, by herding; freeze the model: the teacher
                 2. train on the samples of task t and on the memory:
                    cross entropy over the classes so far
                    + λ_MM   sounds against transcripts, all of a class being positives; anchors: new samples
                    + λ_NSPT sounds against the teacher's sounds of their class; anchors: the memory
        after each: accuracy on the test samples of every task so far

    Each task is a run of its own that starts from the one before; the last one holds the model of all classes. The
    label of a row is its class, the text its transcript, whose encoder is the mean of token embeddings.

    Args:
        classes: names; the data give them.
        tasks: number of tasks T, among which the classes are divided in a random order.
        class_order: seed of that order.
        memory: samples that are kept, of all classes together; 0 for none.
        memory_split: each class has its share of the memory from the beginning (`"fixed"`), or as large a share as the
            classes so far leave it (`"growing"`), of which the last exemplars are dropped when more classes come.
        selection: of exemplars, see `choose_exemplars`.
        multimodal_weight: λ_MM.
        distillation_weight: λ_NSPT.
        contrast_temperature: τ of both.
        denominator: of the distillation, see `sup_con_distillation_loss`.
        stage: which task this is; training sets it.
        text_encoder: see `ModalityEmbedding`.
        temperature: not learned here; see `contrast_temperature`.
        learnable_temperature: as `temperature`.
        weight_decay: see `Method`.
        schedule: see `Method`.
        **options: arguments of `ModalityEmbedding` and `Method`.

    Example:
        >>> sound, text = {"kind": "sound", "rate": 8000, "samples": 4000}, {"kind": "text", "vocabulary": 9}
        >>> method = Coconut(modalities={"clip": sound, "text": text}, classes=["off", "on", "up", "down"], tasks=2)
        >>> method.predict(torch.rand(3, 4000)).shape, sorted(method.classes_of(0) + method.classes_of(1))
        (torch.Size([3]), [0, 1, 2, 3])
    """

    card = Card(
        name="coconut",
        slug="coconut",
        title="Continual Contrastive Spoken Language Understanding",
        authors="Cappellazzo, Fini, Yang, Falavigna, Brutti, Raj",
        year=2024,
        venue="Findings of ACL",
        arxiv="2310.02699",
        field="audio",
        summary="Rehearsal, distillation from the model before, and sounds against transcripts, class by class.",
        equations=("NSPT: negatives of the student, positives of the teacher", "multimodal supervised contrast"),
        official_code="",
        differences=(
            "No code of this paper was found: its losses follow public reviews, where these leave a choice there is an "
            "option. The weights and the temperature are unverified.",
            "A classifier of intents stands in for the decoder that writes them; `coconut_loss` takes tokens, too.",
            "Encoders are small by default, on log-mel spectrograms; the authors start from wav2vec 2.0.",
            "A learned tokenizer sees the transcripts of all tasks, their sounds and labels only in their turn.",
        ),
    )

    def __init__(
        self,
        *,
        classes: Sequence[str] | None = None,
        tasks: int = 4,
        class_order: int = 0,
        memory: int = 96,
        memory_split: Literal["fixed", "growing"] = "fixed",
        selection: Selection = "herding",
        multimodal_weight: float = 0.1,
        distillation_weight: float = 0.05,
        contrast_temperature: float = 0.1,
        denominator: Literal["student", "mixed"] = "student",
        stage: int = 0,
        text_encoder: str = "bag",
        temperature: float = 0.1,
        learnable_temperature: bool = False,
        weight_decay: float = 1e-2,
        schedule: Any = "constant",
        **options: Any,
    ) -> None:
        super().__init__(
            temperature=temperature,
            learnable_temperature=learnable_temperature,
            text_encoder=text_encoder,
            weight_decay=weight_decay,
            schedule=schedule,
            **options,
        )
        _check(classes, tasks, memory, stage)
        check_choice(memory_split, ("fixed", "growing"), "memory_split")
        check_choice(selection, ("herding", "closest", "random"), "selection")
        check_choice(denominator, ("student", "mixed"), "denominator")
        check_at_least(multimodal_weight, 0, "multimodal_weight")
        check_at_least(distillation_weight, 0, "distillation_weight")
        check_temperature(contrast_temperature, "contrast_temperature")
        self.classes = list(classes or ())
        self.tasks, self.stage, self.selection, self.memory_size = tasks, stage, selection, memory
        self.memory_split, self.denominator, self.contrast_temperature = memory_split, denominator, contrast_temperature
        self.multimodal_weight, self.distillation_weight = multimodal_weight, distillation_weight
        order = torch.randperm(len(self.classes), generator=torch.Generator().manual_seed(class_order))
        self._groups = [part.sort().values.tolist() for part in order.tensor_split(tasks)]
        self.head = nn.Linear(int(self.encoders[self.sound].width), len(self.classes))  # type: ignore[arg-type]
        self.teacher: nn.ModuleList | None = None
        if stage:
            parts = [copy.deepcopy(self.encoders[self.sound]), copy.deepcopy(self.projections[self.sound])]
            self.teacher = nn.ModuleList(parts).requires_grad_(False).eval()
        self.refresh_every = ONCE if stage and memory else 0
        # Which rows of the training set are kept of each class, −1 for none; and A_ij, with the numbers of test rows.
        self.kept: Tensor
        self.accuracy: Tensor
        self.counts: Tensor
        self.register_buffer("kept", torch.full((len(self.classes), self._share(0) if memory else 0), -1))
        self.register_buffer("accuracy", torch.full((tasks, tasks), math.nan))
        self.register_buffer("counts", torch.zeros(tasks, dtype=torch.long))
        self._labels: Tensor | None = None

    @classmethod
    def stage_arguments(cls, arguments: Mapping[str, Any]) -> list[dict[str, Any]] | None:
        """Return one stage a task; None for one that was chosen."""
        if "stage" in arguments:
            return None
        tasks = arguments.get("tasks", cls.arguments()["tasks"].default)
        check_at_least(tasks, 1, "tasks")
        return [{"stage": number} for number in range(tasks)]

    def classes_of(self, task: int) -> list[int]:
        """Return the classes of a task, as places in `classes`."""
        return list(self._groups[task])

    @property
    def seen(self) -> list[int]:
        """The classes of all tasks so far, ascending."""
        return sorted(place for group in self._groups[: self.stage + 1] for place in group)

    def _share(self, stage: int) -> int:
        """Exemplars of a class at a stage."""
        seen = sum(map(len, self._groups[: stage + 1]))
        return max(1, self.memory_size // (len(self.classes) if self.memory_split == "fixed" else seen))

    def train(self, mode: bool = True) -> "Coconut":
        """Set the mode of all but the teacher."""
        super().train(mode)
        if self.teacher is not None:
            self.teacher.eval()
        return self

    def given_weights(self, given: dict[str, Tensor]) -> dict[str, Tensor]:
        """The sound's tower of the run before is the teacher here, and where the student starts."""
        if self.teacher is None:
            return given
        found = {name: value for name, value in given.items() if not name.startswith("teacher.")}
        for place, part in enumerate((self.encoders[self.sound], self.projections[self.sound])):
            beginning = next(name for name, module in self.named_modules() if module is part)
            found |= {
                name.replace(beginning, f"teacher.{place}", 1): value
                for name, value in given.items()
                if name.startswith(f"{beginning}.")
            }
        return found

    def before_training(self, training_set: Any) -> None:
        """Take the classes of the rows.

        Raises:
            InputError: there are none, or a task has too few rows.
        """
        self._labels = self._places(training_set)
        if self._labels is None:
            raise InputError("coconut learns classes: name their column with --loading.label.")
        unknown = int((self._labels < 0).sum())
        if unknown:
            logger.warning("%d of %d training rows have no label and are left out.", unknown, len(self._labels))

    def _places(self, rows: Any) -> Tensor | None:
        """Classes of rows as places in `classes`, −1 where there is none or a modality is missing."""
        if rows.labels is None:
            return None
        places = {name: place for place, name in enumerate(self.classes)}
        found = torch.tensor([places.get(str(label), -1) if label is not None else -1 for label in rows.labels])
        return torch.where(rows.present(self.sound) & rows.present(self.text), found, -1)

    def refresh_embed(self, inputs: Any) -> Tensor:
        """Return the features of sounds, by which exemplars are chosen."""
        return accumulate(self.encoders[self.sound](inputs[self.sound]))

    def refresh(self, embeddings: Tensor, index: Tensor) -> dict[str, Tensor]:
        """Keep exemplars of the task before, chosen with its model."""
        assert self._labels is not None
        share = self._share(self.stage)
        kept = self.kept.cpu().clone()
        kept[:, share:] = -1
        labels = self._labels[index]
        for place in self._groups[self.stage - 1]:
            rows = (labels == place).nonzero().flatten()
            if not len(rows):
                continue
            generator = torch.Generator().manual_seed(place)
            chosen = choose_exemplars(
                embeddings[rows], labels[rows], share, selection=self.selection, generator=generator
            )
            kept[place, : len(chosen)] = index[rows[chosen]]
        self.kept.copy_(kept)
        return {"memory": kept[kept >= 0].sort().values}

    def sampling(self, training_set: Any, batch_size: int) -> Order:
        """Return the rows of the task and those of the memory, in any order."""
        if self._labels is None:
            self.before_training(training_set)
        assert self._labels is not None
        new = torch.isin(self._labels, torch.tensor(self._groups[self.stage])).nonzero().flatten()
        if len(new) < 2:
            raise InputError(f"task {self.stage + 1} has {len(new)} training rows: use fewer tasks.")
        return Subset(torch.cat([new, self._memory()]))

    def _memory(self) -> Tensor:
        """Rows of the training set that are rehearsed."""
        return self.refreshed.get("memory", torch.zeros(0, dtype=torch.long)).cpu()

    def loss_terms(self, batch: Mapping[str, Any]) -> dict[str, Tensor]:
        """Return COCONUT's loss, and the accuracy on the batch."""
        assert self._labels is not None
        index = batch["index"]
        labels = self._labels.to(index.device)[index]
        rehearsal = torch.isin(index, self._memory().to(index.device))
        encoded = self.encode(batch["views"])
        features, audio = encoded.features[self.sound], encoded.embeddings[self.sound]
        teacher = audio.detach()
        if self.teacher is not None:
            with torch.no_grad():
                sounds = batch["views"]["inputs"][self.sound]
                teacher = accumulate(self.teacher[1](accumulate(self.teacher[0](sounds))))
        rows = [self.head(features), audio, encoded.embeddings[self.text], teacher, labels, rehearsal]
        rows, gather = self.joined(rows, encoded.present[self.sound])
        logits, audio, text, teacher, labels, rehearsal = rows
        seen = torch.tensor(self.seen, device=labels.device)
        targets = torch.searchsorted(seen, labels)
        loss = coconut_loss(
            logits[:, seen],
            targets,
            audio,
            text,
            None if self.teacher is None else teacher,
            labels,
            rehearsal,
            multimodal_weight=self.multimodal_weight,
            distillation_weight=self.distillation_weight,
            temperature=self.contrast_temperature,
            denominator=self.denominator,
            gather=gather,
        )
        right = logits[:, seen].argmax(dim=1) == targets
        return {"loss": loss + self.nothing(), "batch_accuracy": right.float().mean()}

    def predict(self, sounds: Float[Tensor, "n samples"]) -> Tensor:
        """Return the class of each sound among those seen so far, as a place in `classes`."""
        seen = torch.tensor(self.seen, device=sounds.device)
        return seen[self.head(accumulate(self.encoders[self.sound](sounds)))[:, seen].argmax(dim=1)]

    @torch.no_grad()
    def on_fit_end(self) -> None:
        """Measure the accuracy on the test rows of every task so far."""
        rows = getattr(self.trainer, "datamodule").test_set  # noqa: B009
        labels = None if rows is None else self._places(rows)
        if labels is None:
            return
        views = self.build_views().only(self.sound)
        known = torch.isin(labels, torch.tensor(self.seen)).nonzero().flatten()
        found = torch.full_like(labels, -1)
        with undisturbed(self):
            for part in known.split(AT_ONCE):
                cells = rows.only(self.sound).fetch(part)
                found[part] = self.predict(views(cells, {})["inputs"][self.sound].to(self.device)).cpu()
        for task, group in enumerate(self._groups):
            own = torch.isin(labels, torch.tensor(group))
            self.counts[task] = int(own.sum())
            if task <= self.stage and bool(own.any()):
                self.accuracy[self.stage, task] = (found == labels)[own].double().mean()

    def continual(self) -> tuple[Tensor, Tensor, list[list[str]]]:
        """Return A_ij, numbers of test rows, and names of the classes of each task."""
        names = [[self.classes[place] for place in group] for group in self._groups]
        return self.accuracy.cpu(), self.counts.cpu(), names


def _check(classes: Sequence[str] | None, tasks: int, memory: int, stage: int) -> None:
    """Require classes for every task, and a stage among them."""
    check_at_least(tasks, 1, "tasks")
    check_at_least(memory, 0, "memory")
    if len(classes or ()) < max(2, tasks):
        raise InputError(
            f"there are {len(classes or ())} classes for {tasks} tasks: name the column of classes with "
            "--loading.label, or use fewer tasks."
        )
    if not 0 <= stage < tasks:
        raise InputError(f"stage is {stage}: training sets it, from 0 to {tasks - 1} for {tasks} tasks.")
