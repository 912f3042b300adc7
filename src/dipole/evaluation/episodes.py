"""Episodes of few-shot classification on frozen features."""

from collections.abc import Sequence
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from dipole.data.samplers import Episodes
from dipole.errors import InputError
from dipole.losses.episodes import prototype_logits
from dipole.losses.susana import class_prototypes
from dipole.ops.checks import check_choice
from dipole.ops.door import public
from dipole.ops.transport import optimal_transport_align, standardise_rows

Classifier = Literal["prototype", "logistic"]
MIX = 0.7  # share of the transported prototype where there are several shots (BECLR)
ONE_SHOT_PASSES = 5


@public
def draw_episodes(
    labels: Int[Tensor, "n"], *, ways: int = 5, shots: int = 1, queries: int = 15, episodes: int = 600, seed: int = 0
) -> Int[Tensor, "e w s"]:
    """Draw episodes: some classes, and of each different samples, the shots first.

    Args:
        labels: (N,) classes, negative where unknown.
        ways: W, classes in an episode.
        shots: support samples of each.
        queries: query samples of each.
        episodes: E.
        seed: of the draw.

    Returns:
        Places (E, W, shots + queries).

    Raises:
        InputError: fewer classes than ways have so many samples.

    Example:
        >>> draw_episodes(torch.arange(40) % 4, ways=2, shots=1, queries=3, episodes=5).shape
        torch.Size([5, 2, 4])
    """
    order = Episodes(labels, ways=ways, samples=shots + queries, episodes=episodes)
    return order.draw(torch.Generator().manual_seed(seed)).view(episodes, ways, shots + queries)


@public
def classify_episode(
    support: Float[Tensor, "w k d"],
    queries: Float[Tensor, "q d"],
    *,
    classifier: Classifier = "prototype",
    align: bool = False,
) -> Int[Tensor, "q"]:
    """Name the way of each query by the nearest prototype (squared Euclidean), or by logistic regression on prototypes.

    With `align` features are standardised row by row and prototypes transported onto the queries (OpTA): five passes
    of 1 shot, else one, mixed with the prototype itself. It is transductive: the queries are looked at together.

    Args:
        support: (W, K, D) features of K shots of each way.
        queries: (Q, D).
        classifier: `"prototype"` or `"logistic"` (L2, C = 1).
        align: whether prototypes are transported.

    Raises:
        InputError: shapes do not fit, or an unknown classifier.

    Example:
        >>> classify_episode(torch.tensor([[[0.0]], [[4.0]]]), torch.tensor([[1.0], [3.5]]))
        tensor([0, 1])
    """
    check_choice(classifier, ("prototype", "logistic"), "classifier")
    ways, shots, _ = support.shape
    flat = support.flatten(0, 1)
    if align:
        flat, queries = standardise_rows(flat), standardise_rows(queries)
    prototypes = class_prototypes(flat, torch.arange(ways).repeat_interleave(shots)).rows
    if align:
        moved = optimal_transport_align(prototypes, queries, passes=ONE_SHOT_PASSES if shots == 1 else 1)
        prototypes = moved if shots == 1 else MIX * moved + (1 - MIX) * prototypes
    if classifier == "prototype":
        return prototype_logits(queries, prototypes).argmax(dim=1)
    from sklearn.linear_model import LogisticRegression

    fitted = LogisticRegression(max_iter=1000).fit(prototypes.double().numpy(), range(ways))
    return torch.from_numpy(fitted.predict(queries.double().numpy())).long()


@public
def episode_accuracies(
    features: Float[Tensor, "n d"],
    episodes: Int[Tensor, "e w s"],
    shots: int,
    *,
    classifier: Classifier = "prototype",
    align: bool = False,
) -> Float[Tensor, "e"]:
    """Return the share of queries put right in each episode.

    Args:
        features: (N, D) of all samples.
        episodes: places (E, W, shots + queries), see `draw_episodes`.
        shots: how many of each class are support.
        classifier: see `classify_episode`.
        align: see `classify_episode`.

    Raises:
        InputError: no query is left.

    Example:
        >>> labels = torch.arange(40) % 4
        >>> drawn = draw_episodes(labels, ways=2, shots=1, queries=3, episodes=5)
        >>> episode_accuracies(torch.eye(4)[labels], drawn, 1)
        tensor([1., 1., 1., 1., 1.])
    """
    if not 1 <= shots < episodes.shape[2]:
        raise InputError(f"{shots} shots of {episodes.shape[2]} samples of a class: some must be left as queries.")
    found = []
    for episode in episodes:
        rows = features[episode]
        queries = rows[:, shots:].flatten(0, 1)
        answers = torch.arange(len(rows)).repeat_interleave(rows.shape[1] - shots)
        named = classify_episode(rows[:, :shots], queries, classifier=classifier, align=align)
        found.append((named == answers).float().mean())
    return torch.stack(found)


def histogram(values: Sequence[float], bins: int = 25) -> tuple[list[float], list[float]]:
    """Return middles of equal bins from 0 to 1 and the share of the values in each.

    Example:
        >>> histogram([0.1, 0.9], bins=2)
        ([0.25, 0.75], [0.5, 0.5])
    """
    counts = torch.histc(torch.tensor(values, dtype=torch.float64), bins, 0.0, 1.0) / len(values)
    return [(place + 0.5) / bins for place in range(bins)], counts.tolist()
