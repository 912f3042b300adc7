"""The two towers of a CLAP, as transformers stores it, as encoders of sounds and texts."""

from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from dipole.errors import InputError
from dipole.files import read_json, write_json
from dipole.nn.clip_towers import TextTower
from dipole.nn.foreign import refuse_code
from dipole.nn.mel import MelSpectrogram
from dipole.nn.text.encoder import explained, open_tokenizer, quiet

RATE = 48000
LONGEST = 480000  # samples of a sound, ten seconds
PREPROCESSOR = "preprocessor_config.json"


class SoundTower(nn.Module):
    """A CLAP's sound tower with its projection: sounds at 48 kHz in, embeddings out.

    A sound shorter than ten seconds is repeated as often as it fits and filled with silence, a longer one is cut.

    Args:
        tower: a transformers model from `input_features` to `audio_embeds`.
        width: of the embeddings.
        lowest: Hz at which the first mel band begins.
        highest: Hz at which the last one ends.
    """

    def __init__(self, tower: nn.Module, width: int, lowest: float = 50, highest: float = 14000) -> None:
        super().__init__()
        self.tower, self.width = tower, width
        self.bounds = (lowest, highest)
        config: Any = tower.config
        self.fusion = bool(config.enable_fusion)
        self.spectrogram = MelSpectrogram.clap(self.fusion, int(config.num_mel_bins), lowest, highest)

    def forward(self, sounds: Float[Tensor, "n samples"]) -> Float[Tensor, "n d"]:
        """Return embeddings (N, D), not normalised."""
        features = self.spectrogram(torch.stack([repeated(sound) for sound in sounds]))[:, None]
        # With fusion a short sound stands in all four places, and is said not to be long.
        longer = torch.zeros(len(sounds), 1, dtype=torch.bool, device=sounds.device)
        found: Any = self.tower(
            input_features=features.expand(-1, 4, -1, -1) if self.fusion else features,
            is_longer=longer if self.fusion else None,
        )
        embeddings: Tensor = found.audio_embeds
        return embeddings


def repeated(sound: Float[Tensor, "n"]) -> Float[Tensor, "m"]:
    """Return ten seconds of a sound, the silence at its end left out: repeated as often as it fits, then filled.

    Example:
        >>> repeated(torch.ones(200000)).sum(), len(repeated(torch.ones(500000)))
        (tensor(400000.), 480000)
    """
    heard = sound.nonzero()
    kept = sound[: int(heard[-1]) + 1] if len(heard) else sound
    kept = kept[:LONGEST].repeat(max(1, LONGEST // max(1, len(kept))))
    return nn.functional.pad(kept, (0, LONGEST - len(kept)))


def is_clap(folder: str | Path) -> bool:
    """Return whether a folder holds a CLAP of transformers, or a tower of one.

    Example:
        >>> is_clap("no/such/folder")
        False
    """
    path = Path(folder) / "config.json"
    config = read_json(path) if path.is_file() else None
    return isinstance(config, dict) and str(config.get("model_type", "")).startswith("clap")


def open_clap_tower(folder: str | Path, kind: str, rate: int | None = None) -> SoundTower | TextTower:
    """Open a tower of a CLAP from disk; nothing in the folder is run.

    Args:
        folder: of `ClapModel.save_pretrained`, with the tokenizer beside it.
        kind: `"sound"` or `"text"`.
        rate: samples a second of the sounds that will come.

    Raises:
        InputError: the folder is not as above, its weights are pickles, it names code, or the rate is not 48 kHz.
    """
    folder = Path(folder)
    refuse_code(folder)
    if kind == "sound" and rate not in (None, RATE):
        raise InputError(
            f"{folder} hears sounds at {RATE} samples a second, not {rate}: use --loading.sample_rate {RATE}."
        )
    import transformers

    options: dict[str, Any] = {"use_safetensors": True, "local_files_only": True, "dtype": torch.float32}
    with explained(str(folder)), quiet():
        if kind == "sound":
            audio: Any = transformers.ClapAudioModelWithProjection.from_pretrained(folder, **options)
            return SoundTower(audio.train(), int(audio.config.projection_dim), *_bounds(folder))
        text: Any = transformers.ClapTextModelWithProjection.from_pretrained(folder, **options)
        tokenizer = open_tokenizer(str(folder))
        # RoBERTa's positions begin behind the one of padding.
        length = int(text.config.max_position_embeddings) - int(text.config.pad_token_id) - 1
        return TextTower(text.train(), tokenizer, int(text.config.projection_dim), length)


def save_sound_tower(encoder: nn.Module, folder: str | Path) -> None:
    """Write a sound tower so that `open_clap_tower` and transformers open it."""
    if isinstance(encoder, SoundTower):
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        with quiet():
            encoder.tower.save_pretrained(folder)  # type: ignore[operator]
        lowest, highest = encoder.bounds
        how = {"frequency_min": lowest, "frequency_max": highest, "sampling_rate": RATE}
        write_json(folder / PREPROCESSOR, {"feature_extractor_type": "ClapFeatureExtractor", **how})


def _bounds(folder: Path) -> tuple[float, float]:
    """The frequencies of the mel bands that the folder says, those of the published checkpoints otherwise.

    Raises:
        InputError: it says another rate or other frames than CLAP's.
    """
    path = folder / PREPROCESSOR
    how = read_json(path) if path.is_file() else {}
    for name, usual in (("sampling_rate", RATE), ("fft_window_size", 1024), ("hop_length", 480)):
        if how.get(name, usual) != usual:
            raise InputError(f"{path} has {name} {how[name]}: CLAP's sound towers take {usual}.")
    return float(how.get("frequency_min", 50)), float(how.get("frequency_max", 14000))
