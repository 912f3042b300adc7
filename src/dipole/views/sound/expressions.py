"""Expressions over events, `(A + B) * C`: the sound that they stand for, and what is true and false of it (CompA)."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor

from dipole.errors import InputError
from dipole.views.sound.composition import concatenated, overlaid, peak_normalised

ORDER_PHRASES = (
    "followed by",
    "ends with",
    "before",
    "and later",
    "and then",
    "proceeded by",
    "succeeded by",
)
OVERLAP_PHRASES = (
    "overlayed by",
    "and",
    "with",
    "accompanied by",
    "surrounded by",
    "amidst by",
    "coupled with",
)
DEEPEST = 6  # operators of an expression: its texts grow threefold with each


@dataclass(frozen=True)
class Expression:
    """An event, or two expressions joined by `+` (one after the other) or `*` (over each other).

    Attributes:
        event: name of the event; empty where there are two parts.
        operator: `"+"`, `"*"` or empty.
        left: first part.
        right: second part.

    Example:
        >>> str(parse_expression("rain * dog + bell"))
        '((rain*dog)+bell)'
    """

    event: str = ""
    operator: str = ""
    left: "Expression | None" = None
    right: "Expression | None" = None

    def __str__(self) -> str:
        return self.event if not self.operator else f"({self.left}{self.operator}{self.right})"

    @property
    def parts(self) -> tuple["Expression", "Expression"]:
        """Both parts of a joined expression."""
        assert self.left is not None
        assert self.right is not None
        return self.left, self.right

    @property
    def postfix(self) -> list[str]:
        """Return events and operators in postfix order."""
        return [self.event] if not self.operator else [*(p for part in self.parts for p in part.postfix), self.operator]

    @property
    def events(self) -> list[str]:
        """Return the names of the events, in their order."""
        return [self.event] if not self.operator else [name for part in self.parts for name in part.events]


class ExpressionTexts(NamedTuple):
    """What is true and what is false of a composed sound.

    Attributes:
        caption: the whole expression.
        positives: parts of it that are true of the sound, without the caption.
        negatives: the caption and the parts with an operator exchanged, or with two events in the other order.
    """

    caption: str
    positives: tuple[str, ...]
    negatives: tuple[str, ...]


def parse_expression(text: str) -> Expression:
    """Parse an infix expression; `*` binds tighter than `+`, both from the left, parentheses as usual.

    Raises:
        InputError: the text is no expression, or it has more than 6 operators.

    Example:
        >>> parse_expression("A*(B+C+D)").postfix
        ['A', 'B', 'C', '+', 'D', '+', '*']
    """
    tokens = _tokens(text)
    if sum(token in "+*" for token in tokens) > DEEPEST:
        raise InputError(f"{text!r} has more than {DEEPEST} operators: its texts would be too many.")
    found = _sum(tokens, text)
    if tokens:
        raise InputError(f"{text!r} is no expression: {tokens[0]!r} is not expected there.")
    return found


def _tokens(text: str) -> list[str]:
    """Operators, parentheses and names."""
    spaced = text
    for sign in "+*()":
        spaced = spaced.replace(sign, f"\0{sign}\0")
    return [token for token in (part.strip().strip("'\"") for part in spaced.split("\0")) if token]


def _sum(tokens: list[str], text: str) -> Expression:
    """Products joined by `+`; takes what it reads from the tokens."""
    found = _product(tokens, text)
    while tokens and tokens[0] == "+":
        tokens.pop(0)
        found = Expression(operator="+", left=found, right=_product(tokens, text))
    return found


def _product(tokens: list[str], text: str) -> Expression:
    """Events and parentheses joined by `*`."""
    found = _single(tokens, text)
    while tokens and tokens[0] == "*":
        tokens.pop(0)
        found = Expression(operator="*", left=found, right=_single(tokens, text))
    return found


def _single(tokens: list[str], text: str) -> Expression:
    """An event, or an expression in parentheses."""
    if not tokens or tokens[0] in "+*)":
        raise InputError(f"{text!r} is no expression: an event is missing. Write events joined by + and *.")
    token = tokens.pop(0)
    if token != "(":
        return Expression(event=token)
    found = _sum(tokens, text)
    if not tokens or tokens.pop(0) != ")":
        raise InputError(f"{text!r} is no expression: a parenthesis is not closed.")
    return found


def expression_texts(expression: Expression | str) -> ExpressionTexts:
    """Return what is true and what is false of the sound that an expression stands for, as expressions.

    A part is what is left of the expression where every join keeps its left side, its right side or both. Positives are
    the parts without the caption; single events are among them only beside a caption of two events. Negatives are the
    caption and all parts with one operator exchanged, and, where the operator is `+`, with its two sides exchanged. Of
    `(A*B)`, `B*A` is true and `B+A` false.

    Ghosh et al.: *CompA* (ICLR 2024), as in the authors' code.

    Example:
        >>> expression_texts("A + B")
        ExpressionTexts(caption='(A+B)', positives=('A', 'B'), negatives=('(A*B)', '(B+A)'))
    """
    whole = parse_expression(expression) if isinstance(expression, str) else expression
    caption = str(whole)
    parts = {str(part): part for part in _parts(whole)}
    small = len(whole.events) <= 2
    positives = {text for text, part in parts.items() if text != caption and (small or part.operator)}
    negatives = {str(changed) for part in parts.values() for changed in _changed(part)}
    if whole.operator == "*" and small:
        left, right = whole.parts
        positives.add(f"{right}*{left}")
        negatives = {f"{right}+{left}"}
    negatives -= {caption, *positives}
    return ExpressionTexts(caption, tuple(sorted(positives)), tuple(sorted(negatives)))


def _parts(expression: Expression) -> Iterator[Expression]:
    """All that is left where every join keeps its left side, its right side or both."""
    if not expression.operator:
        yield expression
        return
    left, right = (list(_parts(part)) for part in expression.parts)
    yield from left
    yield from right
    for first in left:
        for second in right:
            yield Expression(operator=expression.operator, left=first, right=second)


def _changed(expression: Expression) -> Iterator[Expression]:
    """The expression with one operator exchanged, or with the two sides of one `+`."""
    if not expression.operator:
        return
    left, right = expression.parts
    yield Expression(operator="*" if expression.operator == "+" else "+", left=left, right=right)
    if expression.operator == "+":
        yield Expression(operator="+", left=right, right=left)
    for changed in _changed(left):
        yield Expression(operator=expression.operator, left=changed, right=right)
    for changed in _changed(right):
        yield Expression(operator=expression.operator, left=left, right=changed)


def verbalise(
    expression: Expression | str,
    order_phrase: str = "followed by",
    overlap_phrase: str = "and",
    names: Mapping[str, str] | None = None,
) -> str:
    """Say an expression in words; parentheses are dropped.

    Args:
        expression: see `parse_expression`.
        order_phrase: for `+`, see `ORDER_PHRASES`.
        overlap_phrase: for `*`, see `OVERLAP_PHRASES`.
        names: what to call events that have another name.

    Example:
        >>> verbalise("((A+B)*C)", "followed by", "overlayed by")
        'A followed by B overlayed by C'
    """
    whole = parse_expression(expression) if isinstance(expression, str) else expression
    if not whole.operator:
        return (names or {}).get(whole.event, whole.event)
    phrase = order_phrase if whole.operator == "+" else overlap_phrase
    left, right = (verbalise(part, order_phrase, overlap_phrase, names) for part in whole.parts)
    return f"{left} {phrase} {right}"


def compose(
    expression: Expression | str, sounds: Mapping[str, Float[Tensor, "n"]], rate: int
) -> Float[Tensor, "samples"]:
    """Make the sound that an expression stands for, see `concatenated` and `overlaid`.

    Args:
        expression: see `parse_expression`.
        sounds: samples of each event.
        rate: samples a second.

    Raises:
        InputError: an event has no sound.

    Example:
        >>> import torch
        >>> len(compose("a + b", {"a": torch.rand(3000), "b": torch.rand(2500)}, 16000))
        5500
    """
    whole = parse_expression(expression) if isinstance(expression, str) else expression
    if not whole.operator:
        if whole.event not in sounds:
            raise InputError(f"there is no sound of {whole.event!r}: sounds are given of {', '.join(sorted(sounds))}.")
        return peak_normalised(sounds[whole.event])
    left, right = (compose(part, sounds, rate) for part in whole.parts)
    return concatenated(left, right) if whole.operator == "+" else overlaid(left, right, rate)
