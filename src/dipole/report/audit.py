"""The page of a robustness audit: figures, triggers, and what detectors said."""

import base64
import io
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

from jaxtyping import UInt8
from markupsafe import Markup
from torch import Tensor

from dipole import __version__
from dipole.files import atomic_write
from dipole.report.section import rendered

SIDE = 96  # pixels at which a picture is shown
AMPLIFIED = 8  # factor of the difference that is shown


def audit_page(found: Mapping[str, Any], pictures: Mapping[str, tuple[Tensor, Tensor]], path: str | Path) -> Path:
    """Write the page of an audit, one file that needs nothing else.

    Args:
        found: what `dipole.runs.audit.audit_poisoning` returns.
        pictures: test images (n, 3, H, W) before and after, by the name of the trigger.
        path: of the page.
    """
    galleries = {
        name: [
            (_uri(first), _uri(second), _uri(_difference(first, second)))
            for first, second in zip(before, after, strict=True)
        ]
        for name, (before, after) in pictures.items()
    }
    style = Markup((files("dipole.report") / "assets" / "style.css").read_text(encoding="utf-8"))
    page = rendered(
        "audit.html.j2", style=style, found=found, galleries=galleries, version=__version__, amplified=AMPLIFIED
    )
    with atomic_write(path) as temporary:
        temporary.write_text(page, encoding="utf-8")
    return Path(path)


def _difference(before: UInt8[Tensor, "3 h w"], after: UInt8[Tensor, "3 h w"]) -> UInt8[Tensor, "3 h w"]:
    """The change around grey, amplified."""
    return (128 + AMPLIFIED * (after.int() - before.int())).clamp(0, 255).byte()


def _uri(image: UInt8[Tensor, "3 h w"]) -> str:
    """A picture as a data URI, small ones enlarged by whole pixels."""
    from PIL import Image

    picture = Image.fromarray(image.permute(1, 2, 0).numpy())
    factor = max(1, SIDE // max(picture.size))
    buffer = io.BytesIO()
    picture.resize((picture.width * factor, picture.height * factor), Image.Resampling.NEAREST).save(buffer, "png")
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"
