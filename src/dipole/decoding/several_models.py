"""Streams of several models and of several layers: what decoders compare that contrast a model with another one."""

import copy
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, cast

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from dipole.decoding.base import check_prompt
from dipole.decoding.contrast import early_exit_logits
from dipole.decoding.loop import Call, StreamDecoder, check_window
from dipole.decoding.streams import Prompt, Streams
from dipole.errors import InputError
from dipole.losses.common import accumulate

NORMS = ("norm", "ln_f", "final_layer_norm", "final_layernorm", "norm_f")


class Source(NamedTuple):
    """What a decoder reads of one model.

    Attributes:
        model: a causal language model.
        forms: of the prompt that it reads: `plain`, `guided`, `amateur`.
        layers: numbers of blocks whose hidden states are read out early, beside the last layer.
    """

    model: nn.Module
    forms: tuple[str, ...]
    layers: tuple[int, ...] = ()


def final_norm(model: nn.Module) -> nn.Module:
    """Return the norm after the last block.

    Raises:
        InputError: the model has none by a known name.
    """
    base = getattr(model, "base_model", model)
    for holder in (base, getattr(base, "decoder", None)):
        for name in NORMS:
            found = getattr(holder, name, None)
            if isinstance(found, nn.Module):
                return found
    raise InputError(f"{type(model).__name__} has no last norm by a known name: leave apply_final_norm off.")


def depth(model: nn.Module) -> int:
    """Return the number of blocks of a model."""
    config: Any = model.config
    return int(config.get_text_config().num_hidden_layers)


def all_logits(model: nn.Module, layers: Sequence[int], normed: bool, **inputs: Any) -> Tensor:
    """Run a model and return logits (1 + L, rows, length, V): of the last layer, then of early ones.

    Hidden state n is the output of block n; the last entry is normed by transformers, and is not read here.
    """
    output = model(**inputs, return_dict=True, output_hidden_states=bool(layers))
    found = [accumulate(output.logits)]
    if layers:
        head: Callable[[Tensor], Tensor] = model.get_output_embeddings()  # type: ignore[operator]
        norm = final_norm(model) if normed else None
        length = output.logits.shape[1]
        found += [accumulate(early_exit_logits(output.hidden_states[n][:, -length:], head, norm)) for n in layers]
    return torch.stack(found)


class LayeredStreams(Streams):
    """Streams whose logits hold those of early layers behind those of the last, along the vocabulary."""

    layers: tuple[int, ...] = ()
    normed: bool = False

    def _forward(
        self, ids: Tensor, mask: Tensor | None, positions: Tensor, cache: Any, *, first: bool
    ) -> tuple[Tensor, Tensor | None]:
        options = {**self.options, "position_ids": positions} if self.with_positions else self.options
        inputs = self.model.prepare_inputs_for_generation(  # type: ignore[operator]
            ids, past_key_values=cache, attention_mask=mask, use_cache=True, is_first_iteration=first, **options
        )
        found = all_logits(self.model, self.layers, self.normed, **inputs)[:, :, -1]
        return torch.cat(list(found), dim=-1), None


class SeveralStreams(Streams):
    """Streams of several models that all get the same next token; each part keeps its own cache."""

    def __init__(self, parts: Sequence[LayeredStreams]) -> None:
        self.parts, self.states = parts, None

    def read_prompts(self) -> Float[Tensor, "streams rows vocabulary"]:
        """Read all prompts and return the logits of the first new token, source by source, form by form, layer last."""
        return torch.cat([_split(part, part.read_prompts()) for part in self.parts])

    def propose(self, candidates: Int[Tensor, "rows k"], at_once: int | None = None) -> None:
        """Let all models read the next token."""
        for part in self.parts:
            part.propose(candidates, at_once)

    def accept(self, chosen: Int[Tensor, "rows"]) -> Float[Tensor, "streams rows vocabulary"]:
        """Append it, and return the logits of the token after it."""
        return torch.cat([_split(part, part.accept(chosen)) for part in self.parts])


def _split(part: LayeredStreams, logits: Tensor) -> Tensor:
    """(S, B, (1 + L) V) -> (S (1 + L), B, V)."""
    return torch.cat([torch.stack(each.chunk(1 + len(part.layers), dim=-1)) for each in logits])


class ContrastDecoder(StreamDecoder):
    """A decoder that compares a model with an amateur, with itself under another instruction, or layers.

    A subclass says in `sources` what is read, and in `combine` how its logits, in that order, become scores.
    """

    apply_final_norm: bool = False

    def sources(self, model: nn.Module) -> list[Source]:
        """Return what is read; the first source is the model itself, whose first form is `plain`."""
        raise NotImplementedError(f"{type(self).__name__} does not define sources(model).")

    def score(self, logits: Float[Tensor, "streams rows vocabulary"]) -> Float[Tensor, "rows vocabulary"]:
        """Return log-probabilities by which answers are scored: −1000 for tokens that are never chosen."""
        log_probability = self.combine(logits)[0].log_softmax(dim=-1)
        return log_probability.masked_fill(log_probability == -torch.inf, -1000.0)

    def __call__(
        self,
        model: nn.Module,
        input_ids: Int[Tensor, "rows length"],
        logits_processor: Callable[..., Tensor],
        stopping_criteria: Callable[..., Tensor],
        generation_config: Any,
        streamer: Any = None,
        guided_input_ids: Tensor | None = None,
        guided_attention_mask: Tensor | None = None,
        amateur_input_ids: Tensor | None = None,
        amateur_attention_mask: Tensor | None = None,
        **model_kwargs: Any,
    ) -> Any:
        """Generate; called by transformers with what it has prepared.

        Args:
            model: the language model.
            input_ids: (B, P) prompts.
            logits_processor: applied to the combined logits.
            stopping_criteria: of the call.
            generation_config: of the call.
            streamer: receives the tokens.
            guided_input_ids: (B, P') the same prompts after an instruction to be truthful, padded on the left.
            guided_attention_mask: (B, P'), 0 for padding.
            amateur_input_ids: (B, P'') the prompts of the amateur; those of the model if None.
            amateur_attention_mask: (B, P'').
            **model_kwargs: of the call.

        Raises:
            InputError: a prompt is missing or does not belong to the others, or models do not fit together.
        """
        plain = Prompt(input_ids, model_kwargs.get("attention_mask"))
        copies = max(generation_config.num_return_sequences or 1, 1)
        forms = {"plain": plain}
        for form, ids, mask in (
            ("guided", guided_input_ids, guided_attention_mask),
            ("amateur", amateur_input_ids, amateur_attention_mask),
        ):
            forms[form] = plain if ids is None else _repeated(form, Prompt(ids, mask), copies, input_ids)
        self._read = self.sources(model)
        call = Call(logits_processor, stopping_criteria, generation_config, streamer, model_kwargs)
        self._forms = forms
        return self.decode(model, [forms[form] for form in self._read[0].forms], call)

    def open_streams(self, model: nn.Module, prompts: Sequence[Prompt], call: Call) -> Any:
        """Return the streams of all sources."""
        from transformers import DynamicCache

        parts, given = [], call.model_kwargs
        empty = copy.deepcopy(given.get("past_key_values"))
        for number, source in enumerate(self._read):
            check_source(model, source)
            read = [self._forms[form] for form in source.forms]
            check_window(source.model, read, call.new_tokens(prompts[0].ids.shape[1]))
            cache = given.get("past_key_values") if number == 0 else copy.deepcopy(empty)
            if number and source.model is not model:
                cache = DynamicCache(config=cast(Any, source.model.config))
            options = {key: given[key] for key in ("logits_to_keep",) if key in given}
            part = LayeredStreams(source.model, read, cache, options=options, with_positions="position_ids" in given)
            part.layers, part.normed = source.layers, self.apply_final_norm
            parts.append(part)
        return SeveralStreams(parts)


def _repeated(form: str, prompt: Prompt, copies: int, like: Tensor) -> Prompt:
    """Further prompts as often as transformers has repeated the rows of the first."""
    check_prompt(prompt.ids, prompt.mask, f"{form}_input_ids")
    if len(prompt.ids) * copies != len(like):
        raise InputError(
            f"{form}_input_ids has {len(prompt.ids)} rows and input_ids {len(like) // copies}: row i of both must "
            "belong to the same query."
        )
    moved = (None if each is None else each.to(like.device).repeat_interleave(copies, dim=0) for each in prompt)
    ids, mask = moved
    assert ids is not None
    return Prompt(ids, mask)


def check_source(model: nn.Module, source: Source) -> None:
    """Require one vocabulary, and layers that are there.

    Raises:
        InputError: they are not.
    """
    own, others = (int(each.config.get_text_config().vocab_size) for each in (model, source.model))  # type: ignore[operator,union-attr]
    if own != others:
        raise InputError(f"the amateur has {others} tokens and the model {own}: both need one tokenizer.")
    beyond = [layer for layer in source.layers if not 0 <= layer < depth(source.model)]
    if beyond:
        raise InputError(
            f"layer {beyond[0]} was asked for: early exits of this model are 0 (embeddings) to "
            f"{depth(source.model) - 1}."
        )
