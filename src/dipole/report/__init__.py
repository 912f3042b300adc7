"""A run as one self-contained HTML page."""

from dipole.report.forecasts import ForecastPlot
from dipole.report.page import build_report

__all__ = ["ForecastPlot", "build_report"]
