"""Sounds that are computed: tones, sweeps, noises and clicks, with captions."""

import numpy as np

from dipole.data.multimodal.columns import SoundArray, Texts
from dipole.data.multimodal.modality_set import ModalitySet

RATE = 8000
SECONDS = 1.0
KINDS = (
    "a low hum",
    "a high whistle",
    "a rising tone",
    "a falling tone",
    "a trill",
    "a chord",
    "hiss",
    "a rumble",
    "clicks",
    "a heartbeat",
    "a bell",
    "a siren",
)
CAPTIONS = ("{}", "the sound of {}", "{} can be heard")


def load_sound_captions(train: int = 40, test: int = 10, seed: int = 0) -> tuple[ModalitySet, ModalitySet]:
    """Sounds of twelve kinds of random pitch, loudness and length up to a second, three captions of each.

    Modalities: `sound`, `caption`. The label is the kind.

    Args:
        train: sounds of a kind to train on.
        test: sounds of a kind to test on.
        seed: of all that is drawn.

    Example:
        >>> load_sound_captions(2, 1)[0][0]["caption"]
        ['a low hum', 'the sound of a low hum', 'a low hum can be heard']
    """
    draw = np.random.default_rng(seed)
    parts = []
    for count in (train, test):
        kinds = [kind for kind in KINDS for _ in range(count)]
        sounds = [made_sound(kind, draw) for kind in kinds]
        offsets = np.concatenate([[0], np.cumsum([len(sound) for sound in sounds])])
        audio = np.round(np.concatenate(sounds) * (2**15 - 1)).astype(np.int16)
        columns = {
            "sound": SoundArray(audio, offsets, np.arange(len(sounds)), RATE, round(RATE * SECONDS)),
            "caption": Texts([[caption.format(kind) for caption in CAPTIONS] for kind in kinds]),
        }
        parts.append(ModalitySet("sound-captions", columns, labels=kinds))
    return parts[0], parts[1]


def made_sound(kind: str, draw: np.random.Generator) -> np.ndarray:
    """Return a sound of a kind, between −1 and 1.

    Args:
        kind: one of `KINDS`.
        draw: source of pitch, length, loudness and noise.

    Example:
        >>> len(made_sound("hiss", np.random.default_rng(0))) <= RATE
        True
    """
    t = np.arange(int(RATE * SECONDS * draw.uniform(0.6, 1.0))) / RATE
    share = t / t[-1]
    tone = draw.uniform(0.8, 1.25)  # of the pitch
    noise = draw.standard_normal(len(t))

    def sine(hertz: np.ndarray | float) -> np.ndarray:
        return np.asarray(np.sin(2 * np.pi * np.cumsum(np.broadcast_to(hertz, t.shape)) / RATE))

    def beats(every: float, long: float) -> np.ndarray:
        return np.asarray(np.exp(-(t % every) / long))

    made = {
        "a low hum": lambda: sine(110 * tone) + 0.5 * sine(220 * tone),
        "a high whistle": lambda: sine(2400 * tone),
        "a rising tone": lambda: sine(tone * (300 + 1500 * share)),
        "a falling tone": lambda: sine(tone * (1800 - 1500 * share)),
        "a trill": lambda: sine(tone * np.where(t % 0.12 < 0.06, 700, 1000)),
        "a chord": lambda: sum(sine(400 * tone * ratio) for ratio in (1, 1.25, 1.5)),
        "hiss": lambda: np.diff(noise, prepend=0.0),
        "a rumble": lambda: np.convolve(noise, np.ones(80) / 80, "same"),
        "clicks": lambda: noise * beats(0.15 * tone, 0.003),
        "a heartbeat": lambda: sine(70.0) * beats(0.4 * tone, 0.06),
        "a bell": lambda: (sine(900 * tone) + sine(2130 * tone)) * np.exp(-5 * t),
        "a siren": lambda: sine(tone * (900 + 400 * np.sin(2 * np.pi * 3 * t))),
    }[kind]()
    loud = np.asarray(made) / np.abs(made).max() * draw.uniform(0.3, 0.9)
    return np.asarray(loud + 0.003 * draw.standard_normal(len(t))).clip(-1, 1)
