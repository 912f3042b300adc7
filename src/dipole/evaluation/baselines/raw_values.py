"""Values of series as they stand."""

from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor

from dipole.data.timeseries import SeriesSet
from dipole.evaluation.materials import SeriesMaterial
from dipole.evaluation.protocol import Baseline


class RawValues(Baseline):
    """Scaled values side by side, 0 where there is none."""

    name: ClassVar[str] = "raw values"
    domains = ("timeseries",)
    material: SeriesMaterial

    def embed_series(self, series: SeriesSet) -> Tensor:
        """Return the values (N, T·C), T the steps of the longest series of both parts."""
        parts = (self.material.data.train, self.material.data.test)
        steps = max(part.values.shape[1] for part in parts if part is not None)
        values = self.material.scaled(series.values).nan_to_num()
        return F.pad(values, (0, 0, 0, steps - values.shape[1])).flatten(1)
