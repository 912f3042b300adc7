"""Tables larger than memory: Parquet, Arrow, WebDataset and LitData, whose rows are read when they are asked for."""

from dipole.data.stored.finding import expanded, find_store, is_pattern
from dipole.data.stored.store import Cells, Coded, Columns, Made, Store, filled

__all__ = ["Cells", "Coded", "Columns", "Made", "Store", "expanded", "filled", "find_store", "is_pattern"]
