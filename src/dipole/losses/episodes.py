"""The loss of an episode of few-shot classification: the mean of chosen terms."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from dipole.errors import InputError
from dipole.losses.common import accumulate
from dipole.losses.neighbourhoods import icnn_of, score_neighbourhoods
from dipole.losses.susana import class_prototypes, own_prototype, proto_triplets, prototype_slots
from dipole.ops.checks import check_at_least, check_embeddings, check_temperature
from dipole.ops.door import looking, public

TERMS = ("cross", "suppicnn", "queryicnn", "fullicnn", "prototriplet")


@public
def prototype_logits(
    query: Float[Tensor, "q d"], prototypes: Float[Tensor, "c d"], *, temperature: float = 1.0
) -> Float[Tensor, "q c"]:
    """Compute `−‖q − p_c‖² / τ`.

    Snell et al.: *Prototypical Networks for Few-shot Learning* (NeurIPS 2017), eq. 2.

    Args:
        query: (Q, D).
        prototypes: (C, D).
        temperature: τ.

    Example:
        >>> prototype_logits(torch.tensor([[1.0]]), torch.tensor([[0.0], [3.0]]))
        tensor([[-1., -4.]])
    """
    check_embeddings(query=query, prototypes=prototypes)
    check_temperature(temperature)
    return -(accumulate(query)[:, None] - accumulate(prototypes)[None]).square().sum(dim=2) / temperature


def check_terms(terms: Sequence[str]) -> None:
    """Require names of terms of the episode loss.

    Raises:
        InputError: none, or an unknown one; the authors' code takes a misspelt one for 0.

    Example:
        >>> check_terms(["cross", "fullicnn"])
    """
    wrong = [term for term in terms if term not in TERMS]
    if wrong or not terms:
        raise InputError(f"terms are {list(terms)}: expected one or more of {', '.join(TERMS)}.")


@public
def episode_loss(
    support: Float[Tensor, "n d"],
    support_labels: Int[Tensor, "n"],
    query: Float[Tensor, "q d"],
    query_labels: Int[Tensor, "q"],
    *,
    terms: Sequence[str] = ("cross", "prototriplet", "fullicnn"),
    margin: float = 0.5,
    k: int = 4,
    temperature: float = 1.0,
    query_to: str = "support",
    drop_first: bool | None = None,
) -> Float[Tensor, ""]:
    """Compute the mean of the named terms of an episode.

        cross: cross entropy of `prototype_logits`          prototriplet: `proto_triplet_loss`
        suppicnn, queryicnn, fullicnn: `icnn_loss` of the support, of queries among the support, and of all rows

    Mendez-Ruiz et al.: *SuSana Distancia is all you need* (2023). `terms=("cross",)` is ProtoNet.

    Args:
        support: (N, D), as it is.
        support_labels: (N,).
        query: (Q, D).
        query_labels: (Q,).
        terms: see above.
        margin: of the triplet.
        k: neighbours of ICNN.
        temperature: of the cross entropy.
        query_to: `"support"` or `"prototypes"`: where queryicnn seeks neighbours.
        drop_first: of queryicnn, see `icnn_score`; True as in the authors' code.

    Raises:
        InputError: an unknown term, or shapes that do not fit.

    Example:
        >>> rows, labels = torch.tensor([[0.0], [9.0]]), torch.tensor([0, 1])
        >>> bool(episode_loss(rows, labels, rows, labels, terms=("cross", "prototriplet")) < 1e-6)
        True
    """
    check_terms(terms)
    if query_to not in ("support", "prototypes"):
        raise InputError(f"query_to is {query_to!r}: expected 'support' or 'prototypes'.")
    check_at_least(margin, 0, "margin")
    used: Tensor | None = None
    if looking():
        prototypes, labels = class_prototypes(support, support_labels)
    else:
        prototypes, labels, used = prototype_slots(support, support_labels)

    def own() -> Tensor:
        found = own_prototype(query_labels, prototypes, labels)
        return found if used is None else found & used

    def term(name: str) -> Tensor:
        if name == "cross":
            logits = prototype_logits(query, prototypes, temperature=temperature)
            logits = logits if used is None else logits.masked_fill(~used, -torch.inf)
            return F.cross_entropy(logits, own().int().argmax(dim=1))
        if name == "prototriplet":
            return proto_triplets(query, prototypes, own(), margin, used).mean()
        if name == "suppicnn":
            return icnn_of(score_neighbourhoods(support, support_labels, k=k))
        if name == "queryicnn":
            among = (support, support_labels) if query_to == "support" else (prototypes, labels)
            kept = None if query_to == "support" else used
            return icnn_of(score_neighbourhoods(query, query_labels, *among, k=k, drop_first=drop_first, used=kept))
        per_class = (len(support) + len(query)) // (len(labels) if used is None else used.sum())
        both = torch.cat([support, query]), torch.cat([support_labels, query_labels])
        return icnn_of(score_neighbourhoods(*both, k=k, items_per_class=per_class))

    return torch.stack([term(name) for name in terms]).mean()
