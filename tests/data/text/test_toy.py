import collections

import pytest

from dipole.data.text import toy_pairs, toy_sentences, toy_stories


def test_the_texts_repeat_by_seed():
    for generate in (toy_sentences, toy_pairs, toy_stories):
        assert generate(seed=3) == generate(seed=3) != generate(seed=4)


def test_sentences_are_of_six_topics_in_like_numbers():
    topics = collections.Counter(record["topic"] for record in toy_sentences(1200))
    assert len(topics) == 6
    assert min(topics.values()) > 140
    assert len({record["text"] for record in toy_sentences(1200)}) > 1000


def test_gold_scores_count_what_is_shared():
    for first, second, gold in toy_pairs(600).values():
        assert set(gold) == {0.0, 1.0, 2.0, 3.0, 4.0, 5.0}
        shared = collections.defaultdict(list)
        for x, y, score in zip(first, second, gold, strict=True):
            common = set(x.strip(".").replace(",", "").split()) & set(y.strip(".").replace(",", "").split())
            shared[score].append(len(common - {"the", "a", "in", "at", "on"}))
        means = [sum(shared[score]) / len(shared[score]) for score in sorted(shared)]
        assert means[1:] == sorted(means[1:])
        assert max(means[:2]) < 0.5 < 1.5 < means[5]
        # Two wordings: some paraphrases share no word at all.
        assert min(shared[5.0]) == 0


def test_paraphrases_are_not_always_alike():
    first, second, gold = toy_pairs()["outdoors"]
    assert any(x != y for x, y, score in zip(first, second, gold, strict=True) if score == 5)


@pytest.mark.parametrize("queries", [1, 60, 108])
def test_each_query_has_its_story_and_a_related_one(queries):
    documents, texts, grades = toy_stories(queries)
    assert len(documents) == 108
    assert len(texts) == len(grades) == queries
    assert all(sorted(grade.values()) == [1, 2] for grade in grades.values())
    assert all(set(grade) <= documents.keys() for grade in grades.values())
    assert len({next(iter(grade)) for grade in grades.values()}) == queries
    assert all(text.count(".") == 3 for text in documents.values())
