"""Forecasts beside what came, for the page of a run."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from dipole.errors import InputError


@dataclass(frozen=True)
class ForecastPlot:
    """One forecast of one column.

    Args:
        title: what is forecast, from when on.
        past_times: P names of steps.
        past: P values that were known; None where one is missing.
        times: H names of the steps after them.
        actual: H values that came.
        predicted: H values that were forecast.

    Raises:
        InputError: values and times do not belong together.

    Example:
        >>> ForecastPlot("load", ["0"], [1.0], ["1", "2"], [1.1, 1.2], [1.0, 1.3]).title
        'load'
    """

    title: str
    past_times: Sequence[str]
    past: Sequence[float | None]
    times: Sequence[str]
    actual: Sequence[float]
    predicted: Sequence[float]

    def __post_init__(self) -> None:
        lengths = (len(self.times), len(self.actual), len(self.predicted))
        if len(self.past_times) != len(self.past) or len(set(lengths)) > 1 or 0 in lengths:
            raise InputError(
                f"{self.title}: {len(self.past_times)} and {len(self.past)} past, {lengths} future steps: expected a "
                "value for each time."
            )

    def to_dict(self) -> dict[str, Any]:
        """Return what the page draws."""

        def short(values: Sequence[float | None]) -> list[float | None]:
            return [None if value is None else round(value, 4) for value in values]

        return {
            "title": self.title,
            "past_times": list(self.past_times),
            "past": short(self.past),
            "times": list(self.times),
            "actual": short(self.actual),
            "predicted": short(self.predicted),
        }
