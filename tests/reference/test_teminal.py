"""TeminAL's losses and zero-shot tasks against the code of its parent and independent loops, key by key."""

import torch
from torch import Tensor

from dipole.evaluation import both_sounds_accuracy, relation_accuracy, single_sound_accuracy
from dipole.losses import clip_loss, tnce_loss
from reference.cases import Case, parametrize

BLOCKS = "fro"


@parametrize(
    "teminal",
    {"tact": "out.official_slice_bug", "single": "in.audio_single", "zero_shot": "in.class_text", "tnce": "in.audio_f"},
)
def test_every_value(case: Case, kind: str) -> None:
    CHECKS[kind](case)
    case.check_all_read()


def check_tact(case: Case) -> None:
    # The authors multiply the scale into the sounds, with respect to which the gradient is stored.
    factors = {"audio": case.params["scale"], "text": 1.0}
    audio, text = (
        (factor * torch.cat([case[f"in.{name}_f"], case[f"in.{name}_r"]])).requires_grad_()
        for name, factor in factors.items()
    )
    weights = {name: case.params[name] for name in ("alpha_same", "alpha_cross", "beta")}
    plain = {"temperature": 1.0, "normalize": False, **weights}
    pair = (audio.unflatten(0, (2, -1)), text.unflatten(0, (2, -1)))
    loss = tnce_loss(*pair, **plain, reduction="weighted_mean")
    case.check("out.loss", loss)
    case.check("out.sum_reduction", tnce_loss(*pair, **plain))
    values = tnce_loss(*pair, **plain, reduction="none")
    case.check("out.parts", values.mean(dim=1))
    case.check_gradient("grad.audio_scaled", loss, audio)
    case.check_gradient("grad.text", loss, text)
    # What the authors' code gives, whose weights begin in the middle of the forward pairs.
    weight = torch.ones(values.numel(), dtype=values.dtype)
    weight[values.shape[1] // 2 :] = weights["beta"]
    case.check("out.official_slice_bug", (weight * values.flatten()).sum() / weight.sum())


def check_tnce(case: Case) -> None:
    leaves = {f"{name}_{block}": case.leaf(f"in.{name}_{block}") for name in ("audio", "text") for block in BLOCKS}
    audio, text = (torch.stack([leaves[f"{name}_{block}"] for block in BLOCKS]) for name in ("audio", "text"))
    given = case.params

    def of_blocks(name: str) -> Tensor:
        weights = torch.full((3, 3), float(given[f"{name}_inv"]), dtype=torch.float64)
        weights[2, :] = weights[:, 2] = given[f"{name}_ov"]
        return weights

    options = {
        "temperature": 1 / given["scale"],
        "alpha_same": of_blocks("alpha_same"),
        "alpha_cross": of_blocks("alpha_cross"),
        "beta": torch.tensor([1.0, given["beta_inv"], given["beta_ov"]], dtype=torch.float64),
        "normalize": False,
    }
    loss = tnce_loss(audio, text, **options, reduction=given["reduction"])
    case.check("out.loss", loss)
    case.check("out.parts", tnce_loss(audio, text, **options, reduction="none").mean(dim=1))
    for name, leaf in leaves.items():
        case.check_gradient(f"grad.{name}", loss, leaf)


def check_single(case: Case) -> None:
    names = [f"{name}_{kind}" for name in ("audio", "text") for kind in ("single", "pair")]
    leaves = [case.leaf(f"in.{name}") for name in names]
    audio, text = torch.cat(leaves[:2]), torch.cat(leaves[2:])
    loss = clip_loss(audio, text, temperature=1 / case.params["scale"], normalize=False)
    case.check("out.loss", loss)
    for name, leaf in zip(names, leaves, strict=True):
        case.check_gradient(f"grad.{name}", loss, leaf)


def check_zero_shot(case: Case) -> None:
    def check(key: str, value: float) -> None:
        case.check(f"out.{key}", torch.tensor(value, dtype=torch.float64))

    classes = case["in.class_text"]
    check("single", single_sound_accuracy(case["in.single_audio"], classes, case["in.single_label"]))
    strict, loose = both_sounds_accuracy(case["in.pair_audio"], classes, case["in.pair_label"])
    check("pair_both", strict)
    check("pair_any", loose)
    audio, texts, relation = case["in.temporal_audio"], case["in.relation_text"], case["in.relation"]
    check("relation", relation_accuracy(audio, texts, relation))
    ordered = relation < 2
    check("order", relation_accuracy(audio[ordered], texts[ordered, :2], relation[ordered]))


CHECKS = {"tact": check_tact, "tnce": check_tnce, "single": check_single, "zero_shot": check_zero_shot}
