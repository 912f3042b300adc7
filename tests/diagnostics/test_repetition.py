import math
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from dipole.diagnostics import coherence, diversity, rep_n
from dipole.errors import InputError


def test_a_loop_repeats_and_new_words_do_not() -> None:
    loop = ["a b " * 50]
    assert rep_n(loop, 2) == pytest.approx(100 * (1 - 2 / 99))
    assert diversity(loop) < 1e-4
    assert [rep_n(["one two three four five"], n) for n in (1, 2, 3, 4)] == [0, 0, 0, 0]


def test_texts_are_counted_each_for_itself_and_then_together() -> None:
    assert rep_n(["a b c", "a b c"], 2) == 0
    assert rep_n(["a b a b", "c d e"], 2) == pytest.approx(100 * (1 - 4 / 5))


@settings(deadline=None, max_examples=30)
@given(texts=st.lists(st.lists(st.integers(0, 4), min_size=4, max_size=12), min_size=1, max_size=4))
def test_words_are_only_names(texts: list[list[int]]) -> None:
    as_words = [" ".join(f"word{token}" for token in text) for text in texts]
    for n in (1, 2, 3, 4):
        assert rep_n(texts, n) == rep_n(as_words, n)
        assert 0 <= rep_n(texts, n) < 100
    assert diversity(texts) == pytest.approx(math.prod(1 - rep_n(texts, n) / 100 for n in (2, 3, 4)))
    longer = [[*text, "new"] for text in texts]
    assert rep_n(longer, 2, official=True) == pytest.approx(rep_n(texts, 2), abs=0.00501)


def test_too_short_texts() -> None:
    with pytest.raises(InputError, match="no text has an n-gram of 3 words"):
        rep_n(["two words"], 3)
    with pytest.raises(InputError, match="n is 0"):
        rep_n(["a"], 0)


class Bigram(nn.Module):
    """A language model that looks at one token."""

    def __init__(self) -> None:
        super().__init__()
        self.table = torch.randn(6, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)

    def forward(self, ids: Tensor) -> SimpleNamespace:
        return SimpleNamespace(logits=self.table[ids])


def test_coherence_is_the_mean_of_the_means() -> None:
    model = Bigram()
    log_p = model.table.log_softmax(dim=1)
    prefixes = [torch.tensor([1, 2]), torch.tensor([3]), torch.tensor([0])]
    continuations = [torch.tensor([4, 5, 0]), torch.tensor([1]), torch.tensor([], dtype=torch.long)]
    expected = ((log_p[2, 4] + log_p[4, 5] + log_p[5, 0]) / 3 + log_p[3, 1]) / 2
    assert coherence(model, prefixes, continuations) == pytest.approx(float(expected))
    assert coherence(model, [torch.tensor([], dtype=torch.long)], [torch.tensor([1])], bos_token_id=3) == pytest.approx(
        float(log_p[3, 1])
    )


def test_what_coherence_refuses() -> None:
    model, none, one = Bigram(), torch.tensor([], dtype=torch.long), torch.tensor([1])
    with pytest.raises(InputError, match="pass bos_token_id"):
        coherence(model, [none], [one])
    with pytest.raises(InputError, match="all continuations are empty"):
        coherence(model, [one], [none])
    with pytest.raises(InputError, match="1 prefixes and 2 continuations"):
        coherence(model, [one], [one, one])
