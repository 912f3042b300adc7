"""CLOOB."""

from collections.abc import Mapping
from typing import Any, Literal

from torch import Tensor

from dipole.card import Card
from dipole.losses import cloob_loss
from dipole.methods.multimodal.base import ModalityEmbedding
from dipole.ops.checks import check_at_least, check_choice


class CLOOB(ModalityEmbedding):
    """Embeddings retrieved from the batch find each other, the positive left out of the denominator.

        1. X = images, Y = texts, of unit length          2. U_x, U_y = what x and y retrieve from X; V_x, V_y from Y
        3. minimise InfoLOOB(U_x → U_y) + InfoLOOB(V_y → V_x), times τ

    Retrieval is one step of a modern Hopfield network, norm(Sᵀ softmax(β S ξ)), in training alone. 1 / τ is fixed
    unless told otherwise. With three modalities or more, the losses of all pairs are added.

    Args:
        temperature: τ.
        beta: β of the retrieval.
        retrieval: False for the ablation without the Hopfield network.
        objective: `"info_nce"` for the ablation with the positive in the denominator.
        scale_by_temperature: whether InfoLOOB is multiplied by τ.
        learnable_temperature: whether 1 / τ is learned.
        **options: arguments of `ModalityEmbedding` and `Method`.

    Example:
        >>> import torch
        >>> vector = {"kind": "vector", "mean": [0.0], "std": [1.0], "width": 1}
        >>> CLOOB(modalities={"a": vector, "b": vector}).logit_scale().round()
        tensor(30.)
    """

    card = Card(
        name="cloob",
        slug="cloob",
        title="CLOOB: Modern Hopfield Networks with InfoLOOB Outperform CLIP",
        authors="Fürst, Rumetshofer, Lehner, Tran, Tang, Ramsauer, Kreil, Kopp, Klambauer, Bitto-Nemling, Hochreiter",
        year=2022,
        venue="NeurIPS",
        arxiv="2110.11316",
        field="multimodal",
        summary="Embeddings retrieved from the batch attract; InfoLOOB leaves the positive out of the denominator.",
        equations=("Hopfield retrieval", "InfoLOOB", "the sum of both terms"),
        official_code="ml-jku/cloob",
        differences=(
            "The loss has the factor τ of the authors' code; the equation of their page has none: "
            "`--method.scale_by_temperature false`.",
            "Rows of other processes carry gradients; in the authors' code only a process's own rows do.",
            "A learned 1 / τ never decays; the authors' rule against it looks for another name and does not hold.",
            "The positive is left out exactly, not by adding −1000 to its logit.",
            "The learning rate falls along half a cosine; the authors' command for CC has ten of them: "
            "`--method.schedule cosine_restarts --method.schedule_cycles 10`.",
            "Encoders are named in the settings and small by default, not a ResNet-50 and a transformer of 12 layers.",
        ),
    )

    def __init__(
        self,
        *,
        temperature: float = 1 / 30,
        beta: float = 8.0,
        retrieval: bool = True,
        objective: Literal["info_loob", "info_nce"] = "info_loob",
        scale_by_temperature: bool = True,
        learnable_temperature: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(temperature=temperature, learnable_temperature=learnable_temperature, **options)
        check_at_least(beta, 0, "beta")
        check_choice(objective, ("info_loob", "info_nce"), "objective")
        self.beta, self.retrieval, self.objective = beta, retrieval, objective
        self.scale_by_temperature = scale_by_temperature

    def loss_terms(self, batch: Mapping[str, Any]) -> dict[str, Tensor]:
        """Return CLOOB's loss of every pair of modalities, added up."""

        def loss(x: Tensor, y: Tensor, gather: bool) -> Tensor:
            return cloob_loss(
                x,
                y,
                temperature=self.temperature,
                beta=self.beta,
                retrieval=self.retrieval,
                objective=self.objective,
                scale_by_temperature=self.scale_by_temperature,
                gather=gather,
            )

        return {
            "loss": self.over_pairs(self.encode(batch["views"]), loss),
            "logit_scale": self.logit_scale().detach(),
        }
