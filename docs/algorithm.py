"""The algorithm box of a method's page: one step a line, however the docstring sets the steps."""

import re

# Between two steps that share a line; what ends with a colon is no step, but a word before the first ("before:  1. …").
STEP = re.compile(r"(?<=[^\s:])\s{3,}(?=\d+\. )")
FIRST = re.compile(r"\d+\. ")
BOX = "    "  # Markdown's indentation of code


def one_step_a_line(text: str) -> str:
    """Set each numbered step of the boxes in a description on a line of its own.

    Steps that share a line are set below each other, where the first of them stands. Lines that go on with a step keep
    their distance from its number.

    Example:
        >>> print(one_step_a_line("Learns.\\n\\n    1. a     2. b\\n                b goes on\\n    3. c"))
        Learns.
        <BLANKLINE>
            1. a
            2. b
               b goes on
            3. c
    """
    lines: list[str] = []
    column, shift = 0, 0  # where the step stood to which the next lines may belong, and by how much it was moved
    for line in text.split("\n"):
        words = line.lstrip()
        if len(line) - len(words) < column or FIRST.match(words):
            column, shift = 0, 0
        places = [0, *(match.end() for match in STEP.finditer(line) if line.startswith(BOX))]
        first = FIRST.search(line)
        start = first.start() if first else 0
        parts = [line[begin:end].rstrip() for begin, end in zip(places, [*places[1:], None], strict=True)]
        lines += [parts[0][shift:], *(" " * start + part for part in parts[1:])]
        if len(parts) > 1:
            column, shift = places[-1], places[-1] - start
    return "\n".join(lines)
