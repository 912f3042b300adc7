"""The module twins and the reductions."""

import inspect
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

import dipole.losses
from dipole import losses
from dipole.errors import InputError
from dipole.losses import LossModule
from losses.table import DIM, bank, random

Z1, Z2 = random(2, 5, DIM)
VIEWS = random(2, 5, DIM)
LABELS = torch.tensor([0, 0, 1, 1, 0])

TWINS: dict[str, tuple[Callable[..., Tensor], tuple[Tensor, ...], dict[str, Any]]] = {
    "NTXentLoss": (losses.nt_xent_loss, (Z1, Z2), {"temperature": 0.3}),
    "InfoNCELoss": (losses.info_nce_loss, (Z1, Z2, bank(Z1)), {"reduction": "sum"}),
    "HardNegativesInfoNCELoss": (losses.hard_negatives_info_nce_loss, (Z1, Z2, bank(Z1)), {"label_smoothing": 0.1}),
    "OwnNegativesInfoNCELoss": (
        losses.own_negatives_info_nce_loss,
        (Z1, Z2, bank(Z1), random(5, 3, DIM)),
        {"temperature": 0.3},
    ),
    "FeatureTransformLoss": (losses.feature_transform_loss, (Z1, Z2, bank(Z1)), {"target": "pos"}),
    "MultiPositiveInfoNCELoss": (losses.multi_positive_info_nce_loss, (Z1, VIEWS), {"mode": "inside_log"}),
    "CLIPLoss": (losses.clip_loss, (Z1, Z2), {"label_smoothing": 0.1}),
    "MultiTextCLIPLoss": (losses.multi_text_clip_loss, (Z1, VIEWS), {"text_to_image": "first"}),
    "PairwiseCLIPLoss": (losses.pairwise_clip_loss, (VIEWS,), {"pairs": "mean"}),
    "InfoLOOBLoss": (losses.info_loob_loss, (Z1, Z2), {"scale_by_temperature": False}),
    "CLOOBLoss": (losses.cloob_loss, (Z1, Z2), {"beta": 3.0}),
    "SymileLoss": (losses.symile_loss, (VIEWS,), {"negatives": "n_squared"}),
    "CWCLLoss": (losses.cwcl_loss, (Z1, Z2), {"weighted": "both"}),
    "DCLLoss": (losses.dcl_loss, (Z1, Z2), {"temperature": 0.3, "reduction": "none"}),
    "DCLQueueLoss": (losses.dcl_queue_loss, (Z1, Z2, bank(Z1)), {"temperature": 0.3}),
    "DCLNeighbourLoss": (losses.dcl_neighbour_loss, (Z1, Z2), {"temperature": 0.3}),
    "DCLWLoss": (losses.dclw_loss, (Z1, Z2), {"sigma": 0.2}),
    "CACRLoss": (losses.cacr_loss, (VIEWS,), {"t_negative": 3.0, "cost": "rbf"}),
    "CACRQueueLoss": (losses.cacr_queue_loss, (VIEWS, VIEWS, bank(Z1)), {"intra_batch": False}),
    "CACRMomentumLoss": (losses.cacr_momentum_views_loss, (VIEWS, VIEWS), {"cost": "euclidean"}),
    "CUTLoss": (
        losses.cut_loss,
        (
            random(1, 4, 3),
            torch.tensor([[-100, 1, 2, 0]]),
            random(1, 4, 3, seed=1),
            torch.tensor([[-100, 1, 2, 0]]),
            torch.tensor([True]),
        ),
        {"alpha": 0.5},
    ),
    "GroCoLoss": (losses.groco_loss, (random(2, 12, DIM),), {"top_k": 3, "steepness": 2.0}),
    "ArbitraryPairLoss": (losses.arbitrary_pair_loss, (Z1, Z2, Z1.sigmoid(), LABELS, LABELS), {"reduction": "macro"}),
    "HydraMoCoLoss": (
        losses.hydra_moco_loss,
        (VIEWS, VIEWS, Z1.sigmoid(), Z2.sigmoid(), LABELS, LABELS.flip(0)),
        {"alpha": 0.5},
    ),
    "HardContrastiveLoss": (losses.hard_contrastive_loss, (Z1, Z2), {"top_k": 2}),
    "SimpleContrastiveLoss": (losses.simple_contrastive_loss, (Z1, Z2), {"alpha": 0.5}),
    "SimCTGLoss": (
        losses.simctg_loss,
        (random(1, 4, 3), random(1, 4, 5), torch.tensor([[1, 2, 3, 4]])),
        {"margin": 0.9},
    ),
    "GlobalInfoNCELoss": (losses.global_info_nce_loss, (VIEWS, VIEWS), {"pooling": "mean"}),
    "LocalInfoNCELoss": (losses.local_info_nce_loss, (VIEWS,), {"segments": 4}),
    "TeamUpLoss": (losses.team_up_loss, (Z1, Z2, Z1[:, 0]), {"gamma": 0.5, "reduction": "none"}),
    "TupleInfoNCELoss": (losses.tuple_info_nce_loss, (Z1, Z2, random(5, 3, DIM)), {"scope": "own"}),
    "MaskedContrastLoss": (
        losses.masked_contrast_loss,
        (Z1, Z2, Z1 + Z2, torch.zeros(5, 10, dtype=torch.bool)),
        {"form": "official_bce"},
    ),
    "ScoreDistillationLoss": (losses.score_distillation_loss, (Z1, Z2, Z1 @ Z2.T), {"temperature": 0.3}),
    "MNRPlusLoss": (losses.mnr_plus_loss, (Z1, Z2), {"temperature": 0.7}),
    "CurvedLoss": (losses.curved_loss, (Z1, Z2, LABELS.double()), {"reduction": "sum"}),
    "MarginContrastiveLoss": (losses.margin_contrastive_loss, (Z1, Z2, LABELS.double()), {"margin": 0.3}),
    "MultiViewCLIPLoss": (losses.multi_view_clip_loss, (Z1, Z2, VIEWS, VIEWS), {"directions": "mean"}),
    "SigLIPLoss": (losses.siglip_loss, (Z1, Z2), {"bias": -1.0}),
    "SwALIPLoss": (losses.swalip_loss, (VIEWS[:2], VIEWS[:2].flip(0)), {"epsilon": 0.1}),
    "SupConLoss": (losses.sup_con_loss, (Z1, LABELS), {"temperature": 0.3}),
}


def is_twin(entry: Any) -> bool:
    return inspect.isclass(entry) and issubclass(entry, LossModule) and entry is not LossModule


def test_every_twin_is_tested() -> None:
    public = {name for name in dipole.losses.__all__ if is_twin(getattr(losses, name))}
    assert public == set(TWINS)


@pytest.mark.parametrize("name", TWINS)
def test_a_module_is_its_function(name: str) -> None:
    function, tensors, options = TWINS[name]
    cls: type[LossModule] = getattr(losses, name)
    for chosen in (options, {}):
        torch.manual_seed(0)  # of the draws of a loss
        ours = cls(**chosen)(*tensors)
        torch.manual_seed(0)
        assert torch.equal(ours, function(*tensors, **chosen))
    keywords = [p for p in inspect.signature(function).parameters.values() if p.kind is p.KEYWORD_ONLY]
    assert list(inspect.signature(cls).parameters.values()) == keywords
    assert list(cls().parameters()) == []
    key, value = next(iter(options.items()))
    assert f"{key}={value!r}" in repr(cls(**options))


@pytest.mark.parametrize("name", TWINS)
def test_a_module_refuses_what_its_function_does_not_know(name: str) -> None:
    with pytest.raises(InputError, match=r"has no argument 'temprature': choose from \w+, "):
        getattr(losses, name)(temprature=0.1)
    with pytest.raises(InputError, match="has no argument 'z1'"):
        getattr(losses, name)(z1=Z1)


REDUCED: dict[str, Callable[[Any], Tensor]] = {
    "nt_xent": lambda r: losses.nt_xent_loss(Z1, Z2, reduction=r),
    "info_nce": lambda r: losses.info_nce_loss(Z1, Z2, reduction=r),
    "info_nce with a bank": lambda r: losses.info_nce_loss(Z1, Z2, bank(Z1), reduction=r),
    "hard negatives": lambda r: losses.hard_negatives_info_nce_loss(Z1, Z2, bank(Z1), reduction=r),
    "own negatives": lambda r: losses.own_negatives_info_nce_loss(Z1, Z2, bank(Z1), random(5, 3, DIM), reduction=r),
    "feature_transform": lambda r: losses.feature_transform_loss(
        Z1, Z2, bank(Z1), draws=losses.TransformDraws(1.5, 0.5, torch.arange(7).roll(1)), reduction=r
    ),
    "multi_positive": lambda r: losses.multi_positive_info_nce_loss(Z1, VIEWS, reduction=r),
    "clip": lambda r: losses.clip_loss(Z1, Z2, reduction=r),
    "clip, several texts": lambda r: losses.multi_text_clip_loss(Z1, VIEWS, reduction=r),
    "clip, pairwise": lambda r: losses.pairwise_clip_loss(VIEWS, reduction=r),
    "info_loob": lambda r: losses.info_loob_loss(Z1, Z2, reduction=r),
    "cloob": lambda r: losses.cloob_loss(Z1, Z2, reduction=r),
    "cloob, info_nce": lambda r: losses.cloob_loss(Z1, Z2, objective="info_nce", reduction=r),
    "cloob, no retrieval": lambda r: losses.cloob_loss(Z1, Z2, retrieval=False, reduction=r),
    "symile": lambda r: losses.symile_loss(VIEWS, permutations=torch.arange(5).expand(2, 1, 5), reduction=r),
    "cwcl": lambda r: losses.cwcl_loss(Z1, Z2, reduction=r),
    "weighted": lambda r: losses.weighted_contrastive_loss(Z1, Z2, weight_embeddings=Z2, reduction=r),
    "dcl": lambda r: losses.dcl_loss(Z1, Z2, reduction=r),
    "dclw": lambda r: losses.dclw_loss(Z1, Z2, reduction=r),
    "dcl_queue": lambda r: losses.dcl_queue_loss(Z1, Z2, bank(Z1), reduction=r),
    "dcl_neighbour": lambda r: losses.dcl_neighbour_loss(Z1, Z2, reduction=r),
    "sup_con": lambda r: losses.sup_con_loss(Z1, LABELS, reduction=r),
    "groco": lambda r: losses.groco_loss(VIEWS, top_k=2, reduction=r),
    "groco, similarities": lambda r: losses.group_ordering_loss(Z1, Z2, reduction=r),
    "hard": lambda r: losses.hard_contrastive_loss(Z1, Z2, top_k=2, reduction=r),
    "simple": lambda r: losses.simple_contrastive_loss(Z1, Z2, reduction=r),
}


@pytest.mark.parametrize("name", REDUCED)
def test_reductions_agree(name: str) -> None:
    values = REDUCED[name]("none")
    assert values.shape == ((10,) if name in ("nt_xent", "dcl", "dclw", "groco") else (5,))
    torch.testing.assert_close(REDUCED[name]("sum"), values.sum())
    torch.testing.assert_close(REDUCED[name]("mean"), values.mean())
    if name in ("dcl", "dclw"):
        views = values.view(2, -1).mean(dim=1)
        torch.testing.assert_close(REDUCED[name]("sum_of_views"), views.sum())


def test_values_are_those_of_single_anchors() -> None:
    """Entry i of the unreduced loss belongs to row i: it does not change with the negatives' own positives."""
    values = losses.info_nce_loss(Z1, Z2, reduction="none")
    for i in range(5):
        others = torch.cat([Z2[:i], Z2[i + 1 :]])
        alone = losses.info_nce_loss(Z1[i : i + 1], Z2[i : i + 1], others)
        torch.testing.assert_close(values[i], alone)


def test_everything_public_exists_and_is_documented() -> None:
    for name in dipole.losses.__all__:
        assert inspect.getdoc(getattr(losses, name)), name
