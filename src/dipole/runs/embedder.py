"""A trained model as a function of batches, which may be sent to other processes."""

import logging
from collections.abc import Callable, Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from dipole.data.decode import UnreadableImageError, decode_image, square_of
from dipole.data.source import Content
from dipole.errors import InputError
from dipole.methods.multimodal.base import AnyModal
from dipole.methods.text.embedding import SentenceEmbedding
from dipole.nn.text import encode_texts
from dipole.ops.checks import check_at_least, check_choice
from dipole.runs.embedding import Precision, check_vectors, computing
from dipole.runs.loading import load
from dipole.runs.modality_batches import embed_cells, embed_contents, loading_of_model
from dipole.runs.model import model_config
from dipole.runs.opened import OpenedEncoder
from dipole.runs.text_encoders import is_foreign, open_text_encoder
from dipole.views import resize

logger = logging.getLogger(__name__)


class Embedder:
    """Add embeddings to batches of texts, images or sounds: `map_batches` of Ray Data and `map` of `datasets` call it.

    It holds the place of the model alone and opens it when the first batch comes, so that it can be pickled and sent.

    Args:
        model: a run, a model folder, or a folder of sentence-transformers or transformers that embeds texts.
        column: what is embedded: texts, or images as bytes of files, paths, arrays uint8 (H, W, 3) or (H, W), or
            `{"bytes": …}`; `text` or `image` if None. Of a model of several modalities, the name of one; sounds come as
            bytes of files, paths, `{"bytes": …}` or `{"array": …, "sampling_rate": …}`.
        vector: the column that is added.
        prompt: name of the prompt that stands before every text, such as `"query"`.
        batch_size: how many are embedded at once.
        precision: `"bf16"` multiplies matrices in bfloat16.
        device: where to compute; a GPU if there is one and it is None.
        unreadable: `"raise"`, or `"drop"` the rows whose image or sound cannot be decoded, which a warning counts.

    Raises:
        InputError: there is no model, or it embeds neither texts nor images.

    Example:
        >>> import tempfile
        >>> from dipole.nn.text import new_bert
        >>> folder = new_bert(["a few words"], tempfile.mkdtemp(), width=8)
        >>> batch = Embedder(folder)({"text": ["words", "a few"], "price": [1, 2]})
        >>> sorted(batch), batch["vector"].shape
        (['price', 'text', 'vector'], (2, 8))
    """

    def __init__(
        self,
        model: str | Path,
        column: str | None = None,
        *,
        vector: str = "vector",
        prompt: str | None = None,
        batch_size: int = 256,
        precision: Precision = "32-true",
        device: str | None = None,
        unreadable: Literal["raise", "drop"] = "raise",
    ) -> None:
        check_at_least(batch_size, 1, "batch_size")
        check_choice(unreadable, ("raise", "drop"), "unreadable")
        if not Path(model).is_dir():
            raise InputError(f"there is no run or model at {model}: give the folder of one.")
        self.model, self.column, self.vector, self.prompt = str(model), column, vector, prompt
        self.batch_size, self.precision, self.device, self.unreadable = batch_size, precision, device, unreadable
        self._opened: Any = None

    def __call__(self, batch: Mapping[str, Any]) -> dict[str, Any]:
        """Return the batch with the embeddings, float32 (N, D), as one more column.

        Raises:
            InputError: the column is missing, or holds something else.
        """
        if self._opened is None:
            self._opened = self._open()
        column, embed = self._opened
        if column not in batch:
            raise InputError(
                f"a batch has the columns {', '.join(batch)}: expected {column!r}; name another by column=."
            )
        with torch.inference_mode(), computing(self.precision):
            vectors, kept = embed(list(batch[column]))
        vectors = vectors.float().cpu()
        check_vectors(vectors)
        found = {name: values if kept is None else _rows(values, kept) for name, values in batch.items()}
        return {**found, self.vector: vectors.numpy()}

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_opened": None}

    def _open(self) -> tuple[str, Callable[[list[Any]], tuple[Tensor, list[int] | None]]]:
        """Open the model: the column that it embeds, and how.

        Raises:
            InputError: it embeds neither texts nor images.
        """
        method: Any = open_text_encoder(self.model) if is_foreign(self.model) else load(self.model)
        device = torch.device(self.device or ("cuda" if torch.cuda.is_available() else "cpu"))
        (method.encoder if isinstance(method, OpenedEncoder) else method).to(device)
        if isinstance(method, SentenceEmbedding | OpenedEncoder):
            options: dict[str, Any] = {"prompt": self.prompt, "batch_size": self.batch_size}
            return self.column or "text", lambda cells: (encode_texts(method.encoder, _texts(cells), **options), None)
        if isinstance(method, AnyModal):
            return self._modality(method)
        if method.domain != "images":
            raise InputError(f"{self.model} embeds neither texts nor images: use `dipole embed`.")
        size = int(model_config(self.model)["image_size"])

        def embed(images: list[Tensor]) -> Tensor:
            return method.embed(resize(torch.stack(images).to(device), size))

        return self.column or "image", lambda cells: self._images(cells, size, embed)

    def _modality(self, method: AnyModal) -> tuple[str, Callable[[list[Any]], tuple[Tensor, list[int] | None]]]:
        """How one modality of several is embedded."""
        kinds = {name: facts["kind"] for name, facts in method.modalities.items()}
        known = {name: kind for name, kind in kinds.items() if kind in ("image", "text", "sound")}
        name, loading = self.column, loading_of_model(self.model)
        if name is None or name not in known:
            expected = " or ".join(map(repr, known)) or "an image, a text or a sound"
            raise InputError(f"{self.model} has several modalities: expected column={expected}.")

        def embed(contents: list[Any]) -> Tensor:
            return embed_contents(method, name, contents)

        if known[name] == "text":
            return name, lambda cells: (self._in_parts([[text] for text in _texts(cells)], embed), None)
        if known[name] == "sound":
            return name, lambda cells: self._sounds(method, loading, name, cells)
        return name, lambda cells: self._images(cells, int(loading["image_size"]), embed)

    def _sounds(
        self, method: AnyModal, loading: Mapping[str, Any], name: str, cells: Sequence[Any]
    ) -> tuple[Tensor, list[int] | None]:
        """Embeddings of the sounds that can be decoded, and which these are; None for all of them.

        Raises:
            InputError: one cannot be decoded, or none can.
        """
        files = [_sound_file(cell, place) for place, cell in enumerate(cells)]
        vectors, kept, told = embed_cells(method, loading, name, files, batch_size=self.batch_size)
        lost = sorted(set(range(len(cells))) - set(kept))
        if lost and (self.unreadable == "raise" or not kept):
            why = f" ({told[0]})" if told else ""
            raise InputError(
                f"row {lost[0] + 1} of the batch holds no sound that can be decoded{why}. unreadable='drop' leaves "
                "such rows out, if there are others."
            )
        if lost:
            logger.warning("%d sounds are left out, such as row %d of the batch.", len(lost), lost[0] + 1)
        elif told:
            logger.warning("%s", "; ".join(told))
        return vectors, kept if lost else None

    def _images(
        self, cells: Sequence[Any], size: int, embed: Callable[[list[Tensor]], Tensor]
    ) -> tuple[Tensor, list[int] | None]:
        """Embeddings of the images that can be decoded, and which these are; None for all of them.

        Raises:
            InputError: one cannot be decoded, or none can.
        """
        images, kept, reasons = [], [], []
        for place, cell in enumerate(cells):
            try:
                images.append(torch.from_numpy(_square(cell, size)))
                kept.append(place)
            except UnreadableImageError as error:
                reasons.append(f"row {place + 1} of the batch: {error}")
        if reasons and (self.unreadable == "raise" or not images):
            raise InputError(f"{reasons[0]}. unreadable='drop' leaves such rows out, if there are others.")
        if reasons:
            logger.warning("%d images are left out, such as %s.", len(reasons), reasons[0])
        return self._in_parts(images, embed), kept if reasons else None

    def _in_parts(self, contents: list[Any], embed: Callable[[list[Any]], Tensor]) -> Tensor:
        """Embed a part of a batch at a time."""
        starts = range(0, len(contents), self.batch_size)
        return torch.cat([embed(contents[start : start + self.batch_size]).float().cpu() for start in starts])


def _texts(cells: Sequence[Any]) -> list[str]:
    """Cells that are texts.

    Raises:
        InputError: one is not.
    """
    for place, cell in enumerate(cells):
        if not isinstance(cell, str):
            raise InputError(f"row {place + 1} of the batch holds {type(cell).__name__}: expected a text.")
    return [str(cell) for cell in cells]


def _sound_file(cell: Any, place: int) -> Any:
    """A sound as a file: its path or its bytes; samples become a WAV file of floats.

    Raises:
        InputError: it is none of the forms of a sound.
    """
    if isinstance(cell, Mapping) and "array" in cell:  # as `datasets` hands out sounds
        import soundfile

        buffer = BytesIO()
        samples = np.asarray(cell["array"], dtype=np.float32)
        soundfile.write(
            buffer, samples.T if samples.ndim == 2 else samples, int(cell["sampling_rate"]), "FLOAT", format="WAV"
        )
        return buffer.getvalue()
    if isinstance(cell, Mapping) and {"bytes", "path"} & cell.keys():
        return dict(cell)
    if isinstance(cell, bytes):
        return cell
    if isinstance(cell, str | Path):
        return str(cell)
    raise InputError(
        f"row {place + 1} of the batch holds {type(cell).__name__}: expected a sound as bytes or path of a file, "
        '{"bytes": …}, or {"array": …, "sampling_rate": …}.'
    )


def _square(cell: Any, size: int) -> np.ndarray:
    """The centre square of an image, (3, size, size) uint8.

    Raises:
        InputError: it is none of the forms of an image.
        UnreadableImageError: it cannot be decoded.
    """
    if isinstance(cell, Mapping):  # as `datasets` stores images
        cell = cell.get("bytes") or cell.get("path")
    if isinstance(cell, bytes):
        return decode_image(Content("the bytes of a cell", cell), size)
    if isinstance(cell, str | Path):
        return decode_image(Path(cell), size)
    from PIL import Image

    array = cell if isinstance(cell, Image.Image) else np.asarray(cell)
    if isinstance(array, np.ndarray):
        if array.dtype != np.uint8 or not (array.ndim == 2 or (array.ndim == 3 and array.shape[2] == 3)):
            raise InputError(
                f"an image is {array.dtype} {array.shape}: expected uint8 (height, width, 3) or (height, width), bytes "
                "of a file, or a path."
            )
        array = Image.fromarray(array)
    return square_of(array.convert("RGB"), size)


def _rows(values: Any, kept: list[int]) -> Any:
    """Those rows of a column that are kept."""
    return values[kept] if isinstance(values, np.ndarray) else [values[place] for place in kept]
