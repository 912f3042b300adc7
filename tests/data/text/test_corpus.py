import pickle

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dipole.data.text import ChunkedCorpus, CorpusMixture, MemoryTextSet, mixture_probabilities, tokenize_corpus
from dipole.errors import InputError


@given(tokens=st.integers(1, 60), length=st.integers(1, 20), epoch=st.integers(0, 9), seed=st.integers(0, 3))
def test_chunks_follow_each_other_from_the_offset(tokens, length, epoch, seed):
    if tokens < length:
        return
    corpus = ChunkedCorpus(torch.arange(tokens), length, seed)
    corpus.set_epoch(epoch)
    assert 0 <= corpus.offset < length
    assert corpus.chunks == (tokens - corpus.offset) // length
    assert 1 <= len(corpus) <= corpus.chunks <= len(corpus) + (tokens >= 2 * length - 1) + tokens // length
    joined = torch.cat([corpus.chunk(index) for index in range(corpus.chunks)])
    assert joined.tolist() == list(range(corpus.offset, corpus.offset + length * corpus.chunks))


def test_all_epochs_are_equally_long_and_offsets_differ():
    corpus = ChunkedCorpus(np.arange(1000, dtype=np.uint16), 64)
    offsets, lengths = [], set()
    for epoch in range(200):
        corpus.set_epoch(epoch)
        offsets.append(corpus.offset)
        lengths.add(len(corpus))
        assert corpus.chunks - len(corpus) in (0, 1)
    assert lengths == {14}
    assert len(set(offsets)) > 50
    corpus.set_epoch(7)
    assert corpus.offset == offsets[7]
    assert corpus[3]["tokens"].dtype == torch.int64
    other = ChunkedCorpus(np.arange(1000), 64, seed=1)
    other.set_epoch(7)
    assert other.offset != corpus.offset


def test_a_mapped_file_is_opened_anew_by_another_process(tmp_path):
    path = tmp_path / "tokens.npy"
    np.save(path, np.arange(100_000, dtype=np.int32))
    corpus = ChunkedCorpus(np.load(path, mmap_mode="r", allow_pickle=False), 10)
    sent = pickle.dumps(corpus)
    assert len(sent) < 100_000
    assert torch.equal(pickle.loads(sent)[5]["tokens"], corpus[5]["tokens"])


@pytest.mark.parametrize(
    ("tokens", "options", "message"),
    [
        (torch.arange(5), {}, "corpus has 5 tokens, less than one chunk of 256"),
        (torch.rand(500), {}, "expected one sequence of integers"),
        (torch.ones(2, 500, dtype=torch.long), {}, r"shape \(2, 500\)"),
        (torch.arange(5), {"chunk_length": 0}, "chunk_length=0"),
        (torch.arange(5), {"chunk_length": 2, "seed": -1}, "seed=-1"),
    ],
)
def test_what_cannot_be_cut_is_refused(tokens, options, message):
    with pytest.raises(InputError, match=message):
        ChunkedCorpus(tokens, **options)


def test_mixture_probabilities():
    sizes = [1000, 200, 30]
    powers = np.power(np.array(sizes) / 1230, 0.3)
    np.testing.assert_allclose(mixture_probabilities(sizes, 0.3), powers / powers.sum(), rtol=1e-12)
    assert mixture_probabilities(sizes).tolist() == pytest.approx([1 / 3] * 3)
    assert mixture_probabilities([7]).tolist() == [1]
    for bad in ([], [3, 0]):
        with pytest.raises(InputError, match="expected sizes of 1 or more"):
            mixture_probabilities(bad)
    with pytest.raises(InputError, match="a finite coefficient"):
        mixture_probabilities([1], float("nan"))


def test_a_mixture_draws_as_often_as_its_probabilities_say():
    corpora = [ChunkedCorpus(torch.arange(start, start + n), 5) for start, n in ((0, 900), (10_000, 100))]
    for coefficient in (0.0, 1.0):
        mixture = CorpusMixture(corpora, coefficient)
        assert len(mixture) == sum(map(len, corpora))
        drawn = [mixture.fetch(torch.arange(len(mixture))) for _ in range(2)]
        assert [r["tokens"].tolist() for r in drawn[0]] == [r["tokens"].tolist() for r in drawn[1]]
        firsts = torch.stack([record["tokens"] for record in drawn[0]])[:, 0]
        share = float((firsts < 10_000).double().mean())
        assert abs(share - float(mixture_probabilities([len(c) for c in corpora], coefficient)[0])) < 0.1
        mixture.set_epoch(1)
        assert mixture[0]["tokens"].tolist() != drawn[0][0]["tokens"].tolist()
    with pytest.raises(InputError, match="0 corpora"):
        CorpusMixture([])


def test_texts_become_one_sequence_of_tokens(monkeypatch):
    monkeypatch.setattr("dipole.data.text.corpus._TEXTS", 2)

    def tokenizer(texts, add_special_tokens):
        assert add_special_tokens is False
        return {"input_ids": [[int(word) for word in text.split()] for text in texts]}

    tokens = tokenize_corpus(MemoryTextSet(["1 2", "3", "4 5 6"]), tokenizer)
    assert tokens.tolist() == [1, 2, 3, 4, 5, 6]
    with pytest.raises(InputError, match="no column 'text'"):
        tokenize_corpus(MemoryTextSet([{"body": "1"}]), tokenizer)
