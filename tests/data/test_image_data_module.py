import pytest
import torch
from lightning.pytorch import LightningModule, Trainer
from PIL import Image
from torch import nn

from dipole.data import EpochSampler, ImageDataModule
from dipole.errors import InputError

# What Lightning says about short runs, few workers and a missing logger.
pytestmark = [
    pytest.mark.filterwarnings("ignore:.*does not have many workers.*"),
    pytest.mark.filterwarnings("ignore:The number of training batches.*"),
    pytest.mark.filterwarnings("ignore:Checkpoint directory.*"),
    pytest.mark.filterwarnings("ignore:.*LeafSpec.*:FutureWarning"),
]


class NoisyViews(nn.Module):
    """Two copies of the images' first pixels with noise: shows which random numbers it was given."""

    size = 4

    def forward(self, images, generator=None):
        clean = images[:, :, :4, :4].float() / 255
        return clean + torch.rand((2, *clean.shape), generator=generator, device=images.device)


class Recorder(LightningModule):
    """Remembers the batches it is given; learns nothing."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(()))
        self.seen = []

    def training_step(self, batch, batch_idx):
        self.seen.append((self.current_epoch, batch["index"].tolist(), batch["views"].sum().item()))
        return self.weight * 0

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


def trainer(folder, epochs, **options):
    return Trainer(
        max_epochs=epochs,
        default_root_dir=folder,
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        **options,
    )


def make(**options):
    return ImageDataModule("digits", **{"batch_size": 500, "views": NoisyViews(), **options})


def test_batches_are_full_and_never_repeat_an_image():
    module = ImageDataModule("digits", batch_size=256)
    batches = list(module.train_dataloader())
    assert [len(batch["index"]) for batch in batches] == [256] * 5
    seen = torch.cat([batch["index"] for batch in batches])
    assert len(seen.unique()) == len(seen)
    batch = batches[0]
    assert set(batch) == {"images", "index", "label"}
    assert batch["images"].dtype == torch.uint8
    assert torch.equal(batch["images"], module.train_set.fetch(batch["index"]))
    assert torch.equal(batch["label"], module.train_set.labels["label"][batch["index"]])


def test_a_set_smaller_than_a_batch_is_one_batch():
    (batch,) = ImageDataModule("digits", batch_size=5000).train_dataloader()
    assert len(batch["index"]) == 1347


def test_what_the_module_says_about_the_data():
    module = ImageDataModule("digits")
    assert (module.num_classes, module.image_size, module.input_shape) == (10, 16, (3, 16, 16))
    assert module.evaluations == ("knn", "linear")
    assert ImageDataModule("digits", image_size=20).input_shape == (3, 20, 20)
    assert make().input_shape == (3, 4, 4)


def test_a_folder_without_labels_offers_no_evaluation_and_workers_decode_it(tmp_path):
    for index in range(10):
        Image.new("RGB", (8, 8), (index, 0, 0)).save(tmp_path / f"{index}.png")
    module = ImageDataModule(str(tmp_path), batch_size=4, image_size=8, num_workers=1)
    assert module.evaluations == ()
    batches = list(module.train_dataloader())
    assert [batch["images"].shape for batch in batches] == [(4, 3, 8, 8)] * 2
    for batch in batches:
        names = [int(module.train_set.ids[index].split(".")[0]) for index in batch["index"]]
        assert batch["images"][:, 0, 0, 0].tolist() == names
        assert "label" not in batch


@pytest.mark.parametrize("which", ["train", "test"])
def test_the_embedding_order_is_that_of_the_set(which):
    module = make(batch_size=400)
    index = torch.cat([batch["index"] for batch in module.embed_dataloader(which)])
    assert index.tolist() == list(range(len(module.train_set if which == "train" else module.test_set)))


def test_loading_leaves_the_global_random_state_alone():
    module = make()
    before = torch.get_rng_state()
    list(module.train_dataloader())
    assert torch.equal(torch.get_rng_state(), before)


def test_training_adds_views_that_repeat_by_seed(tmp_path):
    seen = []
    for seed in (0, 0, 1):
        torch.manual_seed(len(seen))  # the global seed has no say
        recorder = Recorder()
        trainer(tmp_path, 2, enable_checkpointing=False).fit(recorder, datamodule=make(seed=seed))
        seen.append(recorder.seen)
    assert seen[0] == seen[1]
    assert [epoch for epoch, _, _ in seen[0]] == [0, 0, 1, 1]
    noise = {views for _, _, views in seen[0]} | {views for _, _, views in seen[2]}
    assert len(noise) == 8
    assert seen[0][0][1] != seen[0][2][1]
    assert seen[0][0][1] != seen[2][0][1]


def test_accumulated_batches_have_views_of_their_own(tmp_path):
    recorder = Recorder()
    module = make(batch_size=1347)
    module.train_set.images[:] = 0
    trainer(tmp_path, 2, enable_checkpointing=False, accumulate_grad_batches=2).fit(recorder, datamodule=module)
    assert len({views for _, _, views in recorder.seen}) == 2


@pytest.mark.parametrize("workers", [0, 1])
def test_a_resumed_run_repeats_the_rest_bit_for_bit(tmp_path, workers):
    whole = Recorder()
    trainer(tmp_path, 4, enable_checkpointing=False).fit(whole, datamodule=make())
    first = trainer(tmp_path, 2)
    first.fit(Recorder(), datamodule=make())
    resumed = Recorder()
    trainer(tmp_path, 4).fit(
        resumed,
        datamodule=make(num_workers=workers),
        ckpt_path=first.checkpoint_callback.best_model_path,
        weights_only=True,
    )
    assert resumed.seen == whole.seen[4:]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 1}, "2 or more images in a batch"),
        ({"num_workers": -1}, "num_workers=-1"),
        ({"seed": -1}, "seed=-1"),
        ({"image_size": 0}, "image_size=0"),
        ({"image_size": 8}, r"views\.size is 4 but image_size 8"),
    ],
)
def test_settings_out_of_range_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        make(**options)


def test_an_unknown_part_is_refused():
    with pytest.raises(InputError, match="'train' or 'test'"):
        make().embed_dataloader("validation")


def test_the_order_is_a_function_of_seed_and_epoch():
    def order(seed, epoch):
        sampler = EpochSampler(range(50), seed, 1, 0)
        sampler.set_epoch(epoch)
        return tuple(sampler)

    assert order(0, 3) == order(0, 3)
    assert len({order(seed, epoch) for seed in range(3) for epoch in range(3)}) == 9
    assert sorted(order(1, 1)) == list(range(50))


def test_processes_share_one_order_without_overlap():
    whole = list(EpochSampler(range(11), 5, 1, 0))
    parts = [list(EpochSampler(range(11), 5, 4, rank)) for rank in range(4)]
    assert [len(part) for part in parts] == [len(EpochSampler(range(11), 5, 4, 0))] * 4 == [2] * 4
    together = [index for turn in zip(*parts, strict=True) for index in turn]
    assert together == whole[:8]
    with pytest.raises(InputError, match="seed is -1"):
        EpochSampler(range(4), -1)
