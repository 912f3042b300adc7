"""Hydra as a method: both directions, its gates, its projector, and classes that the data tell."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from dipole.data import TensorImageSet
from dipole.errors import InputError
from dipole.losses import arbitrary_pair_loss, sample_partner_labels
from dipole.methods.vision.hydra import Hydra
from dipole.nn import gate_statistics
from dipole.runs import RunConfig, load, train

SMALL: dict[str, Any] = {"encoder": "convnet4-2", "projection_dim": 6, "gate_embedding": 4, "gate_hidden": 8}
LABELS = torch.tensor([0, 0, 1, 2, 1, 2])


def build(**options: Any) -> Hydra:
    torch.manual_seed(0)
    return Hydra(**{**SMALL, "image_size": 8, "num_classes": 3, **options})


def batch() -> dict[str, Tensor]:
    views = torch.rand(2, 6, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    return {"views": views, "index": torch.arange(6), "label": LABELS}


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"pairs": "identical", "gate": "open"},
        {"pairs": "distinct", "gate": "product", "similarity": "prenormalised"},
        {"reduction": "macro_valid", "temperature": 0.5},
    ],
)
def test_the_loss_is_the_mean_of_both_directions(options: dict[str, Any]) -> None:
    method, data = build(**options), batch()
    torch.manual_seed(3)
    terms = method.loss_terms(data)
    torch.manual_seed(3)
    partners = sample_partner_labels(LABELS, options.get("pairs", "arbitrary"), num_classes=3)
    gate = None if method.gate is None else method.gate(LABELS, partners)
    z1, z2 = method.project(data["views"])
    names = {"similarity", "reduction", "temperature"} & set(options)
    expected = [
        arbitrary_pair_loss(a, b, gate, LABELS, partners, **{name: options[name] for name in names})
        for a, b in ((z1, z2), (z2, z1))
    ]
    torch.testing.assert_close(terms["loss"], sum(expected, torch.zeros(())) / 2)
    assert set(terms) == ({"loss"} if method.gate is None else {"loss", "activation", "entropy"})


def test_the_gates_of_single_classes_are_logged() -> None:
    method = build()
    terms = method.loss_terms(batch())
    assert method.gate is not None
    expected = gate_statistics(method.gate.of_classes())
    torch.testing.assert_close(terms["activation"], expected.activation)
    torch.testing.assert_close(terms["entropy"], expected.entropy)


def test_the_projector_ends_in_layer_normalisation() -> None:
    for layers in (1, 2, 3):
        *_, linear, norm = build(projector_layers=layers).network.projector  # type: ignore[misc]
        assert isinstance(linear, nn.Linear)
        assert isinstance(norm, nn.LayerNorm)
        assert linear.bias is None
        assert (linear.out_features, norm.normalized_shape) == (6, (6,))
    z = build().project(batch()["views"])
    torch.testing.assert_close(z.mean(dim=-1), torch.zeros(2, 6), atol=1e-5, rtol=0)


def test_a_batch_without_labels() -> None:
    data = batch()
    del data["label"]
    with pytest.raises(InputError, match="the batch has no labels"):
        build().loss_terms(data)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("name", ["pairs", "gate", "similarity", "reduction"])
def test_options_that_are_none(name: str) -> None:
    with pytest.raises(InputError, match=f"{name} is 'none': expected one of "):
        build(**{name: "none"})


def images(labels: Tensor | None) -> TensorImageSet:
    pixels = torch.randint(0, 256, (12, 3, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    if labels is None:
        return TensorImageSet("noise", pixels)
    return TensorImageSet("noise", pixels, {"label": labels}, {"label": tuple("abcde")})


def test_a_run_takes_the_number_of_classes_from_the_data(tmp_path: Path) -> None:
    config = RunConfig("hydra", epochs=1, batch_size=6, image_size=8, method=SMALL)
    sets = images(torch.arange(12) % 5), images(torch.arange(12) % 5)
    run = train(config, tmp_path / "run", sets=sets, monitor=False, progress=False)
    assert run.settings().method["num_classes"] == 5
    method = load(run.path)
    assert isinstance(method, Hydra)
    assert method.gate is not None
    assert method.gate.embedding.num_embeddings == 5
    with torch.inference_mode():
        assert method.embed(torch.rand(2, 3, 8, 8)).isfinite().all()
    with pytest.raises(InputError, match="the data have 0 classes: hydra pairs classes"):
        train(config, tmp_path / "other", sets=(images(None), images(None)), monitor=False, progress=False)
    assert not (tmp_path / "other").exists()
