from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import nn

from dipole.errors import InputError
from dipole.nn import ConvNet4, ImageEncoder, SmallAlexNet, build_encoder


@pytest.mark.parametrize(
    ("name", "size", "width"),
    [
        ("convnet4", 8, 256),
        ("convnet4-4", 8, 32),
        ("convnet4-4", 33, 32),
        ("convnet4-1", 1, 8),
        ("small-alexnet", 16, 4096),
        ("small-alexnet", 32, 4096),
        ("resnet18", 16, 512),
        ("vit_tiny_patch16_224", 224, 192),
    ],
)
def test_features_by_name(name: str, size: int, width: int) -> None:
    encoder = build_encoder(name, image_size=size).eval()
    with torch.inference_mode():
        features = encoder(torch.rand(2, 3, size, size))
    assert features.shape == (2, width) == (2, encoder.width)
    assert features.isfinite().all()


def test_the_default_convnet_is_small() -> None:
    assert sum(p.numel() for p in ConvNet4().parameters()) == 388_896


def test_small_images_get_the_small_stem() -> None:
    small, large = (build_encoder("resnet18", image_size=size).backbone for size in (32, 224))
    assert small.conv1.kernel_size == (3, 3)  # type: ignore[union-attr]
    assert isinstance(small.maxpool, nn.Identity)
    assert large.conv1.kernel_size == (7, 7)  # type: ignore[union-attr]
    assert isinstance(large.maxpool, nn.MaxPool2d)


def test_bytes_and_unit_floats_are_the_same_image() -> None:
    encoder = build_encoder("convnet4-4").eval()
    images = torch.randint(0, 256, (3, 3, 8, 8), dtype=torch.uint8)
    with torch.inference_mode():
        torch.testing.assert_close(encoder(images), encoder(images / 255))


def test_images_are_normalised_by_the_encoder() -> None:
    encoder = ImageEncoder(nn.Flatten(), 3, mean=(0.1, 0.2, 0.3), std=(0.5, 0.25, 2.0))
    features = encoder(torch.tensor([0.6, 0.45, 0.3]).view(1, 3, 1, 1))
    torch.testing.assert_close(features, torch.tensor([[1.0, 1.0, 0.0]]))
    assert list(encoder.state_dict()) == []  # constants are rebuilt, not saved


def test_weights_are_kept_channels_last() -> None:
    assert build_encoder("convnet4-4").backbone[0].weight.is_contiguous(memory_format=torch.channels_last)  # type: ignore[index]


def test_a_module_is_measured_and_left_as_it_was() -> None:
    module = nn.Sequential(nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    before = {name: value.clone() for name, value in module.state_dict().items()}
    encoder = build_encoder(module, image_size=9)
    assert encoder.width == 6
    assert encoder.backbone is module
    assert all(part.training for part in module.modules())
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())


@pytest.mark.parametrize(
    ("encoder", "message"),
    [
        ("resnet19", r"encoder is 'resnet19': expected 'convnet4', 'small-alexnet' or a timm model, e\.g\. resnet18"),
        ("nonsense", "encoder is 'nonsense': expected 'convnet4', 'small-alexnet' or a timm model"),
        ("convnet4-x", "write the width as a number, e.g. 'convnet4-64'"),
        ("convnet4-0", "write the width as a number"),
        (nn.Conv2d(3, 4, 3), r"the encoder returned \(2, 4, 30, 30\) for two images: expected features \(2, F\)"),
    ],
)
def test_encoders_that_are_none(encoder: str | nn.Module, message: str) -> None:
    with pytest.raises(InputError, match=message):
        build_encoder(encoder)


@pytest.mark.usefixtures("unchecked")
def test_no_encoder_at_all() -> None:
    with pytest.raises(InputError, match="encoder is None: expected a name or a module"):
        build_encoder(None)  # type: ignore[arg-type]


@pytest.mark.parametrize("size", [1, 15])
def test_images_too_small_for_alexnet(size: int) -> None:
    with pytest.raises(InputError, match=f"16×16 or larger; image_size is {size}"):
        SmallAlexNet(size)


def test_weights_come_from_a_file_with_names_of_timm_or_our_own(tmp_path: Path) -> None:
    source = timm.create_model("resnet18", num_classes=7)
    save_file(source.state_dict(), tmp_path / "timm.safetensors")
    own = {
        f"network.encoder.backbone.{name}": value.contiguous()
        for name, value in build_encoder("resnet18").backbone.state_dict().items()
    }
    save_file(own, tmp_path / "own.safetensors")
    loaded = build_encoder("resnet18", weights=str(tmp_path / "timm.safetensors"))
    assert torch.equal(loaded.backbone.conv1.weight, source.conv1.weight)
    again = build_encoder("resnet18", weights=str(tmp_path / "own.safetensors"))
    assert torch.equal(again.backbone.conv1.weight, own["network.encoder.backbone.conv1.weight"])
    with pytest.raises(InputError, match="does not fit the encoder"):
        build_encoder("resnet34", weights=str(tmp_path / "timm.safetensors"))
    with pytest.raises(InputError, match="cannot read the weights"):
        build_encoder("resnet18", weights=str(tmp_path / "none.safetensors"))
