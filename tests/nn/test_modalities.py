import numpy as np
import pytest
import torch
from torch import nn

from dipole.errors import InputError
from dipole.nn import ConvNet4
from dipole.nn.modalities import TokenEncoder, VectorEncoder, build_modality_encoder, learns_tokenizer
from dipole.nn.sound import FLOOR, LogMel, SoundEncoder, mel_filters
from dipole.nn.trained import open_trained_encoder
from dipole.runs.model import build_method, save_model
from text_models import bert_folder

TEXT = {"kind": "text", "vocabulary": 30}


@pytest.mark.parametrize(
    ("encoder", "facts", "inputs", "width"),
    [
        ("convnet4-4", {"kind": "image", "size": 8}, torch.rand(3, 3, 8, 8), 32),
        ("transformer-32-1", TEXT, torch.ones(3, 2, 7, dtype=torch.long), 32),
        ("transformer-64", TEXT, torch.ones(3, 2, 7, dtype=torch.long), 64),
        ("bag", TEXT, torch.ones(3, 2, 7, dtype=torch.long), 128),
        ("convnet-4", {"kind": "sound", "rate": 8000, "samples": 1600}, torch.rand(3, 1600), 32),
        ("mlp-8", {"kind": "vector", "mean": [0.0, 1.0], "std": [1.0, 1.0]}, torch.rand(3, 2), 8),
        ("identity", {"kind": "vector", "mean": [0.0, 1.0], "std": [1.0, 1.0]}, torch.rand(3, 2), 2),
        ("embedding-5", {"kind": "category", "names": ["a", "b"]}, torch.tensor([0, 1, 1]), 5),
    ],
)
def test_encoders_by_name(encoder, facts, inputs, width):
    built = build_modality_encoder(encoder, facts)
    assert built.width == width
    assert built(inputs).shape == (3, width)


@pytest.mark.parametrize(
    ("encoder", "facts", "message"),
    [
        ("convnet-x", {"kind": "sound", "rate": 8000}, "for a sound: expected 'convnet'"),
        ("wav2vec2", {"kind": "sound", "rate": 8000}, "for a sound: expected 'convnet'"),
        ("convnet", {"kind": "sound", "rate": 100}, "a rate of 100"),
        ("mlp", {"kind": "category", "names": ["a"]}, "for a category: expected 'embedding'"),
        ("resnet18", {"kind": "vector", "mean": [0.0], "std": [1.0]}, "for a vector: expected 'mlp'"),
        ("transformer-33", TEXT, "expected a multiple of 32"),
        ("no/such/model", TEXT, "cannot open the encoder"),
        ("no-such-model", {"kind": "image", "size": 8}, "or a timm model"),
    ],
)
def test_a_wrong_name_is_told(encoder, facts, message):
    with pytest.raises(InputError, match=message):
        build_modality_encoder(encoder, facts)


@pytest.mark.parametrize("layers", [0, 2])
def test_padding_does_not_matter(layers):
    torch.manual_seed(0)
    encoder = TokenEncoder(30, width=32, layers=layers).eval()
    ids = torch.tensor([[3, 4, 5, 0, 0], [6, 7, 8, 9, 10]])
    mask = torch.tensor([[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]])
    both = encoder(torch.stack([ids, mask], dim=1))
    alone = encoder(torch.stack([ids[:1, :3], mask[:1, :3]], dim=1))
    torch.testing.assert_close(both[:1], alone)
    swapped = encoder(torch.stack([ids[1:].flip(1), mask[1:]], dim=1))
    assert torch.allclose(both[1:], swapped, atol=1e-6) == (layers == 0)  # a bag knows no order


def test_a_transformer_by_path():
    encoder = build_modality_encoder(str(bert_folder()), {"kind": "text"}, max_length=16)
    tokens = encoder.tokenizer(["the cat", "a dog ran"], padding=True, return_tensors="pt")
    packed = torch.stack([tokens["input_ids"], tokens["attention_mask"]], dim=1)
    assert encoder(packed).shape == (2, 16)
    assert (learns_tokenizer(str(bert_folder())), learns_tokenizer("bag-8"), encoder.max_length) == (False, True, 16)


def test_vectors_are_standardised():
    encoder = VectorEncoder([1.0, -2.0], [2.0, 4.0], hidden=5)
    moved = VectorEncoder([0.0, 0.0], [1.0, 1.0], hidden=5)
    moved.layers.load_state_dict(encoder.layers.state_dict())
    torch.testing.assert_close(encoder(torch.tensor([[3.0, 2.0]])), moved(torch.tensor([[1.0, 1.0]])))


def test_the_filters_are_those_of_the_formula():
    audio_utils = pytest.importorskip("transformers.audio_utils")
    ours = mel_filters(8000, 256, 20)
    theirs = audio_utils.mel_filter_bank(129, 20, 0.0, 4000.0, 8000, norm=None, mel_scale="htk")
    np.testing.assert_allclose(ours.numpy().T, theirs, atol=1e-5)


def test_a_tone_lies_in_its_band_and_silence_at_the_floor():
    rate = 8000
    time = torch.arange(rate) / rate
    levels = LogMel(rate, bands=20)(torch.stack([torch.sin(2 * torch.pi * 1000 * time), torch.zeros(rate)]))
    assert levels.shape == (2, 20, 101)
    bin_of_tone = round(1000 / (rate / 256))
    expected = int(mel_filters(rate, 256, 20)[:, bin_of_tone].argmax())
    assert levels[0, :, 50].argmax() == expected
    torch.testing.assert_close(levels[1], torch.full((20, 101), FLOOR).log())


def test_loudness_hardly_matters_to_the_encoder():
    torch.manual_seed(0)
    encoder = SoundEncoder(8000, width=2).eval()
    sound = torch.randn(1, 4000)
    torch.testing.assert_close(encoder(sound), encoder(0.5 * sound), rtol=1e-2, atol=1e-3)
    assert encoder(torch.zeros(1, 4000)).isfinite().all()


def test_grey_images():
    assert ConvNet4(2, channels=1)(torch.zeros(2, 1, 8, 8)).shape == (2, 16)


def test_the_encoder_of_a_run_on_images(tmp_path):
    arguments = {"encoder": "convnet4-2", "image_size": 8}
    method = build_method("simclr", arguments, seed=3)
    save_model(method, tmp_path / "run" / "model", name="simclr", arguments=arguments, facts={"image_size": 8})
    facts = {"kind": "image", "size": 8}
    images = torch.rand(2, 3, 8, 8)
    for path in (tmp_path / "run", tmp_path / "run" / "model"):
        opened = build_modality_encoder(str(path), facts)
        assert torch.equal(opened.eval()(images), method.eval().encoder(images))
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="holds no dipole"):
        open_trained_encoder(tmp_path / "empty")
    (tmp_path / "run" / "model" / "dipole.json").write_text('{"name": "simcse", "method": {}}')
    with pytest.raises(InputError, match="is no model of images"):
        open_trained_encoder(tmp_path / "run")


def test_a_module_needs_a_width():
    with pytest.raises(InputError, match="no attribute width"):
        build_modality_encoder(nn.Identity(), TEXT)
