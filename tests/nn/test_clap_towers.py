"""A CLAP of transformers, opened from disk: the same features as its own extractor, the same embeddings."""

from pathlib import Path

import numpy as np
import pytest
import torch
import transformers

from dipole.errors import InputError
from dipole.nn.clap_towers import SoundTower, is_clap, open_clap_tower, repeated
from dipole.nn.mel import MelSpectrogram


def small_clap(folder: Path) -> transformers.ClapModel:
    text = {
        "vocab_size": 40,
        "hidden_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 16,
    }
    audio = {
        "patch_embeds_hidden_size": 8,
        "hidden_size": 16,
        "depths": [1, 1],
        "num_attention_heads": [2, 2],
        "enable_fusion": False,
    }
    torch.manual_seed(0)
    config = transformers.ClapConfig(
        text_config={**text, "projection_dim": 12}, audio_config={**audio, "projection_dim": 12}, projection_dim=12
    )
    model = transformers.ClapModel(config).eval()
    model.save_pretrained(folder)
    return model


@pytest.mark.parametrize("fusion", [False, True], ids=["plain", "fusion"])
def test_front_end_is_that_of_transformers(fusion: bool) -> None:
    sound = 0.3 * torch.randn(100_000, generator=torch.Generator().manual_seed(0))
    how = {"truncation": "fusion" if fusion else "rand_trunc", "padding": "repeatpad", "frequency_min": 50}
    extractor = transformers.ClapFeatureExtractor(**how)
    theirs = extractor(sound.numpy().astype(np.float64), sampling_rate=48000, return_tensors="np")["input_features"]
    ours = MelSpectrogram.clap(fusion)(repeated(sound)[None].double())
    np.testing.assert_allclose(ours[0].numpy(), theirs[0, 0], atol=1e-3)


def test_whisper_front_end_is_that_of_transformers() -> None:
    sound = 0.3 * torch.randn(16000, generator=torch.Generator().manual_seed(0))
    extractor = transformers.WhisperFeatureExtractor(chunk_length=1)
    theirs = extractor(sound.numpy(), sampling_rate=16000, return_tensors="np")["input_features"]
    np.testing.assert_allclose(MelSpectrogram.whisper()(sound[None].double())[0].T.numpy(), theirs[0], atol=1e-4)


def test_sound_tower_embeds_as_the_model(tmp_path: Path) -> None:
    model = small_clap(tmp_path)
    tower = open_clap_tower(tmp_path, "sound", 48000).eval()
    assert is_clap(tmp_path)
    assert isinstance(tower, SoundTower)
    sound = 0.3 * torch.randn(1, 480_000, generator=torch.Generator().manual_seed(0))
    features = MelSpectrogram.clap()(sound)[:, None]
    with torch.inference_mode():
        found = model.get_audio_features(input_features=features)
        expected = getattr(found, "pooler_output", found)
        ours = torch.nn.functional.normalize(tower(sound), dim=1)
        torch.testing.assert_close(ours, torch.nn.functional.normalize(expected, dim=1), rtol=1e-4, atol=1e-5)


def test_another_rate_and_code_are_refused(tmp_path: Path) -> None:
    small_clap(tmp_path)
    with pytest.raises(InputError, match="48000"):
        open_clap_tower(tmp_path, "sound", 16000)
    config = (tmp_path / "config.json").read_text()
    (tmp_path / "config.json").write_text(config.replace("{", '{"auto_map": {"AutoModel": "evil.Model"},', 1))
    with pytest.raises(InputError, match="code"):
        open_clap_tower(tmp_path, "sound", 48000)
