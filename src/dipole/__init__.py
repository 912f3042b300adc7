"""dipole: contrastive learning methods on one set of fast parts.

Importing the package is cheap: torch is imported when a part that needs it is first used.
"""

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = ["ContrastiveTransformer", "Embedder", "__version__", "load"]

if TYPE_CHECKING:
    from dipole.runs import load
    from dipole.runs.embedder import Embedder
    from dipole.runs.estimator import ContrastiveTransformer
else:  # a type checker would take every name for one of the package

    def __getattr__(name: str) -> Any:
        if name == "load":
            from dipole.runs import load

            return load
        if name == "Embedder":
            from dipole.runs.embedder import Embedder

            return Embedder
        if name == "ContrastiveTransformer":
            from dipole.runs.estimator import ContrastiveTransformer

            return ContrastiveTransformer
        raise AttributeError(f"module 'dipole' has no attribute {name!r}")
