"""From prompts as text to continuations as text."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from inspect import signature
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from dipole.decoding.base import Decoder
from dipole.decoding.streams import watched_states
from dipole.errors import InputError
from dipole.losses.common import accumulate


@dataclass(frozen=True)
class Completion:
    """A prompt and how it goes on."""

    prompt: str
    text: str  # without special tokens
    tokens: list[int]  # with the token that ended it
    context: str | None = None
    details: dict[str, list[float]] = field(default_factory=dict)  # a number for each token


def complete(
    model: nn.Module,
    tokenizer: Any,
    prompts: Sequence[str],
    decoder: Decoder,
    *,
    contexts: Sequence[str] | None = None,
    max_new_tokens: int = 64,
    batch_size: int = 8,
    seed: int | None = None,
    stream: bool = False,
    **options: Any,
) -> list[Completion]:
    """Continue prompts.

    With contexts the model reads context, line break and prompt; a decoder that compares (`AdaCAD`, CAD) also reads
    the prompt alone.

    Args:
        model: a causal language model.
        tokenizer: its tokenizer.
        prompts: the texts to continue.
        decoder: how.
        contexts: one for each prompt.
        max_new_tokens: the largest number of new tokens.
        batch_size: prompts in a batch; of no influence on a deterministic decoder but for rounding.
        seed: of sampling; batch i draws from seed + i.
        stream: print the text of one prompt as it comes.
        **options: further arguments of `model.generate`. A text ends with the first of its `stop_strings`.

    Returns:
        A completion for each prompt.

    Raises:
        InputError: a prompt is empty or too long, contexts are missing or of another number, or the decoder cannot
            serve the model.
    """
    check_prompts(prompts, contexts, decoder, max_new_tokens, batch_size)
    if stream:
        from transformers import TextStreamer

        if len(prompts) != 1:
            raise InputError(f"{len(prompts)} prompts: the text of one is printed as it comes.")
        options["streamer"] = TextStreamer(tokenizer, skip_special_tokens=True)
    whole = list(prompts) if contexts is None else [f"{c}\n{p}" for c, p in zip(contexts, prompts, strict=True)]
    stop_strings, criteria = _stop_strings(options), options.pop("stopping_criteria", None)
    found: list[Completion] = []
    for number, start in enumerate(range(0, len(prompts), batch_size)):
        batch = slice(start, start + batch_size)
        arguments = dict(zip(("input_ids", "attention_mask"), encode(model, tokenizer, whole[batch]), strict=True))
        if decoder.uses_context:
            plain = encode(model, tokenizer, prompts[batch])
            arguments |= dict(zip(("plain_input_ids", "plain_attention_mask"), plain, strict=True))
        for form, texts in decoder.further_prompts(whole[batch]).items():
            further = encode(model, tokenizer, texts)
            arguments |= dict(zip((f"{form}_input_ids", f"{form}_attention_mask"), further, strict=True))
        output = decoder.generate(
            model,
            **arguments,
            max_new_tokens=max_new_tokens,
            return_dict_in_generate=True,
            pad_token_id=padding(tokenizer),
            seed=None if seed is None else seed + number,
            stopping_criteria=_stopping(stop_strings, tokenizer, arguments["input_ids"].shape[1], criteria),
            **options,
        )
        new = output.sequences[:, arguments["input_ids"].shape[1] :]
        details = {name: value for name, value in output.items() if isinstance(value, Tensor) and name != "sequences"}
        if "confidence" not in details:  # what transformers' own loops do not tell
            details["confidence"] = token_confidence(model, output.sequences, arguments["attention_mask"])
        ends = end_tokens(model, options)
        for row, tokens in enumerate(new.tolist()):
            length = next((i + 1 for i, token in enumerate(tokens) if token in ends), len(tokens))
            length = _until(stop_strings, tokens[:length], tokenizer)
            found.append(
                Completion(
                    prompts[start + row],
                    tokenizer.decode(tokens[:length], skip_special_tokens=True),
                    tokens[:length],
                    None if contexts is None else contexts[start + row],
                    {name: value[row, :length].tolist() for name, value in details.items()},
                )
            )
    return found


def _stop_strings(options: dict[str, Any]) -> list[str]:
    """Take the `stop_strings` out of the options."""
    given = options.pop("stop_strings", None) or []
    strings = [given] if isinstance(given, str) else list(given)
    if not all(isinstance(text, str) and text for text in strings):
        raise InputError(f"stop_strings are {given!r}: expected texts that are not empty.")
    return strings


def _stopping(stop_strings: Sequence[str], tokenizer: Any, prompt: int, others: Any) -> Any:
    """Criteria that end a row whose text after the prompt holds a stop string; any decoder knows criteria."""
    from transformers import StoppingCriteriaList

    # transformers' own criterion needs a decoder that knows the tokenizer, and a tokenizer that knows any letters.
    def stop(input_ids: Tensor, _: Any, **__: Any) -> Tensor:
        rows = tokenizer.batch_decode(input_ids[:, prompt:], skip_special_tokens=True)
        return torch.tensor([any(text in row for text in stop_strings) for row in rows], device=input_ids.device)

    return StoppingCriteriaList([*(others or []), *([stop] if stop_strings else [])])


def _until(stop_strings: Sequence[str], tokens: Sequence[int], tokenizer: Any) -> int:
    """The number of tokens up to the first stop string."""
    if not stop_strings:
        return len(tokens)
    texts = (tokenizer.decode(tokens[:length], skip_special_tokens=True) for length in range(1, len(tokens) + 1))
    found = (length for length, text in enumerate(texts, 1) if any(stop in text for stop in stop_strings))
    return next(found, len(tokens))


@torch.no_grad()
def token_confidence(
    model: nn.Module, sequences: Int[Tensor, "rows length"], attention_mask: Int[Tensor, "rows prompt"]
) -> Float[Tensor, "rows new"]:
    """Compute the model's probability of each generated token, in one pass over the finished sequences.

    Args:
        model: a causal language model.
        sequences: (B, P + T) prompts, padded on the left, and what was generated.
        attention_mask: (B, P) of the prompts.

    Returns:
        (B, T).
    """
    new = sequences.shape[1] - attention_mask.shape[1]
    mask = torch.cat([attention_mask, attention_mask.new_ones(len(sequences), new)], dim=1)
    known = signature(model.forward).parameters
    inputs: dict[str, Any] = {"input_ids": sequences[:, :-1], "attention_mask": mask[:, :-1]}
    if "position_ids" in known:
        inputs["position_ids"] = (mask.cumsum(dim=1) - 1).clamp_min(0)[:, :-1]
    if "logits_to_keep" in known:
        inputs["logits_to_keep"] = new
    logits = accumulate(model(**inputs).logits[:, -new:])
    chosen = logits.gather(2, sequences[:, -new:, None])[..., 0]
    return (chosen - logits.logsumexp(dim=-1)).exp()


def check_prompts(
    prompts: Sequence[str], contexts: Sequence[str] | None, decoder: Decoder, max_new_tokens: int, batch_size: int
) -> None:
    """Require prompts and what the decoder compares them with.

    Raises:
        InputError: something is missing or out of range.
    """
    for name, value in (("max_new_tokens", max_new_tokens), ("batch_size", batch_size)):
        if value < 1:
            raise InputError(f"{name} is {value}: expected 1 or more.")
    if not prompts:
        raise InputError("there are no prompts: pass one or more.")
    if contexts is None and decoder.uses_context:
        raise InputError(f"{decoder.card.name} compares prompts with and without a context: pass contexts.")
    if contexts is not None and len(contexts) != len(prompts):
        raise InputError(f"there are {len(prompts)} prompts and {len(contexts)} contexts: pass one for each.")


def encode(model: nn.Module, tokenizer: Any, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
    """Return token ids and mask (B, P) of texts on the model's device, padded on the left.

    Raises:
        InputError: a text has no tokens.
    """
    rows = [tokenizer(text)["input_ids"] for text in texts]
    for text, row in zip(texts, rows, strict=True):
        if not row:
            raise InputError(f"the prompt {text!r} has no tokens: write at least a word.")
    length = max(map(len, rows))
    pad = padding(tokenizer)
    ids = torch.tensor([[pad] * (length - len(row)) + row for row in rows])
    mask = torch.tensor([[0] * (length - len(row)) + [1] * len(row) for row in rows])
    device = next(model.parameters()).device
    return ids.to(device), mask.to(device)


def padding(tokenizer: Any) -> int:
    """The id with which rows are filled: of padding, else of the end, else 0."""
    return next((i for i in (tokenizer.pad_token_id, tokenizer.eos_token_id) if i is not None), 0)


def end_tokens(model: nn.Module, options: dict[str, Any]) -> set[int]:
    """The ids that end a sequence."""
    config: Any = getattr(model, "generation_config", None)
    ends = options.get("eos_token_id", getattr(config, "eos_token_id", None))
    return set() if ends is None else {ends} if isinstance(ends, int) else set(ends)


@torch.no_grad()
def last_hidden_states(
    model: nn.Module, tokenizer: Any, texts: Sequence[str], *, max_length: int = 256, start_with_bos: bool = False
) -> list[Tensor]:
    """Compute the last hidden states of the tokens of each text, for `dipole.diagnostics.isotropy`.

    Args:
        model: a causal language model.
        tokenizer: its tokenizer.
        texts: read one by one.
        max_length: tokens of a text that are used.
        start_with_bos: put the BOS token before each text, as OPT expects it, if the tokenizer does not.

    Returns:
        (n, E) for each text.

    Raises:
        InputError: a text has no tokens, or the model gives no hidden states.
    """
    found = []
    for text in texts:
        ids, _ = encode(model, tokenizer, [text])
        if start_with_bos and int(ids[0, 0]) != tokenizer.bos_token_id:
            ids = torch.cat([ids.new_tensor([[tokenizer.bos_token_id]]), ids], dim=1)
        with watched_states(model) as seen:
            model(ids[:, :max_length])
        if not seen or seen[-1] is None:
            raise InputError(f"{type(model).__name__} gives no hidden states: its base model must return them.")
        found.append(seen[-1][0])
    return found
