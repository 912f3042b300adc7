"""Queries of a search, embedded as the rows of an index were."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float32

from dipole.errors import InputError
from dipole.methods.text.embedding import SentenceEmbedding
from dipole.nn.text import encode_texts
from dipole.runs.loading import load
from dipole.runs.model import model_config
from dipole.runs.opened import OpenedEncoder
from dipole.runs.text_encoders import is_foreign, open_text_encoder


def embed_queries(source: str | Path, queries: Sequence[str]) -> Float32[np.ndarray, "q d"]:
    """Embed texts with a text encoder, or image files with one of images.

    Args:
        source: a run, a model folder, or a folder of sentence-transformers or transformers.
        queries: texts, or paths of images.

    Raises:
        InputError: there is no model, it embeds neither, or a file is no image.
    """
    from dipole.data.image_folder import load_images
    from dipole.evaluation import embed_image_set

    method: Any = open_text_encoder(source) if is_foreign(source) else load(source)
    if isinstance(method, SentenceEmbedding | OpenedEncoder):
        if not all(query.strip() for query in queries):
            raise InputError("a query is empty: give a text.")
        return encode_texts(method.encoder, list(queries), prompt="query").float().numpy()
    if method.domain != "images":
        raise InputError(f"{source} embeds neither texts nor images: give the queries as vectors, by --vectors.")
    size = int(model_config(source)["image_size"])
    rows = [embed_image_set(method.embed, load_images(query, size), size)[:1] for query in queries]
    return torch.cat(rows).float().numpy()
