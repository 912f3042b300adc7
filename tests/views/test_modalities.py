import pytest
import torch

from dipole.errors import InputError
from dipole.nn.text import learn_tokenizer
from dipole.views.modalities import CaptionRewriteViews, ModalityViews

FACTS = {
    "image": {"kind": "image", "size": 8},
    "caption": {"kind": "text"},
    "sound": {"kind": "sound", "samples": 5},
    "sensor": {"kind": "vector", "width": 2},
    "kind": {"kind": "category", "names": ["cat", "dog"]},
}
CAPTIONS = ["one small cat", "a cat", "the cat sits here"]


@pytest.fixture(scope="module")
def tokenizers():
    return {"caption": learn_tokenizer([*CAPTIONS, "two dogs run"], 60, 64)}


def record(**changes):
    return {
        "image": torch.arange(192, dtype=torch.uint8).view(3, 8, 8),
        "caption": CAPTIONS,
        "sound": torch.ones(5),
        "sensor": torch.tensor([1.0, 2.0]),
        "kind": "dog",
        **changes,
    }


def text(tokens, tokenizer):
    return [tokenizer.decode(ids, skip_special_tokens=True) for ids in tokens[:, 0]]


def test_without_a_generator_nothing_is_drawn(tokenizers):
    views = ModalityViews(FACTS, {"caption": 16}, captions="random", crop_scale=(0.2, 0.5))
    batch = views([record(), record(kind="cat")], tokenizers)
    torch.testing.assert_close(batch["inputs"]["image"][0], record()["image"] / 255)
    assert text(batch["inputs"]["caption"], tokenizers["caption"]) == [CAPTIONS[0]] * 2
    assert batch["inputs"]["kind"].tolist() == [1, 0]
    assert all(bool(known.all()) for known in batch["present"].values())


def test_what_is_missing_is_zero_and_said_to_be(tokenizers):
    views = ModalityViews(FACTS, {"caption": 16})
    nothing = dict.fromkeys(FACTS)
    batch = views([nothing, record(kind="fox"), nothing], tokenizers)
    for name, known in batch["present"].items():
        assert known.tolist() == [False, name != "kind", False]  # a fox was never trained on
        if name != "caption":
            assert batch["inputs"][name][0].abs().max() == 0
    assert text(batch["inputs"]["caption"], tokenizers["caption"]) == ["", CAPTIONS[0], ""]
    batch = views([nothing, nothing], tokenizers)
    assert batch["inputs"]["image"].shape == (2, 3, 8, 8)
    assert not any(bool(known.any()) for known in batch["present"].values())


def test_captions_are_drawn_each_as_likely_and_short_ones_give_way(tokenizers):
    views = CaptionRewriteViews({"caption": FACTS["caption"]}, {"caption": 16})
    records = [record(caption=[*CAPTIONS, "cat"])] * 400
    first = views(records, tokenizers, generator=torch.Generator().manual_seed(0))["inputs"]["caption"]
    drawn = text(first, tokenizers["caption"])
    share = {caption: drawn.count(caption) / 400 for caption in CAPTIONS}
    assert share[CAPTIONS[0]] == pytest.approx(0.5, abs=0.08)  # in place of "cat", too
    assert share[CAPTIONS[1]] == pytest.approx(0.25, abs=0.08)
    again = views(records, tokenizers, generator=torch.Generator().manual_seed(0))["inputs"]["caption"]
    assert text(again, tokenizers["caption"]) == drawn


def test_all_captions_with_repetition(tokenizers):
    views = ModalityViews({"caption": FACTS["caption"]}, {"caption": 16}, captions="all")
    records = [record(), record(caption=["two dogs run"]), record(caption=None)]
    tokens = views(records, tokenizers, generator=torch.Generator())["inputs"]["caption"]
    assert tokens.shape[:2] == (3, 3)
    for version in range(3):
        assert text(tokens[version], tokenizers["caption"]) == [CAPTIONS[version], "two dogs run", ""]


def test_crops_are_drawn(tokenizers):
    views = ModalityViews({"image": FACTS["image"]}, crop_scale=(0.3, 0.5))
    generator = torch.Generator().manual_seed(0)
    images = views([record()] * 3, {}, generator=generator)["inputs"]["image"]
    assert images.shape == (3, 3, 8, 8)
    assert not torch.equal(images[0], images[1])


def test_one_modality_alone(tokenizers):
    batch = ModalityViews(FACTS, {"caption": 16}).only("sensor")([{"sensor": torch.tensor([3.0, 4.0])}], tokenizers)
    assert batch["inputs"]["sensor"].tolist() == [[3.0, 4.0]]


def test_mistakes_are_told(tokenizers):
    with pytest.raises(InputError, match="crop_scale"):
        ModalityViews({"sensor": FACTS["sensor"]}, crop_scale=(0.0, 1.0))
    with pytest.raises(InputError, match="min_words"):
        ModalityViews({}, min_words=-1)
    with pytest.raises(InputError, match=r"sensor has the shape \(3,\), the model was trained on \(2,\)"):
        ModalityViews({"sensor": FACTS["sensor"]})([{"sensor": torch.zeros(3)}], {})
