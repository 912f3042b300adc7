import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import pearsonr, spearmanr

from dipole.data import load_sts
from dipole.data.text import SentencePairs, STSTask
from dipole.errors import InputError
from dipole.evaluation import evaluate_sts, sts_scores


def drawn(seed, *sizes):
    generator = torch.Generator().manual_seed(seed)
    subsets = {}
    for number, size in enumerate(sizes):
        first, noise = torch.randn(2, size, 5, generator=generator, dtype=torch.float64)
        gold = torch.randint(6, (size,), generator=generator).double()
        gold[:2] = torch.tensor([0.0, 5.0])
        subsets[f"s{number}"] = (first, first * gold[:, None] / 5 + noise, gold)
    return subsets


def cosines(first, second):
    return np.nan_to_num(
        np.array([x @ y / np.linalg.norm(x) / np.linalg.norm(y) for x, y in zip(first, second, strict=True)])
    )


def test_the_three_ways_to_join_subsets():
    subsets = drawn(0, 30, 50, 11)
    scores = sts_scores(subsets)
    systems = [cosines(first.numpy(), second.numpy()) for first, second, _ in subsets.values()]
    golds = [gold.numpy() for _, _, gold in subsets.values()]
    for found, correlate in ((scores.spearman, spearmanr), (scores.pearson, pearsonr)):
        single = [correlate(x, y).statistic for x, y in zip(systems, golds, strict=True)]
        assert list(found.subsets.values()) == pytest.approx(single)
        assert found.mean == pytest.approx(np.mean(single))
        assert found.wmean == pytest.approx(np.average(single, weights=[30, 50, 11]))
        assert found.all == pytest.approx(correlate(np.concatenate(systems), np.concatenate(golds)).statistic)
    assert len({scores.spearman.all, scores.spearman.mean, scores.spearman.wmean}) == 3


@given(seed=st.integers(0, 1000), scale=st.floats(0.01, 100))
def test_lengths_of_embeddings_and_order_of_pairs_and_sides_do_not_matter(seed, scale):
    subsets = drawn(seed, 12, 7)
    order = torch.randperm(12, generator=torch.Generator().manual_seed(seed))
    changed = {"s0": (subsets["s0"][1][order] * scale, subsets["s0"][0][order], subsets["s0"][2][order])}
    before, after = sts_scores(subsets), sts_scores({**subsets, **changed})
    for way in ("all", "mean", "wmean"):
        assert getattr(after.spearman, way) == pytest.approx(getattr(before.spearman, way))
        assert getattr(after.pearson, way) == pytest.approx(getattr(before.pearson, way))


def test_spearman_looks_at_the_order_alone():
    (first, second, gold), *_ = drawn(1, 40).values()
    plain, bent = (sts_scores({"s": (first, second, values)}) for values in (gold, gold**3))
    assert plain.spearman == bent.spearman
    assert plain.pearson.all != pytest.approx(bent.pearson.all)


def test_a_zero_vector_scores_zero():
    (first, second, gold), *_ = drawn(2, 20).values()
    first[3] = 0
    system = torch.nn.functional.cosine_similarity(first, second).numpy()
    assert system[3] == 0
    assert sts_scores({"s": (first, second, gold)}).spearman.all == pytest.approx(spearmanr(system, gold).statistic)


def test_a_collapsed_encoder_has_no_correlation():
    ones = torch.ones(6, 4)
    scores = sts_scores({"s": (ones, ones, torch.arange(6.0))})
    assert scores.spearman.all == scores.pearson.all == scores.spearman.mean == 0


def test_half_precision_is_scored_in_double():
    (first, second, gold), *_ = drawn(3, 20).values()
    half = sts_scores({"s": (first.bfloat16(), second.bfloat16(), gold)})
    double = sts_scores({"s": (first.bfloat16().double(), second.bfloat16().double(), gold)})
    assert half == double


EYE = torch.eye(3)


@pytest.mark.parametrize(
    ("subsets", "message"),
    [
        ({}, "there are no subsets"),
        ({"s": (EYE, EYE[:2], torch.arange(3.0))}, "shapes differ"),
        ({"s": (EYE, EYE, torch.arange(2.0))}, r"gold scores of shape \(2,\) for 3 pairs"),
        ({"s": (EYE[:1], EYE[:1], torch.ones(1))}, "two pairs or more"),
        ({"s": (EYE, EYE, torch.ones(3))}, "all gold scores are 1.0"),
        ({"s": (EYE, EYE, torch.tensor([1.0, float("nan"), 2.0]))}, "drop the pairs that nobody scored"),
        ({"s": (EYE / 0, EYE, torch.arange(3.0))}, "first contains NaN"),
    ],
)
def test_what_cannot_be_correlated_is_refused(subsets, message):
    with pytest.raises(InputError, match=message):
        sts_scores(subsets)


class Encoder:
    """Random embeddings, a fixed one for each sentence; remembers what it was asked."""

    def __init__(self):
        self.asked = []

    def __call__(self, texts):
        self.asked.append(texts)
        rows = [torch.randn(4, generator=torch.Generator().manual_seed(sum(map(ord, text)))) for text in texts]
        return torch.stack(rows)


def test_every_sentence_is_encoded_once():
    gold = torch.tensor([0.0, 1.0, 3.0], dtype=torch.float64)
    one = SentencePairs(("a", "b", "c"), ("b", "b", "d"), gold)
    two = SentencePairs(("c", "e", "a"), ("d", "f", "c"), gold)
    encoder = Encoder()
    results = evaluate_sts([STSTask("one", {"x": one}), STSTask("two", {"x": one, "y": two})], encoder)
    assert encoder.asked == [["a", "b", "c", "d", "e", "f"]]
    embed = Encoder()
    expected = sts_scores({k: (embed(p.first), embed(p.second), p.gold) for k, p in (("x", one), ("y", two))})
    assert results["two"] == expected
    assert results["one"].spearman.all == results["two"].spearman.subsets["x"]


def test_bags_of_words_do_better_than_noise_on_the_toy_task():
    tasks = load_sts("toy-sts")
    words = sorted({word for p in tasks[0].subsets.values() for text in (*p.first, *p.second) for word in text.split()})
    index = {word: place for place, word in enumerate(words)}

    def bag(texts):
        counts = torch.zeros(len(texts), len(words))
        for row, text in enumerate(texts):
            for word in text.split():
                counts[row, index[word]] += 1
        return counts

    assert evaluate_sts(tasks, bag)["toy-sts"].spearman.all > 0.4
    assert abs(evaluate_sts(tasks, Encoder())["toy-sts"].spearman.all) < 0.3


def test_encoders_and_tasks_that_do_not_fit_are_refused():
    tasks = load_sts("toy-sts")
    with pytest.raises(InputError, match=r"encode returned shape \(3, 2\) for \d+ sentences"):
        evaluate_sts(tasks, lambda texts: torch.ones(3, 2))
    with pytest.raises(InputError, match="each with its own name"):
        evaluate_sts([*tasks, *tasks], Encoder())
    with pytest.raises(InputError, match=r"tasks are \[\]"):
        evaluate_sts([], Encoder())
