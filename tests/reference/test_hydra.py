"""Hydra's gate, loss, total and pairs of classes against the authors' code, key by key."""

from typing import Any

import torch
from torch import Tensor

from dipole.losses import (
    arbitrary_pair_loss,
    gated_similarity,
    hydra_moco_loss,
    info_nce_loss,
    pair_masks,
    pair_probabilities,
)
from dipole.nn import PairGate, gate_statistics
from reference.cases import Case, parametrize

LAYERS = {"bn0": 1, "fc0": 2, "bn1": 4, "fc1": 5}  # positions in the gate's network


@parametrize(
    "hydra",
    {"gate": "in.label_embedding", "loss": "in.gate", "total": "in.gate_disparate", "pairs": "in.distance"},
)
def test_every_value(case: Case, kind: str) -> None:
    CHECKS[kind](case)
    case.check_all_read()


def gate_of(case: Case, fuse: bool = True) -> PairGate:
    """A gate with the stored weights, in evaluation mode."""
    embedding, last = case["in.label_embedding"], case["in.fc1.weight"]
    sizes = {"embed_dim": embedding.shape[1], "hidden_dim": last.shape[1]}
    gate = PairGate(len(embedding), len(last), fuse=fuse, **sizes).double()
    state = {"embedding.weight": embedding}
    for name, position in LAYERS.items():
        layer = gate.mlp[position]
        if name.startswith("bn"):
            layer.eps, layer.momentum = case.params["bn_eps"], case.params["bn_momentum"]  # type: ignore[assignment]
        state |= {f"mlp.{position}.{entry}": case[f"in.{name}.{entry}"] for entry in case.names(f"in.{name}.")}
    missing = gate.load_state_dict(state, strict=False)
    assert not missing.unexpected_keys
    assert all(key.endswith("num_batches_tracked") for key in missing.missing_keys)
    return gate.eval()


def check_gate(case: Case) -> None:
    y1, y2 = case["in.y1"], case["in.y2"]
    gate = gate_of(case)
    case.check("out.gate.eval.fuse", gate(y1, y2))
    case.check("out.gate.eval.fuse_swapped", gate(y2, y1))
    case.check("out.gate.eval.single", gate(y1))
    case.check("out.gate.eval.product", gate_of(case, fuse=False)(y1, y2))
    every_class = gate.of_classes()
    case.check("out.gate.eval.all_classes", every_class)
    for name, value in gate_statistics(every_class)._asdict().items():
        case.check(f"out.{name}", value)
    # With the statistics of the batch, which move the running ones.
    trained = gate.train()(y1, y2)
    case.check("out.gate.train.fuse", trained)
    case.check_gradient(
        "grad.label_embedding.train.fuse", (trained * case["in.cotangent"]).sum(), gate.embedding.weight
    )
    for key in [name for name in case.names("out.") if name.endswith("_after")]:
        layer, entry = key.removesuffix("_after").split(".")
        case.check(f"out.{key}", getattr(gate.mlp[LAYERS[layer]], entry))


def check_loss(case: Case) -> None:
    leaves = {name: case.leaf(f"in.{name}") for name in ("z", "k", "gate")}
    z, k, gate = leaves.values()
    labels, temperature = case["in.y1"], case.params["temperature"]
    assert int(labels.max()) < case.params["num_classes"]
    partners = {name: case[f"in.y2.{name}"] for name in case.names("in.y2.")}
    for name in case.names("out.logits."):
        case.check(f"out.logits.{name}", gated_similarity(z, k, gate, similarity=name) / temperature)  # type: ignore[arg-type]
    masks = pair_masks(labels, partners["arbitrary"], labels)
    case.check("out.pos_mask", masks.positive)
    case.check("out.neg_mask", masks.negative)
    for key in case.names("out.loss."):
        similarity, pairs, reduction = key.split(".")
        options: dict[str, Any] = {"temperature": temperature, "reduction": reduction}
        if similarity == "open_gate":
            loss = arbitrary_pair_loss(z, k, None, labels, partners[pairs], **options)
            ones = torch.ones_like(gate)
            case.check(f"out.loss.{key}", arbitrary_pair_loss(z, k, ones, labels, partners[pairs], **options))
        else:
            options["similarity"] = similarity
            loss = arbitrary_pair_loss(z, k, gate, labels, partners[pairs], **options)
        case.check(f"out.loss.{key}", loss)
        for name, leaf in leaves.items():
            if f"grad.{name}.{key}" in case:
                case.check_gradient(f"grad.{name}.{key}", loss, leaf)
    alone = ~pair_masks(labels, partners["distinct"], labels).positive.any(dim=1)
    case.check("out.rows_without_positive", alone.sum())


def check_total(case: Case) -> None:
    leaves = {name: case.leaf(f"in.{name}") for name in ("q1", "q2", "gate_disparate", "gate_class")}
    q1, q2, gate, class_gate = leaves.values()
    k1, k2, labels, partners = case["in.k1"], case["in.k2"], case["in.y"], case["in.y_shuffled"]
    temperature, pair_temperature = case.params["temperature"], 1 / case.params["scale"]

    def both(loss: Any) -> Tensor:
        return (loss(q1, k2) + loss(q2, k1)) / 2

    def pairs(of_pairs: Tensor, y2: Tensor) -> Tensor:
        return both(lambda q, k: arbitrary_pair_loss(q, k, of_pairs, labels, y2, temperature=pair_temperature))

    case.check("out.instance", both(lambda q, k: info_nce_loss(q, k, temperature=temperature)))
    case.check("out.disparate", pairs(gate, partners))
    case.check("out.class_", pairs(class_gate, labels))
    loss = hydra_moco_loss(
        torch.stack([q1, q2]),
        torch.stack([k1, k2]),
        gate,
        class_gate,
        labels,
        partners,
        temperature=temperature,
        pair_temperature=pair_temperature,
        alpha=case.params["alpha"],
        beta=case.params["beta"],
    )
    case.check("out.loss", loss)
    for name, leaf in leaves.items():
        case.check_gradient(f"grad.{name}", loss, leaf)


def check_pairs(case: Case) -> None:
    alpha, max_level = case.params["alpha"], case.params["max_level"]
    case.check("out.prob", pair_probabilities(case["in.distance"], alpha=alpha, max_level=max_level))


CHECKS = {"gate": check_gate, "loss": check_loss, "total": check_total, "pairs": check_pairs}
