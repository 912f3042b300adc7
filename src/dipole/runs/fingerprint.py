"""What tells models apart: a hash of their weights, which embeddings that they made carry with them."""

import hashlib
from pathlib import Path

from dipole.errors import InputError

MARK = b"dipole.model"  # of a Parquet file's schema


def model_fingerprint(run: str | Path) -> str:
    """Return a hash of the weights of a model; a run and the model in it have the same.

    Args:
        run: a run, a model folder, or a folder of sentence-transformers or transformers.
    """
    place = Path(run)
    files = sorted(place.glob("model/**/*.safetensors")) or sorted(place.glob("**/*.safetensors"))
    found = hashlib.blake2b(digest_size=16)
    for path in files or sorted(place.glob("**/*.bin")):
        with path.open("rb") as file:
            found.update(hashlib.file_digest(file, "blake2b").digest())
    return found.hexdigest()


def check_same_model(made_by: str | None, run: str | Path, what: str) -> None:
    """Refuse embeddings that another model has made; of those that say nothing, nothing is known.

    Args:
        made_by: fingerprint of the model that made them, or None.
        run: the run or model that they are to be used with.
        what: they are, for the message.

    Raises:
        InputError: their model is another one, or the same before it was trained on.

    Example:
        >>> check_same_model(None, "runs/pairs", "e.parquet")
    """
    if made_by is not None and made_by != model_fingerprint(run):
        raise InputError(
            f"{what} holds embeddings of another model than {run}, or of this one before it was trained anew: vectors "
            f"of two models cannot be compared. Embed with {run}, or name the run that made them."
        )
