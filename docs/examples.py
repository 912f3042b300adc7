"""Show the examples of docstrings as code, and their formulas as formulas.

griffe knows the heading `Examples:`, dipole writes `Example:`.
"""

import re
import sys
from pathlib import Path
from typing import Any

import griffe

sys.path.append(str(Path(__file__).parent))  # griffe loads this file alone

from latex import typeset


class ExampleSections(griffe.Extension):
    """Rename the headings of sections, and set formulas, before docstrings are parsed."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Do so in one docstring."""
        if obj.docstring is not None:
            text = typeset(obj.docstring.value)
            obj.docstring.value = re.sub(r"^( *)Example:$", r"\1Examples:", text, flags=re.MULTILINE)
