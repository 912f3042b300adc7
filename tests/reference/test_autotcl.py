"""AutoTCL against the authors' code and, for the intended forms, independent code, key by key."""

from typing import Any

import torch
from torch import Tensor, nn

from dipole.evaluation.forecasting import ridge_forecast
from dipole.losses import (
    global_info_nce_loss,
    linear_mmd,
    local_info_nce_loss,
    mask_size_penalty,
    multi_kernel_mmd,
    pool_time,
    temporal_consistency,
)
from dipole.nn.timeseries import DilatedConvEncoder, LearnedAugmenter, causal_sliding_encode, hard_concrete
from reference.cases import Case, parametrize

OURS = {
    "input_fc.": "input.",
    "feature_extractor.net.": "blocks.",
    ".conv1.conv.": ".conv1.",
    ".conv2.conv.": ".conv2.",
    ".projector.": ".shortcut.",
    "tfd.": "trend.",
}


@parametrize(
    "autotcl",
    {
        "whole": "in.head_h.0.weight",
        "sliding": "out.repr",
        "forecast": "out.pred",
        "gate": "in.V",
        "local": "out.all",
        "mmd": "out.linear",
        "consistency": "out.fixed",
        "global": "in.z_v",
    },
)
def test_every_value(case: Case, kind: str) -> None:
    CHECKS[kind](case)
    case.check_all_read()


def our_name(name: str) -> str:
    for theirs, ours in OURS.items():
        name = name.replace(theirs, ours)
    return name


def encoder(case: Case, prefix: str, hyperparameters: dict[str, Any], channels: int) -> DilatedConvEncoder:
    result = DilatedConvEncoder(
        channels,
        hidden=hyperparameters["hidden"],
        depth=hyperparameters["depth"],
        features=hyperparameters["output"],
        kernels=hyperparameters["kernels"],
    )
    weights = {our_name(name): case[f"in.{prefix}.{name}"] for name in case.names(f"in.{prefix}.")}
    result = result.to(next(iter(weights.values())).dtype)
    result.load_state_dict(weights)
    return result.eval()


def check_gate(case: Case) -> None:
    w, uniform = case.leaf("in.w"), case["in.U"]
    options = {"bias": case.params["gumbel_bias"]}
    options |= {name: case.params[name] for name in ("gamma", "zeta", "temperature")}
    case.check("out.soft", hard_concrete(w, uniform, hard=False, **options))
    case.check("out.det", hard_concrete(w, None, hard=False, **options))
    hard = hard_concrete(w, uniform, **options)
    case.check("out.hard", hard)
    case.check_gradient("grad.w", (case["in.V"] * hard).sum(), w)


def check_global(case: Case) -> None:
    z, view = case.leaf("in.z_x"), case.leaf("in.z_v")
    loss = global_info_nce_loss(z, view, pooling=case.params["pooling"], temperature=case.params["temperature"])
    case.check("out.loss", loss)
    case.check_gradient("grad.z_x", loss, z)
    case.check_gradient("grad.z_v", loss, view)


def check_local(case: Case) -> None:
    z = case.leaf("in.z")
    options: dict[str, Any] = {name: case.params[name] for name in ("start", "temperature")}
    options["segments"] = case.params["k"]
    loss = local_info_nce_loss(z, series="first", **options)
    case.check("out.loss", loss)
    case.check_gradient("grad.z", loss, z)
    case.check("out.all", local_info_nce_loss(z, **options))


def check_mmd(case: Case) -> None:
    z, view = case.leaf("in.z_x"), case.leaf("in.z_v")
    loss = multi_kernel_mmd(
        pool_time(z), pool_time(view), kernels=case.params["kernel_num"], ratio=case.params["kernel_mul"]
    )
    case.check("out.loss", loss)
    case.check_gradient("grad.z_x", loss, z)
    case.check_gradient("grad.z_v", loss, view)
    case.check("out.linear", linear_mmd(pool_time(z), pool_time(view)))


def check_consistency(case: Case) -> None:
    w, anchors, others = case.leaf("in.w"), case["in.anchor"], case["in.other"]
    loss = temporal_consistency(w, anchors, others, form="official")
    case.check("out.loss", loss)
    case.check_gradient("grad.w", loss, w)
    case.check("out.fixed", temporal_consistency(w, anchors, others))


def check_whole(case: Case) -> None:
    params, x = case.params, case["in.x"]
    channels = params["encoder"]["input_dims"]
    f = encoder(case, "enc", params["encoder"], channels)
    augmenter = LearnedAugmenter(
        encoder(case, "aug", params["aug"], channels),
        bias=params["gumbel_bias"],
        gamma=params["gamma"],
        temperature=params["temperature"],
    ).double()
    for ours, theirs in (("keep", "head_h"), ("transform", "head_g")):
        head = {name: case[f"in.{theirs}.0.{name}"] for name in ("weight", "bias")}
        getattr(augmenter, ours).load_state_dict(head)
    for kind in ("hard", "soft"):
        augmenter.hard = kind == "hard"
        view, kept = augmenter(x, case["in.U"])
        check_augmentation(case, kind, f, augmenter, view, kept)
        check_encoder(case, kind, f, view.detach())


def check_augmentation(
    case: Case, kind: str, f: DilatedConvEncoder, augmenter: LearnedAugmenter, view: Tensor, kept: Tensor
) -> None:
    params = case.params
    case.check(f"out.{kind}.view", view)
    case.check("out.w_h", kept)
    z, z_view = f(case["in.x"], output="convolutions"), f(view, output="convolutions")
    case.check(f"out.{kind}.augstep_zx_tcn", z)
    case.check(f"out.{kind}.augstep_zv_tcn", z_view)
    mmd = multi_kernel_mmd(pool_time(z), pool_time(z_view))
    size = mask_size_penalty(kept, threshold=params["mask_threshold"])
    consistency = temporal_consistency(kept, case["in.anchor"], case["in.other"], form="official")
    case.check(f"out.{kind}.mmd", mmd)
    case.check("out.mask_size", size)
    case.check("out.consistency", consistency)
    loss = mmd + params["reg_weight"] * size + params["consistency_weight"] * consistency
    case.check(f"out.{kind}.aug_loss", loss)
    modules = {"aug": augmenter.trunk, "head_h": augmenter.keep, "head_g": augmenter.transform}
    check_gradients(case, f"grad.{kind}.augloss.", loss, modules)


def check_encoder(case: Case, kind: str, f: DilatedConvEncoder, view: Tensor) -> None:
    z, z_view = f(case["in.x"]), f(view)
    case.check(f"out.{kind}.encstep_zx", z)
    case.check(f"out.{kind}.encstep_zv", z_view)
    contrast = global_info_nce_loss(z, z_view)
    local = local_info_nce_loss(z, segments=case.params["local_k"], start=0, series="first")
    case.check(f"out.{kind}.global", contrast)
    case.check(f"out.{kind}.local", local)
    loss = contrast + case.params["local_weight"] * local
    case.check(f"out.{kind}.enc_loss", loss)
    check_gradients(case, f"grad.{kind}.encloss.", loss, {"enc": f})


def check_gradients(case: Case, prefix: str, loss: Tensor, modules: dict[str, nn.Module]) -> None:
    names = case.names(prefix)
    assert names
    for name in names:
        network, rest = name.split(".", 1)
        parameter = our_name(rest) if network in ("enc", "aug") else rest.removeprefix("0.")
        case.check_gradient(prefix + name, loss, modules[network].get_parameter(parameter))


def check_forecast(case: Case) -> None:
    params = case.params
    targets = case["in.data"][:, :, params["n_covariate_cols"] :]
    assert params["train"][0] == 0
    assert [params["train"][1], params["valid"][1]] == [params["valid"][0], params["test"][0]]
    horizon, drop, (_, train_end) = params["pred_len"], params["drop"], params["train"]
    forecast = ridge_forecast(
        case["in.repr"],
        targets,
        horizon,
        train_end=train_end,
        validation_end=params["valid"][1],
        test_end=params["test"][1],
        skip=drop,
        alphas=params["alphas"],
    )
    assert case["out.train_feat_shape"].tolist() == [train_end - horizon - drop, case["in.repr"].shape[2]]
    assert case["out.train_label_shape"].tolist() == [train_end - horizon - drop, horizon * targets.shape[2]]
    case.check("out.test_label_first", forecast.actual[0].flatten())
    case.check("out.pred", forecast.predicted.flatten(1))
    for key in ("alpha", "mse", "mae", "naive_mse"):
        case.check(f"out.{key}", torch.tensor(getattr(forecast, key), dtype=torch.float64))


def check_sliding(case: Case) -> None:
    f = encoder(case, "enc", case.params["encoder"], case.params["encoder"]["input_dims"])
    assert case.params["sliding_length"] == 1
    ours = causal_sliding_encode(f, case["in.x"], padding=case.params["sliding_padding"])
    # The file is in single precision and asks for 1e-5.
    torch.testing.assert_close(ours, case["out.repr"], rtol=1e-5, atol=1e-6)


CHECKS = {
    "gate": check_gate,
    "global": check_global,
    "local": check_local,
    "mmd": check_mmd,
    "consistency": check_consistency,
    "whole": check_whole,
    "forecast": check_forecast,
    "sliding": check_sliding,
}
