"""A weak view of each modality, and several strong ones (CLIP-rocket)."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor

from dipole.errors import InputError
from dipole.ops.checks import check_at_least
from dipole.views.caption_augmentation import DELETIONS, WEIGHTS, open_synonyms, strong_caption, weak_caption
from dipole.views.captions import choose_caption
from dipole.views.image import SimCLRViews
from dipole.views.modalities import ModalityViews

BLUR = 0.5


class WeakAndStrongViews(ModalityViews):
    """Make a batch of rows with a weak view, `inputs`, and several strong ones, `strong`, each (A, N, …).

        image     weak: a crop of half of the area and more; strong: SimCLR's views with the colours of MoCo v2
        text      weak: without stop words, mostly; strong: then a synonym, a swap or a deletion
        vector    noise, in units of the deviation of each number; strong: numbers are dropped, too (become the mean)
        others    the same in all views

    Every view of a text draws a caption of its own. Without a generator there is nothing strong.

    Args:
        modalities: see `ModalityViews`.
        max_lengths: see `ModalityViews`.
        captions: see `ModalityViews`.
        min_words: see `ModalityViews`.
        crop_scale: of weak views.
        flip: probability, of strong views.
        strong: A.
        strong_crop_scale: of strong views.
        jitter: probability of changed colours, of strong views.
        grayscale: probability, of strong views.
        solarize: probability, of strong views.
        stop_words: probability that the stop words of a text are removed.
        synonyms: see `open_synonyms`.
        noise: deviation, of weak and of strong views of vectors.
        drop: probability that a number of a strong view of vectors is dropped.

    Raises:
        InputError: an argument is out of range.

    Example:
        >>> views = WeakAndStrongViews({"sensor": {"kind": "vector", "width": 1, "mean": [0.0], "std": [1.0]}})
        >>> batch = views([{"sensor": torch.ones(1)}], {}, generator=torch.Generator())
        >>> batch["strong"]["sensor"].shape
        torch.Size([2, 1, 1])
    """

    def __init__(
        self,
        modalities: Mapping[str, Mapping[str, Any]],
        max_lengths: Mapping[str, int] | None = None,
        *,
        captions: Literal["first", "random"] = "random",
        min_words: int = 1,
        crop_scale: tuple[float, float] = (0.5, 1.0),
        flip: float = 0.5,
        strong: int = 2,
        strong_crop_scale: tuple[float, float] = (0.08, 1.0),
        jitter: float = 0.8,
        grayscale: float = 0.2,
        solarize: float = 0.0,
        stop_words: float = 0.8,
        synonyms: str = "auto",
        noise: tuple[float, float] = (0.0, 0.2),
        drop: float = 0.2,
    ) -> None:
        super().__init__(modalities, max_lengths, captions=captions, min_words=min_words, crop_scale=crop_scale)
        check_at_least(strong, 0, "strong")
        for deviation in noise:
            check_at_least(deviation, 0, "noise")
        for name, share in (("drop", drop), ("stop_words", stop_words)):
            if not 0 <= share <= 1:
                raise InputError(f"{name} is {share}: expected a probability, 0 to 1.")
        self.strong, self.stop_words, self.noise, self.drop = strong, stop_words, noise, drop
        texts = any(facts["kind"] == "text" for facts in modalities.values())
        self.synonyms = open_synonyms(synonyms) if texts else None
        self.weights = DELETIONS if synonyms == "deletion" else WEIGHTS
        settings: dict[str, Any] = {"brightness": 0.4, "contrast": 0.4, "saturation": 0.4, "hue": 0.1, "blur": BLUR}
        settings |= {"flip": flip, "jitter": jitter, "grayscale": grayscale, "solarize": solarize}
        self.strong_crops = {
            name: SimCLRViews(facts["size"], num_views=max(1, strong), crop_scale=strong_crop_scale, **settings)
            for name, facts in modalities.items()
            if facts["kind"] == "image"
        }
        if not self.strong_crops:  # checked all the same
            SimCLRViews(1, crop_scale=strong_crop_scale, **settings)

    def __call__(
        self,
        records: Sequence[Mapping[str, Any]],
        tokenizers: Mapping[str, Any],
        *,
        generator: torch.Generator | None = None,
    ) -> dict[str, dict[str, Tensor]]:
        """Make a batch, see `ModalityViews`; with a generator it also holds `strong`."""
        batch = super().__call__(records, tokenizers, generator=generator)
        if generator is None:
            return batch
        for name, facts in self.modalities.items():
            if facts["kind"] == "vector" and self.noise[0]:
                batch["inputs"][name] = self._noisy(name, batch["inputs"][name], 0, generator)
        if self.strong:
            batch["strong"] = {
                name: self._strong(name, records, batch, tokenizers.get(name), generator) for name in self.modalities
            }
        return batch

    def _strong(
        self,
        name: str,
        records: Sequence[Mapping[str, Any]],
        batch: Mapping[str, Mapping[str, Tensor]],
        tokenizer: Any,
        generator: torch.Generator,
    ) -> Tensor:
        """Strong views (A, N, …) of a modality, zeros where it is missing."""
        kind, known, weak = self.modalities[name]["kind"], batch["present"][name], batch["inputs"][name]
        cells = [record[name] for record in records if record[name] is not None]
        if kind == "text":
            options: dict[str, Any] = {"probability": self.stop_words, "synonyms": self.synonyms}
            options["weights"] = self.weights
            texts = [
                [strong_caption(self._drawn(cell, generator), generator=generator, **options) for cell in cells]
                for _ in range(self.strong)
            ]
            return self._packed(name, texts, known, tokenizer)
        if kind == "image" and cells:
            views = weak.new_zeros(self.strong, *weak.shape)
            views[:, known] = self._images(self.strong_crops[name], cells, generator)
            return views
        if kind == "vector":
            return torch.stack(
                [self._noisy(name, self._plain(cells, weak, known), 1, generator) for _ in range(self.strong)]
            )
        return weak.expand(self.strong, *weak.shape).clone()

    @staticmethod
    def _plain(cells: list[Any], like: Tensor, known: Tensor) -> Tensor:
        """Vectors as they are in the table."""
        rows = torch.zeros_like(like)
        if cells:
            rows[known] = torch.stack(cells)
        return rows

    def _noisy(self, name: str, rows: Tensor, strength: int, generator: torch.Generator) -> Tensor:
        """Vectors with noise; of strong views, some numbers become their mean."""
        mean, std = (torch.tensor(self.modalities[name][fact]) for fact in ("mean", "std"))
        changed = rows + self.noise[strength] * std * torch.randn(rows.shape, generator=generator)
        if not strength:
            return changed
        return torch.where(torch.rand(rows.shape, generator=generator) < self.drop, mean, changed)

    def _drawn(self, cell: list[str], generator: torch.Generator) -> str:
        """One caption of a cell."""
        if self.captions == "first":
            return cell[0]
        return choose_caption(cell, generator=generator, min_words=self.min_words).text

    def _versions(self, cells: list[list[str]], generator: torch.Generator | None) -> list[list[str]]:
        """One weak text of each cell."""
        if generator is None:
            return super()._versions(cells, generator)
        drawn = [self._drawn(cell, generator) for cell in cells]
        return [[weak_caption(text, generator=generator, probability=self.stop_words) for text in drawn]]
