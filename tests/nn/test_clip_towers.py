"""Towers of CLIPs that transformers and open_clip have written, and back."""

import json
import shutil

import pytest
import torch

from dipole.data.multimodal.built_in import load_shape_captions
from dipole.errors import InputError
from dipole.methods.multimodal.clip import CLIP
from dipole.nn.clip_towers import MEAN, STD, is_clip, open_clip_tower
from dipole.nn.modalities import build_modality_encoder
from dipole.nn.text import learn_tokenizer
from dipole.runs import RunConfig, load, train

TEXTS = ["a small red circle", "a star"]
OPEN = {
    "embed_dim": 12,
    "vision_cfg": {"image_size": 16, "layers": 1, "width": 32, "patch_size": 8, "head_width": 16},
    "text_cfg": {"context_length": 16, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1},
}


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    """A folder with a tiny CLIPModel and its tokenizer."""
    from transformers import CLIPConfig, CLIPModel

    folder = tmp_path_factory.mktemp("clip")
    tokenizer = learn_tokenizer([*TEXTS, "something else"], 60, 16)
    size = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = CLIPConfig(
        text_config={**size, "vocab_size": 60, "max_position_embeddings": 16, "eos_token_id": 3, "projection_dim": 12},
        vision_config={**size, "image_size": 16, "patch_size": 8, "projection_dim": 12},
        projection_dim=12,
    )
    torch.manual_seed(0)
    CLIPModel(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def other(tmp_path_factory):
    """A folder with a tiny model of open_clip."""
    import open_clip
    from safetensors.torch import save_file

    folder = tmp_path_factory.mktemp("open_clip")
    torch.manual_seed(0)
    model = open_clip.CLIP(**OPEN)
    weights = {key: value.contiguous().clone() for key, value in model.state_dict().items()}
    save_file(weights, folder / "open_clip_model.safetensors")
    preprocess = {"mean": [0.5, 0.5, 0.5], "std": [0.25, 0.25, 0.25]}
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": OPEN, "preprocess_cfg": preprocess}))
    return folder, model.eval()


def pixels(images, mean=MEAN, std=STD):
    return (images - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(3, 1, 1)


def packed(encoder):
    tokens = encoder.tokenizer(TEXTS, padding=True, truncation=True, max_length=16, return_tensors="pt")
    return tokens, torch.stack([tokens["input_ids"], tokens["attention_mask"]], dim=1)


@torch.no_grad()
def test_towers_of_transformers_give_the_same_embeddings(clip):
    from transformers import CLIPModel

    model = CLIPModel.from_pretrained(clip, local_files_only=True).eval()
    images = torch.rand(2, 3, 16, 16)
    image = build_modality_encoder(str(clip), {"kind": "image", "size": 16}).eval()
    text = build_modality_encoder(str(clip), {"kind": "text"}).eval()
    tokens, rows = packed(text)
    whole = model(input_ids=tokens["input_ids"], attention_mask=tokens["attention_mask"], pixel_values=pixels(images))
    torch.testing.assert_close(torch.nn.functional.normalize(image(images), dim=1), whole.image_embeds)
    torch.testing.assert_close(torch.nn.functional.normalize(text(rows), dim=1), whole.text_embeds)
    assert (image.width, text.width, text.max_length) == (12, 12, 16)
    assert image(torch.rand(2, 3, 20, 20)).shape == (2, 12)


@pytest.mark.parametrize("said", [None, 7], ids=["unsaid", "another"])
@torch.no_grad()
def test_the_width_at_the_top_of_a_whole_model_counts(clip, tmp_path, said):
    from transformers import CLIPModel

    folder = shutil.copytree(clip, tmp_path / "clip")
    config = json.loads((folder / "config.json").read_text())
    for part in ("text_config", "vision_config"):
        config[part].pop("projection_dim", None)
        config[part] |= {} if said is None else {"projection_dim": said}
    (folder / "config.json").write_text(json.dumps(config))
    model = CLIPModel.from_pretrained(folder).eval()
    images = torch.rand(2, 3, 16, 16)
    image, text = open_clip_tower(folder, "image").eval(), open_clip_tower(folder, "text").eval()
    tokens, rows = packed(text)
    expected = model(**tokens, pixel_values=pixels(images))
    assert image.width == text.width == 12
    for found, known in ((image(images), expected.image_embeds), (text(rows), expected.text_embeds)):
        torch.testing.assert_close(torch.nn.functional.normalize(found, dim=1), known)


@torch.no_grad()
def test_towers_of_open_clip_give_the_same_embeddings(other):
    folder, model = other
    images = torch.rand(2, 3, 16, 16)
    image = build_modality_encoder(str(folder), {"kind": "image", "size": 16}).eval()
    text = build_modality_encoder(str(folder), {"kind": "text"}).eval()
    torch.testing.assert_close(image(images), model.encode_image(pixels(images, [0.5] * 3, [0.25] * 3)))
    tokens, rows = packed(text)
    torch.testing.assert_close(text(rows), model.encode_text(tokens["input_ids"]))


def trained(folder, tmp_path, **options):
    train_set, test_set = load_shape_captions(16, 8)
    config = RunConfig(
        "clip",
        batch_size=8,
        epochs=1,
        method={"image_encoder": str(folder), "text_encoder": str(folder), **options},
    )
    return train(config, tmp_path / "run", sets=(train_set, test_set), monitor=False, progress=False)


@torch.no_grad()
def test_trained_towers_open_in_transformers(clip, tmp_path):
    from transformers import CLIPTextModelWithProjection, CLIPVisionModelWithProjection

    run = trained(clip, tmp_path)
    method = load(run.path)
    images = torch.rand(2, 3, 16, 16)
    vision = CLIPVisionModelWithProjection.from_pretrained(run.model / "towers" / "image", local_files_only=True).eval()
    torch.testing.assert_close(vision(pixel_values=pixels(images)).image_embeds, method.encoders["image"](images))
    text = CLIPTextModelWithProjection.from_pretrained(run.model / "towers" / "caption", local_files_only=True).eval()
    tokens, rows = packed(method.encoders["caption"])
    found = text(input_ids=tokens["input_ids"], attention_mask=tokens["attention_mask"]).text_embeds
    torch.testing.assert_close(found, method.encoders["caption"](rows))
    before = open_clip_tower(clip, "image").eval()
    assert not torch.equal(before(images), method.encoders["image"](images))


@torch.no_grad()
def test_a_model_with_towers_of_open_clip_needs_nothing_but_its_folder(other, tmp_path):
    import shutil

    copied = shutil.copytree(other[0], tmp_path / "copy")
    run = trained(copied, tmp_path)
    shutil.rmtree(copied)
    method = load(run.path)
    _, rows = packed(method.encoders["caption"])
    assert method.embed({"caption": rows}).shape == (2, 12)


@torch.no_grad()
def test_training_starts_in_the_space_of_a_clip(clip):
    facts = {"image": {"kind": "image", "size": 16}, "caption": {"kind": "text"}}
    options = {"modalities": facts, "image_encoder": str(clip), "text_encoder": str(clip)}
    method = CLIP(**options).eval()
    assert method.embedding_dim == 12
    images = torch.rand(2, 3, 16, 16)
    tower = open_clip_tower(clip, "image").eval()
    expected = torch.nn.functional.normalize(tower(images), dim=1)
    torch.testing.assert_close(method.embed({"image": images}), expected)
    assert CLIP(**options, embedding_dim=5).eval().embed({"image": images}).shape == (2, 5)
    assert CLIP(**options, locked="image", locked_projection=False).embedding_dim == 12


@torch.no_grad()
def test_a_trained_clip_opens_in_transformers(clip, tmp_path):
    from transformers import AutoImageProcessor, AutoTokenizer, CLIPModel

    run = trained(clip, tmp_path)
    folder, method = run.model / "clip", load(run.path)
    model = CLIPModel.from_pretrained(folder, local_files_only=True).eval()
    images = torch.rand(2, 3, 16, 16)
    tokens = AutoTokenizer.from_pretrained(folder)(TEXTS, padding=True, return_tensors="pt")
    processor = AutoImageProcessor.from_pretrained(folder)
    processed = processor(images=list((images * 255).to(torch.uint8)), return_tensors="pt")["pixel_values"]
    torch.testing.assert_close(processed, pixels((images * 255).to(torch.uint8) / 255), rtol=1e-4, atol=1e-4)
    found = model(input_ids=tokens["input_ids"], attention_mask=tokens["attention_mask"], pixel_values=pixels(images))
    _, rows = packed(method.encoders["caption"])
    ours = [method.embed({"image": images}), method.embed({"caption": rows})]
    torch.testing.assert_close([found.image_embeds, found.text_embeds], ours)
    torch.testing.assert_close(model.logit_scale.exp(), method.logit_scale())


@torch.no_grad()
def test_a_trained_clip_opens_in_open_clip(other, tmp_path):
    import open_clip

    run = trained(other[0], tmp_path)
    method = load(run.path)
    model = open_clip.create_model(f"local-dir:{run.model / 'clip'}").eval()
    images = torch.rand(2, 3, 16, 16)
    tokens, rows = packed(method.encoders["caption"])
    found = model(pixels(images, [0.5] * 3, [0.25] * 3), tokens["input_ids"])
    torch.testing.assert_close(list(found[:2]), [method.embed({"image": images}), method.embed({"caption": rows})])
    torch.testing.assert_close(found[2], method.logit_scale())
    assert not torch.equal(found[0], torch.nn.functional.normalize(other[1].encode_image(images), dim=1))


@pytest.mark.parametrize("options", [{"embedding_dim": 5}, {"image_encoder": "convnet4-2"}])
def test_what_is_no_clip_any_more_is_not_written_as_one(clip, tmp_path, options):
    assert not (trained(clip, tmp_path, **options).model / "clip").exists()


def test_what_is_no_clip(tmp_path, clip):
    assert is_clip(clip)
    assert not is_clip(tmp_path)
    (tmp_path / "open_clip_config.json").write_text(json.dumps({"model_cfg": OPEN}))
    with pytest.raises(InputError, match=r"has no \*\.safetensors"):
        open_clip_tower(tmp_path, "image")
    (tmp_path / "open_clip_config.json").unlink()
    (tmp_path / "config.json").write_text('{"model_type": "clip"}')
    with pytest.raises(InputError, match="cannot open the encoder"):
        open_clip_tower(tmp_path, "text")
