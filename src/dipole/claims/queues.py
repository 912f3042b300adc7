"""What experiments on MoCo and its relatives measure: the task that they train on, as it is after training."""

import copy
from statistics import fmean
from typing import Any, cast

import torch

from dipole.claims.base import Arm
from dipole.claims.images import ImageData, epoch_of_views
from dipole.claims.settings import GREY_VIEWS, SMALL
from dipole.data import ImageSet
from dipole.diagnostics import proxy_accuracy, score_statistics, uniformity
from dipole.methods.base import Method
from dipole.methods.vision.mochi import MoCHi
from dipole.methods.vision.moco import MoCo
from dipole.views import MoCoV2Views, resize

TEMPERATURE = 0.2
DIGITS = ImageData("digits", 16)
RATES = (0.03, 0.1, 0.3)
MOCO: dict[str, Any] = {**SMALL, "temperature": TEMPERATURE, "queue_size": 1024, "encoder_momentum": 0.99}


def queue_arm(name: str, method: str, **options: Any) -> Arm:
    """MoCo or a relative, 40 epochs on digits."""
    return Arm(name, method, DIGITS, 40, 128, RATES, {**MOCO, **options}, GREY_VIEWS)


def measure_proxy_task(method: Method, train: ImageSet, test: ImageSet, arm: Arm) -> dict[str, float]:
    """Return how hard the task is and how its scores lie, over one epoch of new views, and the uniformity of the test.

    `proxy_accuracy` counts the negatives that the method itself makes, `queue_proxy_accuracy` those of the queue alone.
    Scores are those of plain queries and keys. Networks normalise by the batch, as they do in training; the method
    itself is left as it was.
    """
    network = cast(MoCo, copy.deepcopy(method)).train()
    if isinstance(network, MoCHi):
        network.starts = (0, 0)
    size = cast(ImageData, arm.data).image_size
    found: dict[str, list[float]] = {}
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)  # of what MoCHi draws
        for _, pair in epoch_of_views(MoCoV2Views, arm, train, size):
            queries, keys = network.embed_pair(pair)
            entries = network.queue.entries
            own = network.mix(queries).all if isinstance(network, MoCHi) else None
            scores = score_statistics(queries, keys, entries, temperature=TEMPERATURE).mean(dim=0)
            values = {
                "proxy_accuracy": proxy_accuracy(queries, keys, entries, own),
                "queue_proxy_accuracy": proxy_accuracy(queries, keys, entries),
                "positive_score": scores[2],
                "negative_variance": scores[1],
            }
            for name, value in values.items():
                found.setdefault(name, []).append(float(value))
            network.queue.enqueue(keys)
        images = resize(test.fetch(torch.arange(len(test))), size)
        spread = float(uniformity(cast(MoCo, method).project(images[None])[0]))
    return {**{name: fmean(values) for name, values in found.items()}, "uniformity": spread}
