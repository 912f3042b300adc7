"""Words of texts in any alphabet, for search by words."""

import re
import unicodedata

_ASCII = re.compile(r"[a-z0-9]+")
# Written without spaces between words: Han, kana, and the scripts of Thai, Lao, Burmese and Khmer.
_UNSPACED = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
    "\U00020000-\U0003ffff]+"
)


def words(text: str) -> list[str]:
    """Split a text into words: runs of letters and digits of any alphabet, in lower case.

    Compatibility forms become plain ones (NFKC). Marks over letters stay where they make a letter and go where they
    only point it (Arabic and Hebrew vowels). Runs of scripts that put no spaces between words, as Chinese does, become
    pairs of neighbouring characters.

    Example:
        >>> words("The wing of a jet-2."), words("Крылья самолёта"), words("机翼设计")
        (['the', 'wing', 'of', 'a', 'jet', '2'], ['крылья', 'самолёта'], ['机翼', '翼设', '设计'])
    """
    if text.isascii():
        return _ASCII.findall(text.lower())
    found: list[str] = []
    for run in _runs(unicodedata.normalize("NFKC", text).casefold()):
        start = 0
        for match in _UNSPACED.finditer(run):
            found += [run[start : match.start()]] if match.start() > start else []
            found += _pairs(match[0])
            start = match.end()
        found += [run[start:]] if start < len(run) else []
    return found


def _runs(text: str) -> list[str]:
    """Runs of letters, digits and the marks on them."""
    kept = []
    for character in text:
        if character.isalnum():
            kept.append(character)
        elif unicodedata.category(character) in ("Mn", "Mc"):
            kept.append("" if "\u0590" <= character <= "\u08ff" else character)
        else:
            # The stretching of Arabic letters (tatweel) is no letter.
            kept.append("" if character == "\u0640" else " ")
    return "".join(kept).split()


def _pairs(run: str) -> list[str]:
    """Pairs of neighbouring characters; the character where there is one alone."""
    return [run[place : place + 2] for place in range(len(run) - 1)] or [run]
