"""Losses: functions of embeddings, each with a module twin. They know nothing of encoders, data or trainers."""

from dipole.losses.cacr import (
    attraction_weights,
    cacr_loss,
    cacr_weights,
    contrastive_attraction,
    contrastive_repulsion,
    repulsion_weights,
)
from dipole.losses.cacr_moco import (
    cacr_momentum_loss,
    cacr_momentum_views_loss,
    cacr_queue_loss,
    momentum_query_weights,
)
from dipole.losses.dcl import (
    dcl_loss,
    dcl_neighbour_loss,
    dcl_queue_loss,
    dclw_loss,
    npc_multiplier,
    npc_queue_multiplier,
    vmf_negative_weights,
)
from dipole.losses.hardness import (
    contrastive_loss_from_similarities,
    hard_contrastive_loss,
    hardest_negatives,
    simple_contrastive_loss,
    simple_loss_from_similarities,
)
from dipole.losses.info_nce import info_nce_loss, nt_xent_loss
from dipole.losses.modules import (
    CACRLoss,
    CACRMomentumLoss,
    CACRQueueLoss,
    DCLLoss,
    DCLWLoss,
    HardContrastiveLoss,
    InfoNCELoss,
    LossModule,
    NTXentLoss,
    SimpleContrastiveLoss,
    SupConLoss,
)
from dipole.losses.sup_con import sup_con_loss

__all__ = [
    "CACRLoss",
    "CACRMomentumLoss",
    "CACRQueueLoss",
    "DCLLoss",
    "DCLWLoss",
    "HardContrastiveLoss",
    "InfoNCELoss",
    "LossModule",
    "NTXentLoss",
    "SimpleContrastiveLoss",
    "SupConLoss",
    "attraction_weights",
    "cacr_loss",
    "cacr_momentum_loss",
    "cacr_momentum_views_loss",
    "cacr_queue_loss",
    "cacr_weights",
    "contrastive_attraction",
    "contrastive_loss_from_similarities",
    "contrastive_repulsion",
    "dcl_loss",
    "dcl_neighbour_loss",
    "dcl_queue_loss",
    "dclw_loss",
    "hard_contrastive_loss",
    "hardest_negatives",
    "info_nce_loss",
    "momentum_query_weights",
    "npc_multiplier",
    "npc_queue_multiplier",
    "nt_xent_loss",
    "repulsion_weights",
    "simple_contrastive_loss",
    "simple_loss_from_similarities",
    "sup_con_loss",
    "vmf_negative_weights",
]
