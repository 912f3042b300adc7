"""Tiny language models in float64, and decoders written out without cache, batch or padding."""

from collections.abc import Callable

import torch
from torch import Tensor
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    PreTrainedModel,
)

VOCABULARY, WINDOW, END = 40, 64, 39
IDS = {"bos_token_id": 0, "eos_token_id": END, "pad_token_id": 1}


def gpt2(seed: int = 0) -> PreTrainedModel:
    config = GPT2Config(
        vocab_size=VOCABULARY, n_positions=WINDOW, n_embd=16, n_layer=2, n_head=2, initializer_range=0.3, **IDS
    )
    return build(lambda: GPT2LMHeadModel(config), seed)


def llama(seed: int = 0) -> PreTrainedModel:
    return build(lambda: LlamaForCausalLM(LlamaConfig(**SHAPE, **IDS)), seed)


def sliding(seed: int = 0) -> PreTrainedModel:
    """Every layer attends to the last six tokens."""
    return build(lambda: MistralForCausalLM(MistralConfig(**SHAPE, **IDS, sliding_window=6)), seed)


SHAPE = {
    "vocab_size": VOCABULARY,
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": WINDOW,
    "initializer_range": 0.5,
}
MODELS: dict[str, Callable[[int], PreTrainedModel]] = {"gpt2": gpt2, "llama": llama, "sliding": sliding}


def build(make: Callable[[], PreTrainedModel], seed: int) -> PreTrainedModel:
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        return make().double().eval()


def prompts(count: int, seed: int = 0, longest: int = 12) -> list[list[int]]:
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.randint(1, longest + 1, (count,), generator=generator).tolist()
    return [torch.randint(2, END, (length,), generator=generator).tolist() for length in lengths]


def left_padded(rows: list[list[int]]) -> tuple[Tensor, Tensor]:
    """Ids and mask of prompts of several lengths."""
    length = max(map(len, rows))
    ids = torch.tensor([[1] * (length - len(row)) + row for row in rows])
    mask = torch.tensor([[0] * (length - len(row)) + [1] * len(row) for row in rows])
    return ids, mask


@torch.no_grad()
def literal_contrastive_search(
    model: PreTrainedModel, prompt: list[int], *, k: int, alpha: float, new_tokens: int, end: int | None = None
) -> tuple[list[int], list[float]]:
    """The tokens and their degeneration penalties: the whole text is read again for every candidate."""
    ids, penalties = list(prompt), []
    for _ in range(new_tokens):
        probabilities = model(torch.tensor([ids])).logits[0, -1].softmax(0)
        best_score, best = -float("inf"), (0, 0.0)
        for candidate in probabilities.topk(k).indices.tolist():
            states = model(torch.tensor([[*ids, candidate]]), output_hidden_states=True).hidden_states[-1][0]
            cosines = [torch.cosine_similarity(states[-1], state, dim=0).item() for state in states[:-1]]
            score = (1 - alpha) * probabilities[candidate].item() - alpha * max(cosines)
            if score > best_score:
                best_score, best = score, (candidate, max(cosines))
        ids.append(best[0])
        penalties.append(best[1])
        if best[0] == end:
            break
    return ids[len(prompt) :], penalties


@torch.no_grad()
def literal_adacad(
    model: PreTrainedModel,
    context: list[int],
    plain: list[int],
    *,
    new_tokens: int,
    weight: float | None = None,
    warmup: float = 0.0,
    end: int | None = None,
) -> tuple[list[int], list[float]]:
    """The tokens and weights of AdaCAD, or of CAD with a fixed weight."""
    new: list[int] = []
    weights = []
    for _ in range(new_tokens):
        logits = [model(torch.tensor([[*start, *new]])).logits[0, -1] for start in (context, plain)]
        p, q = (each.softmax(0) for each in logits)
        m = (p + q) / 2
        divergence = ((p * (p / m).log()).sum() + (q * (q / m).log()).sum()).item() / 2
        alpha = max(divergence, warmup) if weight is None else weight
        new.append(int(((1 + alpha) * logits[0] - alpha * logits[1]).argmax()))
        weights.append(alpha)
        if new[-1] == end:
            break
    return new, weights
