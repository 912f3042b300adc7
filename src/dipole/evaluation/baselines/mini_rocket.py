"""Random convolutions and a ridge classifier."""

import warnings
from typing import ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from dipole.data.timeseries import SeriesSet
from dipole.evaluation.baselines.raw_window import filled
from dipole.evaluation.materials import SeriesMaterial
from dipole.evaluation.protocol import Baseline

SHORTEST = 9  # steps of its convolutions


class MiniRocketBaseline(Baseline):
    """MiniRocket (of aeon): shares of positive values of 10,000 convolutions, classified by ridge regression.

    A gap holds the value before it, and a series that ends early its last value.

    Dempster, Schmidt, Webb: *MiniRocket: A Very Fast (Almost) Deterministic Transform for Time Series Classification*
    (KDD 2021).
    """

    name: ClassVar[str] = "MiniRocket"
    domains = ("timeseries",)
    package = "aeon"
    extra = "timeseries"
    material: SeriesMaterial

    def classify_series(self, train: SeriesSet, test: SeriesSet) -> float:
        """Return the accuracy on the test series of a classifier of the training series."""
        assert train.labels is not None, "classes are classified"
        assert test.labels is not None, "classes are classified"
        steps = max(SHORTEST, *(part.values.shape[1] for part in (train, test)))
        threads = torch.get_num_threads()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # numba's, of types within aeon
            from aeon.classification.convolution_based import MiniRocketClassifier

            machine = MiniRocketClassifier(random_state=self.material.seed, n_jobs=1)
            machine.fit(self._array(train, steps), train.labels.numpy())
            predicted = machine.predict(self._array(test, steps))
        torch.set_num_threads(threads)  # numba's start has given OpenMP all processors, for torch too
        return float((predicted == test.labels.numpy()).mean())

    def _array(self, series: SeriesSet, steps: int) -> np.ndarray:
        """Scaled values (N, C, T), whole."""
        values: Tensor = self.material.scaled(series.values)
        padded = F.pad(values, (0, 0, 0, steps - values.shape[1]), value=float("nan"))
        return filled(padded).transpose(1, 2).double().numpy()
