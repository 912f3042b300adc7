"""Text encoders: transformers models with pooling, by path or name."""

import copy
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from dipole.errors import InputError
from dipole.nn.foreign import refuse_code, without_code
from dipole.nn.text.pooling import POOLINGS, Pooling, pool
from dipole.ops.checks import check_at_least, check_choice


class TextEncoder(nn.Module):
    """A transformer, its tokenizer and a pooling: token ids in, embeddings out.

    Args:
        backbone: a transformers model whose output has `last_hidden_state`.
        tokenizer: its fast tokenizer.
        pooling: how token states become an embedding, see `pool`.
        max_length: tokens of a text that are read, special tokens included.
        unit_length: scale embeddings to length 1.
        prompts: texts that may stand before a text, by name.
        default_prompt: the name of the prompt that stands before every text that is embedded; None for none.

    Attributes:
        width: D, dimensions of an embedding.

    Raises:
        InputError: an unknown pooling, a slow tokenizer or one without a padding token, or `max_length` does not fit
            the model's positions.
    """

    def __init__(
        self,
        backbone: nn.Module,
        tokenizer: Any,
        *,
        pooling: Pooling = "mean",
        max_length: int = 128,
        unit_length: bool = False,
        prompts: Mapping[str, str] | None = None,
        default_prompt: str | None = None,
    ) -> None:
        super().__init__()
        check_choice(pooling, POOLINGS, "pooling")
        config: Any = backbone.config
        tokenizer = fitted_tokenizer(tokenizer)
        check_tokenizer(tokenizer, max_length, usable_positions(backbone))
        if pooling == "cls" and is_causal(config):
            raise InputError(
                f"pooling is 'cls', and the first token of a {config.model_type} sees nothing of the text: use 'last'."
            )
        self.backbone = backbone
        self.tokenizer = tokenizer
        tokenizer.model_max_length = max_length
        self.width = int(config.hidden_size)
        self.pooling: Pooling = pooling
        self.max_length = max_length
        self.unit_length = unit_length
        self.prompts: dict[str, str] = dict(prompts or {})
        self.default_prompt = default_prompt

    def forward(
        self, input_ids: Int[Tensor, "n t"], attention_mask: Int[Tensor, "n t"] | Bool[Tensor, "n t"]
    ) -> Float[Tensor, "n d"]:
        """Return embeddings (N, D), of length 1 if `unit_length`; the zero vector for a row without tokens."""
        # Attention over nothing is not a number: a row without tokens attends to its first position instead.
        empty = ~attention_mask.bool().any(dim=1, keepdim=True)
        attended = torch.cat([attention_mask[:, :1].bool() | empty, attention_mask[:, 1:].bool()], dim=1)
        both = self.pooling == "first_last_average"
        output = self.backbone(input_ids=input_ids, attention_mask=attended.to(torch.long), output_hidden_states=both)
        first = output.hidden_states[1] if both else None
        pooled = pool(output.last_hidden_state, attention_mask, self.pooling, first_hidden=first)
        return nn.functional.normalize(pooled, dim=1) if self.unit_length else pooled

    def prompted(self, texts: Sequence[str], name: str | None = None) -> list[str]:
        """Return texts with a prompt before them: that of a name if there is one, else the default one, else none."""
        known = name if name in self.prompts else self.default_prompt
        prompt = "" if known is None else self.prompts[known]
        return [prompt + text for text in texts] if prompt else list(texts)

    def extra_repr(self) -> str:
        """Show what is no module."""
        return f"pooling={self.pooling!r}, max_length={self.max_length}"


def fitted_tokenizer(tokenizer: Any) -> Any:
    """Return a copy of a tokenizer that pads on the right, by its end token where it has none for padding.

    Padding is never attended to, so its token does not matter; its side would move the positions of all others.
    """
    if not getattr(tokenizer, "is_fast", False):
        return tokenizer
    tokenizer = copy.deepcopy(tokenizer)
    tokenizer.padding_side = "right"
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token or tokenizer.sep_token or tokenizer.unk_token
    return tokenizer


def lower_cased(tokenizer: Any) -> Any:
    """Return a copy of a fast tokenizer that makes texts lower case before it does anything else."""
    from tokenizers import normalizers

    tokenizer = copy.deepcopy(tokenizer)
    backend = tokenizer.backend_tokenizer
    own = [] if backend.normalizer is None else [backend.normalizer]
    backend.normalizer = normalizers.Sequence([normalizers.Lowercase(), *own])
    return tokenizer


def is_causal(config: Any) -> bool:
    """Return whether a model of transformers has tokens that see only those before them."""
    from transformers.models.auto import modeling_auto

    kind = getattr(config, "model_type", None)
    if not getattr(config, "is_causal", True):
        return False
    causal = kind in modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
    return causal and kind not in modeling_auto.MODEL_FOR_MASKED_LM_MAPPING_NAMES


def usable_positions(backbone: nn.Module) -> int | None:
    """Tokens of a text that a model has positions for; None where it has no such limit.

    RoBERTa and its kin never use the positions up to that of padding.
    """
    positions: int | None = getattr(backbone.config, "max_position_embeddings", None)
    tables = (module for name, module in backbone.named_modules() if name.endswith("position_embeddings"))
    padding = getattr(next(tables, None), "padding_idx", None)
    return positions if positions is None or padding is None else positions - padding - 1


def check_tokenizer(tokenizer: Any, max_length: int, positions: int | None) -> None:
    """Require a fast tokenizer that can pad, and a length that the model has positions for.

    Raises:
        InputError: one of these is not so.
    """
    if not getattr(tokenizer, "is_fast", False):
        raise InputError(f"the tokenizer is a {type(tokenizer).__name__}: expected a fast one (tokenizer.json).")
    if tokenizer.pad_token_id is None:
        raise InputError("the tokenizer has no padding token and no token that could serve: set tokenizer.pad_token.")
    check_at_least(max_length, 2, "max_length")
    if positions is not None and max_length > min(positions, tokenizer.model_max_length):
        usable = min(positions, tokenizer.model_max_length)
        raise InputError(f"max_length is {max_length}: the encoder has positions for {usable} tokens.")


def open_tokenizer(name: str) -> Any:
    """Open the tokenizer of a folder or hub name.

    Raises:
        InputError: it is not found.
    """
    from transformers import AutoTokenizer

    with explained(name), quiet():
        refuse_code(name)
        return AutoTokenizer.from_pretrained(name, trust_remote_code=False, **_where(name))


def open_transformer(name: str) -> Any:
    """Open the transformers model of a folder or hub name, from safetensors.

    Raises:
        InputError: it is not found, or has no safetensors weights.
    """
    from transformers import AutoModel

    with explained(name), quiet():
        refuse_code(name)
        return AutoModel.from_pretrained(
            name, use_safetensors=True, dtype=torch.float32, trust_remote_code=False, **_where(name)
        )


def _where(name: str) -> dict[str, Any]:
    """Arguments of `from_pretrained` that neither wait for a hub out of reach nor ask it for what is here."""
    if Path(name).is_dir():
        return {"local_files_only": True}
    from huggingface_hub import model_info, try_to_load_from_cache

    if isinstance(try_to_load_from_cache(name, "config.json"), str):
        return {"local_files_only": True}
    model_info(name, timeout=10)
    return {}


@contextmanager
def explained(name: str, package: str = "transformers") -> Iterator[None]:
    """Turn whatever goes wrong while a model is opened into one sentence that says what to do.

    Args:
        name: of the model.
        package: that opens it.
    """
    if package == "transformers" and find_spec(package) is None:
        raise InputError(f"encoder {name!r} needs transformers: pip install 'dipole[text]'.")
    try:
        with without_code():
            yield
    except InputError:
        raise
    except Exception as error:
        # transformers, open_clip, huggingface_hub, httpx and safetensors raise without a common base class.
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        raise InputError(
            f"cannot open the encoder {name!r} ({reason}). Expected a folder with config.json, model.safetensors and "
            "tokenizer.json, or the name of a Hugging Face model that is in the cache or within reach."
        ) from error


@contextmanager
def quiet() -> Iterator[None]:
    """Silence transformers' progress bar and its list of unused weights for a while, if it is installed."""
    if find_spec("transformers") is None:
        yield
        return
    from transformers.utils import logging

    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()
