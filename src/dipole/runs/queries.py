"""Queries of a search, embedded as the rows of an index were."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float32

from dipole.errors import InputError
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
    from dipole.methods.base import Method
    from dipole.nn.text import encode_texts
    from dipole.runs.loading import load
    from dipole.runs.model import model_config

    method = None if is_foreign(source) else load(source)
    if method is None or method.domain == "text":
        if not all(query.strip() for query in queries):
            raise InputError("a query is empty: give a text.")
        opened = open_text_encoder(source)
        return encode_texts(opened.encoder, list(queries), prompt="query").float().numpy()
    if method.domain != "images":
        raise InputError(f"{source} embeds neither texts nor images: give the queries as vectors, by --vectors.")
    assert isinstance(method, Method)
    size = int(model_config(source)["image_size"])
    method.eval()
    with torch.inference_mode():
        rows = [embed_image_set(method.embed, load_images(query, size), size) for query in queries]
    return torch.cat([row[:1] for row in rows]).float().numpy()
