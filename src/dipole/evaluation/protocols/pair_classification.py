"""Pairs of texts that belong together or not, told apart by their similarity."""

from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from dipole.data.text import load_texts
from dipole.errors import InputError
from dipole.evaluation.materials import TextMaterial
from dipole.evaluation.pair_classification import f1_max, roc_auc, similarity_ratio
from dipole.evaluation.protocol import Measured, Protocol

COLUMNS = ("first", "second", "label")


class PairClassification(Protocol):
    """F1max and the area under the ROC curve of cosines, for pairs with labels 1 and 0.

    The data are a table with the columns `first`, `second` and `label`. With a column `domain` the measures are means
    over the domains, and an encoder that knows domains embeds each text as one of its own.
    """

    name: ClassVar[str] = "pairs"
    domains = ("text",)
    measures = "encode"
    by_default = False
    place = 20

    def measure(self, material: TextMaterial) -> Measured:
        """Return the columns `F1max`, `AUC` and `ratio`, and `F1max` of every domain."""
        if material.data is None:
            raise InputError(f"the protocol pairs needs --data: a table with the columns {', '.join(COLUMNS)}.")
        texts = load_texts(material.data, material.data_root)
        texts.require(*COLUMNS)
        groups: dict[str, list[dict[str, Any]]] = {}
        for record in texts.fetch(torch.arange(len(texts))):
            groups.setdefault(str(record.get("domain", "")), []).append(record)
        rows = {}
        for name, candidate in material.able(self.measures).items():
            found = {domain: self._measured(candidate, domain, records) for domain, records in sorted(groups.items())}
            row = {key: sum(each[key] for each in found.values()) / len(found) for key in ("F1max", "AUC", "ratio")}
            row |= {f"F1max {domain}": each["F1max"] for domain, each in found.items() if domain}
            rows[name] = row
        return Measured(rows, data=texts.name)

    @staticmethod
    def _measured(candidate: Any, domain: str, records: list[dict[str, Any]]) -> dict[str, float]:
        """What one encoder reaches in one domain."""
        given = {"domain": domain} if domain and getattr(candidate, "knows_domains", False) else {}
        first, second = (
            F.normalize(torch.as_tensor(candidate.encode([str(record[side]) for record in records], **given)), dim=1)
            for side in ("first", "second")
        )
        scores: Tensor = (first * second).sum(dim=1)
        labels = torch.tensor([_label(record["label"]) for record in records])
        return {
            "F1max": f1_max(scores, labels).f1,
            "AUC": roc_auc(scores, labels),
            "ratio": similarity_ratio(scores, labels),
        }


def _label(value: Any) -> int:
    """A label as a number."""
    if str(value).strip() not in ("0", "1", "0.0", "1.0", "True", "False"):
        raise InputError(f"label {value!r} is neither 1 (belongs together) nor 0.")
    return int(str(value).strip() in ("1", "1.0", "True"))
