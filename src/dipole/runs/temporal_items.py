"""Sounds of a test set, alone and two at a time in every arrangement, embedded with the texts that tell of them."""

from dataclasses import dataclass

import torch
from torch import Tensor

from dipole.data.multimodal import ModalitySet
from dipole.errors import InputError
from dipole.methods.multimodal.base import ModalityEmbedding
from dipole.views.sound.arranged import ArrangedViews
from dipole.views.sound.composition import concatenated, overlaid

AT_ONCE = 128
RELATIONS = ("{x} before {y}", "{x} after {y}", "{x} while {y}")
UNSEEN = ("{x} followed by {y}", "{x} preceded by {y}")


@dataclass
class TemporalItems:
    """What zero-shot tasks on time are measured with. Of P pairs, sounds "x before y", "y before x" and "x while y".

    Attributes:
        class_texts: (C, D).
        single: (N, D) of single sounds.
        labels: (N,) their classes.
        arranged: (3, P, D) of the sounds of pairs.
        pair_labels: (P, 2).
        relation_texts: (P, 3, D) "x before y", "x after y", "x while y".
        inverted_text: (P, D) "y before x".
        unseen_texts: (P, 2, D) the order in words that training does not use.
    """

    class_texts: Tensor
    single: Tensor
    labels: Tensor
    arranged: Tensor
    pair_labels: Tensor
    relation_texts: Tensor
    inverted_text: Tensor
    unseen_texts: Tensor


@torch.inference_mode()
def temporal_items(method: ModalityEmbedding, rows: ModalitySet, pairs: int = 150, seed: int = 0) -> TemporalItems:
    """Compose and embed.

    The class of a row is its label, or its first caption where there are no labels; a prompt is the name of the class.

    Args:
        method: in evaluation mode, of one modality of sounds and one of texts.
        rows: to compose of.
        pairs: P.
        seed: of the choice of pairs and parts.

    Raises:
        InputError: there are not three classes of sounds.
    """
    lengths = {name: int(method.encoders[name].max_length) for name in method.tokenizers}  # type: ignore[arg-type]
    views = ArrangedViews(method.modalities, lengths)
    sound, text = views.names
    cells = rows.fetch(rows.present(sound).nonzero().flatten())
    known = rows.present(sound).nonzero().flatten().tolist()
    labels = rows.labels
    named = [
        str(labels[row]) if labels is not None and labels[row] is not None else (cell[text] or [""])[0]
        for row, cell in zip(known, cells, strict=True)
    ]
    kept = [place for place, name in enumerate(named) if name]
    classes = sorted({named[place] for place in kept})
    if len(classes) < 3:
        raise InputError(f"{rows.name} has sounds of {len(classes)} classes: three or more are needed to compose.")
    places = torch.tensor([classes.index(named[place]) for place in kept])
    sounds = [cells[place][sound] for place in kept]
    generator = torch.Generator().manual_seed(seed)
    first = torch.randint(len(kept), (pairs,), generator=generator)
    arranged: list[list[Tensor]] = [[], [], []]
    second = []
    for one in first.tolist():
        others = (places != places[one]).nonzero().flatten()
        other = int(others[torch.randint(len(others), (), generator=generator)])
        second.append(other)
        x, y = (views.part(sounds[place], generator) for place in (one, other))
        for block, made in zip(
            arranged,
            (concatenated(x, y, views.fade), concatenated(y, x, views.fade), overlaid(x, y, views.rate)),
            strict=True,
        ):
            block.append(made)
    names = [(classes[int(places[i])], classes[int(places[j])]) for i, j in zip(first.tolist(), second, strict=True)]

    def embedded(inputs: Tensor, name: str) -> Tensor:
        parts = [method.embed({name: part.to(method.device)}).float().cpu() for part in inputs.split(AT_ONCE)]
        return torch.cat(parts)

    def texts(templates: tuple[str, ...], swapped: bool = False) -> Tensor:
        words = [t.format(x=y if swapped else x, y=x if swapped else y) for x, y in names for t in templates]
        return embedded(views.tokens(words, method.tokenizers), text).unflatten(0, (pairs, len(templates)))

    return TemporalItems(
        class_texts=embedded(views.tokens(classes, method.tokenizers), text),
        single=embedded(views.filled(sounds), sound),
        labels=places,
        arranged=torch.stack([embedded(views.filled(block), sound) for block in arranged]),
        pair_labels=torch.stack([places[first], places[torch.tensor(second)]], dim=1),
        relation_texts=texts(RELATIONS),
        inverted_text=texts(RELATIONS[:1], swapped=True)[:, 0],
        unseen_texts=texts(UNSEEN),
    )
