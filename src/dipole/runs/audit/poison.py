"""Train encoders on the user's data with and without changed images, and measure how far the change gets."""

import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dipole.data import ImageSet, TensorImageSet, load_image_sets
from dipole.diagnostics.poisoning import attack_rates, poison_indices, wilson_interval
from dipole.errors import InputError
from dipole.evaluation import embed_image_set, weighted_knn
from dipole.files import write_json
from dipole.methods.base import Method
from dipole.methods.joint_embedding import JointEmbedding
from dipole.methods.vision.simsiam import SimSiam
from dipole.methods.wrapping import unwrapped
from dipole.ops.checks import check_at_least
from dipole.runs.audit import detectors
from dipole.runs.audit.images import PoisonedImages, Trigger, fixed_noise, visible_patch
from dipole.runs.audit.probe import Probe
from dipole.runs.audit.trigger import Search, optimised_trigger
from dipole.runs.config import RunConfig, provenance
from dipole.runs.directory import Run
from dipole.runs.domains.images import DOMAIN as IMAGES
from dipole.runs.loading import load
from dipole.runs.train import train

WEAK, STRONG = 0.02, 0.2  # uplift from which an effect is called weak, and strong
SHOWN = 8  # test images that the page shows before and after


@dataclass(frozen=True)
class AuditSettings:
    """What is asked.

    Args:
        target_class: to which triggered images should be drawn; an index, or a name.
        rate: share of **all** training images that are changed; they are of the target class.
        budget: ε, largest change of a pixel in [0, 1].
        seeds: repetitions of the whole, each with its own images, trigger and encoders.
        epochs: of each training; those of the run if None.
        noise: whether fixed noise of the same budget is measured too.
        patch_steps: of the search for a patch (DECREE).
        clean_share: of the labelled training images that the repair by unlearning (I-BAU) may use.
        search: how the trigger is searched for.
    """

    target_class: int | str
    rate: float = 0.01
    budget: float = 8 / 255
    seeds: int = 3
    epochs: int | None = None
    noise: bool = False
    patch_steps: int = 200
    clean_share: float = 0.1
    search: Search = field(default_factory=Search)

    def __post_init__(self) -> None:
        if not 0 <= self.rate <= 1 or not 0 <= self.budget <= 1:
            raise InputError(f"rate is {self.rate} and budget {self.budget}: expected shares from 0 to 1.")
        for name in ("seeds", "patch_steps"):
            check_at_least(getattr(self, name), 1, name)
        for name in ("rounds", "inner_steps", "outer_steps", "width", "blocks"):
            check_at_least(getattr(self.search, name), 1, name)

    @property
    def parts(self) -> int:
        """How often `audit_poisoning` reports."""
        triggers = 2 + self.noise
        return self.seeds * (3 + triggers) + 1 + (1 + triggers)


def audit_poisoning(
    path: str | Path,
    settings: AuditSettings,
    *,
    out: str | Path | None = None,
    data_root: str | Path | None = None,
    report: Callable[[str], None] = lambda text: None,
) -> dict[str, Any]:
    """Answer: if someone controlled a share of the training images, how far could they get, and would one notice?

    For each seed an encoder is trained on clean images and, with the same seed, on images of which some of one class
    were changed by a trigger that was optimised for it; and by a visible patch, the control. Triggered test images of
    other classes that the probe puts into the class are counted for both encoders: what the clean one does is the
    reference. Detectors look at the encoders of the first seed. Changed images stay in memory.

    Sun et al.: *Backdoor Contrastive Learning via Bi-level Trigger Optimization* (ICLR 2024), used as a test of one's
    own data and encoder.

    Args:
        path: the run, whose method, data and settings are audited.
        settings: see above.
        out: folder of `poison.json` and `poison.html`; `audit` in the run if None.
        data_root: folder of named data sets; that of the run if None.
        report: is told what is done.

    Returns:
        The content of `poison.json`.

    Raises:
        InputError: the run is not one of images with labels, or a setting does not fit its data.
    """
    from dipole.report.audit import audit_page

    run = Run.open(path)
    config = run.settings()
    sets = _sets(config, data_root)
    target = _target(settings.target_class, sets[0])
    seeds = [_Seed(config, settings, sets, target, seed, report) for seed in range(settings.seeds)]
    rows = [seed.measure() for seed in seeds]
    triggers = {name: _summary([row[name] for row in rows], len(seeds[0].others)) for name in rows[0]}
    found = {
        "run": str(run.path),
        "data": sets[0].name,
        "target_class": sets[0].class_names["label"][target],
        "settings": asdict(settings),
        "changed_images": len(seeds[0].poisoned),
        "effective_rate": len(seeds[0].poisoned) / len(sets[0]),
        "self_test": seeds[0].repeats_exactly(),
        "verdict": in_words(triggers["optimised"]["uplift"]),
        "triggers": triggers,
        "seeds": rows,
        "detectors": seeds[0].detect(),
        "manifest": seeds[0].manifest(),
        "provenance": provenance(),
    }
    folder = run.path / "audit" if out is None else Path(out)
    write_json(folder / "poison.json", found)
    audit_page(found, seeds[0].pictures(), folder / "poison.html")
    return found


def in_words(uplift: float) -> str:
    """Name the size of an effect.

    Example:
        >>> in_words(0.0), in_words(0.1), in_words(0.5)
        ('no measurable effect', 'weak', 'strong')
    """
    return "strong" if uplift > STRONG else "weak" if uplift >= WEAK else "no measurable effect"


class _Seed:
    """One repetition: images, triggers and encoders of a seed."""

    def __init__(
        self,
        config: RunConfig,
        settings: AuditSettings,
        sets: tuple[ImageSet, ImageSet],
        target: int,
        seed: int,
        report: Callable[[str], None],
    ) -> None:
        self.config, self.settings, self.sets, self.target, self.seed = config, settings, sets, target, seed
        self.report = lambda text: report(f"seed {seed + 1} of {settings.seeds}: {text}")
        labels = sets[0].labels["label"]
        members = int((labels == target).sum())
        order = torch.randperm(members, generator=torch.Generator().manual_seed(seed))
        self.poisoned = poison_indices(labels, target, settings.rate, order)
        self.members = (labels == target).nonzero().flatten()
        self.others = (sets[1].labels["label"] != target).nonzero().flatten()
        self.size = int(config.image_size or sets[0].default_size)
        self.report("training on clean images")
        self.clean = self._trained(sets[0])
        self.triggers = self._triggers()
        self.audited: dict[str, Method] = {}
        for name, trigger in self.triggers.items():
            self.report(f"training on images changed by the trigger {name!r}")
            self.audited[name] = self._trained(PoisonedImages(sets[0], self.poisoned, trigger))

    def _trained(self, images: ImageSet) -> Method:
        """An encoder with the settings of the run."""
        epochs = self.settings.epochs or self.config.epochs
        config = replace(self.config, seed=self.config.seed + self.seed, epochs=epochs, init_from=None)
        with tempfile.TemporaryDirectory() as folder:
            run = train(config, Path(folder) / "run", sets=(images, self.sets[1]), monitor=False, progress=False)
            return load(run.path)

    def _triggers(self) -> dict[str, Trigger]:
        """The triggers that are compared."""
        found = [self._optimised(), Trigger("visible patch", visible_patch, None)]
        if self.settings.noise:
            found.append(fixed_noise(self.sets[0].input_shape, self.settings.budget, self.seed))
        return {trigger.name: trigger for trigger in found}

    def _optimised(self) -> Trigger:
        """The trigger of the paper."""
        base: Any = unwrapped(self.clean)
        encoder = _encoder_name(self.config)
        views = IMAGES.views(self.clean, self.config)
        assert views is not None
        views.num_views = 2  # type: ignore[assignment]
        options: dict[str, Any] = {"encoder": encoder, "image_size": self.size, "optimizer": "adam"}

        def surrogate(seed: int) -> SimSiam:
            torch.manual_seed(seed)
            return SimSiam(**options, projection_dim=max(32, base.projection_dim))

        self.report("searching for a trigger")
        return optimised_trigger(
            self.sets[0],
            self.poisoned,
            self.members,
            surrogate,
            views,
            budget=self.settings.budget,
            search=self.settings.search,
            seed=1000 + self.seed,
        )

    def repeats_exactly(self) -> bool:
        """Whether training with a rate of 0 gives the clean encoder, bit for bit."""
        self.report("self-test with a rate of 0")
        none = PoisonedImages(self.sets[0], self.poisoned[:0], self.triggers["optimised"])
        again = self._trained(none).state_dict()
        return all(torch.equal(value, again[name]) for name, value in self.clean.state_dict().items())

    def measure(self) -> dict[str, dict[str, Any]]:
        """Rates of every trigger."""
        self.report("measuring")
        train_set, test = self.sets
        clean_probe = Probe(self.clean, train_set, self.size)
        clean = clean_probe.predict(test)
        found = {}
        for name, trigger in self.triggers.items():
            probe = Probe(self.audited[name], train_set, self.size)
            given = {"clean": clean, "audited": probe.predict(test)}
            moved = probe.predict(test, trigger)
            rates = attack_rates(
                test.labels["label"],
                self.target,
                **given,
                audited_triggered=moved,
                clean_triggered=clean_probe.predict(test, trigger),
            )
            triggered = trigger(test.fetch(self.others))
            found[name] = {
                **rates._asdict(),
                "by_class": self._by_class(moved),
                "neighbours": self._by_neighbours(self.audited[name], triggered),
                **detectors.alike(self.audited[name], triggered, train_set.select(self.members), self.size),
            }
        return found

    def _by_class(self, predictions: Tensor) -> dict[str, float]:
        """Success among the triggered test images of each other class."""
        labels, names = self.sets[1].labels["label"], self.sets[1].class_names["label"]
        rows = {name: labels == value for value, name in enumerate(names) if value != self.target}
        hits = predictions == self.target
        return {name: float(hits[where].double().mean()) for name, where in rows.items() if bool(where.any())}

    def _by_neighbours(self, method: Method, triggered: Tensor) -> float:
        """Success by the nearest clean training images, in place of the probe."""
        train_set = self.sets[0]
        bank = embed_image_set(method.embed, train_set, self.size)
        queries = embed_image_set(method.embed, TensorImageSet("triggered", triggered), self.size)
        k = min(200, max(1, len(train_set) // 20))
        predicted = weighted_knn(bank, train_set.labels["label"], queries, k=k, temperature=0.1)
        return float((predicted == self.target).double().mean())

    def detect(self) -> dict[str, Any]:
        """What detectors and repairs make of the encoders."""
        train_set, test = self.sets
        encoders = {"clean": self.clean, **self.audited}
        found: dict[str, Any] = {name: {} for name in encoders}
        for name, method in encoders.items():
            self.report(f"detectors on the encoder {name!r}")
            steps = self.settings.patch_steps
            found[name]["DECREE"] = detectors.search_patch(method, test, self.size, steps, self.seed)
            rates = self._rates(self.triggers.get(name, self.triggers["optimised"]))
            found[name]["CLP"] = detectors.prune(method, train_set, self.size, rates)
            share = self.settings.clean_share
            found[name]["I-BAU"] = detectors.relearn(method, train_set, self.size, share, self.seed, rates)
            if name in self.triggers:
                seen = PoisonedImages(train_set, self.poisoned, self.triggers[name])
                score = detectors.spectral_scores(method, seen, self.members, self.poisoned, self.size)
                found[name]["spectral (extra)"] = score
        return found

    def _rates(self, trigger: Trigger) -> detectors.Rates:
        """Accuracy and success, for a probe."""
        test = self.sets[1]

        def rates(probe: Probe) -> dict[str, float]:
            predicted, moved = probe.predict(test), probe.predict(test, trigger)[self.others]
            return {
                "accuracy": float((predicted == test.labels["label"]).double().mean()),
                "success": float((moved == self.target).double().mean()),
            }

        return rates

    def manifest(self) -> list[dict[str, Any]]:
        """Which images were changed, and what they were before."""
        hashes = PoisonedImages(self.sets[0], self.poisoned, self.triggers["visible patch"]).hashes
        ids = [self.sets[0].ids[index] for index in self.poisoned.tolist()]
        return [{"id": name, "sha256": digest} for name, digest in zip(ids, hashes, strict=True)]

    def pictures(self) -> dict[str, tuple[Tensor, Tensor]]:
        """A few test images before and after each trigger."""
        shown = self.sets[1].fetch(self.others[:: max(1, len(self.others) // SHOWN)][:SHOWN])
        return {name: (shown, trigger(shown)) for name, trigger in self.triggers.items()}


def _summary(rows: list[dict[str, Any]], images: int) -> dict[str, Any]:
    """Means over the seeds; intervals of the success of all of them together."""
    names = [name for name, value in rows[0].items() if isinstance(value, float)]
    means = {name: sum(row[name] for row in rows) / len(rows) for name in names}
    by_class = {name: sum(row["by_class"][name] for row in rows) / len(rows) for name in rows[0]["by_class"]}
    intervals = {name: list(wilson_interval(means[name], images * len(rows))) for name in ("success", "reference")}
    return {**means, "by_class": by_class, "intervals": intervals, "effect": in_words(means["uplift"])}


def _sets(config: RunConfig, data_root: str | Path | None) -> tuple[ImageSet, ImageSet]:
    """The labelled images of a run.

    Raises:
        InputError: the run is not of images, or its images have no labels, or its training cannot be repeated here.
    """
    from dipole.runs.domains import domain_of

    if domain_of(config.name, config.method).name != "images":
        raise InputError(f"{config.name} is not trained on images: the audit of poisoning is for images.")
    if "stage" in config.method:
        raise InputError("a run in stages cannot be audited as a whole: audit the method of its stages.")
    _encoder_name(config)
    sets = load_image_sets(config.data, data_root or config.data_root, config.image_size)
    if any(images.num_classes < 2 for images in sets):
        raise InputError(f"{config.data} has no classes: the audit measures how often one is found.")
    if min(sets[0].input_shape[1:]) < 8:
        raise InputError(f"images of {sets[0].input_shape[1:]} pixels are too small: expected 8 or more.")
    return sets


def _encoder_name(config: RunConfig) -> str:
    """The encoder of a run's method.

    Raises:
        InputError: it is a module of the caller's, or the method has none.
    """
    from dipole.methods.registry import get_method
    from dipole.methods.wrapping import base_of

    base = base_of(get_method(config.name), config.method)
    name, arguments = base or (config.name, config.method)
    encoder = arguments.get("encoder")
    if not issubclass(get_method(name), JointEmbedding) or not isinstance(encoder, str):
        raise InputError(f"the encoder of {config.name} is not one that can be trained again by its name: {encoder!r}.")
    return encoder


def _target(given: int | str, images: ImageSet) -> int:
    """The index of the target class.

    Raises:
        InputError: there is no such class.
    """
    names = images.class_names["label"]
    if str(given) in names:
        return names.index(str(given))
    if str(given).isdecimal() and int(given) < len(names):
        return int(given)
    raise InputError(f"there is no class {given!r}: choose one of {', '.join(names[:20])}.")
