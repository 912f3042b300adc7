"""Weak and strong augmentation of captions, as CLIP-rocket has them.

Fini, Astolfi, Romero-Soriano, Verbeek, Drozdzal: *Improved baselines for vision-language pre-training* (TMLR 2023),
with the settings of the authors' code; the strong operations are those of EDA (Wei and Zou, EMNLP 2019).
"""

import json
import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path

import torch

from dipole.errors import InputError

logger = logging.getLogger(__name__)
Synonyms = Callable[[str], Sequence[str]]
# Of identity, synonym replacement, swap and deletion.
WEIGHTS = (0.0, 0.4, 0.4, 0.2)
INSTALL = "`pip install nltk` and `python -m nltk.downloader wordnet` bring it; a JSON file of synonyms will do, too."
DELETIONS = (0.0, 0.0, 0.4, 0.6)  # the same where words are deleted in place of synonyms


def weak_caption(
    caption: str,
    *,
    generator: torch.Generator | None = None,
    stop_words: Collection[str] | None = None,
    probability: float = 0.8,
) -> str:
    """Remove the stop words of a caption, with a probability; a caption of nothing else stays.

    Args:
        caption: words between spaces.
        generator: source of the draw.
        stop_words: in lower case; scikit-learn's English ones if None.
        probability: of the removal.

    Raises:
        InputError: the probability is outside 0 … 1.

    Example:
        >>> weak_caption("a dog on the beach", probability=1.0)
        'dog beach'
        >>> weak_caption("of the", probability=1.0)
        'of the'
    """
    if not 0 <= probability <= 1:
        raise InputError(f"probability is {probability}: expected a number from 0 to 1.")
    if _uniform(generator) >= probability:
        return caption
    words = english_stop_words() if stop_words is None else stop_words
    kept = [word for word in caption.split() if word.lower() not in words]
    return " ".join(kept) or caption


def strong_caption(
    caption: str,
    *,
    generator: torch.Generator | None = None,
    stop_words: Collection[str] | None = None,
    synonyms: Synonyms | None = None,
    probability: float = 0.8,
    weights: Sequence[float] = WEIGHTS,
    deletion: float = 0.1,
) -> str:
    """Augment a caption as `weak_caption` does, then change it in one way that is drawn.

    The ways: nothing, a synonym for one word, two words swapped, or each word deleted with a probability. Without
    synonyms their share falls to the others.

    Args:
        caption: words between spaces.
        generator: source of the draws.
        stop_words: see `weak_caption`.
        synonyms: from a word to others.
        probability: of the removal of stop words.
        weights: of the four ways.
        deletion: probability of deleting a word.

    Raises:
        InputError: a probability or a weight is out of range.

    Example:
        >>> draw = torch.Generator().manual_seed(1)
        >>> strong_caption("two dogs run", generator=draw, weights=(0, 0, 1, 0), stop_words=())
        'dogs two run'
    """
    if len(weights) != 4 or min(weights) < 0 or not sum(weights[:1]) + sum(weights[2:]):
        raise InputError(f"weights are {tuple(weights)}: expected four of 0 or more, not all for synonyms.")
    if not 0 <= deletion <= 1:
        raise InputError(f"deletion is {deletion}: expected a number from 0 to 1.")
    words = weak_caption(caption, generator=generator, stop_words=stop_words, probability=probability).split()
    if not words:
        return caption
    known = torch.tensor([weights[0], weights[1] if synonyms else 0.0, *weights[2:]])
    way = int(torch.multinomial(known, 1, generator=generator))
    if way == 1 and synonyms is not None:
        words = _with_synonym(words, synonyms, generator)
    elif way == 2 and len(words) > 1:
        first, second = torch.randperm(len(words), generator=generator)[:2].tolist()
        words[first], words[second] = words[second], words[first]
    elif way == 3:
        words = [word for word in words if _uniform(generator) >= deletion] or words
    return " ".join(words)


def _with_synonym(words: list[str], synonyms: Synonyms, generator: torch.Generator | None) -> list[str]:
    """One word replaced, of those that have synonyms."""
    for place in torch.randperm(len(words), generator=generator).tolist():
        others = [other for other in synonyms(words[place].lower()) if other != words[place].lower()]
        if others:
            drawn = int(torch.randint(len(others), (), generator=generator))
            return [*words[:place], others[drawn], *words[place + 1 :]]
    return words


def _uniform(generator: torch.Generator | None) -> float:
    return float(torch.rand((), generator=generator))


def english_stop_words() -> Collection[str]:
    """Return scikit-learn's English stop words.

    Example:
        >>> "the" in english_stop_words()
        True
    """
    from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

    return ENGLISH_STOP_WORDS


def settled_synonyms(source: str) -> str:
    """Return what `"auto"` is here, `"wordnet"` or `"none"`, and say it if WordNet is missing; others as they are.

    Settings of a run hold what this returns, so that it does not depend on what is installed where it is resumed.

    Example:
        >>> settled_synonyms("deletion")
        'deletion'
    """
    if source != "auto":
        return source
    try:
        _wordnet()
    except (ImportError, LookupError):
        logger.warning(
            "WordNet is not installed: strong captions have no synonyms, words are swapped (2 of 3 times) or deleted "
            "instead, which is weaker than the authors' views. %s With `--views.synonyms none` this is not said; "
            "`deletion` deletes words in place of synonyms.",
            INSTALL,
        )
        return "none"
    return "wordnet"


def open_synonyms(source: str) -> Synonyms | None:
    """Open a source of synonyms.

    Args:
        source: `"wordnet"` for WordNet by NLTK; `"none"`, or `"deletion"` where words are deleted in their place, for
            no source; `"auto"`, see `settled_synonyms`; or a JSON file, `{"word": ["other", …]}`.

    Raises:
        InputError: WordNet is not installed, or the file is missing or holds something else.

    Example:
        >>> open_synonyms("none") is None
        True
    """
    source = settled_synonyms(source)
    if source in ("none", "deletion"):
        return None
    if source == "wordnet":
        try:
            return _wordnet()
        except (ImportError, LookupError) as error:
            raise InputError(f"WordNet is not installed. {INSTALL} Or --views.synonyms none or deletion.") from error
    if not Path(source).is_file():
        raise InputError(f"synonyms is {source!r}: expected 'auto', 'wordnet', 'none', 'deletion' or a JSON file.")
    try:
        found = json.loads(Path(source).read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{source} is no JSON: {error}.") from error
    if not isinstance(found, Mapping) or not all(isinstance(others, list) for others in found.values()):
        raise InputError(f'{source}: expected {{"word": ["other", …]}}.')
    return lambda word: [str(other) for other in found.get(word, [])]


def _wordnet() -> Synonyms:
    """NLTK's WordNet, in an order that does not change."""
    from nltk.corpus import wordnet  # type: ignore[import-untyped, import-not-found, unused-ignore]

    wordnet.ensure_loaded()

    def synonyms(word: str) -> list[str]:
        names = {lemma.replace("_", " ") for group in wordnet.synsets(word) for lemma in group.lemma_names()}
        return sorted(names - {word})

    return synonyms
