"""Random crops are taken from whole photos, where they are decoded."""

import numpy as np
import pytest
import torch
from lightning.pytorch import LightningModule, Trainer
from PIL import Image
from torch import nn
from torchvision.transforms import RandomResizedCrop
from torchvision.transforms import functional as tv

from dipole.data import ImageDataModule, load_images
from dipole.data.decode import UnreadableImageError, decode_crops
from dipole.data.inflated import InflatedImageSet
from dipole.data.multimodal import load_modalities
from dipole.errors import InputError
from dipole.views import DINOViews, SimCLRViews
from dipole.views.modalities import ModalityViews

BOXES = torch.tensor([[0.0, 0.0, 40.0, 90.0], [11.0, 70.0, 29.0, 20.0], [5.0, 3.0, 9.0, 7.0]])


def photo(width: int = 90, height: int = 40, grain: int = 5) -> Image.Image:
    """A smooth picture, in which neighbouring crops differ."""
    coarse = np.random.default_rng(0).integers(0, 256, (height // grain, width // grain, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


@pytest.mark.parametrize("size", [8, 32, 64])
def test_a_crop_is_torchvisions(tmp_path, size):
    photo().save(tmp_path / "one.png")
    crops = decode_crops(tmp_path / "one.png", size, lambda height, width: BOXES)
    for crop, box in zip(crops, BOXES.int().tolist(), strict=True):
        expected = tv.resized_crop(photo(), *box, [size, size])
        assert np.array_equal(crop, np.asarray(expected).transpose(2, 0, 1))


def test_boxes_are_those_of_the_photo_as_it_is_seen(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter
    photo().save(tmp_path / "turned.png", exif=exif)
    sizes = []

    def boxes(height, width):
        sizes.append((height, width))
        return torch.tensor([[2.0, 1.0, 80.0, 30.0]])

    (crop,) = decode_crops(tmp_path / "turned.png", 16, boxes)
    expected = tv.resized_crop(photo().transpose(Image.Transpose.ROTATE_270), 2, 1, 80, 30, [16, 16])
    assert sizes == [(90, 40)]
    assert np.array_equal(crop, np.asarray(expected).transpose(2, 0, 1))


def test_a_jpeg_that_is_decoded_smaller_shows_the_same_parts(tmp_path):
    photo(801, 603, grain=40).save(tmp_path / "large.jpg", quality=95)
    whole = Image.open(tmp_path / "large.jpg").convert("RGB")
    boxes = torch.tensor([[0.0, 0.0, 603.0, 801.0], [303.0, 401.0, 300.0, 400.0], [17.0, 500.0, 333.0, 301.0]])
    crops = decode_crops(tmp_path / "large.jpg", 32, lambda height, width: boxes)
    for crop, box in zip(crops, boxes.int().tolist(), strict=True):
        expected = np.asarray(tv.resized_crop(whole, *box, [32, 32])).transpose(2, 0, 1).astype(int)
        assert np.abs(crop - expected).mean() < 1.5
        # Moved by a tenth of the crop it would be another picture.
        moved = np.roll(expected, 3, axis=2)
        assert np.abs(crop - moved).mean() > 10


def test_damage_is_named(tmp_path):
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n and then nothing")
    with pytest.raises(UnreadableImageError):
        decode_crops(tmp_path / "broken.png", 8, lambda height, width: BOXES)


def test_crops_of_a_photo_are_distributed_as_torchvisions_and_reach_its_borders():
    count = 20_000
    views = SimCLRViews(64)
    drawn = views.draw_crops(count // 2, torch.Generator().manual_seed(0)).flatten(0, 1)
    ours = views.boxes(drawn, 480, 640)
    blank = torch.empty(3, 480, 640)
    torch.manual_seed(0)
    theirs = torch.tensor([RandomResizedCrop.get_params(blank, [0.08, 1.0], [3 / 4, 4 / 3]) for _ in range(count)])
    for what in (
        lambda top, left, height, width: height * width,
        lambda top, left, height, width: (width / height).log(),
        lambda top, left, height, width: top + height / 2,
        lambda top, left, height, width: left + width / 2,
    ):
        a, b = what(*ours.double().t()), what(*theirs.double().t())
        error = ((a.var() + b.var()) / count) ** 0.5
        assert abs(a.mean() - b.mean()) < 3 * error
        squares = (a - a.mean()) ** 2, (b - b.mean()) ** 2
        error = ((squares[0].var() + squares[1].var()) / count) ** 0.5
        assert abs(a.var() - b.var()) < 3 * error
    top, left, height, width = ours.t()
    assert (int(top.min()), int(left.min())) == (0, 0)
    assert (int((top + height).max()), int((left + width).max())) == (480, 640)


@pytest.fixture
def photos(tmp_path):
    """Sixteen photos, wider than high, whose left and right ends are red: the centre square has no red."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for index in range(16):
        picture = Image.new("RGB", (96, 32), (0, 16 * index, 255))
        picture.paste((255, 0, 0), (0, 0, 24, 32))
        picture.paste((255, 0, 0), (72, 0, 96, 32))
        picture.save(folder / f"{index}.png")
    return folder


class Recorder(LightningModule):
    """Remembers the views it is given."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(()))
        self.seen = []

    def training_step(self, batch, batch_idx):
        assert "crops" not in batch
        self.seen.append((batch["index"], batch["views"]))
        return self.weight * 0

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


def run(folder, photos, epochs, *, workers=0, views=None, resume=None):
    recorder = Recorder()
    trainer = Trainer(
        max_epochs=epochs,
        default_root_dir=folder,
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    views = views or SimCLRViews(16, grayscale=0, jitter=0)
    data = ImageDataModule(str(photos), batch_size=4, num_workers=workers, views=views)
    trainer.fit(recorder, datamodule=data, ckpt_path=resume, weights_only=True if resume else None)
    return recorder.seen, trainer.checkpoint_callback.best_model_path


def same(first, second):
    return len(first) == len(second) and all(
        torch.equal(a, b) for one, other in zip(first, second, strict=True) for a, b in zip(one, other, strict=True)
    )


@pytest.mark.filterwarnings("ignore:.*does not have many workers.*")
@pytest.mark.filterwarnings("ignore:The number of training batches.*")
@pytest.mark.filterwarnings("ignore:Checkpoint directory.*")
@pytest.mark.filterwarnings("ignore:.*LeafSpec.*:FutureWarning")
class TestTraining:
    @pytest.mark.parametrize("views", [SimCLRViews(16, grayscale=0, jitter=0), DINOViews(16, num_views=3)])
    def test_views_show_what_lies_outside_the_centre_square(self, tmp_path, photos, views):
        seen, _ = run(tmp_path, photos, 2, views=views)
        made = torch.stack([views for _, views in seen])
        assert made.shape[1:] == (views.num_views, 4, 3, 16, 16)
        if isinstance(views, SimCLRViews):
            red = (made[:, :, :, 0] > 0.9).float().mean((-1, -2))
            assert 0.2 < float((red > 0.3).float().mean()) < 0.9
            # Two views of an image are drawn apart from each other, and so are epochs.
            assert not torch.equal(made[:, 0], made[:, 1])
            assert not torch.equal(made[: len(made) // 2], made[len(made) // 2 :])

    def test_loading_processes_and_a_stop_between_epochs_change_nothing(self, tmp_path, photos):
        whole, _ = run(tmp_path / "whole", photos, 3)
        apart, _ = run(tmp_path / "apart", photos, 3, workers=2)
        assert same(whole, apart)
        first, checkpoint = run(tmp_path / "first", photos, 1)
        rest, _ = run(tmp_path / "first", photos, 3, workers=1, resume=checkpoint)
        assert same(whole, first + rest)


def test_pairs_of_photos_and_captions_train_on_crops_of_the_whole_photo(tmp_path, photos):
    table = tmp_path / "pairs.csv"
    table.write_text("image,caption\n" + "".join(f"photos/{index}.png,number {index}\n" for index in range(16)))
    rows, _ = load_modalities(str(table))
    views = ModalityViews({"image": rows.facts()["image"]}, crop_scale=(0.05, 0.2))
    records = rows.to_train().fetch(torch.arange(len(rows)))
    images = views(records, {}, generator=torch.Generator().manual_seed(0))["inputs"]["image"]
    assert images.shape[1:] == rows[0]["image"].shape
    assert any(bool((image[0] > 0.9).all()) for image in images)
    # To embed, the centre square is read as ever.
    whole = views(rows.fetch(torch.arange(len(rows))), {})["inputs"]["image"]
    assert float(whole[:, 0].max()) < 0.1


def test_a_photo_that_breaks_after_the_first_look_ends_training_with_its_name(tmp_path, photos):
    table = tmp_path / "pairs.csv"
    table.write_text("image,caption\n" + "".join(f"photos/{index}.png,number {index}\n" for index in range(16)))
    rows, _ = load_modalities(str(table))
    for path in photos.glob("*.png"):
        path.write_bytes(b"no image")
    views = ModalityViews({"image": rows.facts()["image"]})
    with pytest.raises(InputError, match=r"cannot decode .*\.png"):
        views(rows.to_train().fetch(torch.arange(2)), {}, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("flip", [0, 1])
def test_crops_are_finished_as_they_are(flip):
    crops = torch.randint(0, 256, (2, 3, 3, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    views = SimCLRViews(16, flip=flip, jitter=0, grayscale=0).finish(crops)
    torch.testing.assert_close(views, (crops.flip(-1) if flip else crops) / 255)


def test_generated_photos_are_cropped_like_real_ones(photos):
    folder = load_images(photos, 16)
    both = InflatedImageSet(folder, folder)
    boxes = SimCLRViews(16).boxes
    drawn = SimCLRViews(16).draw_crops(3, torch.Generator().manual_seed(0))
    indices = torch.tensor([1, 17, 31])
    made = both.fetch_crops(indices, lambda row, height, width: boxes(drawn[row], height, width), 16)
    plain = folder.fetch_crops(indices % 16, lambda row, height, width: boxes(drawn[row], height, width), 16)
    assert torch.equal(made, plain)
