"""Show the examples of docstrings as code: griffe knows the heading `Examples:`, dipole writes `Example:`."""

import re
from typing import Any

import griffe


class ExampleSections(griffe.Extension):
    """Rename the headings of sections before docstrings are parsed."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Rename them in one docstring."""
        if obj.docstring is not None:
            obj.docstring.value = re.sub(r"^( *)Example:$", r"\1Examples:", obj.docstring.value, flags=re.MULTILINE)
