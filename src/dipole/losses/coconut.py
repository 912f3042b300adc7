"""The losses of COCONUT: distillation from the model before, and sounds against texts of their class.

Cappellazzo, Fini, Yang, Falavigna, Brutti, Raj: *Continual Contrastive Spoken Language Understanding* (2024).
"""

from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from dipole.errors import InputError
from dipole.losses.common import accumulate, both_directions, gathered_keys, unit_rows
from dipole.ops import gather as gather_rows
from dipole.ops import pairwise_logsumexp, world_size
from dipole.ops.checks import check_at_least, check_choice, check_embeddings, check_same_rows, check_temperature
from dipole.ops.door import looking, public
from dipole.ops.groups import sums_of_label

Denominator = Literal["student", "mixed", "teacher"]


@public
def sup_con_distillation_loss(
    student: Float[Tensor, "n d"],
    teacher: Float[Tensor, "n d"] | None,
    labels: Int[Tensor, "n"],
    *,
    anchors: Bool[Tensor, "n"] | None = None,
    temperature: float | Float[Tensor, ""] = 0.1,
    positives: Literal["teacher", "student"] = "teacher",
    denominator: Denominator = "student",
    normalize: bool = True,
    gather: bool = False,
    reduction: Literal["mean", "sum", "none"] = "mean",
) -> Float[Tensor, ""] | Float[Tensor, "n"]:
    """Pull a sample towards the previous model's embeddings of its class, away from the current ones of the others.

    With the student a, the teacher b (the frozen model before this task) and P(k) = {p ≠ k : y_p = y_k}:

        ℓ_k = log Z_k − 1/|P(k)| Σ_{p∈P(k)} ⟨a_k, b_p⟩ / τ

        denominator "student":  Z_k = Σ_{i≠k} exp(⟨a_k, a_i⟩ / τ)
        denominator "mixed":    Z_k = Σ_{p∈P(k)} exp(⟨a_k, b_p⟩ / τ) + Σ_{i: y_i≠y_k} exp(⟨a_k, a_i⟩ / τ)
        denominator "teacher":  Z_k = Σ_{i≠k} exp(⟨a_k, b_i⟩ / τ)

    COCONUT's NSPT (negatives student, positives teacher) is the default; what is known of its printed equation has one
    sum over the batch in the denominator. "mixed" keeps the numerator inside the denominator, so that the loss is never
    negative. NTPT is the denominator "teacher". With student positives and denominator it is the supervised contrastive
    loss.

    Conventions: rows are normalised here; mean over the positives, then over the anchors that have any; the teacher has
    no gradient. Without such an anchor the loss is 0.

    Args:
        student: (N, D) embeddings of the model that is trained.
        teacher: (N, D) embeddings of the frozen one; None if nothing asks for it.
        labels: (N,) classes.
        anchors: (N,) which rows are anchors, in COCONUT those from the memory; all if None.
        temperature: τ > 0.
        positives: whose embeddings of the positives are approached.
        denominator: see above.
        normalize: False if the rows are of unit length already.
        gather: contrast against the rows of all processes.
        reduction: over the anchors with positives; `"none"` gives 0 to all other rows.

    Returns:
        The loss, or (N,) values.

    Raises:
        InputError: shapes differ, a value is not finite, the temperature is not positive, or the teacher is missing.

    Example:
        >>> z = torch.eye(2).repeat(2, 1)
        >>> sup_con_distillation_loss(z, z, torch.tensor([0, 1, 0, 1]), temperature=1.0)  # log(e + 2) − 1
        tensor(0.5514)
    """
    check_embeddings(student=student)
    check_temperature(temperature)
    check_choice(positives, ("teacher", "student"), "positives")
    check_choice(denominator, ("student", "mixed", "teacher"), "denominator")
    check_choice(reduction, ("mean", "sum", "none"), "reduction")
    anchors = _check_rows(labels, anchors, len(student))
    if teacher is None:
        if positives == "teacher" or denominator == "teacher":
            raise InputError("teacher is None: give the previous model's embeddings, or positives='student'.")
    else:
        check_same_rows(student=student, teacher=teacher)
        teacher = unit_rows(teacher.detach(), normalize)
    student = unit_rows(student, normalize)
    # Rows that are no anchors need no similarities; how many there are may be unknown.
    chosen = anchors.nonzero().flatten() if looking() else torch.arange(len(anchors), device=anchors.device)
    queries = student[chosen]
    if not len(queries) and not (gather and world_size() > 1):
        return 0 * (student.sum(dim=1) if reduction == "none" else student.sum())
    keys, own = gathered_keys(student, gather)
    fixed = None if teacher is None else gathered_keys(teacher, gather)[0]
    every_label = gather_rows(labels) if gather else labels
    near = keys if positives == "student" or fixed is None else fixed
    place = own[chosen]
    values = student.new_zeros(len(student))
    found = torch.zeros_like(anchors)
    if len(queries):
        sums, counts = sums_of_label(near, every_label, labels[chosen])
        counts = counts - 1
        attraction = ((queries * (sums - near[place])).sum(dim=1) / counts.clamp_min(1)) / temperature
        log_z = _log_denominator(
            queries, labels[chosen], place, keys, fixed, near, every_label, temperature, denominator
        )
        counted = anchors[chosen] & (counts > 0)
        found = found.index_put((chosen,), counted)
        values = values.index_put((chosen,), torch.where(counted, log_z - attraction, 0))
    # Other processes wait for the gradients of what was gathered, also where there is no anchor.
    values = values + 0 * keys.sum()
    return _over_anchors(values, found, gather, reduction)


def _log_denominator(
    queries: Tensor,
    labels: Tensor,
    own: Tensor,
    student: Tensor,
    teacher: Tensor | None,
    near: Tensor,
    every_label: Tensor,
    temperature: float | Tensor,
    denominator: Denominator,
) -> Tensor:
    """log Z of every anchor; 0 where the sum is empty."""
    if denominator == "mixed":
        same = labels[:, None] == every_label
        alike = pairwise_logsumexp(queries, near, 1 / temperature, exclude=~same | _one_hot(own, same))
        others = pairwise_logsumexp(queries, student, 1 / temperature, exclude=same)
        alone = alike.isinf()  # no positive: such a row is no anchor
        return torch.logaddexp(torch.where(alone, 0, alike), others)
    keys = student if denominator == "student" or teacher is None else teacher
    if len(keys) < 2:
        return 0 * queries.sum(dim=1)
    return pairwise_logsumexp(queries, keys, 1 / temperature, exclude=own)


def _one_hot(columns: Tensor, like: Tensor) -> Tensor:
    """A mask with one column a row."""
    return torch.zeros_like(like).scatter(1, columns[:, None], True)


@public
def supervised_multimodal_loss(
    audio: Float[Tensor, "n d"],
    text: Float[Tensor, "n d"],
    labels: Int[Tensor, "n"],
    *,
    anchors: Bool[Tensor, "n"] | None = None,
    temperature: float | Float[Tensor, ""] = 0.1,
    normalize: bool = True,
    gather: bool = False,
    reduction: Literal["mean", "sum", "none"] = "mean",
) -> Float[Tensor, ""] | Float[Tensor, "n"]:
    """Contrast sounds with texts, where all samples of a class are positives of each other, its own text included.

        ℓ_k = −1/|P(k)| Σ_{p∈P(k)} [ log softmax_i(⟨a_k, t_i⟩ / τ)_p + log softmax_i(⟨t_k, a_i⟩ / τ)_p ]
        P(k) = {p : y_p = y_k}

    Conventions: rows are normalised here; **sum** of the two directions; candidates are the whole batch; mean over the
    positives, then over the anchors. Without an anchor the loss is 0.

    Args:
        audio: (N, D).
        text: (N, D); row i belongs to row i of `audio`.
        labels: (N,) classes.
        anchors: (N,) which rows are anchors, in COCONUT those of the new task; all if None.
        temperature: τ > 0.
        normalize: False if the rows are of unit length already.
        gather: contrast against the rows of all processes.
        reduction: over the anchors; `"none"` gives 0 to all other rows.

    Returns:
        The loss, or (N,) values.

    Raises:
        InputError: shapes differ, a value is not finite, or the temperature is not positive.

    Example:
        >>> z = torch.eye(2)
        >>> supervised_multimodal_loss(z, z, torch.tensor([0, 1]), temperature=1.0)  # 2 (log(e + 1) − 1)
        tensor(0.6265)
    """
    check_same_rows(audio=audio, text=text)
    check_temperature(temperature)
    check_choice(reduction, ("mean", "sum", "none"), "reduction")
    anchors = _check_rows(labels, anchors, len(audio))
    audio, text = unit_rows(audio, normalize), unit_rows(text, normalize)
    denominators = both_directions(audio, text, temperature, gather)
    keys, _ = gathered_keys(torch.stack([audio, text], dim=1), gather)
    every_label = gather_rows(labels) if gather else labels
    texts, counts = sums_of_label(keys[:, 1].contiguous(), every_label, labels)
    sounds, _ = sums_of_label(keys[:, 0].contiguous(), every_label, labels)
    attraction = ((audio * texts).sum(dim=1) + (text * sounds).sum(dim=1)) / counts.clamp_min(1) / temperature
    values = torch.where(anchors, denominators.queries + denominators.keys - attraction, 0)
    return _over_anchors(values, anchors, gather, reduction)


@public
def coconut_loss(
    logits: Float[Tensor, "n *t c"],
    targets: Int[Tensor, "n *t"],
    audio: Float[Tensor, "n d"],
    text: Float[Tensor, "n d"],
    teacher: Float[Tensor, "n d"] | None,
    labels: Int[Tensor, "n"],
    is_rehearsal: Bool[Tensor, "n"],
    *,
    multimodal_weight: float = 0.1,
    distillation_weight: float = 0.05,
    temperature: float = 0.1,
    denominator: Denominator = "student",
    multimodal_anchors: Literal["new", "all"] = "new",
    ignore_index: int = -100,
    normalize: bool = True,
    gather: bool = False,
) -> Float[Tensor, ""]:
    """Compute COCONUT's whole loss: cross entropy + λ_MM L_MM + λ_NSPT L_NSPT.

    Conventions: the cross entropy is the mean over the targets that are not padding. L_MM has the new samples as
    anchors, L_NSPT those from the memory; without a teacher, in the first task, L_NSPT is left out.

    Args:
        logits: (N, C) of classes, or (N, T, C) of the tokens that are to be written.
        targets: (N,) or (N, T).
        audio: (N, D) of the sounds.
        text: (N, D) of their transcripts.
        teacher: (N, D) of the sounds by the previous model; None in the first task.
        labels: (N,) classes.
        is_rehearsal: (N,) which rows come from the memory.
        multimodal_weight: λ_MM, 0 or more.
        distillation_weight: λ_NSPT, 0 or more.
        temperature: τ > 0 of both.
        denominator: see `sup_con_distillation_loss`.
        multimodal_anchors: the new samples, or all.
        ignore_index: target that counts for nothing, such as the token of padding.
        normalize: False if the rows are of unit length already.
        gather: contrast against the rows of all processes.

    Returns:
        The loss.

    Raises:
        InputError: shapes differ, a target is no class, or a weight is negative; see also the two losses.

    Example:
        >>> z, y = torch.eye(2), torch.tensor([0, 1])
        >>> coconut_loss(z, y, z, z, None, y, torch.tensor([False, False]), temperature=1.0)  # 1.2 (log(e + 1) − 1)
        tensor(0.3759)
    """
    check_at_least(multimodal_weight, 0, "multimodal_weight")
    check_at_least(distillation_weight, 0, "distillation_weight")
    check_choice(multimodal_anchors, ("new", "all"), "multimodal_anchors")
    if logits.shape[:-1] != targets.shape or len(logits) != len(audio):
        raise InputError(
            f"logits are {tuple(logits.shape)}, targets {tuple(targets.shape)}, sounds {len(audio)}: expected one "
            "target for each row of logits, and as many samples."
        )
    if looking() and not bool((targets != ignore_index).any()):
        raise InputError("every target is padding: there is nothing to learn.")
    flat = accumulate(logits).flatten(0, -2)
    loss = F.cross_entropy(flat, targets.flatten(), ignore_index=ignore_index)
    if multimodal_weight:
        anchors = ~is_rehearsal if multimodal_anchors == "new" else None
        loss = loss + multimodal_weight * supervised_multimodal_loss(
            audio, text, labels, anchors=anchors, temperature=temperature, normalize=normalize, gather=gather
        )
    if teacher is not None and distillation_weight:
        loss = loss + distillation_weight * sup_con_distillation_loss(
            audio,
            teacher,
            labels,
            anchors=is_rehearsal,
            temperature=temperature,
            denominator=denominator,
            normalize=normalize,
            gather=gather,
        )
    return loss


def _check_rows(labels: Tensor, anchors: Tensor | None, rows: int) -> Tensor:
    """Anchors as a mask; labels and anchors must be as many as there are rows."""
    if anchors is None:
        anchors = torch.ones(rows, dtype=torch.bool, device=labels.device)
    if labels.shape != (rows,) or anchors.shape != (rows,) or anchors.dtype != torch.bool:
        raise InputError(
            f"labels are {tuple(labels.shape)}, anchors {tuple(anchors.shape)} {anchors.dtype}: expected one label and "
            f"one truth value for each of {rows} rows."
        )
    if looking() and bool((labels < 0).any()):
        raise InputError(f"labels hold {int(labels.min())}: expected classes of 0 and more.")
    return anchors


def _over_anchors(values: Tensor, anchors: Tensor, gather: bool, reduction: str) -> Tensor:
    """Reduce values that are 0 outside the anchors; the mean is that over the anchors of all processes."""
    if reduction == "none":
        return values
    if reduction == "sum":
        return values.sum()
    count = anchors.sum()
    if gather and world_size() > 1:
        count = gather_rows(count[None]).sum()
        return values.sum() * world_size() / count.clamp_min(1)
    return values.sum() / count.clamp_min(1)
