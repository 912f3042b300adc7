"""Several embeddings of the same data, side by side."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from jaxtyping import Int
from torch import Tensor

from dipole.errors import InputError
from dipole.evaluation.knn import TEMPERATURE, K, knn_accuracy
from dipole.evaluation.linear_probe import linear_probe
from dipole.evaluation.protocol import Picture
from dipole.ops.door import public

PROTOCOLS = ("knn", "linear")


@dataclass(frozen=True)
class Evaluation:
    """A table of accuracies: a row for each encoder, a column for each protocol.

    Attributes:
        protocols: the columns.
        rows: `{"encoder": name, protocol: accuracy, ...}`, accuracies 0 to 1.
        settings: what the numbers depend on.
        data: name of the data.
        intervals: 95 % intervals of values that are means over draws, by encoder and column.
        pictures: for the report.
    """

    protocols: tuple[str, ...]
    rows: tuple[dict[str, Any], ...]
    settings: dict[str, Any] = field(default_factory=dict)
    data: str = ""
    intervals: dict[str, dict[str, tuple[float, float]]] = field(default_factory=dict)
    pictures: tuple[Picture, ...] = ()

    def of(self, data: str) -> "Evaluation":
        """The same table with the name of the data that it is about."""
        return replace(self, data=data)

    def to_dict(self) -> dict[str, Any]:
        """The content of `evaluation.json`."""
        return {
            "protocols": list(self.protocols),
            "rows": [dict(row) for row in self.rows],
            "settings": self.settings,
            "data": self.data,
            "intervals": self.intervals,
            "pictures": [asdict(picture) for picture in self.pictures],
        }


@public
def evaluate_embeddings(
    embeddings: Mapping[str, tuple[Tensor, Tensor]],
    train_labels: Int[Tensor, " n"],
    test_labels: Int[Tensor, " m"],
    protocols: Sequence[str] = PROTOCOLS,
    *,
    k: int = K,
    temperature: float = TEMPERATURE,
    seed: int = 0,
) -> Evaluation:
    """Evaluate several embeddings of the same images by the same protocols.

    Args:
        embeddings: name of the encoder -> (training embeddings (N, D), test embeddings (M, D)); D may differ.
        train_labels: (N,).
        test_labels: (M,).
        protocols: `"knn"` (see `weighted_knn`), `"linear"` (see `linear_probe`).
        k: neighbours of `knn`.
        temperature: of the weights of `knn`.
        seed: of the split on which `linear` chooses its regularisation.

    Returns:
        The table; `settings["linear"]["regularisation"]` says what was chosen for each encoder.

    Raises:
        InputError: nothing to evaluate, an unknown protocol, or a protocol refuses its input (the message names the
            encoder).

    Example:
        >>> import torch
        >>> points, labels = torch.eye(2).repeat(10, 1), torch.arange(2).repeat(10)
        >>> evaluate_embeddings({"identity": (points, points)}, labels, labels).rows
        ({'encoder': 'identity', 'knn': 1.0, 'linear': 1.0},)
    """
    unknown = [protocol for protocol in protocols if protocol not in PROTOCOLS]
    if unknown or not protocols or not embeddings:
        raise InputError(
            f"{len(embeddings)} encoders and protocols {list(protocols)}: expected one or more encoders and protocols "
            f"out of {', '.join(PROTOCOLS)}."
        )
    settings: dict[str, Any] = {"train_images": len(train_labels), "test_images": len(test_labels), "seed": seed}
    if "knn" in protocols:
        settings["knn"] = {"k": min(k, len(train_labels)), "temperature": temperature}
    if "linear" in protocols:
        settings["linear"] = {"regularisation": {}, "validation_accuracy": {}}
    rows = []
    for name, (train, test) in embeddings.items():
        row: dict[str, Any] = {"encoder": name}
        try:
            for protocol in protocols:
                if protocol == "knn":
                    row["knn"] = knn_accuracy(train, train_labels, test, test_labels, k=k, temperature=temperature)
                else:
                    result = linear_probe(train, train_labels, test, test_labels, seed=seed)
                    row["linear"] = result.accuracy
                    settings["linear"]["regularisation"][name] = result.regularisation
                    settings["linear"]["validation_accuracy"][name] = result.validation_accuracy
        except InputError as error:
            raise InputError(f"encoder {name!r}: {error}") from error
        rows.append(row)
    return Evaluation(tuple(protocols), tuple(rows), settings)
