"""DITO: its two stages, what they train, and what is detected."""

from typing import Any

import pytest
import torch

from dipole.errors import InputError
from dipole.losses import clip_loss, region_contrastive_loss
from dipole.methods.multimodal.dito import DITO
from dipole.nn.windowed_vit import ShiftedWindowViT, window_merge, window_partition
from dipole.ops import grid_boxes

N = 4
FACTS: dict[str, Any] = {"image": {"kind": "image", "size": 16}, "caption": {"kind": "text", "vocabulary": 9}}
SMALL: dict[str, Any] = {"vit_width": 8, "vit_heads": 2, "vit_blocks": 2, "pyramid_channels": 4, "head_hidden": 8}
SMALL |= {"boxes": 3, "crop_size": 3, "text_encoder": "bag-8", "embedding_dim": 6}


def build(**options: Any) -> DITO:
    torch.manual_seed(0)
    return DITO(modalities=FACTS, **{**SMALL, **options})


def batch(missing: bool = False) -> dict[str, Any]:
    generator = torch.Generator().manual_seed(1)
    images = torch.rand(N, 3, 16, 16, generator=generator)
    tokens = torch.stack([torch.randint(9, (N, 5), generator=generator), torch.ones(N, 5, dtype=torch.long)], dim=1)
    present = {name: torch.ones(N, dtype=torch.bool) for name in FACTS}
    present["caption"][1] = not missing
    return {"views": {"inputs": {"image": images, "caption": tokens}, "present": present}, "index": torch.arange(N)}


def test_the_first_stage_is_clip_and_trains_no_head() -> None:
    method, views = build(objective="image"), batch()["views"]
    z = method.encode(views).embeddings
    loss = method.loss_terms(batch())["loss"]
    torch.testing.assert_close(loss, clip_loss(z["image"], z["caption"], temperature=method.temperature))
    loss.backward()
    heads = [p for part in (method.pyramid, method.head) for p in part.parameters()]
    assert all(p.grad is None and not p.requires_grad for p in heads)
    assert all(p.grad is not None for p in method.parameters() if p.requires_grad)


@pytest.mark.parametrize("freeze", [True, False])
def test_the_second_stage_is_the_loss_of_regions(freeze: bool) -> None:
    method = build(freeze_encoders=freeze)
    torch.manual_seed(3)
    loss = method.loss_terms(batch())["loss"]
    text = method.encode(batch()["views"]).embeddings["caption"]
    torch.manual_seed(3)
    regions = method.random_regions(batch()["views"]["inputs"]["image"])
    assert regions.shape == (4, N, 3, 6)
    torch.testing.assert_close(loss, region_contrastive_loss(regions, text, temperature=method.temperature))
    loss.backward()
    assert all((p.grad is None) == freeze for p in method.encoders.parameters())
    assert all(p.grad is not None for p in method.pyramid.parameters())


def test_a_row_without_a_caption_takes_no_part() -> None:
    method = build(objective="image")
    views = batch(missing=True)["views"]
    kept = torch.tensor([0, 2, 3])
    rest = {part: {name: rows[kept] for name, rows in entries.items()} for part, entries in views.items()}
    ours, theirs = (method.loss_terms({"views": v, "index": kept})["loss"] for v in (views, rest))
    torch.testing.assert_close(ours, theirs)
    assert build().loss_terms(batch(missing=True))["loss"].isfinite()


def test_detections_lie_in_the_image_and_names_can_be_base_ones() -> None:
    method = build().eval()
    names = torch.randn(3, 6, generator=torch.Generator().manual_seed(2))
    images = batch()["views"]["inputs"]["image"][:2]
    for base in (None, torch.tensor([False, True, False])):
        for found in method.detect(images, names, base, score_threshold=0.0, maximum=7):
            assert 0 < len(found.boxes) <= 7
            assert bool((found.boxes >= 0).all() and (found.boxes <= 16.001).all())
            assert set(found.classes.tolist()) <= {1, 2}
            assert bool((found.scores.diff() <= 0).all())


def test_the_grid_covers_the_image() -> None:
    boxes = grid_boxes((16, 32))
    assert boxes[:, :2].min() == 0
    torch.testing.assert_close(boxes[:, 2:].amax(dim=0), torch.tensor([16.0, 32.0]))


def test_windows_come_together_and_a_shift_averages_two_passes() -> None:
    tokens = torch.randn(2, 4, 8, 3)
    torch.testing.assert_close(window_merge(window_partition(tokens, 2), 2, 4, 8), tokens)
    vit = ShiftedWindowViT(8, 2, windows=[2, None], patch_size=2, grid=4, shift=1)
    patches = torch.randn(1, 4, 4, 8)
    torch.testing.assert_close(vit.encode(patches), vit.norm((vit.passed(patches) + vit.passed(patches, 1)) / 2))
    assert vit(torch.zeros(1, 3, 16, 16)).shape == (1, 8, 8, 8)  # positions are interpolated


@pytest.mark.parametrize(
    ("wrong", "match"),
    [
        ({"patch_size": 3}, "patch_size"),
        ({"boxes": 0}, "boxes"),
        ({"modalities": {"a": FACTS["image"], "b": FACTS["image"]}}, "an image and a text"),
        ({"encoders": {"image": torch.nn.Identity()}}, "feature_map"),
    ],
)
def test_what_cannot_be_is_refused(wrong: dict[str, Any], match: str) -> None:
    with pytest.raises(InputError, match=match):
        DITO(**{"modalities": FACTS, **SMALL, **wrong})
