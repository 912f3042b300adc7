import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dipole.data import TensorImageSet, load_digits, load_shapes, stratified_split
from dipole.data.shapes import FACTORS
from dipole.errors import InputError


def counted(count: int = 6, channels: int = 1) -> TensorImageSet:
    """Image i is filled with i."""
    images = torch.arange(count, dtype=torch.uint8).view(-1, 1, 1, 1).expand(-1, channels, 4, 5).contiguous()
    return TensorImageSet("counted", images, {"label": torch.arange(count) % 2}, {"label": ("even", "odd")})


def test_fetch_keeps_the_order_and_repeats_grey():
    images = counted().fetch(torch.tensor([4, 0, 4]))
    assert images.shape == (3, 3, 4, 5)
    assert images[:, :, 0, 0].tolist() == [[4, 4, 4], [0, 0, 0], [4, 4, 4]]


def test_select_takes_labels_and_ids_along():
    chosen = counted().select(torch.tensor([5, 2]))
    assert chosen.ids == ("5", "2")
    assert chosen.labels["label"].tolist() == [1, 0]
    assert chosen.fetch(torch.tensor([0]))[0, 0, 0, 0] == 5
    assert chosen.class_names == {"label": ("even", "odd")}


def test_batches_and_single_items_are_dictionaries():
    batch = counted().__getitems__([3, 1])
    assert {key: value.shape[0] for key, value in batch.items()} == {"images": 2, "index": 2, "label": 2}
    assert batch["index"].tolist() == [3, 1]
    item = counted()[3]
    assert item["images"].shape == (3, 4, 5)
    assert item["label"] == 1


def test_sample_is_a_fixed_subset_in_order():
    chosen = counted().sample(4)
    assert len(chosen) == 4
    assert list(chosen.ids) == sorted(chosen.ids)
    assert chosen.ids == counted().sample(4).ids
    whole = counted()
    assert whole.sample(6) is whole


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (torch.zeros(2, 1, 4, 4), None, "float32"),
        (torch.zeros(2, 2, 4, 4, dtype=torch.uint8), None, r"\(2, 2, 4, 4\)"),
        (torch.zeros(0, 1, 4, 4, dtype=torch.uint8), None, "above 0"),
        (torch.zeros(2, 1, 4, 4, dtype=torch.uint8), {"label": torch.zeros(3)}, "one an image"),
        (torch.zeros(2, 1, 4, 4, dtype=torch.uint8), {"label": torch.tensor([-1, 0])}, "ranges from -1"),
    ],
)
def test_unfit_tensors_are_refused(images, labels, message):
    with pytest.raises(InputError, match=message):
        TensorImageSet("bad", images, labels)


def test_class_names_must_match_the_labels():
    images = torch.zeros(2, 1, 4, 4, dtype=torch.uint8)
    with pytest.raises(InputError, match="0 to 0"):
        TensorImageSet("bad", images, {"label": torch.tensor([0, 1])}, {"label": ("only",)})
    with pytest.raises(InputError, match="for every kind"):
        TensorImageSet("bad", images, {}, {"label": ("only",)})
    with pytest.raises(InputError, match="3 ids for 2 images"):
        TensorImageSet("bad", images, ids=["a", "b", "c"])


def test_digits_are_whole_stratified_and_alike():
    train, test = load_digits()
    assert (len(train), len(test)) == (1347, 450)
    assert set(train.ids).isdisjoint(test.ids)
    assert len({*train.ids, *test.ids}) == 1797
    counts = torch.bincount(test.labels["label"])
    assert int(counts.min()) >= 43
    assert int(counts.max()) <= 46
    assert int(train.images.max()) == 255
    assert train.default_size == 16
    assert load_digits()[1].ids == test.ids


def test_shapes_repeat_by_seed_and_differ_by_part():
    train, test = load_shapes(30, 30, seed=3)
    again, _ = load_shapes(30, 30, seed=3)
    other, _ = load_shapes(30, 30, seed=4)
    assert torch.equal(train.images, again.images)
    assert not torch.equal(train.images, other.images)
    assert not torch.equal(train.images, test.images)
    assert train.input_shape == (3, 32, 32)


def test_the_factors_of_shapes_are_independent():
    train, _ = load_shapes(2000, 1)
    kinds = list(FACTORS)
    for position, first in enumerate(kinds):
        assert set(train.labels[first].tolist()) == set(range(len(FACTORS[first])))
        for second in kinds[position + 1 :]:
            table = np.zeros((len(FACTORS[first]), len(FACTORS[second])))
            np.add.at(table, (train.labels[first].numpy(), train.labels[second].numpy()), 1)
            expected = table.sum(1, keepdims=True) * table.sum(0, keepdims=True) / table.sum()
            chi_square = ((table - expected) ** 2 / expected).sum()
            freedom = (table.shape[0] - 1) * (table.shape[1] - 1)
            assert chi_square < freedom + 4 * (2 * freedom) ** 0.5


def test_shapes_show_what_their_labels_say():
    train, _ = load_shapes(1500, 1)
    images, labels = train.images.float(), train.labels
    plain = labels["texture"] == FACTORS["texture"].index("plain")
    background = images[:, :, 0, 0]
    painted = (images - background[:, :, None, None]).abs().sum(1) > 60
    area = painted[plain].flatten(1).sum(1).float()
    sizes = [area[labels["size"][plain] == size].mean() for size in range(3)]
    assert sizes[0] * 1.5 < sizes[1]
    assert sizes[1] * 1.3 < sizes[2]
    columns = (painted[plain] * torch.arange(32.0)).flatten(1).sum(1) / area
    left = labels["position"][plain] % 3 == 0
    right = labels["position"][plain] % 3 == 2
    assert columns[left].max() < columns[right].min()
    centre = images[:, :, 16, 16]
    red = plain & (labels["colour"] == 0) & (labels["label"] < 2) & (labels["position"] == 4)
    assert red.any()
    assert (centre[red][:, 0] > 2 * centre[red][:, 1:].max(1).values).all()


def test_shapes_refuse_no_images():
    with pytest.raises(InputError, match="1 image or more"):
        load_shapes(train=0)


@given(st.lists(st.integers(0, 4), min_size=1, max_size=60), st.integers(0, 3))
def test_a_split_is_a_stratified_partition(labels, seed):
    labels = torch.tensor(labels)
    train, test = stratified_split(labels, 0.2, seed)
    assert sorted([*train.tolist(), *test.tolist()]) == list(range(len(labels)))
    for value in labels.unique():
        count, held_out = int((labels == value).sum()), int((labels[test] == value).sum())
        assert held_out == (0 if count == 1 else max(1, round(0.2 * count)))
    assert torch.equal(stratified_split(labels, 0.2, seed)[1], test)


def test_a_split_of_everything_is_refused():
    with pytest.raises(InputError, match=r"0\.2"):
        stratified_split(torch.zeros(3, dtype=torch.long), 1.0)
