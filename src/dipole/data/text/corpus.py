"""Long sequences of tokens cut into chunks, as Contriever is trained on."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float64, Int32
from torch import Tensor

from dipole.data.text.text_set import Record, TextSet
from dipole.errors import InputError

CHUNK_LENGTH = 256
_TEXTS = 1024


def tokenize_corpus(texts: TextSet, tokenizer: Callable[..., Any]) -> Int32[np.ndarray, " tokens"]:
    """Join the tokens of all texts into one sequence, without special tokens.

    Args:
        texts: records with `"text"`.
        tokenizer: a tokenizer of transformers, or what is called alike: `tokenizer(list of texts,
            add_special_tokens=False)["input_ids"]` are lists of ids.

    Returns:
        The ids: 4 bytes a token. `numpy.save` them; `ChunkedCorpus` reads them from the disc.

    Raises:
        InputError: the records have no `"text"`.

    Example:
        >>> from dipole.data.text import MemoryTextSet
        >>> letters = lambda texts, add_special_tokens: {"input_ids": [[ord(c) for c in text] for text in texts]}
        >>> tokenize_corpus(MemoryTextSet(["ab", "c"]), letters)
        array([97, 98, 99], dtype=int32)
    """
    texts.require("text")
    pieces = []
    for start in range(0, len(texts), _TEXTS):
        records = texts.fetch(torch.arange(start, min(start + _TEXTS, len(texts))))
        encoded = tokenizer([record["text"] for record in records], add_special_tokens=False)["input_ids"]
        pieces.append(np.array([token for ids in encoded for token in ids], np.int32))
    return np.concatenate(pieces)


class ChunkedCorpus(TextSet):
    """Chunks of a long sequence of token ids: `{"tokens": int64 (L,)}`.

    Chunk j is `tokens[o + Lj : o + L(j + 1)]`. The offset o, 0 to L - 1, is drawn anew every epoch (`set_epoch`), so
    that chunks do not begin at the same tokens for ever. Of a sequence shorter than 2L - 1 tokens the offset goes no
    further than leaves one chunk.

    The length of the set is the number of chunks that every offset leaves, so that all epochs are equally long;
    `chunks` is the number that the present offset leaves, the same or one more.

    Izacard et al., *Unsupervised Dense Information Retrieval with Contrastive Learning* (TMLR 2022).

    Attributes:
        offset: of the first chunk; may be set.

    Args:
        tokens: (tokens,) ids; a tensor, an array, or a `numpy.memmap`, which stays on the disc.
        chunk_length: L.
        seed: of the offsets, 0 or more.
        name: of the set.

    Raises:
        InputError: the ids are not a sequence of integers, or shorter than one chunk.

    Example:
        >>> corpus = ChunkedCorpus(torch.arange(10), chunk_length=3)
        >>> corpus.offset = 1
        >>> corpus.chunks, corpus[1]
        (3, {'tokens': tensor([4, 5, 6])})
    """

    def __init__(
        self, tokens: Tensor | np.ndarray, chunk_length: int = CHUNK_LENGTH, seed: int = 0, name: str = "corpus"
    ) -> None:
        tokens = tokens.numpy() if isinstance(tokens, Tensor) else tokens
        if tokens.ndim != 1 or tokens.dtype.kind not in "iu":
            raise InputError(
                f"{name}: tokens have shape {tokens.shape} and type {tokens.dtype}: expected one sequence of integers."
            )
        if chunk_length < 1 or seed < 0:
            raise InputError(f"chunk_length={chunk_length}, seed={seed}: expected 1 or more and 0 or more.")
        if len(tokens) < chunk_length:
            raise InputError(
                f"{name} has {len(tokens)} tokens, less than one chunk of {chunk_length}: give more text or a smaller "
                "chunk_length."
            )
        self._tokens = tokens
        self.chunk_length = chunk_length
        self.seed = seed
        self._last_offset = min(chunk_length - 1, len(tokens) - chunk_length)
        super().__init__(name, ("tokens",), np.arange((len(tokens) - self._last_offset) // chunk_length))
        self.set_epoch(0)

    @property
    def chunks(self) -> int:
        """Number of chunks that the present offset leaves."""
        return (len(self._tokens) - self.offset) // self.chunk_length

    def set_epoch(self, epoch: int) -> None:
        """Draw the offset of an epoch: a pure function of (seed, epoch)."""
        self.offset = int(np.random.default_rng((self.seed, epoch)).integers(self._last_offset + 1))

    def chunk(self, index: int) -> Tensor:
        """Return the tokens of chunk `index`, less than `chunks`, as int64."""
        start = self.offset + index * self.chunk_length
        return torch.from_numpy(self._tokens[start : start + self.chunk_length].astype(np.int64))

    def _read(self, row: int) -> Record:
        return {"tokens": self.chunk(row)}

    def __getstate__(self) -> dict[str, Any]:
        state = self.__dict__.copy()
        if isinstance(self._tokens, np.memmap) and self._tokens.filename is not None:
            # Sent to another process, a mapped file is opened there and not copied.
            file = self._tokens
            state["_tokens"] = (file.filename, file.dtype, file.offset, file.shape)
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        if isinstance(self._tokens, tuple):
            filename, dtype, offset, shape = self._tokens
            self._tokens = np.memmap(filename, dtype, "r", offset, shape)


def mixture_probabilities(sizes: Sequence[int], coefficient: float = 0.0) -> Float64[Tensor, " corpora"]:
    """Return the probability of drawing from each of several corpora, `p_c ∝ (n_c / Σ n)^coefficient`.

    Args:
        sizes: n_c, above 0.
        coefficient: 0 draws from all alike, 1 in proportion to their sizes.

    Raises:
        InputError: no sizes, or one below 1, or a coefficient that is not finite.

    Source: Izacard et al. (TMLR 2022).

    Example:
        >>> mixture_probabilities([300, 100], 1.0)
        tensor([0.7500, 0.2500], dtype=torch.float64)
    """
    if not sizes or min(sizes) < 1 or not np.isfinite(coefficient):
        raise InputError(
            f"sizes={list(sizes)}, coefficient={coefficient}: expected sizes of 1 or more and a finite coefficient."
        )
    shares = torch.tensor(sizes, dtype=torch.float64)
    return torch.softmax(coefficient * (shares / shares.sum()).log(), dim=0)


class CorpusMixture(TextSet):
    """Chunks drawn from several corpora.

    Record i of an epoch is a uniformly random chunk of a corpus that is drawn with the probabilities of
    `mixture_probabilities`: a pure function of (seed, epoch, i), with repetitions, as Contriever draws. The length is
    that of all corpora together.

    Args:
        corpora: one or more; their offsets follow the epoch.
        coefficient: see `mixture_probabilities`; 0, the default, draws from all alike.
        seed: 0 or more.
        name: of the set.

    Raises:
        InputError: no corpora, or a setting out of range.

    Example:
        >>> long, short = ChunkedCorpus(torch.arange(900), 4), ChunkedCorpus(torch.arange(1000, 1010), 4)
        >>> records = CorpusMixture([long, short]).fetch(torch.arange(100))
        >>> 30 < sum(int(record["tokens"][0]) >= 1000 for record in records) < 70
        True
    """

    def __init__(
        self, corpora: Sequence[ChunkedCorpus], coefficient: float = 0.0, seed: int = 0, name: str = "mixture"
    ) -> None:
        if not corpora or seed < 0:
            raise InputError(f"{len(corpora)} corpora, seed={seed}: expected 1 or more and 0 or more.")
        self.corpora = tuple(corpora)
        self.seed = seed
        sizes = [len(corpus) for corpus in corpora]
        self.probabilities = mixture_probabilities(sizes, coefficient).numpy()
        self._epoch = 0
        super().__init__(name, ("tokens",), np.arange(sum(sizes)))

    def set_epoch(self, epoch: int) -> None:
        """Move to an epoch: other offsets, other draws."""
        self._epoch = epoch
        for corpus in self.corpora:
            corpus.set_epoch(epoch)

    def _read(self, row: int) -> Record:
        rng = np.random.default_rng((self.seed, self._epoch, row))
        corpus = self.corpora[int(rng.choice(len(self.corpora), p=self.probabilities))]
        return {"tokens": corpus.chunk(int(rng.integers(corpus.chunks)))}
