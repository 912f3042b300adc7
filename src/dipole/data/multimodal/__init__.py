"""Rows of several modalities: images, texts, sounds, vectors and categories, any of which may be missing."""

from dipole.data.multimodal.columns import KINDS, Column, Kind
from dipole.data.multimodal.modality_data_module import ModalityDataModule
from dipole.data.multimodal.modality_set import ModalitySet
from dipole.data.multimodal.registry import available_modalities, load_modalities, load_rows
from dipole.data.multimodal.table import Reading, load_table, parse_modalities

__all__ = [
    "KINDS",
    "Column",
    "Kind",
    "ModalityDataModule",
    "ModalitySet",
    "Reading",
    "available_modalities",
    "load_modalities",
    "load_rows",
    "load_table",
    "parse_modalities",
]
