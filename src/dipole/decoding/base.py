"""What every decoder is, and the baselines that transformers brings."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, ClassVar, cast

import torch
from jaxtyping import Int
from torch import Tensor, nn

from dipole.card import Card
from dipole.errors import InputError


class Decoder(ABC):
    """A rule by which a language model's next token is chosen.

    A subclass has a `card`, so that `decoders()` finds it, and says in `settings` how transformers' `generate` is to be
    called.
    """

    card: ClassVar[Card]
    uses_context: ClassVar[bool] = False  # whether it reads each prompt with and without a context

    def further_prompts(self, prompts: Sequence[str]) -> dict[str, list[str]]:
        """Return other forms of the prompts that it reads beside them, by the name of the form; none by default."""
        return {}

    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """Return the arguments of transformers' `generate` that make it follow this rule."""

    def generate(
        self,
        model: nn.Module,
        input_ids: Int[Tensor, "rows length"],
        *,
        streamer: Any = None,
        seed: int | None = None,
        **options: Any,
    ) -> Any:
        """Continue prompts with `model.generate`.

        Args:
            model: a causal language model of transformers.
            input_ids: (B, P) token ids of the prompts, padded on the left.
            streamer: receives the tokens as they come, e.g. `transformers.TextStreamer`.
            seed: of sampling; the process's random state if it is None.
            **options: arguments of `model.generate`: `attention_mask`, `max_new_tokens`, `eos_token_id`, …

        Returns:
            What `model.generate` returns: (B, P + new) token ids, or an output object if
            `return_dict_in_generate=True`.

        Raises:
            InputError: there is no prompt, or a prompt is empty.
        """
        check_prompt(input_ids, options.get("attention_mask"))
        # A folder with a `custom_generate` of its own puts that in the place of the method; it may be what calls this.
        method = getattr(type(model), "generate", None)
        generate = cast(Any, model.generate if method is None else partial(method, model))
        with seeded(seed, input_ids):
            return generate(input_ids, streamer=streamer, **{**self.settings(), **options})


@contextmanager
def seeded(seed: int | None, near: Tensor) -> Iterator[None]:
    """Draw from a seed, and put the random state back; do nothing without a seed."""
    if seed is None:
        yield
        return
    with torch.random.fork_rng([near.device] if near.is_cuda else []):
        torch.manual_seed(seed)
        yield


def check_prompt(input_ids: Tensor, attention_mask: Tensor | None, name: str = "input_ids") -> None:
    """Require one token or more in every prompt.

    Raises:
        InputError: the ids are no matrix, a prompt is empty, or the mask has another shape or padding on the right.
    """
    if input_ids.ndim != 2 or input_ids.numel() == 0:
        raise InputError(
            f"{name} has shape {tuple(input_ids.shape)}: expected (rows, length) with one token or more; an empty "
            "prompt can start from the model's BOS token."
        )
    if attention_mask is None:
        return
    if attention_mask.shape != input_ids.shape:
        raise InputError(
            f"the attention mask of {name} has shape {tuple(attention_mask.shape)}: expected {tuple(input_ids.shape)}."
        )
    if bool((attention_mask.sum(dim=1) == 0).any()):
        raise InputError(f"a row of {name} is padding throughout: every prompt needs one token or more.")
    if bool((attention_mask[:, -1] == 0).any()):
        raise InputError(f"{name} is padded on the right: pad on the left (tokenizer.padding_side = 'left').")


class Greedy(Decoder):
    """Take the most probable token.

    Example:
        >>> Greedy().settings()
        {'do_sample': False, 'num_beams': 1}
    """

    card = Card(
        name="greedy",
        slug="contrastive-search",
        title="Sequence to Sequence Learning with Neural Networks",
        authors="Sutskever, Vinyals, Le",
        year=2014,
        venue="NeurIPS",
        arxiv="1409.3215",
        field="language",
        summary="The most probable token at every step (one beam); the baseline that falls into loops.",
        equations=("argmax of the next token's probability",),
        official_code=None,
        differences=("Run by transformers' own generate.",),
    )

    def settings(self) -> dict[str, Any]:
        """Return the arguments of transformers' `generate`."""
        return {"do_sample": False, "num_beams": 1}


class BeamSearch(Decoder):
    """Keep the most probable beginnings of the continuation.

    Args:
        num_beams: how many.

    Example:
        >>> BeamSearch(num_beams=2).settings()
        {'do_sample': False, 'num_beams': 2}
    """

    card = Card(
        name="beam",
        slug="contrastive-search",
        title="Sequence to Sequence Learning with Neural Networks",
        authors="Sutskever, Vinyals, Le",
        year=2014,
        venue="NeurIPS",
        arxiv="1409.3215",
        field="language",
        summary="The most probable continuation among those that a few beams find.",
        equations=("section 3.2 (left-to-right beam search)",),
        official_code=None,
        differences=("Run by transformers' own generate, with its normalisation by length.",),
    )

    def __init__(self, *, num_beams: int = 4) -> None:
        if num_beams < 2:
            raise InputError(f"num_beams is {num_beams}: expected 2 or more; one beam is the decoder 'greedy'.")
        self.num_beams = num_beams

    def settings(self) -> dict[str, Any]:
        """Return the arguments of transformers' `generate`."""
        return {"do_sample": False, "num_beams": self.num_beams}


class NucleusSampling(Decoder):
    """Sample among the most probable tokens that hold a given share of the probability.

    Args:
        top_p: the share.
        sampling_temperature: of the softmax that is sampled from.

    Example:
        >>> NucleusSampling().settings()
        {'do_sample': True, 'num_beams': 1, 'top_k': 0, 'top_p': 0.95, 'temperature': 1.0}
    """

    card = Card(
        name="nucleus",
        slug="contrastive-search",
        title="The Curious Case of Neural Text Degeneration",
        authors="Holtzman, Buys, Du, Forbes, Choi",
        year=2020,
        venue="ICLR",
        arxiv="1904.09751",
        field="language",
        summary="A sample from the smallest set of tokens that holds the probability top_p.",
        equations=("eq. 2–3 (nucleus)",),
        official_code="ari-holtzman/degen",
        differences=("Run by transformers' own generate.",),
    )

    def __init__(self, *, top_p: float = 0.95, sampling_temperature: float = 1.0) -> None:
        if not 0 < top_p <= 1:
            raise InputError(f"top_p is {top_p}: expected a share above 0 and at most 1.")
        if not sampling_temperature > 0:
            raise InputError(f"sampling_temperature is {sampling_temperature}: expected a number above 0.")
        self.top_p = top_p
        self.sampling_temperature = sampling_temperature

    def settings(self) -> dict[str, Any]:
        """Return the arguments of transformers' `generate`."""
        temperature = self.sampling_temperature
        return {"do_sample": True, "num_beams": 1, "top_k": 0, "top_p": self.top_p, "temperature": temperature}
