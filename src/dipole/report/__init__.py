"""A run as one self-contained HTML page."""

from dipole.report.page import build_report

__all__ = ["build_report"]
