"""What curved embeddings of utterances predict: the next turn, the turn that leads to a goal, the order of goals.

Erker, Schaffer, Spanakis: *Imagination is All You Need! Curved Contrastive Learning for Abstract Sequence Modeling
Utilized on Long Short-Term Dialogue Planning* (Findings of ACL 2023).
"""

from itertools import permutations
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from dipole.errors import InputError
from dipole.losses.common import inner_products, unit_rows
from dipole.ops.checks import check_embeddings
from dipole.ops.door import public

MOST_GOALS = 7  # of which 5040 orders are scored


class PlanningRanks(NamedTuple):
    """Ranks from 1 of the true order of goals, the best one where orders tie.

    Attributes:
        total: among all orders.
        partial: among all but the reversed one.
        reverse: 2 if the reversed order scores higher than the true one, else 1.
    """

    total: int
    partial: int
    reverse: int


@public
def sequence_scores(
    other: Float[Tensor, "h d"], same: Float[Tensor, "h d"], candidates: Float[Tensor, "c d"], *, ahead: int = 1
) -> Float[Tensor, "c"]:
    """Add up how much a context expects each candidate: `Σ_h cos(f([s_h] [BEFORE] u_h), f([AFTER] c))`.

    The last utterance is followed by the other speaker; before it they take turns.

    Args:
        other: (H, D) the context seen from before another speaker's turn, `[O]`, in its order.
        same: (H, D) the same seen from before a turn of the same speaker, `[E]`.
        candidates: (C, D) seen from after.
        ahead: distance of the candidates from the last utterance; 2 while the partner is still to speak.

    Returns:
        (C,); 0 for an empty context.

    Raises:
        InputError: shapes differ, or a value is not finite.

    Example:
        >>> u, c = torch.eye(2), torch.eye(2)
        >>> sequence_scores(u, -u, c)  # the last utterance as [O], the one before as [E]
        tensor([-1.,  1.])
    """
    if ahead < 1:
        raise InputError(f"ahead is {ahead}: expected 1 or more turns.")
    if other.shape != same.shape:
        raise InputError(f"other is {tuple(other.shape)}, same {tuple(same.shape)}: expected the same context twice.")
    check_embeddings(candidates=candidates)
    if not len(other):
        return unit_rows(candidates).new_zeros(len(candidates))
    check_embeddings(candidates=candidates, other=other, same=same)
    odd = (torch.arange(len(other), device=other.device).flip(0) + ahead) % 2 == 1
    context = torch.where(odd[:, None], other, same)
    return inner_products(unit_rows(candidates), unit_rows(context)).sum(dim=1)


@public
def goal_curvature(context: Float[Tensor, "h d"], goals: Float[Tensor, "g d"]) -> Float[Tensor, "g"]:
    """Compute how near each goal is to a context: `cur(g) = Σ_h cos(u_h, g)`; greedy curving takes the nearest first.

    Args:
        context: (H, D) utterances seen from before, each with the token of its speaker.
        goals: (G, D) seen from after.

    Returns:
        (G,).

    Raises:
        InputError: shapes differ, or a value is not finite.

    Example:
        >>> goal_curvature(torch.eye(2), torch.eye(2)[:1])
        tensor([1.])
    """
    check_embeddings(context=context, goals=goals)
    return inner_products(unit_rows(goals), unit_rows(context)).sum(dim=1)


class OrderScores(NamedTuple):
    """All orders of goals, the given one first and its reverse last.

    Attributes:
        orders: (P, G), each a permutation.
        scores: (P,).
    """

    orders: Tensor
    scores: Tensor


@public
def goal_order_scores(
    before: Float[Tensor, "g d"], after: Float[Tensor, "g d"], *, curvature: Float[Tensor, "g"] | None = None
) -> OrderScores:
    """Score every order π of G goals by imaginary embedding chains:

        IEC             Σ_{k=1}^{G−1} cos( f([E] [BEFORE] g_πk), f([AFTER] g_πk+1) )
        with curvature  … + cur(g_π1) − Σ_{i=1}^{G−1} i / (G − 1) · cur(g_πi+1)

    Args:
        before: (G, D) goals seen from before.
        after: (G, D) the same seen from after.
        curvature: (G,) of `goal_curvature`: the first goal shall be near the context, later ones ever farther.

    Returns:
        The orders as `itertools.permutations` gives them, and their scores.

    Raises:
        InputError: shapes differ, a value is not finite, or there are fewer than 1 or more than 7 goals.

    Example:
        >>> found = goal_order_scores(torch.eye(3), torch.eye(3).roll(1, 0))
        >>> found.orders[found.scores.argmax()].tolist()
        [0, 1, 2]
    """
    check_embeddings(before=before, after=after)
    count = len(before)
    if len(after) != count or not 1 <= count <= MOST_GOALS:
        raise InputError(
            f"there are {count} and {len(after)} goals: expected as many of both, from 1 to {MOST_GOALS}; of more, all "
            "orders are too many to score."
        )
    orders = torch.tensor(list(permutations(range(count))), device=before.device)
    follows = inner_products(unit_rows(before), unit_rows(after))
    scores = follows[orders[:, :-1], orders[:, 1:]].sum(dim=1)
    if curvature is not None:
        if curvature.shape != (count,):
            raise InputError(f"curvature is {tuple(curvature.shape)}: expected ({count},), one number a goal.")
        farther = torch.arange(count, dtype=scores.dtype, device=scores.device) / max(1, count - 1)
        farther[0] = -1
        scores = scores - (farther * curvature.to(scores)[orders]).sum(dim=1)
    return OrderScores(orders, scores)


@public
def rank_of(scores: Float[Tensor, "n"], place: int = 0) -> int:
    """Return the rank of one entry, from 1; the best one where entries tie.

    Args:
        scores: (N,), the more the better.
        place: of the entry; −1 for the last one.

    Raises:
        InputError: there is no such entry, or a score is not finite.

    Example:
        >>> rank_of(torch.tensor([0.5, 0.9, 0.1]))
        2
    """
    if scores.ndim != 1 or not -len(scores) <= place < len(scores):
        raise InputError(f"scores are {tuple(scores.shape)} and place is {place}: expected (N,) and one of them.")
    if not bool(scores.isfinite().all()):
        raise InputError("scores contains NaN or infinite values: look at the encoder.")
    return 1 + int((scores > scores[place]).sum())


@public
def planning_ranks(scores: Float[Tensor, "p"]) -> PlanningRanks:
    """Rank the true order of goals among all, scored by `goal_order_scores` of goals in their true order.

    Args:
        scores: (P,), the true order first, its reverse last.

    Raises:
        InputError: there are no scores, or one is not finite.

    Example:
        >>> planning_ranks(torch.tensor([0.5, 0.2, 0.9]))
        PlanningRanks(total=2, partial=1, reverse=2)
    """
    total = rank_of(scores)
    forward = rank_of(scores[:-1]) if len(scores) > 1 else 1
    return PlanningRanks(total, forward, 2 if bool(scores[-1] > scores[0]) else 1)


@public
def reply_scores(candidates: Float[Tensor, "c d"], goal: Float[Tensor, "d"]) -> Float[Tensor, "c"]:
    """Score replies by how well they lead to a goal: `cos( f(s [BEFORE] c), f([AFTER] g) )`.

    Args:
        candidates: (C, D) replies seen from before, with `[O]` if the goal is an odd number of turns away, else `[E]`.
        goal: (D,) seen from after.

    Returns:
        (C,).

    Raises:
        InputError: shapes differ, or a value is not finite.

    Example:
        >>> reply_scores(torch.eye(2), torch.tensor([2.0, 0.0]))
        tensor([1., 0.])
    """
    if goal.ndim != 1:
        raise InputError(f"goal has shape {tuple(goal.shape)}: expected (D,), one goal.")
    check_embeddings(candidates=candidates, goal=goal[None])
    return inner_products(unit_rows(candidates), unit_rows(goal[None]))[:, 0]
