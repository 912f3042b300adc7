"""Contrastive search of dipole beside plainer ways to compute it: speed and additional memory on the CPU.

    python benchmarks/decoding.py                  # a random Llama of SmolLM2-135M's shape
    python benchmarks/decoding.py path/to/model    # a model folder

Every measurement runs in a process of its own, so that the peak memory is its own; the ways take turns. Two rows are
not contrastive search: greedy search of one text, and of as many texts at once as there are candidates, which is what
the model alone costs.
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from progress import add_row, tracked
from rich.console import Console
from rich.table import Table
from torch import Tensor

ALPHA = 0.6
Decode = Callable[[Any, Tensor, int, int], Tensor]


def dipole(model: Any, prompt: Tensor, top_k: int, new: int) -> Tensor:
    from dipole.decoding import ContrastiveSearch

    decoder = ContrastiveSearch(top_k=top_k, degeneration_penalty=ALPHA)
    return decoder.generate(model, prompt, max_new_tokens=new, eos_token_id=None)


def dipole_one_at_a_time(model: Any, prompt: Tensor, top_k: int, new: int) -> Tensor:
    from dipole.decoding import ContrastiveSearch

    decoder = ContrastiveSearch(top_k=top_k, degeneration_penalty=ALPHA, candidates_at_once=1)
    return decoder.generate(model, prompt, max_new_tokens=new, eos_token_id=None)


@torch.no_grad()
def without_cache(model: Any, prompt: Tensor, top_k: int, new: int) -> Tensor:
    """The form in which the algorithm was first released: the text is read again, once for each candidate."""
    ids = prompt
    for _ in range(new):
        output = model(ids, output_hidden_states=True, use_cache=False)
        probabilities, candidates = output.logits[0, -1].softmax(0).topk(top_k)
        context = output.hidden_states[-1][0]
        context = context / context.norm(dim=-1, keepdim=True)
        texts = torch.cat([ids.expand(top_k, -1), candidates[:, None]], dim=1)
        hidden = model(texts, output_hidden_states=True, use_cache=False).hidden_states[-1][:, -1]
        hidden = hidden / hidden.norm(dim=-1, keepdim=True)
        score = (1 - ALPHA) * probabilities - ALPHA * (hidden @ context.T).amax(dim=1)
        ids = torch.cat([ids, candidates[score.argmax()].view(1, 1)], dim=1)
    return ids


@torch.no_grad()
def cache_and_loop(model: Any, prompt: Tensor, top_k: int, new: int) -> Tensor:
    """With a cache: candidates one after the other, then the chosen one once more."""
    from transformers import DynamicCache

    ids, cache = prompt, DynamicCache(config=model.config)
    output = model(prompt, past_key_values=cache, output_hidden_states=True, logits_to_keep=1)
    context = output.hidden_states[-1][0]
    for _ in range(new):
        probabilities, candidates = output.logits[0, -1].softmax(0).topk(top_k)
        best, chosen = -float("inf"), candidates[0]
        for probability, candidate in zip(probabilities, candidates, strict=True):
            state = model(candidate.view(1, 1), past_key_values=cache, output_hidden_states=True).hidden_states[-1][0]
            cache.crop(-1)
            cosine = torch.cosine_similarity(state, context, dim=-1).max()
            score = float((1 - ALPHA) * probability - ALPHA * cosine)
            if score > best:
                best, chosen = score, candidate
        output = model(chosen.view(1, 1), past_key_values=cache, output_hidden_states=True)
        context = torch.cat([context, output.hidden_states[-1][0]])
        ids = torch.cat([ids, chosen.view(1, 1)], dim=1)
    return ids


@torch.no_grad()
def cache_copied(model: Any, prompt: Tensor, top_k: int, new: int) -> Tensor:
    """The authors' fast form: each step repeats the whole cache for the candidates and selects from it again."""
    from transformers import DynamicCache

    ids, cache = prompt, DynamicCache(config=model.config)
    output = model(prompt, past_key_values=cache, output_hidden_states=True, logits_to_keep=1)
    context, logits = output.hidden_states[-1][0], output.logits[0, -1]
    for _ in range(new):
        probabilities, candidates = logits.softmax(0).topk(top_k)
        cache.batch_repeat_interleave(top_k)
        output = model(candidates[:, None], past_key_values=cache, output_hidden_states=True)
        hidden = output.hidden_states[-1][:, -1]
        normed = context / context.norm(dim=-1, keepdim=True)
        cosine = (hidden / hidden.norm(dim=-1, keepdim=True) @ normed.T).amax(dim=1)
        chosen = ((1 - ALPHA) * probabilities - ALPHA * cosine).argmax()
        cache.batch_select_indices(chosen.view(1))
        context, logits = torch.cat([context, hidden[chosen].view(1, -1)]), output.logits[chosen, -1]
        ids = torch.cat([ids, candidates[chosen].view(1, 1)], dim=1)
    return ids


def greedy(model: Any, prompt: Tensor, top_k: int, new: int) -> Tensor:
    found: Tensor = model.generate(prompt, max_new_tokens=new, do_sample=False, eos_token_id=None)
    return found


def greedy_batch(model: Any, prompt: Tensor, top_k: int, new: int) -> Tensor:
    return greedy(model, prompt.expand(top_k, -1), top_k, new)


WAYS: dict[str, Decode] = {
    "dipole": dipole,
    "dipole, one candidate at a time": dipole_one_at_a_time,
    "without cache": without_cache,
    "cache and a loop": cache_and_loop,
    "cache copied at each step": cache_copied,
    "greedy with k texts": greedy_batch,
    "greedy with one text": greedy,
}


def build(path: str | None, dtype: torch.dtype) -> Any:
    """The model of a folder, or a random one."""
    if path is not None:
        from dipole.decoding import load_language_model

        return load_language_model(path, device="cpu", dtype=dtype).model
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=49152,
        hidden_size=576,
        intermediate_size=1536,
        num_hidden_layers=30,
        num_attention_heads=9,
        num_key_value_heads=3,
        max_position_embeddings=8192,
        tie_word_embeddings=True,
        initializer_range=0.05,
    )
    return LlamaForCausalLM(config).to(dtype).eval()


def peak_kibibytes() -> int:
    """The largest resident memory of this process so far (Linux)."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0])


def measure(way: str, options: argparse.Namespace) -> None:
    """Print seconds, additional peak memory and the tokens of one way, as JSON."""
    model = build(options.model, torch.float32)
    prompt = torch.randint(100, 1000, (1, options.prompt), generator=torch.Generator().manual_seed(1))
    WAYS[way](model, prompt[:, :4], options.top_k, 2)  # imports, thread pools and the allocator's arenas
    Path("/proc/self/clear_refs").write_text("5")  # forget the peak that building the model has left
    before = peak_kibibytes()
    start = time.perf_counter()
    tokens = WAYS[way](model, prompt, options.top_k, options.new)
    seconds = time.perf_counter() - start
    found = {
        "seconds": seconds,
        "mebibytes": (peak_kibibytes() - before) / 1024,
        "tokens": tokens[0, options.prompt :].tolist(),
    }
    print(json.dumps(found))


def run(way: str, options: argparse.Namespace) -> dict[str, Any]:
    """Measure in a process of its own."""
    flags = [f"--{name}={getattr(options, name.replace('-', '_'))}" for name in ("prompt", "new", "top-k")]
    command = [sys.executable, __file__, *([options.model] if options.model else []), "--measure", way, *flags]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode != 0:
        raise SystemExit(result.stderr)
    found: dict[str, Any] = json.loads(result.stdout.splitlines()[-1])
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", nargs="?", help="model folder; a random Llama of SmolLM2-135M's shape by default")
    parser.add_argument("--measure", metavar="WAY")
    parser.add_argument("--prompt", type=int, default=64, help="tokens of the prompt")
    parser.add_argument("--new", type=int, default=64, help="tokens generated")
    parser.add_argument("--top-k", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--without", default="", help="ways that are left out, with commas between")
    options = parser.parse_args()
    if options.measure:
        measure(options.measure, options)
        return
    found: dict[str, list[dict[str, Any]]] = {way: [] for way in WAYS if way not in options.without.split(",")}
    turns = [way for _ in range(options.rounds) for way in found]
    for way in tracked(turns, "ways in turn"):
        found[way].append(run(way, options))
    middle = {
        way: {key: sorted(r[key] for r in rs)[len(rs) // 2] for key in ("seconds", "mebibytes")}
        for way, rs in found.items()
    }
    ours = found["dipole"][0]["tokens"]
    title = f"k = {options.top_k}, prompt {options.prompt}, {options.new} new tokens, {torch.get_num_threads()} threads"
    table = Table(title=f"Contrastive search: {title}")
    for heading in ("way", "time / dipole", "tokens/s", "MiB", "same text"):
        table.add_column(heading, justify="left" if heading == "way" else "right")
    for way, result in middle.items():
        tokens = found[way][0]["tokens"]
        same = sum(a == b for a, b in zip(tokens, ours, strict=True)) / len(ours)
        add_row(
            table,
            way,
            f"{result['seconds'] / middle['dipole']['seconds']:.2f}×",
            f"{options.new / result['seconds']:.1f}",
            f"{result['mebibytes']:.0f}",
            "" if way.startswith("greedy") else f"{same:.0%}",
        )
    Console().print(table)


if __name__ == "__main__":
    main()
