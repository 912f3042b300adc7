"""Refreshes, wrapped methods, orders of one's own and stages: interrupted anywhere, a run ends with the same bits."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from torch import Tensor

import dipole
import dipole.methods.registry
import dipole.runs.refresh
from dipole.cli import main
from dipole.data.samplers import ClassBalanced, Distinct, Episodes, OneLabel, Order, Weighted
from dipole.errors import InputError
from dipole.methods.joint_embedding import JointEmbedding
from dipole.methods.vision.simclr import SimCLR
from dipole.methods.wrapping import Wrapping
from dipole.runs import Run, RunConfig, load, train
from dipole.runs.checkpoint import SafeCheckpointIO
from dipole.runs.domains import get_domain
from dipole.runs.evaluate import evaluate
from dipole.runs.look import analyse_temperatures, report
from dipole.runs.stages import train_stages

SMALL = {"encoder": "convnet4-4", "projection_dim": 8}


class Clustered(SimCLR):
    """Draws batches by what its last look at the training set has found."""

    card = SimCLR.card.__class__(**{**vars(SimCLR.card), "name": "clustered"})

    def __init__(self, *, kind: str = "one label", **options: Any) -> None:
        super().__init__(**options)
        self.kind = kind
        self.refresh_every = 2

    def refresh(self, embeddings: Tensor, index: Tensor) -> dict[str, Tensor]:
        assert not self.training, "a look is taken in evaluation mode"
        assert torch.equal(index, torch.arange(len(index)))
        cluster = (embeddings[:, 0] > embeddings[:, 0].median()).long()
        return {"cluster": cluster, "first": cluster.float().mean(), "mean": embeddings.mean(dim=0)}

    def sampling(self, training_set: Any, batch_size: int) -> Order:
        size = len(training_set)
        orders = {
            "one label": lambda: OneLabel(lambda: self.refreshed["cluster"], batch_size, size),
            "balanced": lambda: ClassBalanced(lambda: self.refreshed["cluster"], size),
            "weighted": lambda: Weighted(lambda: self.refreshed["cluster"] + 0.5, size),
            "distinct": lambda: Distinct(training_set.labels["label"].tolist(), batch_size),
            "episodes": lambda: Episodes(training_set.labels["label"], ways=4, samples=8, episodes=20),
        }
        return orders[self.kind]()


class Doubled(Wrapping):
    """Twice the loss of its base, with a weight that is learned."""

    card = SimCLR.card.__class__(**{**vars(SimCLR.card), "name": "doubled"})
    wraps = JointEmbedding

    def __init__(self, *, base: Any, weight: float = 2.0) -> None:
        super().__init__(base=base)
        self.weight = torch.nn.Parameter(torch.tensor(weight))

    def loss_terms(self, batch: Mapping[str, Any]) -> dict[str, Tensor]:
        terms = self.base.loss_terms(batch)
        return {**terms, "loss": self.weight.square() * terms["loss"]}


@pytest.fixture(autouse=True)
def known(monkeypatch: pytest.MonkeyPatch) -> None:
    found = dipole.methods.registry.methods()
    monkeypatch.setattr(
        dipole.methods.registry, "methods", lambda: {**found, "clustered": Clustered, "doubled": Doubled}
    )


def config(name: str = "clustered", epochs: int = 4, **method: Any) -> RunConfig:
    return RunConfig(name, epochs=epochs, batch_size=128, precision="32-true", method={**SMALL, **method})


def same(first: Run, second: Run) -> None:
    for name in ("model/model.safetensors", "metrics.csv"):
        assert (first.path / name).read_bytes() == (second.path / name).read_bytes(), name


def interrupted(config: RunConfig, out: Path, target: str, call: int) -> None:
    """Train until the n-th call of a function, which is interrupted."""
    owner, name = target.rsplit(".", 1)
    place = {"Refresh": dipole.runs.refresh.Refresh, "Clustered": Clustered, "SimCLR": SimCLR}[owner]
    original, calls = getattr(place, name), []

    def stop(self: Any, *arguments: Any) -> Any:
        calls.append(1)
        if len(calls) == call:
            raise KeyboardInterrupt
        return original(self, *arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(place, name, stop)
        with pytest.raises(KeyboardInterrupt):
            train(config, out, monitor=False, progress=False)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["one label", "balanced", "weighted", "distinct", "episodes"])
def test_interrupted_in_the_middle_of_an_epoch(kind: str, tmp_path: Path) -> None:
    undisturbed = train(config(kind=kind, epochs=3), tmp_path / "whole", monitor=False, progress=False)
    steps = 20 * 32 // 128 if kind == "episodes" else 1347 // 128
    interrupted(config(kind=kind, epochs=3), tmp_path / "run", "SimCLR.loss_terms", 2 * steps + 3)
    same(train(config(kind=kind, epochs=3), tmp_path / "run", resume=True, monitor=False, progress=False), undisturbed)


@pytest.mark.parametrize("call", [1, 2])
def test_interrupted_in_the_middle_of_a_refresh(call: int, tmp_path: Path) -> None:
    undisturbed = train(config(), tmp_path / "whole", monitor=False, progress=False)
    interrupted(config(), tmp_path / "run", "Clustered.refresh", call)
    resumed = train(config(), tmp_path / "run", resume=True, monitor=False, progress=False)
    same(resumed, undisturbed)
    assert "refresh/first" in undisturbed.metrics.read_text().splitlines()[0]


def test_the_first_look_is_taken_once_and_is_in_the_checkpoint(tmp_path: Path) -> None:
    run = train(config(epochs=1), tmp_path / "run", monitor=False, progress=False)
    state = SafeCheckpointIO().load_checkpoint(run.checkpoint)["refreshed"]
    assert state["cluster"].shape == (1347,)
    assert not any(name.startswith("refresh") for name in load(run.path).state_dict()), "a model holds none of it"


@pytest.mark.usefixtures("unchecked")
def test_a_domain_that_cannot_be_refreshed_says_so() -> None:
    with pytest.raises(InputError, match="methods of language have no look at the whole training set"):
        get_domain("language").embed_training(None, None, torch.arange(2))  # type: ignore[arg-type]


def test_a_method_around_another(tmp_path: Path) -> None:
    settings = RunConfig(
        "doubled", epochs=1, batch_size=256, method={"base": {"name": "moco", "queue_size": 64, **SMALL}}
    )
    run = train(settings, tmp_path / "run", progress=False)
    stored = run.settings().method
    assert stored["base"]["name"] == "moco"
    assert stored["base"]["queue_size"] == 64
    assert stored["base"]["temperature"] == 0.2, "every default of the base is in the settings"
    assert stored["base"]["image_size"] == run.settings().image_size
    method: Any = load(run.path)
    assert type(method.base).__name__ == "MoCo"
    assert method.weight != 2.0, "what the wrapping method adds is learned"
    assert method.queue.entries.shape[0] == 64, "what it does not define is the base's"
    assert evaluate(run.path, protocols=["knn"]).rows[1]["encoder"] == "untrained"
    assert "doubled on digits" in report(run.path).read_text()
    assert analyse_temperatures(run.path, [0.2])[0]["temperature"] == 0.2
    torch.testing.assert_close(
        dipole.load(run.model).embed(torch.zeros(2, 3, 16, 16)), method.base.embed(torch.zeros(2, 3, 16, 16))
    )


def test_a_wrapping_method_on_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = str(tmp_path / "run")
    base = ["--method.base", "moco", "--method.base.queue_size", "32", "--method.base.encoder", "convnet4-4"]
    assert main(["train", "doubled", *base, "--method.weight", "1.5", "--epochs", "1", "--out", out]) == 0
    stored = Run(tmp_path / "run").settings().method
    assert (stored["weight"], stored["base"]["name"], stored["base"]["queue_size"]) == (1.5, "moco", 32)
    assert main(["evaluate", out, "--protocol", "knn", "--k", "5"]) == 0
    capsys.readouterr()
    assert main(["train", "doubled", "--method.base", "mirror-bert", "--out", str(tmp_path / "x")]) == 2
    assert main(["train", "doubled", "--method.base", "nothing", "--out", str(tmp_path / "x")]) == 2
    assert "there is no method 'nothing'" in capsys.readouterr().err
    assert main(["train", "doubled", "--method.base.qeue_size", "3", "--out", str(tmp_path / "x")]) == 2


def test_a_wrapping_method_resumes(tmp_path: Path) -> None:
    settings = RunConfig(
        "doubled", epochs=3, batch_size=128, precision="32-true", method={"base": {"name": "clustered", **SMALL}}
    )
    undisturbed = train(settings, tmp_path / "whole", monitor=False, progress=False)
    interrupted(settings, tmp_path / "run", "SimCLR.loss_terms", 25)
    same(train(settings, tmp_path / "run", resume=True, monitor=False, progress=False), undisturbed)


STAGES = [
    config("simclr", 2),
    RunConfig(
        "moco", epochs=2, batch_size=128, precision="32-true", init_from="previous", method={**SMALL, "queue_size": 64}
    ),
]


def test_stages(tmp_path: Path) -> None:
    run = train_stages(STAGES, tmp_path / "run", progress=False, monitor=False)
    first = Run(tmp_path / "run" / "stages" / "1")
    assert first.settings().name == "simclr"
    assert run.settings().init_from == str(first.path)
    assert type(load(run.path)).__name__ == "MoCo"
    assert evaluate(run.path, protocols=["knn"]).rows[0]["knn"] > 0.5
    with pytest.raises(InputError, match="exists already"):
        train_stages(STAGES, tmp_path / "run")
    with pytest.raises(InputError, match="is finished"):
        train_stages(STAGES, tmp_path / "run", resume=True)


@pytest.mark.slow
@pytest.mark.parametrize("call", [5, 13, 23, 35])
def test_interrupted_in_a_stage(call: int, tmp_path: Path) -> None:
    undisturbed = train_stages(STAGES, tmp_path / "a" / "run", progress=False, monitor=False)
    steps: list[int] = []
    original = JointEmbedding.project

    def stop(self: Any, views: Tensor) -> Tensor:
        steps.append(1)
        if len(steps) == call:
            raise KeyboardInterrupt
        return original(self, views)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(JointEmbedding, "project", stop)
        with pytest.raises(KeyboardInterrupt):
            train_stages(STAGES, tmp_path / "b" / "run", progress=False, monitor=False)
    resumed = train_stages(STAGES, tmp_path / "b" / "run", resume=True, progress=False, monitor=False)
    same(resumed, undisturbed)


def test_stages_of_a_file_of_settings(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    content = {
        "name": "simclr",
        "batch_size": 256,
        "method": {"encoder": "convnet4-4"},
        "stages": [{"epochs": 1}, {"epochs": 2, "init_from": "previous", "method": {"temperature": 0.5}}],
    }
    (tmp_path / "stages.yaml").write_text(yaml.safe_dump(content))
    out = str(tmp_path / "run")
    assert main(["train", "--config", str(tmp_path / "stages.yaml"), "--seed", "3", "--out", out]) == 0
    first, last = Run(tmp_path / "run" / "stages" / "1").settings(), Run(tmp_path / "run").settings()
    assert (first.epochs, last.epochs, first.seed, last.seed) == (1, 2, 3, 3)
    assert (first.method["temperature"], last.method["temperature"]) == (0.2, 0.5)
    assert main(["embed", out, "digits", "--out", str(tmp_path / "e.parquet")]) == 0
    capsys.readouterr()
    assert main(["train", "--resume", "--out", out]) == 2
    assert "is finished" in capsys.readouterr().err
    (tmp_path / "stages.yaml").write_text(yaml.safe_dump({**content, "stages": 3}))
    assert main(["train", "--config", str(tmp_path / "stages.yaml"), "--out", str(tmp_path / "x")]) == 2
    assert "expected a list of settings" in capsys.readouterr().err


def test_weights_of_another_run(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    first = train(config("simclr", 1), tmp_path / "first", monitor=False, progress=False)
    settings = RunConfig(
        "simclr",
        epochs=1,
        batch_size=128,
        precision="32-true",
        init_from=str(first.path),
        method={**SMALL, "learning_rate": 1e-12},
    )
    second = train(settings, tmp_path / "second", monitor=False, progress=False)
    before, after = load(first.path).state_dict(), load(second.path).state_dict()
    weights = [name for name in before if name.endswith("weight") and before[name].ndim > 1]
    assert all(torch.allclose(before[name], after[name], atol=1e-6) for name in weights)
    assert "start anew" not in caplog.text
    train(
        RunConfig("moco", epochs=1, batch_size=512, init_from=str(first.path), method=SMALL),
        tmp_path / "moco",
        monitor=False,
        progress=False,
    )
    assert "weights start anew, such as" in caplog.text, "what is not taken over is counted and named"
    settings.method = {**SMALL, "encoder": "convnet4-8"}
    settings.init_from = str(tmp_path / "nowhere")
    with pytest.raises(InputError, match="there is no run or model"):
        train(settings, tmp_path / "third", monitor=False, progress=False)
