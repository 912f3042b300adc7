"""Experiments with recorded speech: digits two at a time, and task by task."""

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, cast

import torch

from dipole.claims.base import Arm, Claim, Data, Metrics
from dipole.claims.training import run_config
from dipole.data.multimodal import ModalitySet, load_modalities
from dipole.evaluation import continual_scores
from dipole.evaluation.protocols.temporal import temporal_scores
from dipole.methods.audio.base import SoundText
from dipole.methods.audio.coconut import Coconut
from dipole.runs import RunConfig, load, train
from dipole.runs.stages import PREVIOUS, staged
from dipole.runs.temporal_items import temporal_items

BASE_EPOCHS = 20
PAIRS = 300
Parts = tuple[ModalitySet, ModalitySet, ModalitySet]


@dataclass(frozen=True)
class SpokenPairs(Data):
    """Recorded digits, of which a model first learns which ones are spoken, and not in which order.

    Every arm goes on from the same model of its seed: TeminAL's first phase, single digits and pairs "x and y".

    Args:
        name: of the data.
        each: recordings of a digit to train on.
    """

    name: str = "digit-trios"
    each: int = 100

    tuning_metric: ClassVar[str] = "group"
    tuning: ClassVar[str] = "learning rate by Winoground's group score on other recordings of the training split"

    def load(self, data_root: str | Path | None = None) -> dict[str, Any]:
        """Return the recordings, in three parts, and where the models lie from which arms start."""
        return {"parts": spoken_digits(self.name, self.each, data_root), "folder": tempfile.TemporaryDirectory()}

    def size(self, loaded: dict[str, Any]) -> int:
        """Number of training recordings."""
        return len(loaded["parts"][0])

    def once(self, claim: Claim, arm: Arm, rate: float, seed: int, loaded: dict[str, Any], *, tune: bool) -> Metrics:
        """Go on from the model of the seed, and measure."""
        rows, held_out, test = cast(Parts, loaded["parts"])
        base = Path(loaded["folder"].name) / f"{seed}"
        if not base.exists():
            config = RunConfig(
                "teminal",
                data=self.name,
                batch_size=32,
                epochs=BASE_EPOCHS,
                seed=seed,
                precision="32-true",
                method={"phase": "several", "learning_rate": 2e-3, **TOWERS},
                trainer={"accelerator": "cpu"},
            )
            train(config, base, sets=(rows, None), monitor=False, progress=False)
        with tempfile.TemporaryDirectory() as folder:
            config = run_config(arm, self.name, rate, seed, init_from=str(base))
            run = train(config, Path(folder) / "run", sets=(rows, None), monitor=False, progress=False)
            return self._scores(run.path, held_out if tune else test, seed)

    def references(self, claim: Claim, arm: Arm, loaded: dict[str, Any]) -> dict[str, dict[str, float]]:
        """The model of the first seed before it goes on."""
        base = Path(loaded["folder"].name) / f"{claim.seeds[0]}"
        return {"base, first seed": self._scores(base, loaded["parts"][2], claim.seeds[0])} if base.exists() else {}

    @staticmethod
    def _scores(path: Path, rows: ModalitySet, seed: int) -> dict[str, float]:
        """Scores on composed sounds."""
        return temporal_scores(temporal_items(cast(SoundText, load(path)), rows, PAIRS, seed))


TOWERS: dict[str, Any] = {"sound_encoder": "gru-64", "text_encoder": "transformer-64-1", "embedding_dim": 64}


def _of(names: list[str], name: str) -> list[int]:
    """Rows of a name."""
    return [row for row, other in enumerate(names) if other == name]


@dataclass(frozen=True)
class DigitTasks(Data):
    """Spoken digits in five tasks of two; the order of the digits changes with the seed.

    Args:
        name: of the data.
        each: recordings of a digit to train on.
    """

    name: str = "digit-trios"
    each: int = 40

    tuning_metric: ClassVar[str] = "last accuracy"
    tuning: ClassVar[str] = "learning rate by the last accuracy on other recordings of the training split"

    def load(self, data_root: str | Path | None = None) -> Parts:
        """Return recordings to train on, to tune by and to judge by."""
        return spoken_digits(self.name, self.each, data_root)

    def size(self, loaded: Parts) -> int:
        """Number of training recordings."""
        return len(loaded[0])

    def once(self, claim: Claim, arm: Arm, rate: float, seed: int, loaded: Parts, *, tune: bool) -> Metrics:
        """Learn one task after the other."""
        rows, held_out, test = loaded
        options = {"tasks": 5, "class_order": seed, "sound_encoder": "gru-64", "embedding_dim": 64}
        config = run_config(arm, self.name, rate, seed, method=options)
        with tempfile.TemporaryDirectory() as folder:
            before = ""
            for number, stage in enumerate(staged(config) or ()):
                place = Path(folder) / str(number)
                stage = replace(stage, init_from=before if stage.init_from == PREVIOUS else None)
                train(stage, place, sets=(rows, held_out if tune else test), monitor=False, progress=False)
                before = str(place)
            matrix, counts, _ = cast(Coconut, load(before)).continual()
        scores = continual_scores(matrix.double().nan_to_num(0), counts)
        return {
            "average accuracy": scores.average,
            "last accuracy": scores.last,
            "forgetting": scores.forgetting,
        }


def spoken_digits(name: str, each: int, data_root: str | Path | None) -> Parts:
    """Return spoken digits to train on, as many of each, to tune by, and to judge by: the official test recordings.

    Args:
        name: of the data.
        each: recordings of a digit to train on.
        data_root: folder of named data sets.
    """
    rows, test = load_modalities(name, data_root)
    assert test is not None
    two = [
        ModalitySet(part.name, {key: part.columns[key] for key in ("sound", "word")}, labels=part.labels)
        for part in (rows, test)
    ]
    labels = [str(label) for label in two[0].labels or ()]
    generator = torch.Generator().manual_seed(0)
    shuffled = {name: torch.tensor(_of(labels, name)) for name in sorted(set(labels))}
    shuffled = {name: own[torch.randperm(len(own), generator=generator)] for name, own in shuffled.items()}
    kept = torch.cat([own[:each] for own in shuffled.values()])
    held_out = torch.cat([own[each : each + 20] for own in shuffled.values()])
    return two[0].select(kept), two[0].select(held_out), two[1]
