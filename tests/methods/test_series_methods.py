"""AutoTCL and contrast with fixed augmentations, step by step."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from dipole.errors import InputError
from dipole.losses import global_info_nce_loss, local_info_nce_loss
from dipole.methods.timeseries.autotcl import AutoTCL
from dipole.methods.timeseries.series_contrast import SeriesContrast
from dipole.runs import RunConfig, build_method, train
from dipole.views.timeseries import SeriesViews, hide_steps

SMALL = {"channels": 2, "hidden": 4, "depth": 2, "features": 8, "longest_kernel": 4, "segments": 4}
AUGMENTER = {"augmenter_hidden": 4, "augmenter_features": 3, "augmenter_depth": 1, "gumbel_bias": 0.1, "gamma": 0.05}


def series(count: int = 6, steps: int = 32) -> torch.Tensor:
    return torch.randn(count, steps, 2, generator=torch.Generator().manual_seed(0))


def autotcl(**options: Any) -> AutoTCL:
    method = build_method("autotcl", {**SMALL, **AUGMENTER, **options})
    assert isinstance(method, AutoTCL)
    return method


def batch(**shape: int) -> dict[str, torch.Tensor]:
    x = series(**shape)
    return {"series": x, "index": torch.arange(len(x))}


def test_the_loss_is_what_the_paper_adds_up() -> None:
    method = autotcl(local_weight=0.3)
    torch.manual_seed(0)
    terms = method.loss_terms(batch())
    torch.manual_seed(0)
    z, z_view = method.encoder(series()), method.encoder(method.augmenter(series()).view)
    torch.testing.assert_close(terms["global"], global_info_nce_loss(z, z_view))
    torch.testing.assert_close(terms["local"], local_info_nce_loss(z, segments=4, start=0))
    torch.testing.assert_close(terms["loss"], terms["global"] + 0.3 * terms["local"])


def test_the_encoder_learns_without_the_augmentation() -> None:
    method = autotcl()
    method.loss_terms(batch())["loss"].backward()
    assert all(parameter.grad is not None for parameter in method.encoder.parameters())
    assert all(parameter.grad is None for parameter in method.augmenter.parameters())


def test_the_augmentation_learns_through_the_encoder() -> None:
    method = autotcl()
    terms = method.augmentation_terms(batch())
    expected = terms["mmd"] + method.mask_weight * terms["mask_size"] + method.consistency_weight * terms["consistency"]
    torch.testing.assert_close(terms["loss"], expected)
    for parts in (method.augmenter.keep, method.augmenter.transform, method.augmenter.trunk.trend):
        (gradient,) = torch.autograd.grad(terms["loss"], parts.parameters().__next__(), retain_graph=True)
        assert bool(gradient.abs().sum() > 0)


def test_options_change_what_they_say() -> None:
    def loss(**options: Any) -> float:
        method = autotcl(**options)
        torch.manual_seed(1)
        return method.augmentation_terms(batch())["loss"].item()

    values = [
        loss(),
        loss(augment_features="convolutions"),
        loss(gate_logit="raw"),
        loss(consistency="official", consistency_weight=0.5),
        loss(consistency_weight=0.5),
        loss(hard_mask=False),
        loss(objective="adversarial"),
        loss(mask_weight=1.0),
        loss(mask_threshold=0.0),
    ]
    assert len({round(value, 5) for value in values}) == len(values)
    adversarial = autotcl(objective="adversarial")
    assert set(adversarial.augmentation_terms(batch())) == {"loss"}


def test_a_batch_of_one_and_series_too_short_for_segments_and_consistency() -> None:
    method = autotcl()
    for x in (series(1), series(4, 3), series(1, 1)):
        terms = method.loss_terms({"series": x}) | method.augmentation_terms({"series": x})
        assert all(bool(value.isfinite()) for value in terms.values())
    assert method.loss_terms({"series": series(1, 3)})["loss"] == 0


def test_constant_series_and_gaps_give_finite_losses_and_gradients() -> None:
    for x in (torch.zeros(4, 32, 2), series().masked_fill(torch.rand(6, 32, 2) < 0.3, torch.nan)):
        method = autotcl()
        loss = method.loss_terms({"series": x})["loss"] + method.augmentation_terms({"series": x})["loss"]
        loss.backward()
        assert bool(loss.isfinite())
        assert all(bool(p.grad.isfinite().all()) for p in method.parameters() if p.grad is not None)


def test_an_embedding_does_not_depend_on_padding_or_on_the_rest_of_the_batch() -> None:
    method, x = autotcl().eval(), series()
    padded = torch.full((6, 50, 2), torch.nan)
    padded[:, :32] = x
    padded[2, 20:] = torch.nan
    found = method.embed(padded)
    torch.testing.assert_close(found[:2], method.embed(x[:2]))
    torch.testing.assert_close(found[2:3], method.embed(x[2:3, :20]))
    assert bool(method.embed(padded * torch.nan).isfinite().all())


def test_series_are_scaled_by_what_the_model_has_learned_of_them() -> None:
    method, x = autotcl().eval(), series()
    before = method.embed(x)
    method.scale_by(torch.tensor([5.0, -3.0]), torch.tensor([2.0, 7.0]))
    torch.testing.assert_close(method.embed(torch.tensor([5.0, -3.0]) + torch.tensor([2.0, 7.0]) * x), before)
    with pytest.raises(InputError, match="do not fit a model of 2 channels"):
        method.embed(x[..., :1])


def test_representations_to_forecast_from_see_the_past() -> None:
    method, x = autotcl().eval(), series(1)
    changed = x.clone()
    changed[:, 20:] += 1
    same = (method.represent_causally(x, padding=8) == method.represent_causally(changed, padding=8)).all(dim=2)
    assert same[0].tolist() == [step < 20 for step in range(32)]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"ratio_step": -1}, "ratio_step is -1"),
        ({"mask_weight": -1.0}, "mask_weight is -1.0"),
        ({"augmenter_learning_rate": 0.0}, "learning_rate is 0.0"),
        ({"augment_features": "tcn"}, "augment_features is 'tcn'"),
        ({"objective": "max"}, "objective is 'max'"),
        ({"segments": 3}, "segments is 3"),
        ({"longest_kernel": 0}, "longest_kernel is 0"),
        ({"local_weight": -0.1}, "local_weight is -0.1"),
        ({"input_mask": "half"}, "input_mask is 'half'"),
        ({"local_series": "last"}, "local_series is 'last'"),
        ({"temperature": 0.0}, "temperature is 0.0"),
    ],
)
@pytest.mark.usefixtures("unchecked")
def test_arguments_out_of_range(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        autotcl(**options)


def trained(tmp_path: Any, name: str = "autotcl", epochs: int = 3, **method: Any) -> Any:
    options = {**SMALL, **(AUGMENTER if name == "autotcl" else {}), **method}
    options.pop("channels")
    config = RunConfig(name, data="toy-patterns", batch_size=32, epochs=epochs, method=options, precision="32-true")
    return train(config, tmp_path / "run", monitor=False, progress=False)


def test_two_optimisers_take_turns(tmp_path: Any) -> None:
    from dipole.runs import load

    done = load(trained(tmp_path, epochs=1).path)
    fresh = build_method("autotcl", {**SMALL, **AUGMENTER, "channels": 1})
    assert isinstance(done, AutoTCL)
    assert int(done.averaged.n_averaged) == 3
    for part in ("encoder", "augmenter.keep", "augmenter.transform", "averaged"):
        weights = zip(done.get_submodule(part).parameters(), fresh.get_submodule(part).parameters(), strict=True)
        assert all(not torch.equal(a, b) for a, b in weights)


def test_a_random_augmentation_is_not_trained(tmp_path: Any) -> None:
    from dipole.runs import load

    run = trained(tmp_path, epochs=1, ratio_step=0)
    fresh = build_method("autotcl", run.settings().method)
    pairs = zip(load(run.path).augmenter.parameters(), fresh.augmenter.parameters(), strict=True)  # type: ignore[union-attr]
    assert all(torch.equal(a, b) for a, b in pairs)
    assert "augmentation_loss" not in run.metrics.read_text()


def test_the_mask_moves_towards_its_threshold_and_its_loss_falls(tmp_path: Any) -> None:
    import csv

    run = trained(tmp_path, epochs=15, mask_weight=1.0, mask_threshold=0.2, consistency_weight=0.0)
    with run.metrics.open() as file:
        first, *_, last = csv.DictReader(file)
    assert float(last["augmentation_mask_size"]) < 0.5 * float(first["augmentation_mask_size"])
    assert float(last["augmentation_loss"]) < float(first["augmentation_loss"])


def test_fixed_views_are_contrasted() -> None:
    method = build_method("series-contrast", SMALL)
    assert isinstance(method, SeriesContrast)
    x = series()
    same = method.loss_terms({"series": x, "views": x})
    other = method.loss_terms({"series": x, "views": SeriesViews(jitter=3.0)(x)})
    assert same["global"] < other["global"]


def test_views_made_by_hand() -> None:
    x = torch.ones(200, 40, 2)
    x[0, 5, 0] = torch.nan

    def view(**options: Any) -> torch.Tensor:
        return SeriesViews(**{"jitter": 0.0, **options})(x, generator=torch.Generator().manual_seed(0))

    assert torch.equal(view().nan_to_num(), x.nan_to_num())
    assert float((view(jitter=0.5) - x).nan_to_num().std()) == pytest.approx(0.5, rel=0.05)
    factors = view(scaling=0.5)[1:]
    assert torch.equal(factors.amax(dim=1), factors.amin(dim=1))
    assert float(factors[:, 0].std()) == pytest.approx(0.5, rel=0.1)
    cut = view(cut_out=0.25)
    assert ((cut == 0).all(dim=2).sum(dim=1)[1:] == 10).all()
    assert bool(cut[0, 5, 0].isnan())
    starts = (cut[1:, :, 0] == 0).float().argmax(dim=1)
    assert (int(starts.min()), int(starts.max())) == (0, 30)


@pytest.mark.parametrize(("hiding", "share"), [("none", 0.0), ("binomial", 0.5), ("continuous", 0.4)])
def test_hidden_steps(hiding: Any, share: float) -> None:
    hidden = hide_steps(torch.ones(100, 50, 2), hiding, generator=torch.Generator().manual_seed(0)).isnan()
    assert torch.equal(hidden[..., 0], hidden[..., 1])
    assert float(hidden.float().mean()) == pytest.approx(share, abs=0.05)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"jitter": -1.0}, "jitter is -1.0"),
        ({"scaling": -1.0}, "scaling is -1.0"),
        ({"cut_out": 1.5}, "cut_out is 1.5"),
        ({"hide": "all"}, "hide is 'all'"),
    ],
)
@pytest.mark.usefixtures("unchecked")
def test_views_out_of_range(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        SeriesViews(**options)


@pytest.mark.parametrize("collapsed", [True, False])
def test_a_collapsed_augmentation_is_told_once(
    collapsed: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """An encoder without weights cannot tell a view from its series: the MMD is 0 in every step."""
    config = RunConfig("autotcl", "toy-patterns", epochs=2, batch_size=60, precision="32-true")
    config.method.update({**SMALL, **AUGMENTER, "ratio_step": 1, "learning_rate": 1e-12})
    del config.method["channels"]
    told = "the augmentation has collapsed: in epoch 1 its MMD stayed below 1e-06"
    if collapsed:
        start = tmp_path / "start"
        first = train(replace(config, epochs=1), start, progress=False)
        weights = next((first.path / "model").glob("*.safetensors"))
        state = load_file(weights)
        save_file({name: 0 * value if name.startswith("encoder") else value for name, value in state.items()}, weights)
        config = replace(config, init_from=str(start))
        capsys.readouterr()
    train(config, tmp_path / "run", progress=False)
    assert capsys.readouterr().err.count(told) == int(collapsed)
