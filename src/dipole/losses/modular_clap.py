"""The loss of CompA-CLAP: sounds against captions, with finer true texts and hard false texts of their own.

Ghosh, Seth, Kumar, Tyagi, Evuru, Ramaneswaran, Sakshi, Nieto, Duraiswami, Manocha: *CompA: Addressing the Gap in
Compositional Reasoning in Audio-Language Models* (ICLR 2024).
"""

import math
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from dipole.errors import InputError
from dipole.losses.common import gathered_keys, unit_rows
from dipole.ops import gather as gather_rows
from dipole.ops import pairwise_logsumexp, world_size
from dipole.ops.checks import check_at_least, check_choice, check_embeddings, check_temperature
from dipole.ops.door import looking, public

Direction = Literal["both", "audio_to_text", "text_to_audio"]


@public
def modular_clap_loss(
    audio: Float[Tensor, "n d"],
    texts: Float[Tensor, "t d"],
    num_positives: Int[Tensor, "n"],
    num_negatives: Int[Tensor, "n"],
    *,
    temperature: float | Float[Tensor, ""] = 0.07,
    direction: Direction = "both",
    normalize: bool = True,
    gather: bool = False,
) -> Float[Tensor, ""]:
    """Compute CompA's modular contrastive loss.

    A sound i comes with a block of 1 + P_i + N_i texts: its caption t_i0, P_i finer texts that are true of it, and N_i
    texts that are false. It sees its own block C_i and the captions of the other sounds, s = cos / τ:

        Z_i = Σ_{c ∈ C_i} exp s(a_i, c) + Σ_{j ≠ i} exp s(a_i, t_j0)
        audio to text:  mean_i mean_{p ≤ P_i} ( log Z_i − s(a_i, t_ip) )
        text to audio:  mean over all true texts (i, p) of  log Σ_j exp s(a_j, t_ip) − s(a_i, t_ip)

    The loss is the mean of the two directions. With P = N = 0 it is CLIP's.

    Conventions: rows are normalised here; the second mean runs over texts, so that sounds with many true texts weigh
    more in it, but not in the first; texts of other sounds beyond their captions are seen by no sound. The authors'
    code multiplies logits by −10⁵ where the paper leaves texts out, which turns negative cosines into the largest
    logits: here they are left out.

    Args:
        audio: (N, D).
        texts: (Σ_i (1 + P_i + N_i), D): caption, true texts and false texts of sound 0, then those of sound 1, …
        num_positives: (N,) P_i, 0 or more.
        num_negatives: (N,) N_i, 0 or more.
        temperature: τ > 0, a number or a learnable scalar.
        direction: one of the two means alone, or the mean of both.
        normalize: False if the rows are of unit length already.
        gather: contrast against the sounds and captions of all processes; false texts are seen by their sound alone.

    Returns:
        The loss.

    Raises:
        InputError: the counts do not add up to the texts, a value is not finite, or the temperature is not positive.

    Example:
        >>> texts = torch.eye(4)[[0, 2, 1, 3]]  # a caption and a false text of two sounds
        >>> modular_clap_loss(torch.eye(4)[:2], texts, torch.tensor([0, 0]), torch.tensor([1, 1]), temperature=1.0)
        tensor(0.4324)
    """
    check_embeddings(audio=audio, texts=texts)
    check_temperature(temperature)
    check_choice(direction, ("both", "audio_to_text", "text_to_audio"), "direction")
    owner, place = _blocks(len(audio), len(texts), num_positives, num_negatives)
    audio, texts = unit_rows(audio, normalize), unit_rows(texts, normalize)
    own = (audio[owner] * texts).sum(dim=1) / temperature
    true = place <= num_positives[owner]
    terms = []
    if direction != "text_to_audio":
        terms.append(_audio_to_text(audio, texts, own, owner, place, true, temperature, gather))
    if direction != "audio_to_text":
        if looking():  # false texts need no sound; how many there are may be unknown
            texts, own, true = texts[true], own[true], true[true]
        terms.append(_text_to_audio(audio, texts, own, true, temperature, gather))
    return torch.stack(terms).mean()


@public
def hard_negative_clap_loss(
    audio: Float[Tensor, "n d"],
    texts: Float[Tensor, "t d"],
    num_negatives: int,
    *,
    temperature: float | Float[Tensor, ""] = 0.07,
    direction: Direction = "both",
    normalize: bool = True,
    gather: bool = False,
) -> Float[Tensor, ""]:
    """Compute CLIP's loss in which every sound has K false texts of its own beside its caption (CompA, second stage).

    A sound looks for its caption among all captions and its own K false texts; a caption looks for its sound among all
    sounds. This is `modular_clap_loss` with P = 0 and N = K.

    Args:
        audio: (N, D).
        texts: (N (K + 1), D): the caption of sound 0, its K false texts, the caption of sound 1, …
        num_negatives: K, 0 or more.
        temperature: see `modular_clap_loss`; so are the next three.
        direction: one of the two means alone, or the mean of both.
        normalize: False if the rows are of unit length already.
        gather: contrast against the sounds and captions of all processes.

    Returns:
        The loss.

    Raises:
        InputError: there are not K + 1 texts of each sound, or see `modular_clap_loss`.

    Example:
        >>> hard_negative_clap_loss(torch.eye(4)[:2], torch.eye(4)[[0, 2, 1, 3]], 1, temperature=1.0)
        tensor(0.4324)
    """
    check_at_least(num_negatives, 0, "num_negatives")
    none = torch.zeros(len(audio), dtype=torch.long, device=audio.device)
    return modular_clap_loss(
        audio,
        texts,
        none,
        none + num_negatives,
        temperature=temperature,
        direction=direction,
        normalize=normalize,
        gather=gather,
    )


def _blocks(sounds: int, texts: int, positives: Tensor, negatives: Tensor) -> tuple[Tensor, Tensor]:
    """Of every text, its sound and its place in the block of that sound."""
    for name, counts in (("num_positives", positives), ("num_negatives", negatives)):
        if counts.shape != (sounds,) or counts.is_floating_point() or (looking() and sounds and int(counts.min()) < 0):
            raise InputError(
                f"{name} has shape {tuple(counts.shape)} and type {counts.dtype}: expected a whole number of at least "
                f"0 for each of {sounds} sounds."
            )
    sizes = 1 + positives + negatives
    if looking() and int(sizes.sum()) != texts:
        raise InputError(
            f"{texts} texts came, but the counts add up to {int(sizes.sum())}: expected 1 + P + N texts of each sound."
        )
    owner = torch.arange(sounds, device=sizes.device).repeat_interleave(sizes, output_size=texts)
    return owner, torch.arange(texts, device=sizes.device) - (sizes.cumsum(0) - sizes)[owner]


def _audio_to_text(
    audio: Tensor,
    texts: Tensor,
    own: Tensor,
    owner: Tensor,
    place: Tensor,
    true: Tensor,
    temperature: float | Tensor,
    gather: bool,
) -> Tensor:
    """Mean over the sounds of finding one of their true texts."""
    first = torch.searchsorted(owner, torch.arange(len(audio), device=owner.device))
    captions, _ = gathered_keys(texts[first], gather)
    shared = pairwise_logsumexp(audio, captions, 1 / temperature)
    widest = int(place.max()) if looking() else len(texts) - len(audio)
    block = own.new_full((len(audio), 1 + widest), -math.inf).index_put((owner, place), own)
    denominator = torch.cat([shared[:, None], block[:, 1:]], dim=1).logsumexp(dim=1)
    counts = own.new_zeros(len(audio)).index_add(0, owner, true.to(own.dtype))
    true_mean = own.new_zeros(len(audio)).index_add(0, owner, torch.where(true, own, 0)) / counts
    return (denominator - true_mean).mean()


def _text_to_audio(
    audio: Tensor, texts: Tensor, own: Tensor, true: Tensor, temperature: float | Tensor, gather: bool
) -> Tensor:
    """Mean over the true texts of all processes of finding their sound."""
    sounds, _ = gathered_keys(audio, gather)
    values = torch.where(true, pairwise_logsumexp(texts, sounds, 1 / temperature) - own, 0)
    number = true.sum()
    if not gather or world_size() == 1:
        return values.sum() / number
    # Processes hold different numbers of true texts: the mean of their losses must be the mean over all texts.
    return values.sum() * world_size() / gather_rows(number[None]).sum()
