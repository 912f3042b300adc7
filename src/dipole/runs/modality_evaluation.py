"""Protocols of several modalities: retrieval between two, zero-shot classes, one modality from all others."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import permutations
from pathlib import Path

import torch
from torch import Tensor

from dipole.errors import InputError
from dipole.evaluation.cross_modal import KS, chance_at, recall_at, related, retrieval_ranks
from dipole.evaluation.zero_shot import class_embeddings
from dipole.methods.multimodal.base import ModalityEmbedding
from dipole.runs.modality_items import Items, queries_of

BARE = ("{}",)


@dataclass
class Measured:
    """What was measured of a method, and what guessing would give.

    Attributes:
        found: values by name, 0 to 1.
        chance: the same for an order of the candidates that is drawn.
    """

    found: dict[str, float] = field(default_factory=dict)
    chance: dict[str, float] = field(default_factory=dict)

    def add(
        self,
        names: Mapping[str, int],
        method: ModalityEmbedding,
        queries: Sequence[Tensor],
        candidates: Tensor,
        relevant: Sequence[Sequence[int]],
    ) -> None:
        """Measure the share of queries that find what belongs to them.

        Args:
            names: of the shares, with the number of candidates that may be looked at.
            method: whose score is used.
            queries: (N, D) of each modality but that of the candidates.
            candidates: (K, D).
            relevant: which candidates belong to each query.
        """
        with torch.inference_mode():
            ranks = retrieval_ranks(lambda part: method.score([each[part] for each in queries], candidates), relevant)
        for name, k in names.items():
            self.found[name] = recall_at(ranks, k)
            self.chance[name] = chance_at([len(own) for own in relevant], len(candidates), k)


def read_templates(path: str | None) -> tuple[str, ...]:
    """Read prompts, one a line with {} in it.

    Raises:
        InputError: there is no such file, or a line has no {}.

    Example:
        >>> read_templates(None)
        ('{}',)
    """
    if path is None:
        return BARE
    try:
        lines = [line.strip() for line in Path(path).expanduser().read_text(encoding="utf-8").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read the templates in {path}: expected a text file with a prompt a line.") from error
    found = tuple(line for line in lines if line)
    wrong = [line for line in found if "{}" not in line]
    if not found or wrong:
        raise InputError(f"{path}: expected lines with {{}} where the class goes, e.g. 'a photo of a {{}}.'.")
    return found


def add_retrieval(measured: Measured, method: ModalityEmbedding, items: Mapping[str, Items]) -> None:
    """Add R@1, R@5 and R@10 from each modality to each other one."""
    for first, second in permutations(items, 2):
        pairs = related(items[first].rows, items[second].rows)
        known = [place for place, keys in enumerate(pairs) if keys]
        if not known:
            continue
        queries = queries_of(method, {first: items[first].embeddings[known]}, second)
        if queries is not None:
            names = {f"{first} → {second} R@{k}": k for k in KS}
            measured.add(names, method, queries, items[second].embeddings, [pairs[place] for place in known])


def add_zero_shot(
    measured: Measured,
    method: ModalityEmbedding,
    items: Mapping[str, Items],
    labels: Sequence[str | None] | None,
    templates: Sequence[str],
) -> None:
    """Add the accuracy of naming the class of each modality by prompts of the first text modality."""
    text = next((name for name, facts in method.modalities.items() if facts["kind"] == "text"), None)
    classes = sorted({label for label in labels or () if label is not None})
    if text is None or labels is None or len(classes) < 2:
        return
    prompts = _class_prompts(method, text, classes, templates)
    for name in items:
        rows = [row for row, label in enumerate(labels) if items[name].rows[row] and label is not None]
        if name == text or not rows:
            continue
        queries = queries_of(method, {name: torch.stack([items[name].first(row) for row in rows])}, text)
        if queries is not None:
            names = {f"{name} zero-shot top-{k}": k for k in (1, 5) if k < len(classes)}
            measured.add(names, method, queries, prompts, [[classes.index(str(labels[row]))] for row in rows])


def add_conditional(
    measured: Measured,
    method: ModalityEmbedding,
    items: Mapping[str, Items],
    labels: Sequence[str | None] | None,
) -> None:
    """Add how often each modality is found from all others of its row, by itself and by its class.

    What a row lacks has its stand-in, or is left out of the score; where neither can be, the row is no query.
    """
    if len(items) < 3:
        return  # of two modalities this is retrieval
    for target, own in items.items():
        others = [name for name in items if name != target]
        needed = [name for name in others if method.missing_embedding(name) is None]
        rows = [
            row
            for row, found in enumerate(own.rows)
            if found and any(items[name].rows[row] for name in others) and all(items[name].rows[row] for name in needed)
        ]
        if not rows:
            continue
        queries = [_given(method, name, items[name], rows) for name in others]
        title = f"{target} | {', '.join(others)}"
        measured.add({f"{title} R@1": 1}, method, queries, own.embeddings, [own.rows[row] for row in rows])
        if labels is not None and all(labels[row] is not None for row in rows):
            alike: dict[str | None, dict[int, None]] = {}
            for row, label in enumerate(labels):
                alike.setdefault(label, {}).update(dict.fromkeys(own.rows[row]))
            relevant = [list(alike[labels[row]]) for row in rows]
            measured.add({f"{title} class": 1}, method, queries, own.embeddings, relevant)


def _given(method: ModalityEmbedding, name: str, items: Items, rows: Sequence[int]) -> Tensor:
    """Embeddings (N, D) of a modality of some rows, its stand-in where it is missing."""
    stand_in = method.missing_embedding(name)
    return torch.stack(
        [items.first(row) if items.rows[row] or stand_in is None else stand_in.float().cpu() for row in rows]
    )


@torch.inference_mode()
def _class_prompts(method: ModalityEmbedding, text: str, classes: Sequence[str], templates: Sequence[str]) -> Tensor:
    """(C, D) embeddings of classes, averaged over templates."""
    prompts = [template.replace("{}", name) for name in classes for template in templates]
    batch = method.build_views().only(text)([{text: [prompt]} for prompt in prompts], method.tokenizers)
    z = method.embed({text: batch["inputs"][text].to(method.device)}).float().cpu()
    return class_embeddings(z.unflatten(0, (len(classes), len(templates))))
