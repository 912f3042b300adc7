"""Multistage: stages on small images, wherever they are interrupted, end in one model with the same bits."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

import dipole
from dipole.cli import main
from dipole.data.samplers import InTurns
from dipole.errors import InputError
from dipole.losses import same_label_nt_xent_loss
from dipole.methods.vision.moco import MoCo
from dipole.methods.vision.multistage import MultiStage
from dipole.methods.vision.simclr import SimCLR
from dipole.runs import Run, RunConfig, train
from dipole.runs.stages import staged, train_stages

SMALL: dict[str, Any] = {"encoder": "convnet4-2", "image_size": 8, "projection_dim": 6}
BASE: dict[str, Any] = {"name": "simclr", **{k: v for k, v in SMALL.items() if k != "image_size"}}


def settings(**method: Any) -> RunConfig:
    options = {"base": BASE, "stages": 3, "clusters": 3, **method}
    return RunConfig("multistage", epochs=2, batch_size=128, image_size=8, precision="32-true", method=options)


def stage_of(**options: Any) -> MultiStage:
    method = MultiStage(base=SimCLR(**SMALL), **{"stages": 2, "stage": 1, "clusters": 3, **options})
    embeddings = method.refresh_embed(torch.rand(20, 3, 8, 8, generator=torch.Generator().manual_seed(0)))
    method.refreshed = method.refresh(embeddings, torch.arange(20))
    return method


def run_stages(out: Path, resume: bool = False) -> Run:
    stages = staged(settings())
    assert stages is not None
    return train_stages(stages, out, resume=resume, progress=False, monitor=False)


def test_stages_interrupted_in_one_and_between_two_end_with_the_same_bits(tmp_path: Path) -> None:
    whole = run_stages(tmp_path / "whole")
    calls = []
    original = MultiStage.loss_terms

    def stop(self: Any, batch: Any) -> Any:
        calls.append(1)
        if len(calls) in (26, 40):
            raise KeyboardInterrupt
        return original(self, batch)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(MultiStage, "loss_terms", stop)
        for resume in (False, True):
            with pytest.raises(KeyboardInterrupt):
                run_stages(tmp_path / "run", resume)
    resumed = run_stages(tmp_path / "run", resume=True)
    for file in ("model/model.safetensors", "metrics.csv"):
        assert (resumed.path / file).read_bytes() == (whole.path / file).read_bytes()


def test_the_last_model_holds_the_encoders_of_all_stages(tmp_path: Path) -> None:
    run = run_stages(tmp_path / "run")
    parts = [tmp_path / "run" / "stages" / "1", tmp_path / "run" / "stages" / "2", run.path]
    images = torch.rand(4, 3, 8, 8)
    first, second, last = (dipole.load(part).embed(images) for part in parts)
    width = first.shape[1]
    torch.testing.assert_close(last[:, : 2 * width], second)
    torch.testing.assert_close(second[:, :width], first)
    assert last.shape[1] == 3 * width
    assert not torch.equal(last[:, width : 2 * width], first), "a stage begins with weights of its own"


def test_a_run_is_repeated_from_the_settings_of_its_first_stage(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = run_stages(tmp_path / "run")
    flags = ["--monitor.every", "off", "--out", str(tmp_path / "again")]
    assert main(["train", "--config", str(run.config), *flags]) == 2
    assert "stages/1/config.yaml" in capsys.readouterr().err
    assert main(["train", "--config", str(run.path / "stages" / "1" / "config.yaml"), *flags]) == 0
    again = Run(tmp_path / "again").model / "model.safetensors"
    assert again.read_bytes() == (run.model / "model.safetensors").read_bytes()


def test_a_batch_is_of_one_pseudo_label() -> None:
    method = stage_of(small_labels="drop")
    labels = method.refreshed["pseudo_label"]
    order = method.sampling(None, 3)
    assert isinstance(order, InTurns)
    for batch in order.draw(torch.Generator().manual_seed(0)).split(3):
        assert len(labels[batch].unique()) == 1


def test_a_mask_leaves_out_pairs_of_other_labels() -> None:
    method = stage_of(negatives="mask")
    assert method.sampling(None, 4) is None
    views, index = torch.rand(2, 6, 3, 8, 8), torch.tensor([3, 1, 19, 0, 7, 8])
    found = method.eval().loss_terms({"views": views, "index": index})
    z1, z2 = method.base.project(views)  # type: ignore[operator]
    expected = same_label_nt_xent_loss(z1, z2, method.refreshed["pseudo_label"][index], temperature=0.2)
    torch.testing.assert_close(found["loss"], expected)
    assert 0 <= float(found["alone"]) <= 1


def test_earlier_encoders_stay_as_they_are() -> None:
    method = stage_of().train()
    assert not any(part.training for encoder in method.earlier for part in encoder.modules())
    assert not any(parameter.requires_grad for parameter in method.earlier.parameters())


def test_one_stage_is_the_base(tmp_path: Path) -> None:
    stages = staged(settings(stages=1))
    assert stages is not None
    run = train_stages(stages, tmp_path / "one", progress=False, monitor=False)
    plain = RunConfig("simclr", epochs=2, batch_size=128, image_size=8, precision="32-true")
    plain = RunConfig(**{**vars(plain), "method": {k: v for k, v in BASE.items() if k != "name"}})
    base = train(plain, tmp_path / "base", monitor=False, progress=False)
    images = torch.rand(3, 3, 8, 8)
    assert torch.equal(dipole.load(run.path).embed(images), dipole.load(base.path).embed(images))


def test_what_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(InputError, match="trains in stages"):
        train(settings(), tmp_path / "x")
    with pytest.raises(InputError, match="is for simclr"):
        MultiStage(base=MoCo(**SMALL, queue_size=16), negatives="mask")
    with pytest.raises(InputError, match="fewer samples than a batch"):
        stage_of(small_labels="error").sampling(None, 19)
    with pytest.raises(InputError, match="stage is 2"):
        MultiStage(base=SimCLR(**SMALL), stages=2, stage=2)
    for flags in (["--method.stages", "0"], ["--method.clusters", "1"], ["--method.base", "adainf"]):
        assert main(["train", "multistage", *flags, "--out", str(tmp_path / "y")]) == 2
        assert capsys.readouterr().err.startswith("dipole: ")
        assert not (tmp_path / "y").exists()


@pytest.mark.slow
def test_stages_of_several_modalities(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    base = {"name": "clip", "image_encoder": "convnet4-2", "text_encoder": "bag-8", "embedding_dim": 8}
    (tmp_path / "small.yaml").write_text(json.dumps({"method": {"base": base}}), encoding="utf-8")
    flags = ["--config", str(tmp_path / "small.yaml"), "--data", "shape-captions", "--method.clusters", "3"]
    flags += ["--epochs", "1", "--batch_size", "500"]
    out = tmp_path / "run"
    assert main(["train", "multistage", *flags, "--monitor.every", "off", "--out", str(out)]) == 0
    method: Any = dipole.load(out)
    first: Any = dipole.load(out / "stages" / "1")
    images = torch.rand(5, 3, 32, 32)
    whole, part = method.embed({"image": images}), first.embed({"image": images})
    assert whole.shape[1] == 2 * part.shape[1]
    torch.testing.assert_close(whole.norm(dim=1), torch.ones(5))
    torch.testing.assert_close(whole[:, : part.shape[1]], part / 2**0.5)
    for verb in (["evaluate", str(out)], ["report", str(out)]):
        assert main(verb) == 0
    assert "R@1" in capsys.readouterr().out
