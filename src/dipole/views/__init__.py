"""What makes positives: augmentations that run on whole batches, on the device of the data."""

from dipole.views.captions import Caption, choose_caption
from dipole.views.dino import DINOViews
from dipole.views.image import CACRViews, ImageViews, MoCoV2Views, SimCLRViews, resize
from dipole.views.parameters import ViewParameters
from dipole.views.pipeline import apply_views
from dipole.views.rewrites import build_rewrite_prompt, parse_rewrite, sample_examples

__all__ = [
    "CACRViews",
    "Caption",
    "DINOViews",
    "ImageViews",
    "MoCoV2Views",
    "SimCLRViews",
    "ViewParameters",
    "apply_views",
    "build_rewrite_prompt",
    "choose_caption",
    "parse_rewrite",
    "resize",
    "sample_examples",
]
