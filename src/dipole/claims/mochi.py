"""MoCHi: mixed negatives make the proxy task harder; whether they make better features is another question.

MoCo and MoCHi see the same images, views, batches, queue and number of epochs; each has its own learning rate from the
same grid, chosen on held-out training images. Judged: the mechanism, that the positive is found less often among the
negatives that the method trains with (margin one point); and what the paper makes of it, that features are better (kNN
and linear accuracy, margin half a point) and use more of the sphere (uniformity, margin 0.05).

Read in the stored result, after the runs: the task is harder, the positive is found half as often, and more of the
sphere is used, if by less than the margin; whether features are better, five seeds do not decide. Against the queue
alone the positive is found as often as by MoCo: the task is harder by its negatives, not by its features. Both arms
chose the smallest learning rate of the grid. The stored time includes a pause of an hour.
"""

from dipole.claims.base import Claim, Comparison
from dipole.claims.queues import measure_proxy_task, queue_arm

CLAIM = Claim(
    slug="mochi",
    title="Hard Negative Mixing for Contrastive Learning",
    statement=(
        "Negatives mixed from the hardest ones of a queue make the proxy task of MoCo harder; its features become "
        "better and use more of the embedding space."
    ),
    paper=(
        "ImageNet-100, 200 epochs, linear: MoCo v2 78.0, MoCHi about 79; ImageNet: within one point of MoCo v2, no "
        "clear gain (cited from memory)."
    ),
    arms=(
        queue_arm("MoCo", "moco"),
        queue_arm("MoCHi", "mochi", num_hard=128, num_pairs=64, num_with_query=32, mixing_warmup_epochs=4),
    ),
    comparisons=(
        Comparison("proxy accuracy", "MoCHi", "MoCo", "proxy_accuracy", "lower", margin=0.01),
        Comparison("linear", "MoCHi", "MoCo", "linear", margin=0.005),
        Comparison("kNN", "MoCHi", "MoCo", "knn", margin=0.005),
        Comparison("uniformity", "MoCHi", "MoCo", "uniformity", "lower", margin=0.05),
        Comparison(
            "proxy accuracy, queue alone", "MoCHi", "MoCo", "queue_proxy_accuracy", "lower", margin=0.01, judged=False
        ),
    ),
    notes=(
        "(N, s, s') is (128, 64, 32), with a queue of 1,024 and four epochs of plain MoCo before.",
        "The proxy task is measured after training, on one epoch of new views of the training images.",
        "The queue holds most of the images of an epoch, also older keys of the query's own image.",
    ),
    measure=measure_proxy_task,
)
