"""Text encoders of runs, and of folders that were never trained here."""

from pathlib import Path
from typing import Literal

from dipole.errors import InputError
from dipole.files import read_json
from dipole.methods.text.embedding import SentenceEmbedding
from dipole.nn.text import build_text_encoder
from dipole.nn.text.encoder import open_tokenizer
from dipole.runs.loading import load
from dipole.runs.model import DESCRIPTION
from dipole.runs.opened import OpenedEncoder
from dipole.runs.safety import refuse_pickles

MOST_TOKENS = 512
_SETTINGS = "config_sentence_transformers.json"


def open_text_encoder(path: str | Path) -> OpenedEncoder:
    """Open the text encoder of a run, of a model folder, or of a folder of sentence-transformers or transformers.

    A folder of transformers alone is pooled by the mean; one of sentence-transformers as it says itself.

    Args:
        path: of the run or folder.

    Raises:
        InputError: there is no model, or none that embeds texts.
    """
    folder = Path(path)
    if is_foreign(folder):
        refuse_pickles(folder)
        return OpenedEncoder(build_text_encoder(str(folder), max_length=_length(folder)).eval(), _similarity(folder))
    method = load(path)
    if not isinstance(method, SentenceEmbedding):
        raise InputError(f"{path} is a run of {method.card.name}, which embeds no texts: this needs a text method.")
    return OpenedEncoder(method.encoder, method.similarity)


def is_foreign(path: str | Path) -> bool:
    """Return whether a folder holds a model that was not trained here."""
    folder = Path(path)
    if any((folder / name).is_file() for name in (DESCRIPTION, f"model/{DESCRIPTION}", "config.yaml")):
        return False
    return any((folder / name).is_file() for name in ("modules.json", "config.json"))


def _length(folder: Path) -> int:
    """How many tokens a transformer reads that does not say it as sentence-transformers does: 512, or what it can."""
    config = folder / "config.json"
    positions = read_json(config).get("max_position_embeddings") if config.is_file() else None
    known = open_tokenizer(str(folder)).model_max_length
    return min(MOST_TOKENS, known, positions if isinstance(positions, int) else MOST_TOKENS)


def _similarity(folder: Path) -> Literal["cosine", "dot"]:
    """How a folder of sentence-transformers says that its embeddings are compared; by the cosine if it says nothing."""
    settings = folder / _SETTINGS
    named = read_json(settings).get("similarity_fn_name") if settings.is_file() else None
    if named not in (None, "cosine", "dot"):
        raise InputError(f"{settings} compares embeddings by {named!r}: expected cosine or dot.")
    return "dot" if named == "dot" else "cosine"
