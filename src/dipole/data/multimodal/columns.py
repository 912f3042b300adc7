"""Columns of a set of several modalities: what their cells are, where these lie, and which of them are missing."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from functools import partial
from hashlib import blake2b
from typing import Any, ClassVar, Literal, get_args

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64, UInt8
from torch import Tensor

from dipole.data.decode import UnreadableImageError, decode_crops, decode_image
from dipole.data.multimodal.sounds import UnreadableSoundError, decode_sound, fit_sound, sound_seconds
from dipole.data.source import Content, Source
from dipole.errors import InputError

Kind = Literal["image", "text", "sound", "vector", "category"]
KINDS: tuple[str, ...] = get_args(Kind)


class Column(ABC):
    """The cells of one column, read when they are asked for.

    Attributes:
        kind: what a cell is.
        present: (N,) False where there is nothing; such a cell is never read.
    """

    kind: ClassVar[Kind]

    def __init__(self, present: Bool[Tensor, " n"]) -> None:
        self.present = present

    @abstractmethod
    def read(self, row: int) -> Any:
        """Return the content of a cell."""

    def key(self, row: int) -> Hashable:
        """Return what two cells share that hold the same; the row itself where that is not looked into."""
        return row

    def facts(self, rows: Int64[Tensor, " n"]) -> dict[str, Any]:
        """Return what an encoder of these rows must know, as JSON can hold it."""
        return {}

    def to_train(self) -> "Column":
        """Return the same cells as views are made of."""
        return self

    def __len__(self) -> int:
        return len(self.present)


class ImageArray(Column):
    """Images in memory: uint8 (N, 1 or 3, S, S)."""

    kind = "image"

    def __init__(self, images: UInt8[Tensor, "n c s s"]) -> None:
        super().__init__(torch.ones(len(images), dtype=torch.bool))
        self.images = images

    def read(self, row: int) -> UInt8[Tensor, "3 s s"]:
        """Return an image with three channels."""
        return self.images[row].expand(3, -1, -1)

    def facts(self, rows: Int64[Tensor, " n"]) -> dict[str, Any]:
        """The side of the images."""
        return {"size": self.images.shape[-1]}


class Files(Column):
    """Files, or their contents, that were looked at once; `present` leaves out those that cannot be read."""

    def __init__(self, sources: Sequence[Source | None], present: Bool[Tensor, " n"]) -> None:
        super().__init__(present)
        self.sources = sources

    def key(self, row: int) -> Hashable:
        """The path, or the first 16 bytes of BLAKE2 of the content."""
        source = self.sources[row]
        return blake2b(source.content, digest_size=16).digest() if isinstance(source, Content) else source

    def _source(self, row: int) -> Source:
        source = self.sources[row]
        assert source is not None, "only what is present is read"
        return source

    def _broken(self, row: int, error: Exception) -> InputError:
        """The error for a file that passed the look at the start; leaving it out now would change what a run is."""
        return InputError(
            f"cannot decode {self._source(row)}: {error}. The look at the start found nothing. Repair it or empty its "
            "cell in the table, then resume."
        )


class PhotoFiles(Files):
    """Image files, each read as a `Photo`, to be shown at `size` pixels."""

    kind = "image"

    def __init__(self, sources: Sequence[Source | None], present: Bool[Tensor, " n"], size: int) -> None:
        super().__init__(sources, present)
        self.size = size

    def read(self, row: int) -> Any:
        """Return a photo that is not decoded yet."""
        return Photo(self._source(row), self.size, partial(self._broken, row))

    def facts(self, rows: Int64[Tensor, " n"]) -> dict[str, Any]:
        """The side of the images."""
        return {"size": self.size}


class ImageFiles(PhotoFiles):
    """Image files, of which the centre square is decoded at `size` pixels."""

    def read(self, row: int) -> UInt8[Tensor, "3 s s"]:
        """Decode an image.

        Raises:
            InputError: it is damaged inside.
        """
        try:
            return torch.from_numpy(decode_image(self._source(row), self.size))
        except UnreadableImageError as error:
            raise self._broken(row, error) from error

    def to_train(self) -> PhotoFiles:
        """The photos, of which nothing is cut off before a crop is drawn."""
        return PhotoFiles(self.sources, self.present, self.size)


@dataclass(frozen=True)
class Photo:
    """A whole photo, decoded when it is known which parts of it are wanted.

    Attributes:
        source: the file, or its content.
        size: side in pixels at which crops are shown.
        broken: makes an error of what the decoder says.
    """

    source: Source
    size: int
    broken: Callable[[Exception], InputError]

    def crops(self, boxes: Callable[[int, int], Tensor]) -> UInt8[Tensor, "v 3 s s"]:
        """Return crops; see `dipole.data.decode.decode_crops`.

        Raises:
            InputError: the file is damaged inside.
        """
        try:
            return torch.from_numpy(decode_crops(self.source, self.size, boxes))
        except UnreadableImageError as error:
            raise self.broken(error) from error


@dataclass(frozen=True)
class Recording:
    """A sound file, of which a part is decoded when it is known which one is wanted.

    Attributes:
        source: the file, or its content.
        rate: samples a second of the part.
        samples: of the part.
        broken: makes an error of what the decoder says.
    """

    source: Source
    rate: int
    samples: int
    broken: Callable[[Exception], InputError]

    def part(self, start: float | Callable[[float], float] = 0.0) -> Float[Tensor, " samples"]:
        """Return a part: float32 in [−1, 1]; see `dipole.data.multimodal.sounds.decode_sound`.

        Raises:
            InputError: the file is damaged inside.
        """
        try:
            return torch.from_numpy(decode_sound(self.source, self.rate, self.samples, start))
        except UnreadableSoundError as error:
            raise self.broken(error) from error


class RecordingFiles(Files):
    """Sound files, each read as a `Recording`."""

    kind = "sound"

    def __init__(self, sources: Sequence[Source | None], present: Bool[Tensor, " n"], rate: int, samples: int) -> None:
        super().__init__(sources, present)
        self.rate, self.samples = rate, samples

    def read(self, row: int) -> Any:
        """Return a sound that is not decoded yet."""
        return Recording(self._source(row), self.rate, self.samples, partial(self._broken, row))

    def facts(self, rows: Int64[Tensor, " n"]) -> dict[str, Any]:
        """Samples a second and in all."""
        return {"rate": self.rate, "samples": self.samples}


class SoundFiles(RecordingFiles):
    """Sound files, of which the beginning is decoded as one channel at `rate` samples a second.

    Args:
        crop: which part of a longer one training hears: the `"first"`, or a `"random"` one, drawn anew each time.
        **files: arguments of `RecordingFiles`.
    """

    def __init__(self, *arguments: Any, crop: Literal["first", "random"] = "first", **files: Any) -> None:
        super().__init__(*arguments, **files)
        self.crop = crop

    def read(self, row: int) -> Float[Tensor, " samples"]:
        """Decode a sound: float32 (samples,) in [−1, 1].

        Raises:
            InputError: it is damaged inside.
        """
        return super().read(row).part()

    def to_train(self) -> RecordingFiles:
        """The recordings, of which nothing is cut off before a part is drawn; themselves, if none is drawn."""
        return self if self.crop == "first" else RecordingFiles(self.sources, self.present, self.rate, self.samples)

    def windows(self, row: int) -> list[tuple[float, float]]:
        """Return where the parts of a sound begin and end, in seconds; the last one may be shorter.

        Raises:
            InputError: it is damaged.
        """
        try:
            return windows_of(sound_seconds(self._source(row)), self.samples / self.rate)
        except UnreadableSoundError as error:
            raise self._broken(row, error) from error

    def window(self, row: int, start: float) -> Float[Tensor, " samples"]:
        """Decode the part of a sound that begins at a second.

        Raises:
            InputError: it is damaged inside.
        """
        return super().read(row).part(start)


def windows_of(seconds: float, length: float) -> list[tuple[float, float]]:
    """Return begin and end of the parts of a sound, one behind the other.

    A remainder below a hundredth of a part is left out.

    Example:
        >>> windows_of(5.0, 2.0), windows_of(1.5, 2.0)
        ([(0.0, 2.0), (2.0, 4.0), (4.0, 5.0)], [(0.0, 1.5)])
    """
    count = max(1, math.ceil(seconds / length - 0.01))
    return [(number * length, min(seconds, (number + 1) * length)) for number in range(count)]


class SoundArray(Column):
    """Sounds in memory, one after the other: int16, sound i from `offsets[i]` to `offsets[i + 1]`."""

    kind = "sound"

    def __init__(self, audio: np.ndarray, offsets: np.ndarray, which: np.ndarray, rate: int, samples: int) -> None:
        super().__init__(torch.ones(len(which), dtype=torch.bool))
        self.audio, self.offsets, self.which = audio, offsets, which
        self.rate, self.samples = rate, samples

    def read(self, row: int) -> Tensor:
        """Return a sound: float32 (samples,) in [−1, 1]."""
        return self.window(row, 0.0)

    def windows(self, row: int) -> list[tuple[float, float]]:
        """Return where the parts of a sound begin and end, in seconds; the last one may be shorter."""
        start, end = self.offsets[self.which[row] : self.which[row] + 2]
        return windows_of(float(end - start) / self.rate, self.samples / self.rate)

    def window(self, row: int, start: float) -> Tensor:
        """Return the part of a sound that begins at a second."""
        first, end = self.offsets[self.which[row] : self.which[row] + 2]
        sound = self.audio[first + round(start * self.rate) : end]
        return torch.from_numpy(fit_sound(sound[: self.samples] / np.float32(2**15), self.samples))

    def key(self, row: int) -> Hashable:
        """Which sound it is."""
        return int(self.which[row])

    def facts(self, rows: Int64[Tensor, " n"]) -> dict[str, Any]:
        """Samples a second and in all."""
        return {"rate": self.rate, "samples": self.samples}


class Texts(Column):
    """Texts, one a cell or several; the first one is the original.

    Args:
        cells: texts, read when they are asked for where they are not in memory.
        present: (N,) which cells hold one; found out if None.
    """

    kind = "text"

    def __init__(self, cells: Sequence[Sequence[str]], present: Bool[Tensor, " n"] | None = None) -> None:
        super().__init__(torch.tensor([bool(cell) for cell in cells], dtype=torch.bool) if present is None else present)
        self.cells = cells

    def read(self, row: int) -> list[str]:
        """Return the texts of a cell.

        Raises:
            InputError: there is none although the cell did not look empty.
        """
        found = list(self.cells[row])
        if not found:
            raise InputError(f"row {row + 1} holds white space in place of a text: empty the cell, or fill it.")
        return found

    def key(self, row: int) -> Hashable:
        """The texts."""
        return tuple(self.cells[row])


class Vectors(Column):
    """Vectors of numbers, (N, F); rows that are not present may hold anything."""

    kind = "vector"

    def __init__(self, values: Tensor, present: Bool[Tensor, " n"] | None = None) -> None:
        super().__init__(torch.ones(len(values), dtype=torch.bool) if present is None else present)
        self.values = values

    def read(self, row: int) -> Tensor:
        """Return a vector: float32 (F,)."""
        return self.values[row].float()

    def key(self, row: int) -> Hashable:
        """The numbers."""
        return tuple(self.values[row].tolist())

    def facts(self, rows: Int64[Tensor, " n"]) -> dict[str, Any]:
        """Width, and mean and standard deviation of the rows that are present."""
        known = self.values[rows[self.present[rows]]].double()
        mean = known.mean(dim=0)
        std = known.std(dim=0, correction=0)
        # A constant says nothing; divided by 1 it stays where it is.
        return {
            "width": self.values.shape[1],
            "mean": mean.float().tolist(),
            "std": torch.where(std > 0, std, 1.0).float().tolist(),
        }


class Categories(Column):
    """Names out of few."""

    kind = "category"

    def __init__(self, names: Sequence[str | None]) -> None:
        super().__init__(torch.tensor([name is not None for name in names], dtype=torch.bool))
        self.names = names

    def read(self, row: int) -> str:
        """Return a name."""
        return str(self.names[row])

    def key(self, row: int) -> Hashable:
        """The name."""
        return self.names[row]

    def facts(self, rows: Int64[Tensor, " n"]) -> dict[str, Any]:
        """The names that occur, sorted."""
        return {"names": sorted({str(self.names[row]) for row in rows.tolist() if self.names[row] is not None})}
