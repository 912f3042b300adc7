"""Contrastive search: a probable token whose hidden state repeats no earlier one.

Su, Collier: *Contrastive Search Is What You Need For Neural Text Generation* (TMLR 2023); Su, Lan, Wang, Yogatama,
Kong, Collier: *A Contrastive Framework for Neural Text Generation* (NeurIPS 2022).
"""

import math
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from dipole.card import Card
from dipole.decoding.loop import Choice, StreamDecoder
from dipole.decoding.streams import Streams
from dipole.errors import InputError
from dipole.losses.common import unit_rows


class ContrastiveScores(NamedTuple):
    """Scores of the candidates and the degeneration penalties in them."""

    score: Float[Tensor, "rows k"]
    penalty: Float[Tensor, "rows k"]


def contrastive_scores(
    context_hidden: Float[Tensor, "rows length width"],
    candidate_hidden: Float[Tensor, "rows k width"],
    probabilities: Float[Tensor, "rows k"],
    *,
    degeneration_penalty: float = 0.6,
    mask: Bool[Tensor, "rows length"] | None = None,
    normalize: bool = True,
) -> ContrastiveScores:
    """Compute the score of each candidate v for the next token of a row:

        score(v) = (1 − α) p(v) − α max_{j<t} cos(h_v, h_j)

    p is the probability among the whole vocabulary. Hidden states are normalised here.

    Su, Collier (TMLR 2023), eq. 1; equal to the authors' `ranking_fast`, which has no mask.

    Args:
        context_hidden: (B, t, E) last hidden states of the tokens so far.
        candidate_hidden: (B, k, E) last hidden states of the candidates.
        probabilities: (B, k) of the candidates.
        degeneration_penalty: α, from 0 (only probability) to 1 (only novelty).
        mask: (B, t), False for padding, which does not take part in the maximum.
        normalize: False if the hidden states are of unit length already.

    Returns:
        (B, k) scores and (B, k) penalties `max_j cos(h_v, h_j)`.

    Raises:
        InputError: α is outside of [0, 1], or a row of the mask is False throughout.

    Example:
        >>> context, candidates = torch.eye(3)[None, :2], torch.eye(3)[None, 1:]
        >>> contrastive_scores(context, candidates, torch.tensor([[0.6, 0.4]]), degeneration_penalty=0.5)
        ContrastiveScores(score=tensor([[-0.2000,  0.2000]]), penalty=tensor([[1., 0.]]))
    """
    _check_degeneration_penalty(degeneration_penalty)
    context, candidates = unit_rows(context_hidden, normalize), unit_rows(candidate_hidden, normalize)
    with torch.autocast(context.device.type, enabled=False):
        similarity = candidates @ context.mT
    if mask is not None:
        if not bool(mask.any(dim=1).all()):
            raise InputError("a row of the mask is False throughout: every context needs one token or more.")
        similarity = similarity.masked_fill(~mask[:, None], -math.inf)
    penalty = similarity.amax(dim=-1)
    return ContrastiveScores((1 - degeneration_penalty) * probabilities - degeneration_penalty * penalty, penalty)


class ContrastiveSearch(StreamDecoder):
    """Among the k most probable tokens, choose the one that is probable and whose hidden state is unlike all before.

        1. V_k = the k most probable tokens        2. the model reads all of them, in one batch
        3. d(v) = max_{j<t} cos(h_v, h_j) over prompt and continuation
        4. append argmax_v (1 − α) p(v) − α d(v), with its entries of the cache and its logits

    One call of the model a token after the prompt. Deterministic. With `return_dict_in_generate=True` the output also
    holds `degeneration_penalty`, d of every token that was chosen. k = 1 and α = 0 are greedy search.

    Args:
        top_k: k.
        degeneration_penalty: α, from 0 to 1.
        candidates_at_once: how many candidates are read in one batch; all by default. The cache's memory grows with
            it, the result is the same.

    Raises:
        InputError: k or `candidates_at_once` is below 1, or α is outside of [0, 1].

    Example:
        >>> from transformers import GPT2Config, GPT2LMHeadModel
        >>> shape = {"vocab_size": 40, "n_positions": 32, "n_embd": 16, "n_layer": 2, "n_head": 2}
        >>> model = GPT2LMHeadModel(GPT2Config(**shape, bos_token_id=0, eos_token_id=0)).eval()
        >>> prompt = torch.tensor([[3, 7, 11]])
        >>> model.generate(prompt, max_new_tokens=8, custom_generate=ContrastiveSearch(top_k=4)).shape[0]
        1
    """

    card = Card(
        name="contrastive-search",
        slug="contrastive-search",
        title="Contrastive Search Is What You Need For Neural Text Generation",
        authors="Su, Collier",
        year=2023,
        venue="TMLR",
        arxiv="2210.14140",
        field="language",
        summary="The next token is probable, and its hidden state is unlike those of all tokens before it.",
        equations=(
            "eq. 1 (contrastive search)",
            "SimCTG's token-level contrastive loss (`simctg_loss`), isotropy, rep-n, diversity, coherence",
        ),
        official_code="yxuansu/Contrastive_Search_Is_What_You_Need",
        differences=(
            "Padding does not take part in the degeneration penalty; in the authors' code it does.",
            "A row ends at its end-of-sequence token; the authors generate a fixed length and cut afterwards.",
            "Every row of a batch is returned; the authors' fast version returns the first.",
            "A candidate that a logits processor bans is never chosen.",
        ),
    )
    keeps_states = True
    samples = False

    def __init__(
        self, *, top_k: int = 4, degeneration_penalty: float = 0.6, candidates_at_once: int | None = None
    ) -> None:
        if top_k < 1:
            raise InputError(f"top_k is {top_k}: expected 1 or more; 4 or 5 is usual.")
        if candidates_at_once is not None and candidates_at_once < 1:
            raise InputError(f"candidates_at_once is {candidates_at_once}: expected 1 or more, or None for all.")
        _check_degeneration_penalty(degeneration_penalty)
        self.top_k = top_k
        self.degeneration_penalty = degeneration_penalty
        self.candidates_at_once = candidates_at_once

    def choose(self, scores: Float[Tensor, "rows vocabulary"], streams: Streams, sample: bool) -> Choice:
        """Let the model read the k most probable tokens and choose among them."""
        if self.top_k > scores.shape[1]:
            raise InputError(f"top_k is {self.top_k}: the model's vocabulary has {scores.shape[1]} tokens.")
        # Chosen by score, not by probability: two scores can round to one probability.
        best, candidates = scores.topk(self.top_k, dim=-1)
        probabilities = (best - scores.logsumexp(dim=-1, keepdim=True)).exp()
        hidden = streams.propose(candidates, self.candidates_at_once)
        assert hidden is not None
        assert streams.states is not None
        score, penalty = contrastive_scores(
            streams.states,
            hidden,
            probabilities,
            degeneration_penalty=self.degeneration_penalty,
            mask=streams.state_mask(),
            normalize=False,
        )
        # A banned token has probability 0, which a small penalty could outweigh.
        chosen = score.masked_fill(best == -math.inf, -math.inf).argmax(dim=-1)
        row = torch.arange(len(chosen), device=chosen.device)
        details: dict[str, Any] = {"degeneration_penalty": penalty[row, chosen]}
        return Choice(candidates[row, chosen], details, chosen)


def _check_degeneration_penalty(value: float) -> None:
    """Require a weight between 0 and 1."""
    if not 0 <= value <= 1:
        raise InputError(f"degeneration_penalty is {value}: expected a number from 0 to 1; 0.6 is usual.")
