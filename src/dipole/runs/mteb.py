"""Text encoders as the package `mteb` measures them."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from dipole.errors import InputError
from dipole.nn.text import encode_texts
from dipole.ops.checks import check_at_least
from dipole.runs.text_encoders import open_text_encoder


class MTEBEncoder:
    """A text encoder for `mteb.evaluate`, with its own prompts and its own similarity.

    Queries and documents are embedded with the prompts of the encoder, if it has such, as in `dipole search`; the
    prompts that a task of mteb suggests are not used. Nothing is fetched here; most tasks of mteb fetch their data.

    Muennighoff et al.: *MTEB: Massive Text Embedding Benchmark* (EACL 2023).

    Args:
        path: of a run, of a model folder, or of a folder of sentence-transformers or transformers.
        batch_size: texts at once.
        device: where to compute; a GPU if there is one and it is None.
        progress: show progress bars.

    Raises:
        InputError: there is no model, or none that embeds texts, or mteb is not installed.

    Example:
        >>> import mteb  # doctest: +SKIP
        >>> mteb.evaluate(MTEBEncoder("runs/sentences"), mteb.get_tasks(["STSBenchmark"]), cache=None)  # doctest: +SKIP
    """

    def __init__(
        self, path: str | Path, *, batch_size: int = 32, device: str | None = None, progress: bool = False
    ) -> None:
        try:
            from mteb.models import ModelMeta
        except ImportError as error:
            raise InputError("mteb is not installed: pip install 'dipole[mteb]'.") from error
        check_at_least(batch_size, 1, "batch_size")
        self.batch_size, self.progress = batch_size, progress
        self.device = device or ("cuda" if torch.cuda.is_available() else "cpu")
        self.encoder, self.compared_by = open_text_encoder(path)
        known = {"name": f"dipole/{Path(path).resolve().name}", "embed_dim": self.encoder.width, "revision": "local"}
        self.mteb_model_meta = ModelMeta.create_empty(
            {
                **known,
                "max_tokens": self.encoder.max_length,
                "similarity_fn_name": self.compared_by,
                "framework": ["PyTorch"],
            }
        )

    def encode(
        self, inputs: Iterable[Mapping[str, Any]], *, prompt_type: Any = None, **described: Any
    ) -> Float[np.ndarray, "n d"]:
        """Embed the texts of a task.

        Args:
            inputs: batches with a list of texts, `"text"`.
            prompt_type: `query`, `document` or None.
            **described: what mteb says of the task; not used.

        Raises:
            InputError: the task is not one of texts.
        """
        texts: list[str] = []
        for batch in inputs:
            if "text" not in batch:
                raise InputError(f"a task of mteb gives {', '.join(batch)}: this encoder embeds texts alone.")
            texts += batch["text"]
        side = {"query": "query", "document": "passage"}.get(str(getattr(prompt_type, "value", prompt_type)))
        options: dict[str, Any] = {"batch_size": self.batch_size, "device": self.device, "progress": self.progress}
        return encode_texts(self.encoder, texts, prompt=side, **options).float().cpu().numpy()

    def similarity(self, embeddings1: Any, embeddings2: Any) -> Float[Tensor, "n m"]:
        """Compare all pairs, as the encoder was trained to be compared."""
        first, second = self._comparable(embeddings1), self._comparable(embeddings2)
        return first @ second.T

    def similarity_pairwise(self, embeddings1: Any, embeddings2: Any) -> Float[Tensor, " n"]:
        """Compare row by row."""
        return (self._comparable(embeddings1) * self._comparable(embeddings2)).sum(dim=1)

    def _comparable(self, embeddings: Any) -> Tensor:
        """Embeddings whose inner product is their similarity."""
        rows = torch.atleast_2d(torch.as_tensor(embeddings).float())
        return torch.nn.functional.normalize(rows, dim=1) if self.compared_by == "cosine" else rows
