"""What common and salient parts tell of labels."""

from typing import ClassVar

import torch
from torch import Tensor

from dipole.evaluation.embedding import embed_image_set
from dipole.evaluation.materials import ImageMaterial
from dipole.evaluation.protocol import Measured, Picture, Protocol

MOST_POINTS = 500


class Separation(Protocol):
    """Accuracy of logistic regressions of each label from the common and from the salient part of embeddings.

    They learn from training images of the target population and are measured on its test images; the population
    itself is learned from both. What belongs to the other part should be low: it is leakage. Means over classes.
    """

    name: ClassVar[str] = "separation"
    domains = ("images",)
    measures = "embed_parts"
    by_default = False

    @classmethod
    def suits(cls, material: ImageMaterial) -> bool:
        """Whether there are two populations."""
        return "population" in material.train.labels

    def lacks(self, material: ImageMaterial) -> str | None:
        """Two populations, and a method with two parts."""
        if not self.suits(material):
            return "there are no two populations: name the background with --loading.background COLUMN=VALUE"
        return None if material.able("embed_parts") else "the method has no common and salient part"

    def measure(self, material: ImageMaterial) -> Measured:
        """Return a column for each label and part, and a map of both parts."""
        rows: dict[str, dict[str, float]] = {}
        pictures: list[Picture] = []
        for name, one in material.able("embed_parts").items():
            parts = [self._parts(one, material, images) for images in (material.train, material.test)]
            rows[name] = {
                f"{kind} from {part}": value
                for kind in material.train.labels
                for part in parts[0]
                if (value := _accuracy(kind, part, parts, material)) is not None
            }
            if not pictures:
                pictures.append(_map(parts[1], material.test.labels["population"], name))
        return Measured(rows, {"separation": {"learned from": "the target population"}}, pictures=tuple(pictures))

    def _parts(self, one: object, material: ImageMaterial, images: object) -> dict[str, Tensor]:
        """Each part of the embeddings of a set."""
        widths: dict[str, int] = {}

        def joined(batch: Tensor) -> Tensor:
            found: dict[str, Tensor] = one.embed_parts(batch)  # type: ignore[attr-defined]
            widths.update({name: part.shape[1] for name, part in found.items()})
            return torch.cat(list(found.values()), dim=1)

        rows = embed_image_set(joined, images, material.image_size, device=material.device)  # type: ignore[arg-type]
        return dict(zip(widths, rows.split(list(widths.values()), dim=1), strict=True))


def _accuracy(kind: str, part: str, parts: list[dict[str, Tensor]], material: ImageMaterial) -> float | None:
    """Balanced accuracy of a label from a part; None where there is nothing to tell apart."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import balanced_accuracy_score
    from sklearn.preprocessing import StandardScaler

    data = []
    for images, of in zip((material.train, material.test), parts, strict=True):
        labels = images.labels[kind]
        kept = labels >= 0
        if kind != "population":
            kept &= images.labels["population"] == 1
        data.append((of[part][kept].double().numpy(), labels[kept].numpy()))
    (x, y), (test_x, test_y) = data
    if len(set(y.tolist())) < 2 or not len(test_y):
        return None
    scaler = StandardScaler().fit(x)
    probe = LogisticRegression(max_iter=1000).fit(scaler.transform(x), y)
    return float(balanced_accuracy_score(test_y, probe.predict(scaler.transform(test_x))))


def _map(parts: dict[str, Tensor], population: Tensor, of: str) -> Picture:
    """Both parts side by side, each by its first two principal components, scaled to a square."""
    some = torch.linspace(0, len(population) - 1, min(len(population), MOST_POINTS)).long()
    traces = []
    for place, (part, rows) in enumerate(parts.items()):
        centred = (rows - rows.mean(dim=0))[some].double()
        plane = centred @ torch.linalg.svd(centred, full_matrices=False).Vh[:2].T
        plane = plane / plane.abs().amax().clamp_min(1e-12)
        for value, name in enumerate(("background", "target")):
            mine = plane[population[some] == value]
            x, y = (mine[:, 0] + 2.5 * place).tolist(), mine[:, -1].tolist()
            traces.append({"x": x, "y": y, "mode": "markers", "name": f"{part}, {name}", "marker": {"size": 4}})
    return Picture(
        "Common part (left) and salient part (right)",
        f"Test images by the first two principal components of each part; features of {of}. In the common part the "
        "populations should mix, in the salient part the background should be one point.",
        {
            "data": traces,
            "x": "",
            "y": "",
            "xaxis": {"showticklabels": False, "zeroline": False},
            "yaxis": {"showticklabels": False, "zeroline": False},
        },
    )
