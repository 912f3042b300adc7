"""A classifier on frozen features, as a user of an encoder would train one."""

from collections.abc import Callable

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from dipole.data import ImageSet
from dipole.evaluation import embed_image_set
from dipole.methods.base import Method
from dipole.views import resize


class Probe(nn.Module):
    """Logistic regression on standardised features of clean images; a module, so that detectors can differentiate it.

    Args:
        method: the encoder.
        images: clean labelled images.
        image_size: side of the images that the encoder sees.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, method: Method, images: ImageSet, image_size: int) -> None:
        super().__init__()
        self.method, self.image_size = method, image_size
        features = embed_image_set(method.embed, images, image_size)
        labels = images.labels["label"]
        self.classes = len(images.class_names["label"])
        self.register_buffer("mean", features.mean(dim=0))
        self.register_buffer("deviation", features.std(dim=0).clamp_min(1e-6))
        self.head = nn.Linear(features.shape[1], self.classes)
        self._fit((features - self.mean) / self.deviation, labels)
        self.eval()

    @torch.no_grad()
    def _fit(self, features: Float[Tensor, "n f"], labels: Int64[Tensor, "n"]) -> None:
        """Fit the head; classes without an image are never predicted."""
        from sklearn.linear_model import LogisticRegression

        found = LogisticRegression(C=1.0, max_iter=1000).fit(features.numpy(), labels.numpy())
        weight, bias = (torch.from_numpy(part).float() for part in (found.coef_, found.intercept_))
        if len(found.classes_) == 2:
            weight, bias = torch.cat([-weight, weight]), torch.cat([-bias, bias])
        self.head.weight.zero_()
        self.head.bias.fill_(-1e4)
        self.head.weight[found.classes_] = weight
        self.head.bias[found.classes_] = bias

    def forward(self, images: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n k"]:
        """Return logits of images in [0, 1]."""
        features = self.method.embed(resize(images, self.image_size))
        logits: Tensor = self.head((features - self.mean) / self.deviation)
        return logits

    @torch.no_grad()
    def predict(self, images: ImageSet, change: Callable[[Tensor], Tensor] = lambda images: images) -> Tensor:
        """Return the classes (N,) of the images of a set, changed before."""
        parts = torch.arange(len(images)).split(512)
        return torch.cat([self(change(images.fetch(part)).float() / 255).argmax(dim=1) for part in parts])
