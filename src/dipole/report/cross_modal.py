"""What was found of one modality for a sample of another."""

import base64
import io
import wave
from dataclasses import dataclass

from jaxtyping import Float, UInt8
from torch import Tensor

from dipole.report.thumbnails import LARGEST


@dataclass(frozen=True)
class Shown:
    """A sample, as a reader sees it.

    Args:
        text: its words, or its name.
        image: (3, H, W), if it is one.
        score: of the search that found it.
        belongs: whether it belongs to what was searched for.
        sound: samples (n,), if it is one.
        rate: samples a second of it.
    """

    text: str
    image: UInt8[Tensor, "3 h w"] | None = None
    score: float | None = None
    belongs: bool | None = None
    sound: Float[Tensor, "n"] | None = None
    rate: int = 0

    @property
    def player(self) -> str | None:
        """The sound as a data URI of a WAV file, so that a browser plays it; silence at its end is left out."""
        if self.sound is None:
            return None
        heard = self.sound.nonzero()
        samples = self.sound[: int(heard[-1]) + 1 if len(heard) else 1].clamp(-1, 1)
        buffer = io.BytesIO()
        with wave.open(buffer, "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(self.rate)
            file.writeframes((samples * (2**15 - 1)).short().cpu().numpy().astype("<i2").tobytes())
        return f"data:audio/wav;base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"

    @property
    def uri(self) -> str | None:
        """The image as a data URI of a small PNG."""
        if self.image is None:
            return None
        from PIL import Image

        picture = Image.fromarray(self.image.permute(1, 2, 0).cpu().numpy())
        picture.thumbnail((LARGEST, LARGEST))
        buffer = io.BytesIO()
        picture.save(buffer, "png", optimize=True)
        return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"


@dataclass(frozen=True)
class Search:
    """Some searches from one modality, or several at once, in another.

    Args:
        title: names them.
        rows: what was searched with, a content of each modality, and what was found, the best first.
    """

    title: str
    rows: tuple[tuple[tuple[Shown, ...], tuple[Shown, ...]], ...]
