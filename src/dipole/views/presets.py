"""Augmentations by name, as AdaInf compares them."""

from typing import Any

from dipole.ops.checks import check_choice

# Strengths of brightness, contrast, saturation, hue.
_ROWS: dict[str, tuple[float, float, tuple[float, float, float, float], float]] = {
    "symmetric": (0.08, 0.8, (0.8, 0.8, 0.8, 0.2), 0.5),
    "symmetric_weak": (0.08, 0.8, (0.4, 0.4, 0.4, 0.1), 0.5),
    "symmetric_adainf": (0.2, 0.4, (0.4, 0.4, 0.4, 0.1), 0.5),
    "asymmetric": (0.08, 0.8, (0.4, 0.4, 0.2, 0.1), 0.0),
    "asymmetric_adainf": (0.2, 0.4, (0.4, 0.4, 0.2, 0.1), 0.0),
}


def augmentation_preset(name: str) -> dict[str, Any]:
    """Return arguments of `SimCLRViews`: how large crops are, how often and how much colours change, blur.

    Wang, Zhang, Wang: *Do Generated Data Always Help Contrastive Learning?* (ICLR 2024), authors' settings. The second
    view of the asymmetric ones is solarised with probability 0.2 there.

    Args:
        name: `"symmetric"` (SimCLR), `"symmetric_weak"` (MoCo v2), `"asymmetric"` (BYOL, Barlow Twins), or
            `"symmetric_adainf"`, `"asymmetric_adainf"`, which are weaker.

    Raises:
        InputError: an unknown name.

    Example:
        >>> preset = augmentation_preset("symmetric_adainf")
        >>> preset["crop_scale"], preset["jitter"]
        ((0.2, 1.0), 0.4)
    """
    check_choice(name, tuple(_ROWS), "name")
    smallest, jitter, (brightness, contrast, saturation, hue), blur = _ROWS[name]
    return {
        "crop_scale": (smallest, 1.0),
        "jitter": jitter,
        "brightness": brightness,
        "contrast": contrast,
        "saturation": saturation,
        "hue": hue,
        "grayscale": 0.2,
        "blur": blur,
        "flip": 0.5,
    }
