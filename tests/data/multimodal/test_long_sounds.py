"""Sounds that are longer than what is heard at a time: only the wanted part of a file is decoded."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from dipole.data.multimodal import ModalitySet
from dipole.data.multimodal.columns import RecordingFiles, SoundArray, SoundFiles, windows_of
from dipole.data.multimodal.sounds import UnreadableSoundError, check_sound_file, decode_sound, sound_seconds
from dipole.views.modalities import ModalityViews

RATE, SECONDS = 1000, 3600  # an hour
FACTS = {"sound": {"kind": "sound", "rate": RATE, "samples": 5 * RATE}}


def ramp(seconds: int = SECONDS) -> np.ndarray:
    """Every second has a value of its own."""
    return np.repeat((np.arange(seconds) - seconds / 2) / seconds, RATE).astype(np.float32)


@pytest.fixture(scope="module", params=["wav", "flac"])
def hour(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sounds") / f"hour.{request.param}"
    soundfile.write(path, ramp(), RATE)
    return path


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Frames that each call of libsndfile has decoded."""
    counts: list[int] = []
    read = soundfile.SoundFile.read

    def counted(self: Any, *arguments: Any, **options: Any) -> Any:
        found = read(self, *arguments, **options)
        counts.append(len(found))
        return found

    monkeypatch.setattr(soundfile.SoundFile, "read", counted)
    return counts


def files(path: Path, crop: Any = "random") -> SoundFiles:
    return SoundFiles([path], torch.tensor([True]), RATE, 5 * RATE, crop=crop)


def test_behind_the_end_there_is_nothing(hour: Path) -> None:
    with pytest.raises(UnreadableSoundError, match="no sample"):
        decode_sound(hour, RATE, 5 * RATE, 4000.0)


@pytest.mark.parametrize("start", [0.0, 17.0, 1800.5, 3597.0])
def test_a_part_of_an_hour_is_read_by_its_place(hour: Path, start: float, decoded: list[int]) -> None:
    found = decode_sound(hour, RATE, 5 * RATE, start)
    first = round(start * RATE)
    expected = np.zeros(5 * RATE, np.float32)
    rest = ramp()[first : first + 5 * RATE]
    expected[: len(rest)] = rest
    np.testing.assert_allclose(found, expected, atol=1e-4)
    assert sum(decoded) <= 5 * RATE + 1
    assert sound_seconds(hour) == SECONDS


def test_training_hears_a_part_that_is_drawn(hour: Path, decoded: list[int]) -> None:
    recordings = files(hour).to_train()
    assert type(recordings) is RecordingFiles
    row = [{"sound": recordings.read(0)}]
    views = ModalityViews(FACTS)

    def heard(seed: int | None) -> torch.Tensor:
        generator = None if seed is None else torch.Generator().manual_seed(seed)
        return views(row, {}, generator=generator)["inputs"]["sound"][0]

    torch.testing.assert_close(heard(None), files(hour).read(0))
    torch.testing.assert_close(heard(1), heard(1))
    starts = {float(heard(seed)[0]) for seed in range(8)}
    assert len(starts) > 5
    assert max(starts) - min(starts) > 0.3, "from all over the hour"
    assert max(decoded) <= 5 * RATE + 1


def test_nothing_is_drawn_of_short_sounds_and_where_the_first_part_is_wanted(hour: Path, tmp_path: Path) -> None:
    first = files(hour, "first")
    assert first.to_train() is first
    soundfile.write(tmp_path / "short.wav", ramp(4), RATE)
    row = [{"sound": files(tmp_path / "short.wav").to_train().read(0)}]
    generator = torch.Generator().manual_seed(0)
    state = generator.get_state()
    found = ModalityViews(FACTS)(row, {}, generator=generator)["inputs"]["sound"][0]
    torch.testing.assert_close(found, files(tmp_path / "short.wav").read(0))
    assert torch.equal(generator.get_state(), state)


def test_windows_follow_each_other_and_cover_a_sound(hour: Path) -> None:
    rows = ModalitySet("hour", {"sound": files(hour)})
    windows = rows.windows("sound", 0)
    assert len(windows) == SECONDS // 5
    assert windows[-1] == (3595.0, 3600.0)
    torch.testing.assert_close(
        rows.window("sound", 0, 3595.0), torch.from_numpy(ramp()[-5 * RATE :]), atol=1e-4, rtol=0
    )
    assert windows_of(2.01, 2.0) == [(0.0, 2.0)]
    audio = (ramp(7) * 2**15).astype(np.int16)
    array = SoundArray(audio, np.array([0, len(audio)]), np.array([0]), RATE, 5 * RATE)
    assert array.windows(0) == [(0.0, 5.0), (5.0, 7.0)]
    second = array.window(0, 5.0)
    torch.testing.assert_close(second[: 2 * RATE], torch.from_numpy(audio[5 * RATE :] / np.float32(2**15)))
    assert float(second[2 * RATE :].abs().max()) == 0


@pytest.mark.parametrize("suffix", ["wav", "aiff"])
def test_a_sound_that_is_cut_short_is_not_silent_at_its_end(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    soundfile.write(path, np.ones(8000), 8000)
    assert check_sound_file(path) is None
    path.write_bytes(path.read_bytes()[:8000])
    assert str(check_sound_file(path)).startswith("the file is cut short: it has 8000 of 160")
