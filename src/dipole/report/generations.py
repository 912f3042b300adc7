"""A page that shows what decoders write for the same prompts, side by side, with a number for every token as colour."""

from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from markupsafe import Markup

from dipole.decoding.text import Completion
from dipole.errors import InputError
from dipole.files import atomic_write
from dipole.report.section import rendered


def write_generations(
    path: str | Path, completions: Mapping[str, Sequence[Completion]], tokenizer: Any, *, model: str = ""
) -> Path:
    """Write one HTML file that needs nothing else: a row for every prompt, a column for every decoder.

    The tokens of a text are coloured by what its decoder tells of them, such as `confidence`, `degeneration_penalty` or
    `context_weight`; the reader chooses which. The colour is full at 1, or at the largest value on the page if that is
    higher; negative values have none.

    Args:
        path: of the page.
        completions: by the name of the decoder, each of the same prompts in the same order.
        tokenizer: of the model, which tells the tokens of a text apart.
        model: name that is shown.

    Returns:
        The path.

    Raises:
        InputError: there is no text, or the decoders were given different prompts.
    """
    prompts = [[(each.context, each.prompt) for each in found] for found in completions.values()]
    if not prompts or not prompts[0]:
        raise InputError("there are no texts to show: pass the completions of one decoder or more.")
    if any(asked != prompts[0] for asked in prompts):
        raise InputError("the decoders have different prompts: expected the same ones in the same order.")
    details = list(dict.fromkeys(name for found in completions.values() for each in found for name in each.details))
    largest = {name: _largest(completions, name) for name in details}
    rows = [
        {
            "number": number,
            "context": context,
            "prompt": prompt,
            "texts": [_tokens(found[number - 1], tokenizer, largest) for found in completions.values()],
        }
        for number, (context, prompt) in enumerate(prompts[0], start=1)
    ]
    page = rendered(
        "generations.html.j2",
        decoders=list(completions),
        details={name: name.replace("_", " ") for name in details},
        rows=rows,
        model=model,
        style=Markup((files("dipole.report") / "assets" / "style.css").read_text(encoding="utf-8")),
    )
    with atomic_write(path) as temporary:
        temporary.write_text(page, encoding="utf-8", errors="replace")
    return Path(path)


def token_pieces(tokenizer: Any, tokens: Sequence[int]) -> list[str]:
    """Return the text that each token adds; joined, they are the text of all.

    A letter of several tokens belongs to the last of them, the others add nothing.

    Args:
        tokenizer: of transformers.
        tokens: ids.
    """
    pieces: list[str] = []
    shown = 0
    for end in range(1, len(tokens) + 1):
        text = tokenizer.decode(tokens[:end], clean_up_tokenization_spaces=False)
        unfinished = text.endswith("\ufffd") and end < len(tokens)
        pieces.append("" if unfinished else text[shown:])
        shown = shown if unfinished else len(text)
    return pieces


def _largest(completions: Mapping[str, Sequence[Completion]], name: str) -> float:
    """The value that has the full colour."""
    values = (value for found in completions.values() for each in found for value in each.details.get(name, ()))
    return max(1.0, *values)


def _tokens(completion: Completion, tokenizer: Any, largest: Mapping[str, float]) -> list[dict[str, Any]]:
    """What is shown of every token: its text, its numbers, and how strong their colours are."""
    found = []
    for place, piece in enumerate(token_pieces(tokenizer, completion.tokens)):
        values = {name: numbers[place] for name, numbers in completion.details.items()}
        found.append(
            {
                "text": piece,
                "title": ", ".join(f"{name.replace('_', ' ')} {value:.3f}" for name, value in values.items()),
                "strengths": "".join(
                    f"--{name}:{min(1.0, max(0.0, value / largest[name])):.3f};" for name, value in values.items()
                ),
            }
        )
    return found
