"""Time series: many short ones with labels, or a long one to forecast."""

from dipole.data.timeseries.arrays import load_npz_series, load_ts
from dipole.data.timeseries.calendar import calendar_features
from dipole.data.timeseries.csv_files import TimeTable, read_time_table
from dipole.data.timeseries.registry import available_series, load_series, long_series
from dipole.data.timeseries.series_data_module import SeriesDataModule
from dipole.data.timeseries.series_set import (
    ForecastTask,
    SeriesData,
    SeriesSet,
    present,
    statistics,
    windows,
    with_columns,
)
from dipole.data.timeseries.toy import toy_load, toy_patterns

__all__ = [
    "ForecastTask",
    "SeriesData",
    "SeriesDataModule",
    "SeriesSet",
    "TimeTable",
    "available_series",
    "calendar_features",
    "load_npz_series",
    "load_series",
    "load_ts",
    "long_series",
    "present",
    "read_time_table",
    "statistics",
    "toy_load",
    "toy_patterns",
    "windows",
    "with_columns",
]
