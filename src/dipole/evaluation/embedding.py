"""Images -> embeddings, in order."""

from collections.abc import Callable, Iterable

import torch
from jaxtyping import Float
from torch import Tensor

from dipole.data.image_set import ImageSet
from dipole.errors import InputError
from dipole.ops.door import admitted, public


@public
@torch.no_grad()
def embed_image_set(
    embed: Callable[[Tensor], Tensor],
    image_set: ImageSet,
    image_size: int,
    batch_size: int = 512,
    device: torch.device | str | None = None,
    progress: bool = False,
) -> Float[Tensor, "n d"]:
    """Embed every image of a set, in the order of the set.

    Images are resized by the evaluation transform `dipole.views.image.resize`. The network behind `embed` should be in
    evaluation mode.

    Args:
        embed: images float (N, 3, S, S) in [0, 1] -> embeddings (N, D).
        image_set: the images.
        image_size: S.
        batch_size: images embedded at once, above 0.
        device: where `embed` expects the images; the CPU by default.
        progress: whether to show a progress bar.

    Returns:
        Embeddings in single precision (double if `embed` returns double) on the CPU.

    Raises:
        InputError: the set is empty, the batch size below 1, or `embed` does not return one row an image.

    Example:
        >>> from dipole.data import load_image_sets
        >>> _, digits = load_image_sets("digits")
        >>> embed_image_set(lambda images: images.mean(dim=(2, 3)), digits, 16).shape
        torch.Size([450, 3])
    """
    from dipole.views.image import resize

    if len(image_set) == 0 or batch_size < 1:
        raise InputError(f"{len(image_set)} images in batches of {batch_size}: expected 1 or more of both.")
    batches: Iterable[Tensor] = torch.arange(len(image_set)).split(batch_size)
    if progress:
        from rich.console import Console
        from rich.progress import track

        batches = track(batches, description=f"embedding {image_set.name}", console=Console(stderr=True))
    rows = []
    for indices in batches:
        images = image_set.fetch(indices)
        embedded = admitted(
            embed(resize(images if device is None else images.to(device), image_size)), "embed's result"
        )
        if not isinstance(embedded, Tensor):
            raise InputError(f"embed returned a {type(embedded).__name__}: expected a tensor (N, D).")
        if embedded.ndim != 2 or len(embedded) != len(indices):
            raise InputError(
                f"embed returned shape {tuple(embedded.shape)} for {len(indices)} images: expected (N, D), one row an "
                "image."
            )
        rows.append((embedded if embedded.dtype == torch.float64 else embedded.float()).cpu())
    return torch.cat(rows)


@public
def raw_pixels(image_set: ImageSet, image_size: int) -> Float[Tensor, "n d"]:
    """The pixels themselves as embeddings (N, 3·S·S): what any encoder should beat.

    Args:
        image_set: the images.
        image_size: S; the images are resized as for an encoder.

    Raises:
        InputError: the set is empty.

    Example:
        >>> from dipole.data import load_image_sets
        >>> _, digits = load_image_sets("digits")
        >>> raw_pixels(digits, 8).shape
        torch.Size([450, 192])
    """
    return embed_image_set(lambda images: images.flatten(1), image_set, image_size)
