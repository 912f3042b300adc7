"""What the experiments share: a small encoder and views for grey images."""

from typing import Any

# One head for all methods, whatever their own default is.
SMALL: dict[str, Any] = {
    "encoder": "convnet4-16",
    "projection_dim": 32,
    "projector_final_norm": False,
    "optimizer": "sgd",
}

# Mirrored digits are other signs, and grey images have no colour; every image is jittered, so that the distribution of
# the views is the same whichever class of views a method uses.
GREY_CACR_VIEWS: dict[str, Any] = {
    "crop_scale": [0.4, 1.0],
    "flip": 0.0,
    "brightness": 0.4,
    "contrast": 0.4,
    "saturation": 0.0,
    "hue": 0.0,
    "grayscale": 0.0,
}
GREY_VIEWS: dict[str, Any] = {**GREY_CACR_VIEWS, "jitter": 1.0, "blur": 0.0}
