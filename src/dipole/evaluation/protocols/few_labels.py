"""What features are worth where few samples have a label, in every field whose data have classes."""

from typing import Any, ClassVar

import torch

from dipole.data.text import load_texts
from dipole.errors import InputError
from dipole.evaluation.few_labels import Divided, FewLabelsOf, divided_at_random
from dipole.evaluation.materials import GraphMaterial, ImageMaterial, ModalityMaterial, SeriesMaterial, TextMaterial
from dipole.evaluation.protocols.knn import NO_CLASSES

TEXT, LABEL = "text", "label"


class FewLabels(FewLabelsOf):
    """Accuracy of a linear classifier that learns from 1, 5, 10 and 50 labelled training images of each class.

    See `dipole.evaluation.few_labels.FewLabelsOf`, as for the options.
    """

    name: ClassVar[str] = "few-labels"
    domains = ("images",)
    measures = "embed"

    def lacks(self, material: ImageMaterial) -> str | None:
        """Two classes."""
        return None if material.labelled is not None else NO_CLASSES

    def divided(self, material: ImageMaterial) -> dict[str, Divided]:
        """The training and the test images."""
        assert material.labelled is not None, "lacks() says so"
        return {"": Divided(material.features, material.labelled.train, material.labelled.test)}


class FewGraphLabels(FewLabelsOf):
    """The same for nodes of a graph: half of each class is drawn from, the other half tests."""

    name: ClassVar[str] = "few-labels"
    domains = ("graph",)
    measures = "nodes"

    def lacks(self, material: GraphMaterial) -> str | None:
        """Two classes."""
        return NO_CLASSES if material.graph.labels is None else None

    def divided(self, material: GraphMaterial) -> dict[str, Divided]:
        """Halves of the nodes."""
        assert material.graph.labels is not None, "lacks() says so"
        return {"": divided_at_random(material.features, material.graph.labels, seed=material.seed)}


class FewSeriesLabels(FewLabelsOf):
    """The same for series with classes: their training part is drawn from, their test part tests."""

    name: ClassVar[str] = "few-labels"
    domains = ("timeseries",)
    measures = "embed_series"

    def lacks(self, material: SeriesMaterial) -> str | None:
        """Training and test series with two classes."""
        data = material.data
        known = data.forecast is None and data.test is not None and data.test.labels is not None
        return None if known and data.train.labels is not None and data.train.num_classes > 1 else NO_CLASSES

    def divided(self, material: SeriesMaterial) -> dict[str, Divided]:
        """The training and the test series."""
        train, test = material.data.train, material.data.test
        assert test is not None, "lacks() says so"
        assert train.labels is not None, "lacks() says so"
        assert test.labels is not None, "lacks() says so"
        features = {
            name: (one.embed_series(train).float(), one.embed_series(test).float())
            for name, one in material.able(self.measures).items()
        }
        return {"": Divided(features, train.labels, test.labels)}


class FewModalLabels(FewLabelsOf):
    """The same for each modality of rows with classes: half of each class is drawn from, the other half tests."""

    name: ClassVar[str] = "few-labels"
    domains = ("multimodal",)
    measures = "items"

    def lacks(self, material: ModalityMaterial) -> str | None:
        """Two classes."""
        return None if len({label for label in material.labels or () if label is not None}) > 1 else NO_CLASSES

    def divided(self, material: ModalityMaterial) -> dict[str, Divided]:
        """Halves of the rows that have a modality, and a class."""
        assert material.labels is not None, "lacks() says so"
        candidates = material.able(self.measures)
        found = {}
        for modality, items in next(iter(candidates.values())).items.items():
            rows = [row for row, label in enumerate(material.labels) if label is not None and items.rows[row]]
            labels = _numbers([material.labels[row] for row in rows])
            if len(labels.unique()) < 2:
                continue
            features = {
                name: torch.stack([one.items[modality].first(row) for row in rows])
                for name, one in candidates.items()
                if modality in one.items
            }
            found[modality] = divided_at_random(features, labels, seed=material.seed)
        if not found:
            raise InputError("no modality has rows of two classes: there is nothing to learn from few labels.")
        return found


class FewTextLabels(FewLabelsOf):
    """The same for texts with classes: half of each class is drawn from, the other half tests.

    The data are a table with the columns `text` and `label`.
    """

    name: ClassVar[str] = "few-labels"
    domains = ("text",)
    measures = "encode"

    def divided(self, material: TextMaterial) -> dict[str, Divided]:
        """Halves of the texts.

        Raises:
            InputError: there are no data, or no two classes among them.
        """
        if material.data is None:
            raise InputError(f"the protocol few-labels needs --data: a table with the columns {TEXT} and {LABEL}.")
        texts = load_texts(material.data, material.data_root)
        texts.require(TEXT, LABEL)
        records = texts.fetch(torch.arange(len(texts)))
        kept = [record for record in records if record[LABEL] is not None and str(record[LABEL]).strip()]
        labels = _numbers([str(record[LABEL]).strip() for record in kept])
        if len(labels.unique()) < 2:
            raise InputError(f"{texts.name} has texts of {len(labels.unique())} classes: two or more are needed.")
        written = [str(record[TEXT]) for record in kept]
        features = {name: torch.as_tensor(one.encode(written)) for name, one in material.able(self.measures).items()}
        return {"": divided_at_random(features, labels, seed=material.seed)}


def _numbers(classes: list[Any]) -> torch.Tensor:
    """Classes as numbers, in the order of their names."""
    names = {name: place for place, name in enumerate(sorted(set(map(str, classes))))}
    return torch.tensor([names[str(name)] for name in classes])
