"""Rows of several modalities -> tensors, with a random crop of images and a random one of several captions."""

import copy
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor

from dipole.errors import InputError
from dipole.ops.checks import check_at_least, check_choice
from dipole.views.captions import choose_caption
from dipole.views.image import SimCLRViews, resize


def heard_part(sound: Any, generator: torch.Generator | None) -> Tensor:
    """Return a sound, or a random part of a `Recording` that is longer than its part; the first without a generator.

    Example:
        >>> heard_part(torch.ones(2), None)
        tensor([1., 1.])
    """
    if isinstance(sound, Tensor):
        return sound
    if generator is None:
        return sound.part()
    return sound.part(lambda left: left * float(torch.rand((), generator=generator)))


class ModalityViews:
    """Make a batch of rows: a tensor for each modality, and which of its rows are there.

        image     (N, 3, S, S) in [0, 1]       a crop of `crop_scale` of the area, resized
        text      (N, 2, T)                    token ids and attention mask of one caption
        sound     (N, samples), a random part of recordings      vector    (N, F)
        category  (N,)                         the place of the name; one that was not trained on is missing

    Rows that are missing hold zeros. Without a generator nothing is drawn: whole images and first captions.

    Args:
        modalities: facts of each modality, see `ModalitySet.facts`.
        max_lengths: tokens of a text that are read, of each text modality.
        captions: of several in a cell, the `"first"`, a `"random"` one, or `"all"`: (V, N, 2, T), where a cell with
            fewer than V begins again with its first.
        min_words: a drawn caption of fewer words gives way to the first one, see `choose_caption`.
        crop_scale: smallest and largest area of the crop as a fraction of the image.
        flip: probability of a flip left to right.

    Raises:
        InputError: an argument is out of range.

    Example:
        >>> views = ModalityViews({"sensor": {"kind": "vector", "width": 1}})
        >>> batch = views([{"sensor": torch.ones(1)}, {"sensor": None}], {})
        >>> batch["inputs"]["sensor"].tolist(), batch["present"]["sensor"].tolist()
        ([[1.0], [0.0]], [True, False])
    """

    def __init__(
        self,
        modalities: Mapping[str, Mapping[str, Any]],
        max_lengths: Mapping[str, int] | None = None,
        *,
        captions: Literal["first", "random", "all"] = "first",
        min_words: int = 1,
        crop_scale: tuple[float, float] = (0.9, 1.0),
        flip: float = 0.0,
    ) -> None:
        check_choice(captions, ("first", "random", "all"), "captions")
        check_at_least(min_words, 0, "min_words")
        self.columns = tuple(modalities)
        self.modalities, self.max_lengths = modalities, dict(max_lengths or {})
        self.captions, self.min_words = captions, min_words
        self.crops = {
            name: SimCLRViews(
                facts["size"], num_views=1, crop_scale=crop_scale, flip=flip, jitter=0.0, grayscale=0.0, blur=0.0
            )
            for name, facts in modalities.items()
            if facts["kind"] == "image"
        }
        if not self.crops:  # checked all the same
            SimCLRViews(1, crop_scale=crop_scale, flip=flip)

    def __call__(
        self,
        records: Sequence[Mapping[str, Any]],
        tokenizers: Mapping[str, Any],
        *,
        generator: torch.Generator | None = None,
    ) -> dict[str, dict[str, Tensor]]:
        """Make a batch.

        Args:
            records: N rows with an entry for each modality, None where it is missing.
            tokenizers: of the text modalities.
            generator: source of what is drawn; None to draw nothing.

        Returns:
            `inputs` and `present`, each a dictionary with an entry for each modality.

        Raises:
            InputError: a cell does not fit what the modality is said to be.
        """
        inputs: dict[str, Tensor] = {}
        present: dict[str, Tensor] = {}
        for name, facts in self.modalities.items():
            cells = [record[name] for record in records]
            if facts["kind"] == "category":
                places = {value: place for place, value in enumerate(facts["names"])}
                cells = [places.get(cell) for cell in cells]
            known = torch.tensor([cell is not None for cell in cells])
            present[name] = known
            found = [cell for cell in cells if cell is not None]
            inputs[name] = self._tensor(name, facts, found, known, tokenizers.get(name), generator)
        return {"inputs": inputs, "present": present}

    def only(self, name: str) -> "ModalityViews":
        """Return the same for a single modality."""
        one = copy.copy(self)
        one.modalities, one.columns = {name: self.modalities[name]}, (name,)
        return one

    def _tensor(
        self,
        name: str,
        facts: Mapping[str, Any],
        cells: list[Any],
        known: Tensor,
        tokenizer: Any,
        generator: torch.Generator | None,
    ) -> Tensor:
        """The cells of a modality in their rows, zeros elsewhere."""
        if facts["kind"] == "text":
            return self._texts(name, cells, known, tokenizer, generator)
        if facts["kind"] == "category":
            places = torch.zeros(len(known), dtype=torch.long)
            places[known] = torch.tensor(cells, dtype=torch.long)
            return places
        shape = {
            "image": lambda: (3, facts["size"], facts["size"]),
            "sound": lambda: (facts["samples"],),
            "vector": lambda: (facts["width"],),
        }[facts["kind"]]()
        result = torch.zeros(len(known), *shape)
        if cells:
            image = facts["kind"] == "image"
            heard = (lambda cell: heard_part(cell, generator)) if facts["kind"] == "sound" else (lambda cell: cell)
            rows = (
                self._images(self.crops[name], cells, generator)[0] if image else torch.stack(list(map(heard, cells)))
            )
            if rows.shape[1:] != shape:
                raise InputError(f"{name} has the shape {tuple(rows.shape[1:])}, the model was trained on {shape}.")
            result[known] = rows
        return result

    @staticmethod
    def _images(crop: SimCLRViews, cells: list[Any], generator: torch.Generator | None) -> Tensor:
        """Views (V, n, 3, S, S) of images, in [0, 1]; whole images if there is no generator."""
        if not isinstance(cells[0], Tensor):  # photos that are not decoded yet
            drawn = crop.draw_crops(len(cells), generator)
            boxes = (partial(crop.boxes, one) for one in drawn)
            photos = [cell.crops(box) for cell, box in zip(cells, boxes, strict=True)]
            return crop.finish(torch.stack(photos, dim=1), generator)
        images = torch.stack(cells)
        return resize(images, crop.size)[None] if generator is None else crop(images, generator)

    def _texts(
        self, name: str, cells: list[list[str]], known: Tensor, tokenizer: Any, generator: torch.Generator | None
    ) -> Tensor:
        """Token ids and attention masks; a row without text has an empty one."""
        packed = self._packed(name, self._versions(cells, generator), known, tokenizer)
        return packed if self.captions == "all" and generator is not None else packed[0]

    def _packed(self, name: str, versions: list[list[str]], known: Tensor, tokenizer: Any) -> Tensor:
        """Token ids and attention masks (V, N, 2, T) of V texts of each row."""
        rows = [["" for _ in known] for _ in versions]
        for row, version in zip(rows, versions, strict=True):
            for place, text in zip(known.nonzero().flatten().tolist(), version, strict=True):
                row[place] = text
        tokens = tokenizer(
            [text for row in rows for text in row],
            truncation=True,
            max_length=self.max_lengths[name],
            padding=True,
            return_tensors="pt",
        )
        return torch.stack([tokens["input_ids"], tokens["attention_mask"]], dim=1).unflatten(0, (len(rows), -1))

    def _versions(self, cells: list[list[str]], generator: torch.Generator | None) -> list[list[str]]:
        """One list of texts for each version."""
        if generator is None or self.captions == "first":
            return [[cell[0] for cell in cells]]
        if self.captions == "random":
            return [[choose_caption(cell, generator=generator, min_words=self.min_words).text for cell in cells]]
        most = max((len(cell) for cell in cells), default=1)
        return [
            [choose_caption(cell, draw=version % len(cell), min_words=self.min_words).text for cell in cells]
            for version in range(most)
        ]


class CaptionRewriteViews(ModalityViews):
    """LaCLIP's: a random one of the original caption and its rewrites, and crops of half of the image and more.

    Args:
        modalities: see `ModalityViews`.
        max_lengths: see `ModalityViews`.
        captions: `"random"`, or `"first"` for the original alone.
        min_words: see `ModalityViews`.
        crop_scale: see `ModalityViews`.
        flip: see `ModalityViews`.
    """

    def __init__(
        self,
        modalities: Mapping[str, Mapping[str, Any]],
        max_lengths: Mapping[str, int] | None = None,
        *,
        captions: Literal["first", "random", "all"] = "random",
        min_words: int = 2,
        crop_scale: tuple[float, float] = (0.5, 1.0),
        flip: float = 0.0,
    ) -> None:
        super().__init__(
            modalities, max_lengths, captions=captions, min_words=min_words, crop_scale=crop_scale, flip=flip
        )
