"""The different contents of each modality of a set, embedded."""

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any, cast

import torch
from torch import Tensor

from dipole.data.multimodal import ModalitySet
from dipole.evaluation.modal import Items
from dipole.evaluation.zero_shot import class_embeddings
from dipole.methods.multimodal.base import AnyModal
from dipole.methods.multimodal.dito import DITO
from dipole.methods.wrapping import Wrapping
from dipole.runs.temporal_items import temporal_items
from dipole.views.modalities import ModalityViews


@torch.inference_mode()
def embed_items(
    method: AnyModal, rows: ModalitySet, *, batch_size: int = 256, progress: bool = False
) -> dict[str, Items]:
    """Embed the contents of a set, modality by modality, on a GPU if there is one.

    Args:
        method: in evaluation mode.
        rows: whose columns are modalities of the method.
        batch_size: contents at a time.
        progress: show a progress bar.

    Returns:
        Items on the CPU, by modality; modalities of which the set has nothing are left out.
    """
    method.to("cuda" if torch.cuda.is_available() else "cpu")
    found = {}
    for name in rows.columns:
        one = method.build_views().only(name)
        contents, places = _contents(rows, name, one)
        if contents:
            cells: Any = torch.arange(len(contents)).split(batch_size)
            if progress:
                from rich.console import Console
                from rich.progress import track

                cells = track(cells, description=f"embedding {name}", console=Console(stderr=True))
            classes = _classes(rows, places)
            parts, shown = [], []
            for indices in cells:
                read = [contents[place]() for place in indices.tolist()]
                batch = one([{name: cell} for cell in read], method.tokenizers)
                parts.append(method.embed({name: batch["inputs"][name].to(method.device)}).float().cpu())
                shown += [
                    _shown(name, cell, place, classes.get(place))
                    for cell, place in zip(read, indices.tolist(), strict=True)
                ]
            found[name] = Items(torch.cat(parts), places, shown, contents)
    return found


def _contents(rows: ModalitySet, name: str, views: ModalityViews) -> tuple[list[Callable[[], Any]], list[list[int]]]:
    """What reads each different content, and which of them stand in each row."""
    known = set(views.modalities[name].get("names", ()))
    numbers: dict[Any, int] = {}
    readers: list[Callable[[], Any]] = []
    places: list[list[int]] = []
    column = rows.columns[name]
    for index, key in enumerate(rows.keys(name)):
        texts = list(dict.fromkeys(key)) if column.kind == "text" and key is not None else [key]
        missing = key is None or (column.kind == "category" and key not in known)
        own: list[int] = []
        for text in () if missing else texts:
            if text not in numbers:
                numbers[text] = len(numbers)
                if column.kind == "text":
                    readers.append(lambda text=text: [text])  # type: ignore[misc]
                else:
                    readers.append(lambda index=index: rows.cell(name, index))  # type: ignore[misc]
            own.append(numbers[text])
        places.append(own)
    return readers, places


def _classes(rows: ModalitySet, places: list[list[int]]) -> dict[int, str]:
    """The class of the first row that each content stands in, where it is known."""
    found: dict[int, str] = {}
    for own, label in zip(places, rows.labels or (), strict=False):
        for place in own if label is not None else ():
            found.setdefault(place, str(label))
    return found


def _shown(name: str, cell: Any, place: int, label: str | None) -> str:
    """A few words about a content."""
    if isinstance(cell, str):
        return cell
    if isinstance(cell, list):
        return cell[0]
    if isinstance(cell, Tensor) and cell.ndim == 1 and len(cell) <= 8:
        return ", ".join(f"{value:.3g}" for value in cell.tolist())
    return f"{name} {place + 1}" + (f" · {label}" if label is not None else "")


def queries_of(method: AnyModal, given: dict[str, Tensor], target: str) -> list[Tensor] | None:
    """Return the embeddings (N, D) of all modalities but the target; None if one is missing and cannot be.

    Args:
        method: says what stands for a missing modality.
        given: (N, D) of some modalities.
        target: which is searched for.
    """
    count = len(next(iter(given.values())))
    parts = []
    for name in method.modalities:
        if name == target:
            continue
        if name in given:
            parts.append(given[name])
            continue
        stand_in = method.missing_embedding(name)
        if stand_in is None:
            return None
        parts.append(stand_in.float().cpu().expand(count, -1))
    return parts


class ModalEncoder:
    """A method as protocols of several modalities measure it.

    Args:
        method: in evaluation mode.
        rows: whose contents are embedded, when they are first needed.
        progress: show progress bars.
    """

    def __init__(self, method: AnyModal, rows: ModalitySet, progress: bool = False) -> None:
        self.method, self.rows, self.progress = method, rows, progress
        kinds = {name: facts["kind"] for name, facts in method.modalities.items()}
        self.text = next((name for name, kind in kinds.items() if kind == "text"), None)
        if sorted(kinds.values()) == ["sound", "text"] and not isinstance(method, Wrapping):
            self.temporal = lambda pairs, seed: temporal_items(method, rows, pairs, seed)
            self.composes = getattr(method, "composes", False)
        if hasattr(method, "continual"):
            self.continual: Any = method.continual

    @cached_property
    def items(self) -> dict[str, Items]:
        """Embedded contents by modality."""
        return embed_items(self.method, self.rows, progress=self.progress)

    def queries(self, given: dict[str, Tensor], target: str) -> list[Tensor] | None:
        """See `queries_of`."""
        return queries_of(self.method, given, target)

    def missing(self, name: str) -> Tensor | None:
        """What stands for a missing modality."""
        return self.method.missing_embedding(name)

    def score(self, queries: Sequence[Tensor], candidates: Tensor) -> Tensor:
        """Scores (N, K) of candidates for queries."""
        return self.method.score(queries, candidates)

    @torch.inference_mode()
    def classes(self, names: Sequence[str], templates: Sequence[str]) -> Tensor:
        """(C, D) embeddings of classes, averaged over templates."""
        assert self.text is not None, "only asked for where there are texts"
        prompts = [template.replace("{}", name) for name in names for template in templates]
        views = self.method.build_views().only(self.text)
        batch = views([{self.text: [prompt]} for prompt in prompts], self.method.tokenizers)
        z = self.method.embed({self.text: batch["inputs"][self.text].to(self.method.device)}).float().cpu()
        return class_embeddings(z.unflatten(0, (len(names), len(templates))))


class DetectingEncoder(ModalEncoder):
    """A method that also finds boxes by name."""

    def average_precision(
        self, pictures: Sequence[Any], names: Sequence[str], base: Sequence[str], *, background: str, **options: Any
    ) -> Any:
        """Return `PrecisionOfBoxes` of pictures with boxes, see `dipole.runs.detect.measure_boxes`."""
        from dipole.runs.detect import Detector, measure_boxes

        detector = Detector(cast(DITO, self.method), names, background=background, base=base)
        return measure_boxes(detector, pictures, base, **options)


def encoder_of(method: AnyModal, rows: ModalitySet, progress: bool = False) -> ModalEncoder:
    """Return a method as protocols measure it."""
    return (DetectingEncoder if isinstance(method, DITO) else ModalEncoder)(method, rows, progress)
