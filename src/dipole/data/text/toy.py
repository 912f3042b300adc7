"""Generated sentences, graded pairs and a retrieval task: synthetic, small, and in need of no files.

A sentence says who does what, to what, and where: four slots, filled from the small world of one topic. Everything in
that world can be said in two ways, so that sentences of one meaning may share no content word. Texts from this grammar
serve to try things out and to test them; they say nothing about real language.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

TOY_SENTENCES, TOY_STS, TOY_RETRIEVAL = "toy-sentences", "toy-sts", "toy-retrieval"
TOY_TRIPLETS, TOY_DIALOGUES = "toy-triplets", "toy-dialogues"

# topic -> who, does what, to what, where; the meanings of a slot stand apart by ";", their two wordings by "|".
_WORLD = {
    "cooking": (
        "the cook|a chef; the baker|a pastry maker; the guest|a visitor",
        "tastes|samples; burns|scorches; praises|commends",
        "the soup|a broth; the cake|a gateau; the roast|some baked meat",
        "in the kitchen|beside the stove; at the restaurant|in a bistro",
    ),
    "music": (
        "the violinist|a fiddler; the singer|a vocalist; the pupil|a beginner",
        "practises|rehearses; performs|presents; records|tapes",
        "the sonata|a classical piece; the song|a tune; the duet|a work for two",
        "on the stage|before an audience; in the studio|behind soundproof glass",
    ),
    "medicine": (
        "the doctor|a physician; the nurse|a carer; the surgeon|an operating specialist",
        "examines|inspects; treats|heals; discusses|talks over",
        "the broken arm|a fractured limb; the fever|a high temperature; the wound|an injury",
        "in the hospital|at a clinic; in the ambulance|on the way to emergency",
    ),
    "sailing": (
        "the captain|a skipper; the sailor|a deckhand; the fisherman|an angler",
        "repairs|mends; loses|misplaces; cleans|scrubs",
        "the sail|a canvas; the anchor|an iron hook; the net|some mesh",
        "in the harbour|at a dock; on the ocean|out at sea",
    ),
    "farming": (
        "the farmer|a grower; the shepherd|a herdsman; the vet|an animal healer",
        "feeds|nourishes; sells|trades away; counts|numbers",
        "the sheep|a flock; the horses|some ponies; the chickens|a few hens",
        "in the meadow|on a pasture; at the barn|by the stable",
    ),
    "football": (
        "the striker|a forward; the goalkeeper|a keeper; the coach|a trainer",
        "kicks|boots; watches|observes; blames|accuses",
        "the ball|a leather sphere; the referee|an official; the opponent|a rival",
        "in the stadium|at an arena; on the training ground|on a practice pitch",
    ),
}
_TOPICS = {
    topic: [[meaning.strip().split("|") for meaning in slot.split(";")] for slot in slots]
    for topic, slots in _WORLD.items()
}
_PLACES = {"indoors": ("cooking", "music", "medicine"), "outdoors": ("sailing", "farming", "football")}
_SLOTS = 4


@dataclass(frozen=True)
class _Meaning:
    """What a sentence says, whatever the wording."""

    topic: str
    slots: tuple[int, ...]


def toy_sentences(count: int = 2000, seed: int = 0) -> list[dict[str, str]]:
    """Generate sentences with the topic that each is about: `{"text": ..., "topic": ...}`.

    Args:
        count: number of sentences, of which some may be alike.
        seed: 0 or more; same seed, same sentences.

    Example:
        >>> sorted({record["topic"] for record in toy_sentences(100)})
        ['cooking', 'farming', 'football', 'medicine', 'music', 'sailing']
    """
    rng = np.random.default_rng((seed, 0))
    meanings = [_draw(rng, list(_TOPICS)) for _ in range(count)]
    return [{"text": _say(meaning, rng), "topic": meaning.topic} for meaning in meanings]


def toy_triplets(count: int = 1000, seed: int = 0) -> list[dict[str, str]]:
    """Generate sentences with one that says the same and one that says something else in similar words.

    Returns:
        `{"text", "positive", "negative", "domain"}`: the negative differs in one of four things; the domain is the
        topic.

    Args:
        count: number of triplets.
        seed: 0 or more; same seed, same triplets.

    Example:
        >>> sorted(toy_triplets(2)[0])
        ['domain', 'negative', 'positive', 'text']
    """
    rng = np.random.default_rng((seed, 3))
    triplets = []
    for _ in range(count):
        meaning = _draw(rng, list(_TOPICS))
        texts = {"text": meaning, "positive": meaning, "negative": _changed(meaning, 1, rng)}
        triplets.append({**{name: _say(said, rng) for name, said in texts.items()}, "domain": meaning.topic})
    return triplets


def toy_pairs(count: int = 200, seed: int = 0) -> dict[str, tuple[list[str], list[str], list[float]]]:
    """Generate graded pairs of sentences, `(first, second, gold)` for the subsets `indoors` and `outdoors`.

    The gold score counts what two sentences share: 1 for the topic and 1 for each of the four slots, whatever the
    wording. So 5 is a paraphrase and 0 another topic.

    Args:
        count: number of pairs in a subset.
        seed: 0 or more; same seed, same pairs.

    Example:
        >>> first, second, gold = toy_pairs()["indoors"]
        >>> len(first), sorted(set(gold))
        (200, [0.0, 1.0, 2.0, 3.0, 4.0, 5.0])
    """
    rng = np.random.default_rng((seed, 1))
    pairs = {}
    for place, topics in _PLACES.items():
        first, second, gold = [], [], []
        for _ in range(count):
            meaning = _draw(rng, topics)
            score = int(rng.integers(_SLOTS + 2))
            other = _changed(meaning, _SLOTS + 1 - score, rng) if score else _draw_elsewhere(meaning, topics, rng)
            first.append(_say(meaning, rng))
            second.append(_say(other, rng))
            gold.append(float(score))
        pairs[place] = (first, second, gold)
    return pairs


def toy_stories(queries: int = 60, seed: int = 0) -> tuple[dict[str, str], dict[str, str], dict[str, dict[str, int]]]:
    """Generate documents, queries and relevance grades.

    A document tells in three sentences all that one person does to one thing in one place. A query is a sentence from
    such a story, worded anew. Its document is relevant with grade 2; the one of the same person and thing at the
    topic's other place with grade 1.

    Args:
        queries: number of queries, 108 at most.
        seed: 0 or more; same seed, same texts.

    Returns:
        The 108 documents and the queries by id, and the grades by query and document.

    Example:
        >>> documents, queries, grades = toy_stories()
        >>> len(documents), len(queries), sorted(grades["q00"].values())
        (108, 60, [1, 2])
    """
    rng = np.random.default_rng((seed, 2))
    stories = [
        _Meaning(topic, (who, 0, what, where))
        for topic, (actors, _, things, places) in _TOPICS.items()
        for who in range(len(actors))
        for what in range(len(things))
        for where in range(len(places))
    ]
    names = {story: f"d{number:03d}" for number, story in enumerate(stories)}
    documents = {}
    for story, name in names.items():
        deeds = rng.permutation(len(_TOPICS[story.topic][1]))
        documents[name] = " ".join(_say(_with(story, 1, int(deed)), rng) for deed in deeds)
    texts, grades = {}, {}
    for number, chosen in enumerate(rng.permutation(len(stories))[:queries]):
        story, query = stories[chosen], f"q{number:02d}"
        texts[query] = _say(_with(story, 1, int(rng.integers(len(_TOPICS[story.topic][1])))), rng)
        grades[query] = {names[story]: 2, names[_with(story, 3, 1 - story.slots[3])]: 1}
    return documents, texts, grades


def _draw(rng: np.random.Generator, topics: Sequence[str]) -> _Meaning:
    """A meaning of one of the topics."""
    topic = topics[int(rng.integers(len(topics)))]
    return _Meaning(topic, tuple(int(rng.integers(len(slot))) for slot in _TOPICS[topic]))


def _draw_elsewhere(meaning: _Meaning, topics: Sequence[str], rng: np.random.Generator) -> _Meaning:
    """A meaning of another topic."""
    return _draw(rng, [topic for topic in topics if topic != meaning.topic])


def _changed(meaning: _Meaning, count: int, rng: np.random.Generator) -> _Meaning:
    """The meaning with `count` slots filled otherwise."""
    for slot in rng.permutation(_SLOTS)[:count]:
        choices = len(_TOPICS[meaning.topic][slot])
        meaning = _with(meaning, int(slot), (meaning.slots[slot] + 1 + int(rng.integers(choices - 1))) % choices)
    return meaning


def _with(meaning: _Meaning, slot: int, value: int) -> _Meaning:
    """The meaning with one slot filled by `value`."""
    return replace(meaning, slots=(*meaning.slots[:slot], value, *meaning.slots[slot + 1 :]))


def _say(meaning: _Meaning, rng: np.random.Generator) -> str:
    """A sentence of this meaning: each slot in either wording, the place first or last."""
    wordings = [
        slot[value][int(rng.integers(2))] for slot, value in zip(_TOPICS[meaning.topic], meaning.slots, strict=True)
    ]
    who, does, what, where = wordings
    return f"{where}, {who} {does} {what}." if rng.random() < 0.5 else f"{who} {does} {what} {where}."
