"""No loader runs code from the folder of a model, or asks whether it may."""

import builtins
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dipole.decoding import load_language_model
from dipole.errors import InputError
from dipole.nn.clip_towers import open_clip_tower
from dipole.nn.foreign import refuse_code
from dipole.nn.modalities import build_modality_encoder
from dipole.nn.text import build_text_encoder, pretrain_mlm
from dipole.nn.text.encoder import open_tokenizer, open_transformer
from text_models import bert_folder

CODE = "open({ran!r}, 'a').write('x')\nfrom transformers import {base}\nclass {name}({base}): {body}\n"


@pytest.fixture
def attack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of a model whose configuration, tokenizer and network are classes of its own."""
    folder = shutil.copytree(bert_folder(), tmp_path / "evil")
    for file, base, name, body in (
        ("configuration_e", "PretrainedConfig", "C", "model_type = 'e'"),
        ("modeling_e", "PreTrainedModel", "M", "pass"),
        ("tokenization_e", "PreTrainedTokenizerFast", "T", "pass"),
    ):
        code = CODE.format(ran=str(tmp_path / "RAN"), base=base, name=name, body=body)
        (folder / f"{file}.py").write_text(code)
    models = dict.fromkeys(("AutoModel", "AutoModelForCausalLM", "AutoModelForMaskedLM"), "modeling_e.M")
    auto_map = {"AutoConfig": "configuration_e.C", **models}
    (folder / "config.json").write_text(json.dumps({"model_type": "e", "auto_map": auto_map}))
    tokenizer = {"tokenizer_class": "T", "auto_map": {"AutoTokenizer": ["tokenization_e.T", "tokenization_e.T"]}}
    (folder / "tokenizer_config.json").write_text(json.dumps(tokenizer))

    def asked(*_: Any) -> str:
        raise AssertionError("a person was asked")

    monkeypatch.setattr(builtins, "input", asked)
    return folder


def clip_folder(folder: Path, **text: Any) -> Path:
    """A folder of open_clip with these settings of its text tower."""
    folder.mkdir(exist_ok=True)
    sizes = {"context_length": 16, "vocab_size": 100, "width": 64, "heads": 1, "layers": 1}
    vision = {"image_size": 32, "layers": 1, "width": 64, "patch_size": 16}
    config = {"model_cfg": {"embed_dim": 16, "vision_cfg": vision, "text_cfg": {**sizes, **text}}, "preprocess_cfg": {}}
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    (folder / "open_clip_model.safetensors").write_bytes(b"")
    return folder


LOADERS: dict[str, Callable[[Path], Any]] = {
    "a tokenizer": lambda folder: open_tokenizer(str(folder)),
    "a transformer": lambda folder: open_transformer(str(folder)),
    "a text encoder": lambda folder: build_text_encoder(str(folder)),
    "masked language modelling": lambda folder: pretrain_mlm(folder, ["a text"], steps=1),
    "a language model": load_language_model,
    "an image tower": lambda folder: open_clip_tower(folder, "image"),
    "a text tower": lambda folder: open_clip_tower(folder, "text"),
    "a modality": lambda folder: build_modality_encoder(str(folder), {"kind": "text"}, max_length=8),
}


@pytest.mark.parametrize("name", LOADERS)
def test_no_loader_runs_code(name: str, attack: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="names code that is to be run"):
        LOADERS[name](attack)
    assert not (tmp_path / "RAN").exists()


@pytest.mark.parametrize(
    "text",
    [{"tokenizer_kwargs": {"trust_remote_code": True}}, {"hf_model_name": "evil"}, {"hf_tokenizer_name": "evil"}],
)
@pytest.mark.parametrize("kind", ["image", "text"])
def test_open_clip_opens_no_folder_that_names_code(
    text: dict[str, Any], kind: str, attack: Path, tmp_path: Path
) -> None:
    named = {key: str(attack) if value == "evil" else value for key, value in text.items()}
    with pytest.raises(InputError, match="names code that is to be run"):
        open_clip_tower(clip_folder(tmp_path / "clip", **named), kind)
    assert not (tmp_path / "RAN").exists()


def test_adapters_of_a_model_that_names_code(attack: Path, tmp_path: Path) -> None:
    adapters = tmp_path / "adapters"
    adapters.mkdir()
    (adapters / "adapter_model.safetensors").write_bytes(b"")
    for extra in ({}, {"auto_mapping": {"parent_library": "modeling_e"}}, {"megatron_config": {"a": 1}}):
        content = {"base_model_name_or_path": str(attack), "peft_type": "LORA", **extra}
        (adapters / "adapter_config.json").write_text(json.dumps(content))
        with pytest.raises(InputError, match="names code that is to be run"):
            load_language_model(adapters)
    assert not (tmp_path / "RAN").exists()


def test_modules_of_somebody_else(tmp_path: Path) -> None:
    folder = shutil.copytree(bert_folder(), tmp_path / "model")
    modules = [{"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"}]
    (folder / "modules.json").write_text(json.dumps(modules))
    refuse_code(folder)
    (folder / "modules.json").write_text(json.dumps([*modules, {"idx": 1, "path": "1_Evil", "type": "evil.Pooling"}]))
    with pytest.raises(InputError, match=r"modules.json names code that is to be run \(evil.Pooling\)"):
        build_text_encoder(str(folder))
    (folder / "modules.json").unlink()
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text(json.dumps({"a": [{"trust_remote_code": True}]}))
    with pytest.raises(InputError, match="trust_remote_code"):
        build_text_encoder(str(folder))


def test_an_ordinary_folder_passes() -> None:
    refuse_code(bert_folder())
    assert build_text_encoder(str(bert_folder()), max_length=32).width == 16
