"""Symile: what only all three modalities together tell, pairs never learn.

Triples of bits, c = a ⊕ b in a share p̂ of the rows and c = a in the others. Nothing about b is in a or in c alone, at
any p̂. Symile and the sum of CLIP's losses of all pairs see the same triples, batches and epochs; the learning rate is
chosen from the same grid on other triples. Judged: the accuracy of finding b from a and c among all eight patterns, at
p̂ = ½, ¾ and 1, where the best possible is 0.5625, 0.78125 and 1 and chance 0.125 (margin 0.2). Reported only: p̂ = 0
and ¼, and whether CLIP is any better at p̂ = 1 than at 0.
"""

from dipole.claims.base import Arm, Claim, Comparison
from dipole.claims.modalities import XORData

SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)
RATES = (0.01, 0.03, 0.1)


def _arm(method: str, share: float) -> Arm:
    """A method on triples of one share."""
    options = {
        "vector_encoder": "identity",
        "embedding_dim": 32,
        "temperature": 1.0 if method == "clip" else 1.35,
        "schedule": "constant",
        "weight_decay": 0.01,
    }
    return Arm(_name(method, share), method, XORData(share), 25, 500, RATES, options)


def _name(method: str, share: float) -> str:
    """Name of an arm."""
    return f"{'Symile' if method == 'symile' else 'CLIP of pairs'}, p̂ = {share:g}"


CLAIM = Claim(
    slug="symile",
    title="Contrasting with Symile: Simple Model-Agnostic Representation Learning for Unlimited Modalities",
    statement=(
        "Where one modality depends on the other two together and on neither alone, Symile learns to predict it as "
        "well as is possible; the contrastive losses of all pairs, added up, learn nothing of it."
    ),
    paper=(
        "The paper's figure shows Symile at the best possible accuracy for every p̂ and pairwise CLIP at chance; its "
        "numbers are not stated in the code."
    ),
    arms=tuple(_arm(method, share) for share in SHARES for method in ("symile", "clip")),
    comparisons=(
        *(
            Comparison(
                f"accuracy, Symile − CLIP, p̂ = {share:g}",
                _name("symile", share),
                _name("clip", share),
                "accuracy",
                margin=0.2,
                judged=share >= 0.5,
            )
            for share in SHARES
        ),
        Comparison(
            "accuracy, CLIP, p̂ 1 − 0", _name("clip", 1.0), _name("clip", 0.0), "accuracy", margin=0.02, judged=False
        ),
    ),
    notes=(
        "One linear layer for each modality, from 3 bits to 32 dimensions, as in the authors' example.",
        "CLIP's scale starts at 1, since its learned scale is kept at 1 or more; Symile's starts at exp(−0.3).",
        "Each seed has its own 2000 training and 5000 test triples.",
    ),
)
