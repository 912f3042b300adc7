"""Rows of tokens that a language model reads together, with one cache."""

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from dipole.decoding.caches import check_cache, check_layers, join_rows, right_aligned
from dipole.errors import InputError
from dipole.losses.common import accumulate, unit_rows

Entries = list[tuple[Tensor, Tensor]]


class Prompt(NamedTuple):
    """One stream's prompts, padded on the left."""

    ids: Int[Tensor, "rows length"]
    mask: Tensor | None  # (B, P), 0 where there is padding; None without padding


class Streams:
    """S streams of B rows in one batch of a model with one cache; every stream of a row gets the same next token.

    After `read_prompts`, each step proposes candidates for the next token of every row, which the model reads in one
    batch, and accepts one of them. The cache is widened to the number of candidates once, by the first proposal. All
    candidates of a row share their past, so accepting one only overwrites the newest entry of the others.

    Args:
        model: a causal language model of transformers.
        prompts: the streams.
        cache: an empty cache with dynamic layers.
        options: further arguments of the model's `prepare_inputs_for_generation`.
        with_positions: the model takes position ids.
        keep_states: keep the normalised last hidden states of all tokens, for a degeneration penalty.

    Raises:
        InputError: the cache is of a kind whose entries cannot be exchanged.
    """

    def __init__(
        self,
        model: nn.Module,
        prompts: Sequence[Prompt],
        cache: Any,
        *,
        options: dict[str, Any] | None = None,
        with_positions: bool = True,
        keep_states: bool = False,
    ) -> None:
        check_cache(cache)
        self.model, self.cache, self.options = model, cache, options or {}
        self.prompts, self.mask = prompts, joint_mask(prompts)
        self.count = len(prompts)
        self.rows = sum(len(prompt.ids) for prompt in prompts)  # S · B, stream by stream
        self.with_positions, self.keep_states = with_positions, keep_states
        self.width = 1  # rows of the cache for each row of the batch
        ids = prompts[0].ids
        self.lengths = ids.new_full((self.rows,), ids.shape[1]) if self.mask is None else self.mask.sum(dim=1)
        self.states: Tensor | None = None  # (S·B, t, E), unit rows
        self._entries: Entries = []  # of all candidates, (S·B, k, heads, width of a head)
        self._logits: Tensor | None = None  # (S·B, k, V)
        self._hidden: Tensor | None = None  # (S·B, k, E)

    def read_prompts(self) -> Float[Tensor, "streams rows vocabulary"]:
        """Read the prompts, each stream at its own length, and return the logits of the first new token."""
        caches = [self.cache, *(copy.deepcopy(self.cache) for _ in self.prompts[1:])]
        logits, states = [], []
        for prompt, cache in zip(self.prompts, caches, strict=True):
            mask = joint_mask([prompt])
            positions = torch.arange(prompt.ids.shape[1], device=prompt.ids.device).expand_as(prompt.ids)
            if mask is not None:
                positions = (mask.cumsum(dim=1) - 1).clamp_min(0)
            last, hidden = self._forward(prompt.ids, mask, positions, cache, first=True)
            logits.append(last)
            if hidden is not None:
                states.append(unit_rows(hidden))
        check_layers(self.cache)
        join_rows(caches)
        self.states = right_aligned(states, dim=1) if states else None
        return torch.stack(logits)

    def propose(
        self, candidates: Int[Tensor, "rows k"], at_once: int | None = None
    ) -> Float[Tensor, "all k width"] | None:
        """Let the model read candidates for the next token of each row.

        Args:
            candidates: (B, k) token ids.
            at_once: how many candidates of a row are in a batch; all of them by default. The cache is that many times
                as large as for one candidate.

        Returns:
            (S·B, k, E) unit hidden states of the candidates if `keep_states`, else None.
        """
        count = candidates.shape[1]
        at_once = count if at_once is None else min(at_once, count)
        several = at_once < count
        if several:
            # From here on a sliding layer waits for `crop` before it forgets.
            self.cache.activate_past_recording()
        self._widen(at_once)
        candidates = candidates.repeat(self.count, 1)
        missing = -count % at_once
        padded = torch.cat([candidates, candidates[:, -1:].expand(-1, missing)], dim=1)
        parts: list[tuple[Tensor, Tensor | None, Entries]] = []
        for part in padded.split(at_once, dim=1):
            if parts:
                self.cache.crop(-1)
            parts.append((*self._read_part(part), self._newest()))
        if several:
            self.cache.crop(0)
        self._logits = torch.cat([logits for logits, _, _ in parts], dim=1)[:, :count]
        states = [hidden for _, hidden, _ in parts if hidden is not None]
        self._hidden = torch.cat(states, dim=1)[:, :count] if states else None
        self._entries = [
            (torch.cat([keys for keys, _ in layer], dim=1), torch.cat([values for _, values in layer], dim=1))
            for layer in zip(*(entries for _, _, entries in parts), strict=True)
        ]
        return self._hidden

    def accept(self, chosen: Int[Tensor, "rows"]) -> Float[Tensor, "streams rows vocabulary"]:
        """Append the chosen candidate (its index) to every row and return the logits of the token after it."""
        assert self._logits is not None
        chosen = chosen.repeat(self.count)
        row = torch.arange(self.rows, device=chosen.device)
        if self._logits.shape[1] > 1:
            for layer, (keys, values) in zip(self.cache.layers, self._entries, strict=True):
                for stored, entries in ((layer.keys, keys), (layer.values, values)):
                    newest = stored.unflatten(0, (self.rows, self.width))[..., -1, :]
                    newest.copy_(entries[row, chosen][:, None].expand_as(newest))
        if self.mask is not None:
            self.mask = torch.cat([self.mask, self.mask.new_ones(self.rows, 1)], dim=1)
        self.lengths = self.lengths + 1
        if self.states is not None and self._hidden is not None:
            self.states = torch.cat([self.states, self._hidden[row, chosen][:, None]], dim=1)
        return self._logits[row, chosen].unflatten(0, (self.count, -1))

    def state_mask(self) -> Bool[Tensor, "all length"] | None:
        """Return where `states` belong to tokens, not to padding; None without padding."""
        return None if self.mask is None else self.mask.bool()

    def _read_part(self, part: Tensor) -> tuple[Tensor, Tensor | None]:
        """Logits and unit hidden states of some candidates (S·B, k')."""
        mask = None
        if self.mask is not None:
            mask = torch.cat([self.mask, self.mask.new_ones(self.rows, 1)], dim=1)
            mask = mask.repeat_interleave(self.width, dim=0)
        positions = self.lengths.repeat_interleave(self.width)[:, None]
        logits, hidden = self._forward(part.reshape(-1, 1), mask, positions, self.cache, first=False)
        grouped = (self.rows, self.width)
        return logits.unflatten(0, grouped), None if hidden is None else unit_rows(hidden[:, -1]).unflatten(0, grouped)

    def _forward(
        self, ids: Tensor, mask: Tensor | None, positions: Tensor, cache: Any, *, first: bool
    ) -> tuple[Tensor, Tensor | None]:
        """Logits of the last position (rows, V) and, if they are kept, all hidden states (rows, q, E)."""
        options = {**self.options, "position_ids": positions} if self.with_positions else self.options
        inputs = self.model.prepare_inputs_for_generation(  # type: ignore[operator]
            ids,
            past_key_values=cache,
            attention_mask=mask,
            use_cache=True,
            is_first_iteration=first,
            **options,
        )
        if not self.keep_states:
            return accumulate(self.model(**inputs, return_dict=True).logits[:, -1]), None
        with watched_states(self.model) as seen:
            logits = accumulate(self.model(**inputs, return_dict=True).logits[:, -1])
        if not seen or seen[-1] is None:
            raise InputError(
                f"{type(self.model).__name__} gives no hidden states: its base model must return last_hidden_state, "
                "with which candidates are compared."
            )
        return logits, seen[-1]

    def _widen(self, width: int) -> None:
        """Give each row of the batch `width` rows in the cache."""
        if width == self.width:
            return
        if self.width > 1:
            self.cache.batch_select_indices(
                torch.arange(0, self.rows * self.width, self.width, device=self.lengths.device)
            )
        self.cache.batch_repeat_interleave(width)
        self.width = width

    def _newest(self) -> Entries:
        """The newest entry of every layer, (S·B, width, heads, width of a head); a copy."""
        grouped = (self.rows, self.width)
        return [
            (layer.keys[:, :, -1].clone().unflatten(0, grouped), layer.values[:, :, -1].clone().unflatten(0, grouped))
            for layer in self.cache.layers
        ]


def joint_mask(prompts: Sequence[Prompt]) -> Tensor | None:
    """The mask (S·B, P) of all streams below each other, padded on the left to one length; None without padding.

    Example:
        >>> joint_mask([Prompt(torch.tensor([[5, 6]]), None), Prompt(torch.tensor([[7]]), None)])
        tensor([[1, 1],
                [0, 1]])
    """
    length = max(prompt.ids.shape[1] for prompt in prompts)
    masks = []
    for ids, mask in prompts:
        given = torch.ones_like(ids) if mask is None else mask.long()
        masks.append(nn.functional.pad(given, (length - ids.shape[1], 0)))
    joined = torch.cat(masks)
    return None if bool(joined.all()) else joined


@contextmanager
def watched_states(model: nn.Module) -> Iterator[list[Any]]:
    """Collect what the model's base model returns as `last_hidden_state`.

    This is `hidden_states[-1]`, after the final norm, without the hidden states of all other layers in memory.
    """
    seen: list[Any] = []
    base = getattr(model, "base_model", model)

    def note(module: nn.Module, arguments: Any, output: Any) -> None:
        seen.append(getattr(output, "last_hidden_state", None))

    handle = base.register_forward_hook(note)
    try:
        yield seen
    finally:
        handle.remove()
