"""Prompts by which a language model rewrites captions, and what is read from its answers.

Fan, Krishnan, Isola, Katabi, Tian: *Improving CLIP Training with Language Rewrites* (NeurIPS 2023), sec. 3.2.
"""

from collections.abc import Sequence
from typing import Literal

import torch

from dipole.errors import InputError
from dipole.ops.checks import check_choice

ARROW = "=>"
INSTRUCTION = "write image captions differently,"
Pair = tuple[str, str]


def build_rewrite_prompt(
    examples: Sequence[Pair], caption: str, *, instruction: str = INSTRUCTION, indent: int = 12
) -> str:
    """Write the prompt for one caption: the instruction, examples `source => target`, and `caption =>`.

    Lines alternate with empty ones. The authors' code indents all lines but the first by 12 spaces.

    Args:
        examples: (source, target) pairs, in the order in which they are shown.
        caption: to rewrite; line breaks become spaces.
        instruction: first line.
        indent: spaces before every other line.

    Example:
        >>> print(build_rewrite_prompt([("a dog", "A dog rests.")], "a cat", indent=2))
        write image captions differently,
        <BLANKLINE>
          a dog => A dog rests.
        <BLANKLINE>
          a cat =>
    """
    lines = [*(f"{source} {ARROW} {target}" for source, target in examples), f"{_one_line(caption)} {ARROW}"]
    return "\n\n".join([instruction, *(" " * indent + line for line in lines)])


def parse_rewrite(
    prompt: str, completion: str, fallback: str, *, parser: Literal["prefix", "official"] = "prefix"
) -> str:
    """Read the rewritten caption from a language model's answer.

    Args:
        prompt: from `build_rewrite_prompt`.
        completion: what the model wrote after it.
        fallback: what to return if there is nothing; the original caption.
        parser: `"prefix"`: the first line after the prompt, up to a further arrow. `"official"`: as the authors' code,
            what stands between the first two arrows of the line of the prompt's caption, which is a piece of the
            caption if that contains an arrow itself.

    Example:
        >>> prompt = build_rewrite_prompt([], "a cat => a dog")
        >>> parse_rewrite(prompt, " Two animals. => more", "a cat => a dog")
        'Two animals.'
        >>> parse_rewrite(prompt, " Two animals. => more", "a cat => a dog", parser="official")
        'a dog'
    """
    check_choice(parser, ("prefix", "official"), "parser")
    if parser == "official":
        # The authors name the line by its number, that of the prompt's last one.
        pieces = (prompt + completion).split("\n")[prompt.count("\n")].split(ARROW)[1:2]
    else:
        pieces = completion.split("\n")[0].split(ARROW)[:1]
    return "".join(pieces).strip() or fallback


def sample_examples(
    pool: Sequence[Pair] | Sequence[Sequence[str]],
    count: int = 3,
    *,
    groups: bool = False,
    generator: torch.Generator | None = None,
) -> list[Pair]:
    """Draw examples for a prompt, each at most once.

    Args:
        pool: (source, target) pairs; or, with `groups`, captions of one image each, of which a source and a different
            target are drawn.
        count: number of examples.
        groups: what the pool holds.
        generator: source of the draws.

    Raises:
        InputError: the pool is too small.

    Example:
        >>> generator = torch.Generator().manual_seed(0)
        >>> sample_examples([("a", "A"), ("b", "B"), ("c", "C")], 2, generator=generator)
        [('c', 'C'), ('a', 'A')]
    """
    if len(pool) < count or any(len(entry) < 2 for entry in pool):
        raise InputError(f"the pool holds {len(pool)} entries: expected {count} or more, of two captions or more each.")
    chosen = [pool[number] for number in torch.randperm(len(pool), generator=generator)[:count]]
    if not groups:
        return [(entry[0], entry[1]) for entry in chosen]
    orders = [torch.randperm(len(entry), generator=generator)[:2].tolist() for entry in chosen]
    return [(entry[source], entry[target]) for entry, (source, target) in zip(chosen, orders, strict=True)]


def _one_line(text: str) -> str:
    """A text without line breaks."""
    return " ".join(text.splitlines())
