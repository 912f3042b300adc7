"""Likelihoods of judged responses."""

from typing import Any, ClassVar

from torch import Tensor

from dipole.evaluation.materials import LanguageMaterial
from dipole.evaluation.protocol import Measured, Protocol
from dipole.losses import inappropriate_tokens

KINDS = ("criticised tokens", "other tokens", "satisfactory responses")


class LogLikelihoods:
    """Log likelihoods of tokens, of unsatisfactory responses after both prompts.

    Args:
        judged: (M,) of unsatisfactory responses after instruction and judgment.
        plain: (M,) of the same tokens after the misaligned prompt.
        satisfactory: (K,) of satisfactory responses.
    """

    def __init__(self, judged: Tensor, plain: Tensor, satisfactory: Tensor) -> None:
        self.judged, self.plain, self.satisfactory = judged, plain, satisfactory


class Likelihood(Protocol):
    """Mean log likelihood of a token, without a judgment in the prompt.

    Criticised are the tokens of unsatisfactory responses that the model before training calls inappropriate, by the λ
    of the run; they stay the same after training.
    """

    name: ClassVar[str] = "likelihood"
    domains = ("language",)
    measures = "log_likelihoods"

    def measure(self, material: LanguageMaterial) -> Measured:
        """Return a column for each kind of token that there is."""
        found: dict[str, LogLikelihoods] = {n: one.log_likelihoods() for n, one in material.able(self.measures).items()}
        before = found["untrained"]
        blamed = inappropriate_tokens(before.judged, before.plain, threshold=material.threshold)
        rows = {}
        for name, one in found.items():
            parts = dict(zip(KINDS, (one.plain[blamed], one.plain[~blamed], one.satisfactory), strict=True))
            rows[name] = {kind: float(part.mean()) for kind, part in parts.items() if len(part)}
        settings: dict[str, Any] = {"unit": "mean log likelihood of a token"}
        if len(blamed):
            settings["criticised"] = float(blamed.double().mean())
        return Measured(rows, settings)
