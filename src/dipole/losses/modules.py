"""Each loss as a module that holds its hyperparameters."""

import inspect
from collections.abc import Callable
from typing import Any, ClassVar

from torch import Tensor, nn

from dipole.errors import InputError
from dipole.losses.arbitrary_pairs import arbitrary_pair_loss, hydra_moco_loss
from dipole.losses.autotcl import global_info_nce_loss, local_info_nce_loss
from dipole.losses.cacr import cacr_loss
from dipole.losses.cacr_moco import cacr_momentum_views_loss, cacr_queue_loss
from dipole.losses.clip import clip_loss, multi_text_clip_loss, pairwise_clip_loss
from dipole.losses.cloob import cloob_loss, info_loob_loss
from dipole.losses.co_citation import mnr_plus_loss
from dipole.losses.curved import curved_loss, margin_contrastive_loss
from dipole.losses.cut import cut_loss
from dipole.losses.cwcl import cwcl_loss
from dipole.losses.dcl import dcl_loss, dcl_neighbour_loss, dcl_queue_loss, dclw_loss
from dipole.losses.distillation import score_distillation_loss
from dipole.losses.feature_transform import feature_transform_loss
from dipole.losses.groco import groco_loss
from dipole.losses.hardness import hard_contrastive_loss, simple_contrastive_loss
from dipole.losses.info_nce import hard_negatives_info_nce_loss, info_nce_loss, nt_xent_loss
from dipole.losses.multi_positive import multi_positive_info_nce_loss
from dipole.losses.multicsr import masked_contrast_loss
from dipole.losses.own_negatives import own_negatives_info_nce_loss
from dipole.losses.siglip import siglip_loss
from dipole.losses.simctg import simctg_loss
from dipole.losses.sup_con import sup_con_loss
from dipole.losses.swalip import swalip_loss
from dipole.losses.symile import symile_loss
from dipole.losses.team_up import team_up_loss
from dipole.losses.tuples import tuple_info_nce_loss
from dipole.losses.vision_language import multi_view_clip_loss


class LossModule(nn.Module):
    """A loss function with its keyword arguments fixed; called with the tensors.

    Args:
        **hyperparameters: keyword arguments of the function, by the same names and with the same defaults.

    Raises:
        InputError: the function has no such argument.

    Example:
        >>> import torch
        >>> NTXentLoss(temperature=0.5)(torch.eye(4), torch.eye(4))
        tensor(0.5944)
        >>> NTXentLoss(temperatur=0.5)  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        ...
        dipole.errors.InputError: nt_xent_loss has no argument 'temperatur': choose from temperature, normalize, ...
    """

    function: ClassVar[Callable[..., Tensor]]

    def __init_subclass__(cls) -> None:
        cls.__signature__ = inspect.Signature(list(cls._parameters_of_function().values()))  # type: ignore[attr-defined]

    def __init__(self, **hyperparameters: Any) -> None:
        super().__init__()
        known = self._parameters_of_function()
        for name in hyperparameters:
            if name not in known:
                function = type(self).function.__name__
                raise InputError(f"{function} has no argument {name!r}: choose from {', '.join(known)}.")
        self.hyperparameters = hyperparameters

    @classmethod
    def _parameters_of_function(cls) -> dict[str, inspect.Parameter]:
        parameters = inspect.signature(cls.function).parameters
        return {name: entry for name, entry in parameters.items() if entry.kind is entry.KEYWORD_ONLY}

    def forward(self, *embeddings: Tensor) -> Tensor:
        """Return the loss of the function's positional arguments."""
        return type(self).function(*embeddings, **self.hyperparameters)

    def extra_repr(self) -> str:
        """Show the hyperparameters that were given."""
        return ", ".join(f"{name}={value!r}" for name, value in self.hyperparameters.items())


class NTXentLoss(LossModule):
    """Module twin of `nt_xent_loss`, with the same keyword arguments."""

    function = staticmethod(nt_xent_loss)


class InfoNCELoss(LossModule):
    """Module twin of `info_nce_loss`, with the same keyword arguments."""

    function = staticmethod(info_nce_loss)


class HardNegativesInfoNCELoss(LossModule):
    """Module twin of `hard_negatives_info_nce_loss`, with the same keyword arguments."""

    function = staticmethod(hard_negatives_info_nce_loss)


class OwnNegativesInfoNCELoss(LossModule):
    """Module twin of `own_negatives_info_nce_loss`, with the same keyword arguments."""

    function = staticmethod(own_negatives_info_nce_loss)


class FeatureTransformLoss(LossModule):
    """Module twin of `feature_transform_loss`, with the same keyword arguments."""

    function = staticmethod(feature_transform_loss)


class MultiPositiveInfoNCELoss(LossModule):
    """Module twin of `multi_positive_info_nce_loss`, with the same keyword arguments."""

    function = staticmethod(multi_positive_info_nce_loss)


class DCLLoss(LossModule):
    """Module twin of `dcl_loss`, with the same keyword arguments."""

    function = staticmethod(dcl_loss)


class DCLWLoss(LossModule):
    """Module twin of `dclw_loss`, with the same keyword arguments."""

    function = staticmethod(dclw_loss)


class DCLQueueLoss(LossModule):
    """Module twin of `dcl_queue_loss`, with the same keyword arguments."""

    function = staticmethod(dcl_queue_loss)


class DCLNeighbourLoss(LossModule):
    """Module twin of `dcl_neighbour_loss`, with the same keyword arguments."""

    function = staticmethod(dcl_neighbour_loss)


class CACRLoss(LossModule):
    """Module twin of `cacr_loss`, with the same keyword arguments."""

    function = staticmethod(cacr_loss)


class CACRQueueLoss(LossModule):
    """Module twin of `cacr_queue_loss`, with the same keyword arguments."""

    function = staticmethod(cacr_queue_loss)


class CACRMomentumLoss(LossModule):
    """Module twin of `cacr_momentum_views_loss`, with the same keyword arguments."""

    function = staticmethod(cacr_momentum_views_loss)


class CUTLoss(LossModule):
    """Module twin of `cut_loss`, with the same keyword arguments."""

    function = staticmethod(cut_loss)


class GroCoLoss(LossModule):
    """Module twin of `groco_loss`, with the same keyword arguments."""

    function = staticmethod(groco_loss)


class HardContrastiveLoss(LossModule):
    """Module twin of `hard_contrastive_loss`, with the same keyword arguments."""

    function = staticmethod(hard_contrastive_loss)


class SimpleContrastiveLoss(LossModule):
    """Module twin of `simple_contrastive_loss`, with the same keyword arguments."""

    function = staticmethod(simple_contrastive_loss)


class SimCTGLoss(LossModule):
    """Module twin of `simctg_loss`, with the same keyword arguments."""

    function = staticmethod(simctg_loss)


class SupConLoss(LossModule):
    """Module twin of `sup_con_loss`, with the same keyword arguments."""

    function = staticmethod(sup_con_loss)


class ArbitraryPairLoss(LossModule):
    """Module twin of `arbitrary_pair_loss`, with the same keyword arguments."""

    function = staticmethod(arbitrary_pair_loss)


class HydraMoCoLoss(LossModule):
    """Module twin of `hydra_moco_loss`, with the same keyword arguments."""

    function = staticmethod(hydra_moco_loss)


class CLIPLoss(LossModule):
    """Module twin of `clip_loss`, with the same keyword arguments."""

    function = staticmethod(clip_loss)


class MultiTextCLIPLoss(LossModule):
    """Module twin of `multi_text_clip_loss`, with the same keyword arguments."""

    function = staticmethod(multi_text_clip_loss)


class MultiViewCLIPLoss(LossModule):
    """Module twin of `multi_view_clip_loss`, with the same keyword arguments."""

    function = staticmethod(multi_view_clip_loss)


class SigLIPLoss(LossModule):
    """Module twin of `siglip_loss`, with the same keyword arguments."""

    function = staticmethod(siglip_loss)


class SwALIPLoss(LossModule):
    """Module twin of `swalip_loss`, with the same keyword arguments."""

    function = staticmethod(swalip_loss)


class PairwiseCLIPLoss(LossModule):
    """Module twin of `pairwise_clip_loss`, with the same keyword arguments."""

    function = staticmethod(pairwise_clip_loss)


class InfoLOOBLoss(LossModule):
    """Module twin of `info_loob_loss`, with the same keyword arguments."""

    function = staticmethod(info_loob_loss)


class CLOOBLoss(LossModule):
    """Module twin of `cloob_loss`, with the same keyword arguments."""

    function = staticmethod(cloob_loss)


class SymileLoss(LossModule):
    """Module twin of `symile_loss`, with the same keyword arguments."""

    function = staticmethod(symile_loss)


class CWCLLoss(LossModule):
    """Module twin of `cwcl_loss`, with the same keyword arguments."""

    function = staticmethod(cwcl_loss)


class GlobalInfoNCELoss(LossModule):
    """Module twin of `global_info_nce_loss`, with the same keyword arguments."""

    function = staticmethod(global_info_nce_loss)


class LocalInfoNCELoss(LossModule):
    """Module twin of `local_info_nce_loss`, with the same keyword arguments."""

    function = staticmethod(local_info_nce_loss)


class TeamUpLoss(LossModule):
    """Module twin of `team_up_loss`, with the same keyword arguments."""

    function = staticmethod(team_up_loss)


class TupleInfoNCELoss(LossModule):
    """Module twin of `tuple_info_nce_loss`, with the same keyword arguments."""

    function = staticmethod(tuple_info_nce_loss)


class MaskedContrastLoss(LossModule):
    """Module twin of `masked_contrast_loss`, with the same keyword arguments."""

    function = staticmethod(masked_contrast_loss)


class MNRPlusLoss(LossModule):
    """Module twin of `mnr_plus_loss`, with the same keyword arguments."""

    function = staticmethod(mnr_plus_loss)


class CurvedLoss(LossModule):
    """Module twin of `curved_loss`, with the same keyword arguments."""

    function = staticmethod(curved_loss)


class MarginContrastiveLoss(LossModule):
    """Module twin of `margin_contrastive_loss`, with the same keyword arguments."""

    function = staticmethod(margin_contrastive_loss)


class ScoreDistillationLoss(LossModule):
    """Module twin of `score_distillation_loss`, with the same keyword arguments."""

    function = staticmethod(score_distillation_loss)
