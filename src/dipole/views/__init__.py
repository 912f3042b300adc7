"""What makes positives: augmentations that run on whole batches, on the device of the data."""

from dipole.views.image import CACRViews, ImageViews, MoCoV2Views, SimCLRViews, resize
from dipole.views.parameters import ViewParameters
from dipole.views.pipeline import apply_views

__all__ = ["CACRViews", "ImageViews", "MoCoV2Views", "SimCLRViews", "ViewParameters", "apply_views", "resize"]
