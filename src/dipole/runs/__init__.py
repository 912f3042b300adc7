"""Runs: settings, training, the run directory, and models as they are shared."""

from dipole.runs.config import RunConfig, recipes
from dipole.runs.directory import Run
from dipole.runs.loading import load
from dipole.runs.model import build_method, save_model
from dipole.runs.train import train

__all__ = ["Run", "RunConfig", "build_method", "load", "recipes", "save_model", "train"]
