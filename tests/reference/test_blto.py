"""The parts of the robustness audit against the authors' code and independent formulas, key by key."""

import torch
from torch import nn

from dipole.diagnostics.poisoning import (
    PenaltyControl,
    TriggerGenerator,
    attack_rates,
    poison_indices,
    project_linf,
    prune_channels,
    self_similarity,
    stamp,
    trigger_loss,
)
from dipole.diagnostics.poisoning.decree import bounded, unbounded
from dipole.losses.non_contrastive import prediction_loss
from reference.cases import Case, parametrize

KINDS = {
    "generator": "out.linf",
    "outer": "in.x_ref",
    "surrogate": "in.p1",
    "rates": "in.perm",
    "decree": "in.mask_init",
    "pruning": "out.lips_layer0",
}


@parametrize("blto", KINDS)
def test_every_value(case: Case, kind: str) -> None:
    CHECKS[kind](case)
    case.check_all_read()


def check_generator(case: Case) -> None:
    x = case["in.x"]
    generator = TriggerGenerator(x.shape[1], case.params["base_channels"], case.params["blocks"])
    state = {name: case[f"in.state.{name}"] for name in case.names("in.state.")}
    assert not [
        name for name in generator.load_state_dict(state, strict=False).missing_keys if "num_batches" not in name
    ]
    raw = generator.double().eval()(x)
    case.check("out.raw", raw)
    changed = project_linf(raw, x, case.params["eps"])
    case.check("out.x_trigger", changed)
    case.check("out.linf", (changed - x).abs().max())


def check_outer(case: Case) -> None:
    raw, x, w = case.leaf("in.raw"), case["in.x"], case["in.W"]
    changed = project_linf(raw, x, case.params["eps"])
    case.check("out.x_trigger", changed)
    loss = trigger_loss(changed.flatten(1) @ w.T, case["in.x_ref"].flatten(1) @ w.T)
    case.check("out.loss", loss)
    (gradient,) = torch.autograd.grad(loss, raw)
    case.check("grad.raw", gradient)
    case.check("out.fraction_zero_grad", (gradient == 0).double().mean())


def check_surrogate(case: Case) -> None:
    p1, p2 = case.leaf("in.p1"), case.leaf("in.p2")
    loss = (prediction_loss(p1, case["in.z2"]) + prediction_loss(p2, case["in.z1"])) / 2 - 1
    case.check("out.loss", loss)
    case.check_gradient("grad.p1", loss, p1)
    case.check_gradient("grad.p2", loss, p2)


def check_rates(case: Case) -> None:
    target = case.params["target"]
    chosen = poison_indices(case["in.labels"], target, case.params["rate"], case["in.perm"])
    assert len(chosen) == case.params["num_poison"]
    case.check("out.poison_indices", chosen)
    rates = attack_rates(
        case["in.test_labels"],
        target,
        clean=case["in.pred_clean_model_clean"],
        audited=case["in.pred_audited_clean"],
        audited_triggered=case["in.pred_audited_triggered"],
        clean_triggered=case["in.pred_clean_model_triggered"],
    )
    names = ("clean_accuracy", "backdoor_model_accuracy", "asr", "asr_all", "asr_reference_clean_model", "asr_uplift")
    for name, value in zip(names, rates, strict=True):
        case.check(f"out.{name}", torch.tensor(value, dtype=torch.float64))


def check_decree(case: Case) -> None:
    x = case["in.x"].permute(0, 3, 1, 2)
    mask_raw, patch_raw = (unbounded(case[f"in.{name}_init"]).requires_grad_() for name in ("mask", "patch"))
    case.check("out.mask_raw", mask_raw)
    case.check("out.patch_raw", patch_raw)
    mask, patch = bounded(mask_raw), 255 * bounded(patch_raw)
    case.check("out.mask", mask[..., None].expand(*mask.shape, x.shape[1]))
    case.check("out.patch", patch)
    stamped = stamp(x, mask, patch.permute(2, 0, 1))
    case.check("out.stamped", stamped.permute(0, 2, 3, 1))
    features = (stamped / 255).flatten(1) @ case["in.W"].T
    case.check("out.features", features)
    alike, size = self_similarity(features), x.shape[1] * mask.sum()
    case.check("out.loss_cos", -alike)
    case.check("out.loss_reg", size)
    case.check("out.pl1", size / x[0].numel())
    loss = -alike + case.params["loss_lambda"] * size
    case.check("out.loss", loss)
    case.check_gradient("grad.mask_raw", loss, mask_raw)
    case.check_gradient("grad.patch_raw", loss, patch_raw)
    check_control(case)


def check_control(case: Case) -> None:
    params = case.params
    control = PenaltyControl(
        params["lambda_min"],
        penalty=params["init_lambda"],
        start=params["init_lambda"],
        factor=params["factor"],
        patience=params["patience"],
        success=params["threshold"],
        best=1 / params["eps"],
    )
    trace = []
    for cosine, size in zip(case["in.seq_cos"].tolist(), case["in.seq_reg"].tolist(), strict=True):
        control.step(cosine, size)
        trace.append((control.penalty, control.best, control.waited))
    penalty, best, waited = (torch.tensor(column, dtype=torch.float64) for column in zip(*trace, strict=True))
    case.check("out.seq_lambda", penalty)
    case.check("out.seq_best", best)
    case.check("out.seq_early_stop", waited.long())


def check_pruning(case: Case) -> None:
    state = {name: case[f"in.state.{name}"] for name in case.names("in.state.")}
    layers: dict[int, nn.Module] = {}
    norms = sorted({int(name.split(".")[0]) for name in state if "running_var" in name})
    for place in norms:
        out, inputs, *kernel = state[f"{place - 1}.weight"].shape
        layers |= {place - 1: nn.Conv2d(inputs, out, tuple(kernel)), place: nn.BatchNorm2d(out)}  # type: ignore[arg-type]
    model = nn.Sequential(*(layers.get(place, nn.ReLU()) for place in range(max(norms) + 1))).double()
    model.load_state_dict(state, strict=False)
    for number, found in enumerate(prune_channels(model, case.params["u"])):
        case.check(f"out.lips_layer{number}", found.lipschitz)
        case.check(f"out.pruned_layer{number}", found.pruned)
        norm = model.get_submodule(found.name)
        assert isinstance(norm, nn.BatchNorm2d)
        case.check(f"out.gamma{number}_after", norm.weight)
        case.check(f"out.beta{number}_after", norm.bias)


CHECKS = {
    "generator": check_generator,
    "outer": check_outer,
    "surrogate": check_surrogate,
    "rates": check_rates,
    "decree": check_decree,
    "pruning": check_pruning,
}
