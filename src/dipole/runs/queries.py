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
from dipole.runs.modality_batches import loading_of_model
from dipole.runs.modality_queries import embed_modal_queries
from dipole.runs.model import model_config
from dipole.runs.opened import OpenedEncoder
from dipole.runs.text_encoders import is_foreign, open_text_encoder


def embed_queries(
    source: str | Path, queries: Sequence[str], *, modality: str | None = None
) -> Float32[np.ndarray, "q d"]:
    """Embed texts with a text encoder, image files with one of images, and either or sound files with several.

    Args:
        source: a run, a model folder, or a folder of sentence-transformers or transformers.
        queries: texts, or paths of images or sounds.
        modality: of a model of several, that which the queries are of, see `embed_modal_queries`.

    Raises:
        InputError: there is no model, it embeds none of these, or a file cannot be read.
    """
    from dipole.data.image_folder import load_images
    from dipole.evaluation import embed_image_set

    method: Any = open_text_encoder(source) if is_foreign(source) else load(source)
    several = getattr(method, "domain", None) == "multimodal"
    if modality is not None and not several:
        raise InputError(f"{source} knows no modalities: leave out {modality!r} as that of the queries.")
    if isinstance(method, SentenceEmbedding | OpenedEncoder):
        if not all(query.strip() for query in queries):
            raise InputError("a query is empty: give a text.")
        return encode_texts(method.encoder, list(queries), prompt="query").float().numpy()
    if several:
        embedded = embed_modal_queries(method, loading_of_model(source), queries, modality=modality)
        return torch.stack([vector for _, vector in embedded]).numpy()
    if method.domain != "images":
        raise InputError(f"{source} embeds neither texts nor images: give the queries as vectors, by --vectors.")
    size = int(model_config(source)["image_size"])
    rows = [embed_image_set(method.embed, load_images(query, size), size)[:1] for query in queries]
    return torch.cat(rows).float().numpy()
