"""How probable answers are under the distributions that a decoder chooses from."""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from dipole.decoding.base import Decoder
from dipole.decoding.several_models import ContrastDecoder, Source, all_logits, check_source
from dipole.errors import InputError


@torch.no_grad()
def answer_log_probs(
    decoder: Decoder, model: nn.Module, tokenizer: Any, prompt: str, answers: Sequence[str]
) -> Float[Tensor, "answers"]:
    """Return the summed log-probabilities of the tokens of answers to one prompt.

    A decoder that compares models scores by its contrast (`ContrastDecoder.score`); any other by the model itself.

    Args:
        decoder: how.
        model: a causal language model.
        tokenizer: its tokenizer.
        prompt: that all answers follow; a space is put between them.
        answers: texts.

    Returns:
        (A,) in float64.

    Raises:
        InputError: there is no answer, or one has no tokens.
    """
    endings = [tokenizer(f" {answer}", add_special_tokens=False)["input_ids"] for answer in answers]
    if not endings or not all(endings):
        raise InputError("an answer has no tokens: write at least a word.")
    contrast = isinstance(decoder, ContrastDecoder)
    sources = decoder.sources(model) if contrast else [Source(model, ("plain",))]  # type: ignore[attr-defined]
    prompts = {"plain": prompt, **{form: texts[0] for form, texts in decoder.further_prompts([prompt]).items()}}
    streams = []
    for source in sources:
        check_source(model, source)
        for form in source.forms:
            start = tokenizer(prompts.get(form, prompt))["input_ids"]
            normed = getattr(decoder, "apply_final_norm", False)
            streams.append(_answer_logits(source, start, endings, normed))
    logits = torch.cat(streams)
    scores = decoder.score(logits) if contrast else logits[0].log_softmax(dim=-1)  # type: ignore[attr-defined]
    tokens = torch.tensor([token for ending in endings for token in ending], device=scores.device)
    own = scores.gather(1, tokens[:, None])[:, 0].double()
    return torch.stack([part.sum() for part in own.split([len(ending) for ending in endings])]).cpu()


def _answer_logits(source: Source, start: list[int], endings: list[list[int]], normed: bool) -> Tensor:
    """Logits (1 + L, tokens of all answers, V) that predict the tokens of answers after one beginning."""
    longest = max(map(len, endings))
    device = next(source.model.parameters()).device
    rows = [start + ending + [ending[-1]] * (longest - len(ending)) for ending in endings]
    ids = torch.tensor(rows, device=device)
    # What fills up stands behind the answer, where nothing sees it.
    found = all_logits(source.model, source.layers, normed, input_ids=ids, logits_to_keep=longest + 1)
    return torch.cat([found[:, row, : len(ending)] for row, ending in enumerate(endings)], dim=1)
