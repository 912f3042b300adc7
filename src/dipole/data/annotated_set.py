"""Images with labels, targets and populations that are not the data's own."""

from collections.abc import Callable, Mapping, Sequence

import torch
from jaxtyping import Bool, Float, Int64, UInt8
from torch import Tensor

from dipole.data.image_set import ImageSet
from dipole.errors import InputError


class AnnotatedSet(ImageSet):
    """The images of another set with labels of its own, which may be unknown, and numbers.

    A batch has `label` −1 where a label is unknown or hidden, `labelled` (N,), and every kind of number.

    Args:
        base: the images.
        labels: class index of every image, by kind; −1 where it is not known.
        class_names: names of the classes, by kind.
        numbers: values (N,) by kind, such as `"target"`.
        hidden: (N,) whose main label training must not see.
        known: number of classes, the first ones, that training knows; all if None.

    Raises:
        InputError: they do not fit the images.

    Example:
        >>> from dipole.data import load_image_sets
        >>> base = load_image_sets("digits")[0].select(torch.arange(3))
        >>> ages = AnnotatedSet(base, {}, {}, {"target": torch.tensor([1.0, 2.5, 4.0])})
        >>> ages.select(torch.tensor([2]))[0]["target"]
        tensor(4.)
    """

    def __init__(
        self,
        base: ImageSet,
        labels: Mapping[str, Tensor],
        class_names: Mapping[str, Sequence[str]],
        numbers: Mapping[str, Float[Tensor, "n"]] | None = None,
        hidden: Bool[Tensor, "n"] | None = None,
        known: int | None = None,
    ) -> None:
        self.numbers = {kind: values.float() for kind, values in (numbers or {}).items()}
        super().__init__(
            base.name, base.ids, (base.input_shape[1], base.input_shape[2]), labels, class_names, base.default_size,
            base.skipped,
        )  # fmt: skip
        self.base, self.known = base, known
        self.hidden = torch.zeros(len(base), dtype=torch.bool) if hidden is None else hidden

    def _check(self) -> None:
        """Refuse what cannot belong to these images."""
        for kind, values in [*self.labels.items(), *self.numbers.items()]:
            if values.shape != (len(self.ids),):
                raise InputError(f"{self.name}: {kind!r} has shape {tuple(values.shape)}: expected one for each image.")
        for kind, names in self.class_names.items():
            values = self.labels[kind]
            if values.numel() and not -1 <= int(values.min()) <= int(values.max()) < len(names):
                raise InputError(f"{self.name}: {kind!r} is not from −1 to {len(names) - 1}.")

    @property
    def seen_labels(self) -> Int64[Tensor, "n"] | None:
        """The main labels that training may see; −1 for the others."""
        found = self.labels.get("label")
        return None if found is None else found.masked_fill(self.hidden, -1)

    def fetch(self, indices: Int64[Tensor, " n"]) -> UInt8[Tensor, "n 3 h w"]:
        """Return the images at `indices`, in that order."""
        return self.base.fetch(indices)

    def select(self, indices: Int64[Tensor, " n"]) -> "AnnotatedSet":
        """Return the set of the images at `indices`, in that order, with all that is known of them."""
        return AnnotatedSet(
            self.base.select(indices),
            self._selected_labels(indices),
            self.class_names,
            {kind: values[indices] for kind, values in self.numbers.items()},
            self.hidden[indices],
            self.known,
        )

    @property
    def fetch_crops(self) -> Callable[..., Tensor]:
        """Return crops of whole photos, if the images are such."""
        found: Callable[..., Tensor] = self.base.fetch_crops  # type: ignore[attr-defined]
        return found

    def known_of(self, rows: Int64[Tensor, " n"]) -> dict[str, Tensor]:
        """Return labels as training may see them, and numbers."""
        found = super().known_of(rows) | {kind: values[rows] for kind, values in self.numbers.items()}
        if "label" in found:
            found["label"] = found["label"].masked_fill(self.hidden[rows], -1)
            found["labelled"] = found["label"] >= 0
        return found
