"""The one loop by which all decoders of dipole generate."""

import inspect
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from dipole.decoding.base import Decoder, check_prompt
from dipole.decoding.streams import Prompt, Streams
from dipole.errors import InputError

# What `generate` hands over beside the prompt; anything else would be an input that the loop does not feed on.
KNOWN_ARGUMENTS = {"attention_mask", "position_ids", "past_key_values", "use_cache", "logits_to_keep"}


class Choice(NamedTuple):
    """The next token of every row."""

    tokens: Int[Tensor, "rows"]
    details: dict[str, Tensor]  # (B,) each, returned for every token
    proposed: Tensor | None = None  # (B,) which of the candidates that the streams have read it is


class StreamDecoder(Decoder):
    """A decoder that runs dipole's loop: a callable for the argument `custom_generate` of transformers' `generate`.

    The loop reads one or more streams of prompts, and at every step
        1. turns the streams' logits into one row of scores (`combine`),
        2. applies the logits processors of the call,
        3. chooses a token (`choose`), perhaps after the model has read candidates for it,
        4. appends it to all streams. A finished row gets padding.

    transformers 5.23 keeps two things from a callable: its `streamer`, which `Decoder.generate` hands on, and the
    tokenizer of `stop_strings`, in whose place `StopStringCriteria` can stand among the `stopping_criteria`.

    With `return_dict_in_generate=True` the output holds for every new token its `confidence` (probability under the
    processed scores) and what `combine` and `choose` report, all (B, new) and 0 where a row had finished.
    """

    keeps_states: bool = False  # whether `choose` needs the hidden states of all tokens
    samples: bool = True  # whether do_sample is obeyed

    def settings(self) -> dict[str, Any]:
        """Return the arguments of transformers' `generate`."""
        return {"do_sample": False, "num_beams": 1, "custom_generate": self}

    def generate(
        self,
        model: nn.Module,
        input_ids: Int[Tensor, "rows length"],
        *,
        streamer: Any = None,
        seed: int | None = None,
        **options: Any,
    ) -> Any:
        """Continue prompts, as `Decoder.generate`.

        transformers does not hand a streamer to a callable `custom_generate`; here it arrives.
        """
        if streamer is not None:
            options = {"custom_generate": _Streaming(self, streamer), **options}
        return super().generate(model, input_ids, streamer=streamer, seed=seed, **options)

    def __call__(
        self,
        model: nn.Module,
        input_ids: Int[Tensor, "rows length"],
        logits_processor: Callable[..., Tensor],
        stopping_criteria: Callable[..., Tensor],
        generation_config: Any,
        streamer: Any = None,
        **model_kwargs: Any,
    ) -> Any:
        """Generate; called by transformers with what it has prepared.

        Raises:
            InputError: the prompt, the model or a setting cannot be served.
        """
        prompt = Prompt(input_ids, model_kwargs.get("attention_mask"))
        call = Call(logits_processor, stopping_criteria, generation_config, streamer, model_kwargs)
        return self.decode(model, [prompt], call)

    def combine(self, logits: Float[Tensor, "streams rows vocabulary"]) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the scores (B, V) of the next token, and details (B,) to report. By default: the first stream's."""
        return logits[0], {}

    def choose(self, scores: Float[Tensor, "rows vocabulary"], streams: Streams, sample: bool) -> Choice:
        """Return the next token of every row. By default: the best, or a sample."""
        tokens = torch.multinomial(scores.softmax(dim=-1), 1)[:, 0] if sample else scores.argmax(dim=-1)
        return Choice(tokens, {})

    def check(self, model: nn.Module, prompts: Sequence[Prompt], call: "Call") -> None:
        """Require prompts, model and settings that the loop can serve.

        Raises:
            InputError: they cannot be served.
        """
        config: Any = model.config
        if config.is_encoder_decoder:
            raise InputError(f"{type(model).__name__} has an encoder and a decoder: expected a causal language model.")
        check_call(call, samples=self.samples, name=self.card.name)
        for prompt in prompts:
            check_prompt(prompt.ids, prompt.mask)
        check_window(model, prompts, call.new_tokens(prompts[0].ids.shape[1]))

    def open_streams(self, model: nn.Module, prompts: Sequence[Prompt], call: "Call") -> Streams:
        """Return what reads the prompts and every token after them."""
        given = call.model_kwargs
        return Streams(
            model,
            prompts,
            given.get("past_key_values"),
            options={key: given[key] for key in ("logits_to_keep",) if key in given},
            with_positions="position_ids" in given,
            keep_states=self.keeps_states,
        )

    def decode(self, model: nn.Module, prompts: Sequence[Prompt], call: "Call") -> Any:
        """Run the loop.

        Args:
            model: the language model.
            prompts: the streams; what is generated is appended to the first.
            call: what transformers has prepared.
        """
        self.check(model, prompts, call)
        streams = self.open_streams(model, prompts, call)
        config, ids = call.config, prompts[0].ids
        record = Record(config)
        unfinished = torch.ones(len(ids), dtype=torch.bool, device=ids.device)
        logits = streams.read_prompts()
        while True:
            combined, details = self.combine(logits)
            # Processors may write into what they get, and the logits may be asked for.
            scores = call.logits_processor(ids, combined.clone())
            check_scores(scores)
            choice = self.choose(scores, streams, bool(config.do_sample))
            tokens = call.padded(choice.tokens, unfinished)
            confidence = scores.gather(1, choice.tokens[:, None])[:, 0].sub(scores.logsumexp(dim=-1)).exp()
            record.add(combined, scores, {"confidence": confidence, **details, **choice.details}, unfinished)
            ids = torch.cat([ids, tokens[:, None]], dim=1)
            unfinished = unfinished & ~call.stopping_criteria(ids, record.scores)
            if call.streamer is not None:
                call.streamer.put(tokens.cpu())
            if not bool(unfinished.any()):
                break
            proposed = choice.proposed
            if proposed is None:
                streams.propose(tokens[:, None])
                proposed = torch.zeros_like(tokens)
            logits = streams.accept(proposed)
        if call.streamer is not None:
            call.streamer.end()
        return record.output(ids)


class Call(NamedTuple):
    """What transformers' `generate` has prepared."""

    logits_processor: Callable[..., Tensor]
    stopping_criteria: Callable[..., Tensor]
    config: Any
    streamer: Any
    model_kwargs: dict[str, Any]

    def padded(self, tokens: Tensor, unfinished: Tensor) -> Tensor:
        """The tokens, with padding (else the first end-of-sequence token) in rows that have finished."""
        pad = self.config.pad_token_id
        if pad is None:
            ends = self.config.eos_token_id
            pad = ends[0] if isinstance(ends, Sequence) else ends
        return tokens if pad is None else torch.where(unfinished, tokens, int(pad))

    def new_tokens(self, prompt_length: int) -> int:
        """The largest number of tokens that will be generated."""
        return int(self.config.max_length) - prompt_length if self.config.max_length is not None else 0


class Record:
    """What is returned beside the tokens."""

    def __init__(self, config: Any) -> None:
        self.wanted = bool(config.return_dict_in_generate)
        self.scores: tuple[Tensor, ...] | None = () if self.wanted and config.output_scores else None
        self.logits: tuple[Tensor, ...] | None = () if self.wanted and config.output_logits else None
        self.details: dict[str, list[Tensor]] = {}

    def add(self, logits: Tensor, scores: Tensor, details: dict[str, Tensor], unfinished: Tensor) -> None:
        """Note one step."""
        if self.scores is not None:
            self.scores += (scores,)
        if self.logits is not None:
            self.logits += (logits,)
        if self.wanted:
            for name, values in details.items():
                self.details.setdefault(name, []).append(torch.where(unfinished, values, 0))

    def output(self, ids: Tensor) -> Any:
        """The ids, or transformers' output object with the details as further entries."""
        if not self.wanted:
            return ids
        from transformers.generation import GenerateDecoderOnlyOutput

        fields: dict[str, Any] = {"sequences": ids, "scores": self.scores, "logits": self.logits}
        result = GenerateDecoderOnlyOutput(**fields)
        for name, steps in self.details.items():
            result[name] = torch.stack(steps, dim=1)
        return result


class _Streaming:
    """A decoder with its streamer; a class, for transformers looks at the signature of what it calls."""

    def __init__(self, decoder: StreamDecoder, streamer: Any) -> None:
        self.decoder, self.streamer = decoder, streamer
        self.__signature__ = inspect.signature(decoder)

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        return self.decoder(*arguments, **{"streamer": self.streamer, **options})


def check_call(call: Call, *, samples: bool, name: str) -> None:
    """Require settings that the loop obeys.

    Raises:
        InputError: a setting or an input would be ignored.
    """
    config = call.config
    if (config.num_beams or 1) > 1:
        raise InputError(f"num_beams is {config.num_beams}: {name} keeps one sequence a row. Leave num_beams out.")
    if config.do_sample and not samples:
        raise InputError(f"do_sample is on, perhaps by the model's own settings: {name} needs do_sample=False.")
    for setting in ("output_attentions", "output_hidden_states", "prefill_chunk_size"):
        if getattr(config, setting, None):
            raise InputError(f"{setting} is set: {name} does not support it. Leave it out.")
    unknown = [key for key, value in call.model_kwargs.items() if key not in KNOWN_ARGUMENTS and value is not None]
    if unknown:
        raise InputError(f"{name} got {', '.join(unknown)}: it reads input_ids and attention_mask. Leave the rest out.")


def check_window(model: nn.Module, prompts: Sequence[Prompt], new_tokens: int) -> None:
    """Require that the model's window holds the prompts and what is generated; padding takes no place in it.

    Raises:
        InputError: it is too small.
    """
    config: Any = model.config
    window = getattr(config.get_text_config(), "max_position_embeddings", None)
    longest = max(int(p.ids.shape[1] if p.mask is None else p.mask.sum(dim=1).max()) for p in prompts)
    if window is not None and longest + new_tokens > window:
        room = f"set max_new_tokens to at most {window - longest}" if window > longest else "shorten the prompt"
        raise InputError(
            f"a prompt of {longest} tokens and {new_tokens} new ones exceed the model's window of {window}: {room}."
        )


def check_scores(scores: Tensor) -> None:
    """Require a finite best score in every row.

    Raises:
        InputError: the model's logits are not finite, or nothing is left to choose.
    """
    if not bool(scores.amax(dim=-1).isfinite().all()):
        raise InputError(
            "the scores of the next token are NaN, infinite or all −∞: the model's logits are broken (try float32), or "
            "the logits processors ban every token."
        )
