"""Methods between modalities: their losses, what is missing, locked towers, temperatures."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dipole.errors import InputError
from dipole.losses import (
    clip_loss,
    cloob_loss,
    cwcl_loss,
    multi_text_clip_loss,
    pairwise_clip_loss,
    siglip_loss,
    symile_loss,
)
from dipole.methods.multimodal.base import ByName
from dipole.methods.registry import get_method, methods

# Others need sounds or boxes: see test_dito.py and test_audio_runs.py.
ELSEWHERE = {"coconut", "compa", "dito", "teminal"}
NAMES = [name for name, cls in methods().items() if cls.domain == "multimodal" and name not in ELSEWHERE]
N = 6


def facts(missing: bool = False) -> dict[str, Any]:
    return {
        "image": {"kind": "image", "size": 8, "missing": missing},
        "caption": {"kind": "text", "vocabulary": 20, "missing": missing},
        "sensor": {"kind": "vector", "width": 3, "mean": [0.5] * 3, "std": [0.3] * 3, "missing": missing},
    }


def build(name: str, modalities: tuple[str, ...] = ("image", "caption"), missing: bool = False, **options: Any) -> Any:
    torch.manual_seed(0)
    if name == "cwcl":
        options = {"locked": modalities[0], **options}
    if name == "vlp-baselines":
        options = {"separate_projector": False, **options}
    known = {key: value for key, value in facts(missing).items() if key in modalities}
    return get_method(name)(
        modalities=known,
        **{"image_encoder": "convnet4-2", "text_encoder": "bag-16", "embedding_dim": 6, **options},
    )


def batch(modalities: tuple[str, ...] = ("image", "caption"), versions: int = 0) -> dict[str, Any]:
    generator = torch.Generator().manual_seed(1)
    shape = (max(1, versions), N, 5)
    inputs = {
        "image": torch.rand(N, 3, 8, 8, generator=generator),
        "caption": torch.stack(
            [
                torch.randint(20, shape, generator=generator),
                torch.ones(shape, dtype=torch.long),
            ],
            dim=2,
        ),
        "sensor": torch.rand(N, 3, generator=generator),
    }
    if not versions:
        inputs["caption"] = inputs["caption"][0]
    present = {name: torch.ones(N, dtype=torch.bool) for name in modalities}
    return {"views": {"inputs": {n: inputs[n] for n in modalities}, "present": present}, "index": torch.arange(N)}


def select(data: dict[str, Any], rows: Tensor) -> dict[str, Any]:
    views = {part: {name: x[rows] for name, x in entries.items()} for part, entries in data["views"].items()}
    return {"views": views, "index": data["index"][rows]}


def gradients(method: Any, data: dict[str, Any]) -> tuple[Tensor, dict[str, Tensor]]:
    torch.manual_seed(3)
    loss = method.loss_terms(data)["loss"]
    method.zero_grad()
    loss.backward()
    return loss.detach(), {
        name: p.grad.clone() for name, p in method.named_parameters() if p.requires_grad and p.grad is not None
    }


OBJECTIVES: dict[str, Any] = {
    "clip": lambda m, z: clip_loss(z[0], z[1], temperature=0.07),
    "laclip": lambda m, z: clip_loss(z[0], z[1], temperature=0.07),
    "cloob": lambda m, z: cloob_loss(z[0], z[1]),
    "cwcl": lambda m, z: cwcl_loss(
        z[1], z[0], weight_embeddings=m.encoders["image"](batch()["views"]["inputs"]["image"]), temperature=0.07
    ),
    "siglip": lambda m, z: siglip_loss(z[0], z[1]),
    "vlp-baselines": lambda m, z: 2 * clip_loss(z[0], z[1], temperature=0.07),
    "symile": lambda m, z: symile_loss(torch.stack(z), temperature=1.35),
}


def test_every_method_is_tested() -> None:
    assert set(NAMES) == set(OBJECTIVES)


@pytest.mark.parametrize("name", NAMES)
def test_the_loss_is_that_of_the_embeddings(name: str) -> None:
    method = build(name)
    z = list(method.encode(batch()["views"]).embeddings.values())
    torch.manual_seed(3)
    expected = OBJECTIVES[name](method, z)
    torch.testing.assert_close(gradients(method, batch())[0], expected.detach())


def test_losses_of_pairs_are_added() -> None:
    method, three = build("clip", ("image", "caption", "sensor")), ("image", "caption", "sensor")
    z = torch.stack(list(method.encode(batch(three)["views"]).embeddings.values()))
    torch.testing.assert_close(method.loss_terms(batch(three))["loss"], pairwise_clip_loss(z, temperature=0.07))


@pytest.mark.parametrize("reads", ["all", "first"])
def test_several_captions_at_once(reads: str) -> None:
    method = build("laclip", multi_text=True, text_to_image=reads)
    data = batch(versions=3)
    image = method.encode(batch()["views"]).embeddings["image"]
    texts = torch.stack(
        [
            method.encode(
                {"inputs": {**batch()["views"]["inputs"], "caption": part}, "present": data["views"]["present"]}
            ).embeddings["caption"]
            for part in data["views"]["inputs"]["caption"]
        ]
    )
    expected = multi_text_clip_loss(image, texts, temperature=0.07, text_to_image=reads)  # type: ignore[arg-type]
    torch.testing.assert_close(method.loss_terms(data)["loss"], expected)


@pytest.mark.parametrize("name", NAMES)
def test_the_gradient_reaches_what_is_trained(name: str) -> None:
    method = build(name)
    _, found = gradients(method, batch())
    frozen = {key for key, p in method.named_parameters() if not p.requires_grad}
    assert frozen == (
        {key for key, _ in method.named_parameters() if key.startswith("encoders.of image")}
        if name == "cwcl"
        else {"logit_scale.log_scale"}
        if name == "cloob"
        else set()
    )
    assert {key for key, value in found.items() if value.abs().max() > 0} == {
        key for key, p in method.named_parameters() if p.requires_grad
    }


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("left", ["image", "caption"])
def test_a_row_with_one_modality_contributes_nothing(name: str, left: str) -> None:
    # Also not to the statistics of batch normalisation.
    method = build(name, missing=True)
    data = batch()
    other = "caption" if left == "image" else "image"
    data["views"]["present"][other][2] = False
    data["views"]["inputs"][other][2] = 0
    rest = select(data, torch.tensor([0, 1, 3, 4, 5]))
    loss, found = gradients(method, data)
    expected, wanted = gradients(method, rest)
    torch.testing.assert_close(loss, expected)
    for key, value in wanted.items():
        torch.testing.assert_close(found[key], value, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("rows", [0, 1])
def test_too_few_complete_rows_give_a_loss_of_zero_and_finite_gradients(name: str, rows: int) -> None:
    method = build(name, missing=True)
    data = batch()
    data["views"]["present"]["caption"][rows:] = False
    loss, found = gradients(method, data)
    assert loss == 0
    assert all(bool(value.isfinite().all()) and value.abs().max() == 0 for value in found.values())
    assert {key for key, p in method.named_parameters() if p.requires_grad} == set(found)


def test_symile_has_a_stand_in_for_what_is_missing() -> None:
    three = ("image", "caption", "sensor")
    method = build("symile", three, missing=True, vector_encoder="identity")
    data = batch(three)
    data["views"]["present"]["sensor"][:2] = False
    data["views"]["inputs"]["sensor"][:2] = 7.0  # whatever stands there is not looked at
    z = method.encode(data["views"]).embeddings["sensor"]
    torch.testing.assert_close(z[0], z[1])
    torch.testing.assert_close(F.normalize(z[0], dim=0), method.missing_embedding("sensor"))
    assert method.projections["sensor"].mean.tolist() == [0.5] * 3
    assert method.projections["image"].mean.abs().max() == 0
    torch.manual_seed(3)
    expected = symile_loss(torch.stack(list(method.encode(data["views"]).embeddings.values())), temperature=1.35)
    torch.testing.assert_close(gradients(method, data)[0], expected.detach())


def test_symile_can_leave_incomplete_rows_out() -> None:
    three = ("image", "caption", "sensor")
    torch.manual_seed(0)
    method: Any = get_method("symile")(
        modalities=facts(missing=True), image_encoder="convnet4-2", text_encoder="bag-16", missing="complete"
    )
    assert method.missing_embedding("image") is None
    data = batch(three)
    data["views"]["present"]["sensor"][:2] = False
    method.encoders["image"].eval()
    loss, _ = gradients(method, data)
    expected, _ = gradients(method, select(data, torch.arange(2, N)))
    torch.testing.assert_close(loss, expected)


def test_symile_without_unit_length_ends_with_a_layer_normalisation() -> None:
    method = build("symile", unit_length=False)
    z = method.embed({"image": torch.rand(3, 3, 8, 8)})
    torch.testing.assert_close(z.mean(dim=1), torch.zeros(3), atol=1e-5, rtol=0)
    assert (z.norm(dim=1) > 1.5).all()


def test_a_locked_encoder_stays_as_it_is() -> None:
    method = build("clip", locked="image")
    before = {key: value.clone() for key, value in method.encoders["image"].state_dict().items()}
    method.train()
    optimizer = torch.optim.SGD([p for p in method.parameters() if p.requires_grad], lr=0.1)
    method.loss_terms(batch())["loss"].backward()
    optimizer.step()
    assert not method.encoders["image"].training
    assert all(torch.equal(value, before[key]) for key, value in method.encoders["image"].state_dict().items())
    assert build("clip", locked="image", locked_projection=False, embedding_dim=16).projections["image"](1) == 1


def test_the_scale_is_brought_back_within_its_bounds() -> None:
    for name, expected in (("clip", 100.0), ("symile", 1e4)):
        method = build(name)
        method.logit_scale.log_scale.data.fill_(torch.tensor(1e4).log())
        method.after_step()
        assert float(method.logit_scale().detach()) == pytest.approx(expected)


def test_chunks_change_no_gradient() -> None:
    whole, chunked = build("clip"), build("clip", chunk_size=2)
    for method in (whole, chunked):
        method.encoders["image"].eval()  # batch normalisation would see chunks
    loss, found = gradients(whole, batch())
    other, again = gradients(chunked, batch())
    torch.testing.assert_close(other, loss)
    for key, value in found.items():
        torch.testing.assert_close(again[key], value)


def test_embeddings_are_of_unit_length_and_of_one_modality() -> None:
    method = build("clip").eval()
    z = method.embed({"caption": batch()["views"]["inputs"]["caption"]})
    torch.testing.assert_close(z.norm(dim=1), torch.ones(N))
    with pytest.raises(InputError, match="embed one modality at a time"):
        method.embed(batch()["views"]["inputs"])
    with pytest.raises(InputError, match="Did you mean 'caption'"):
        method.embed({"captions": torch.zeros(1)})


def test_an_encoder_of_ones_own() -> None:
    class Flat(nn.Module):
        width = 192

        def forward(self, images: Tensor) -> Tensor:
            return images.flatten(1)

    method = build("clip", encoders={"image": Flat(), "caption": "bag-4"})
    assert method.embed({"image": torch.rand(2, 3, 8, 8)}).shape == (2, 6)
    assert method.encoders["caption"].width == 4


def test_names_that_torch_reserves() -> None:
    modules = ByName({"type": nn.Identity(), "v1.0": nn.Linear(1, 1), "v1%2E0": nn.ReLU(), "": nn.Tanh()})
    assert [type(modules[name]).__name__ for name in ("type", "v1.0", "v1%2E0", "")] == [
        "Identity",
        "Linear",
        "ReLU",
        "Tanh",
    ]


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("clip", {"locked": "imgae"}, "locked names 'imgae', which is no modality. Did you mean 'image'"),
        ("clip", {"encoders": {"sound": "convnet"}}, "encoders names 'sound'"),
        ("clip", {"modalities": ("image",)}, "expected two or more"),
        ("clip", {"temperature": 0.0}, "temperature is 0.0"),
        ("clip", {"embedding_dim": 0}, "embedding_dim is 0"),
        ("clip", {"text_length": 1}, "text_length is 1"),
        ("clip", {"chunk_size": 0}, "chunk_size is 0"),
        ("clip", {"schedule_cycles": 0}, "schedule_cycles is 0"),
        ("clip", {"locked": "image", "locked_projection": False}, "has 16 features: set embedding_dim to 16"),
        ("clip", {"encoders": {"image": nn.Identity()}}, "has no attribute width"),
        ("cwcl", {"locked": ""}, "expected the one modality"),
        ("cwcl", {"weighted": "none"}, "weighted is 'none'"),
        ("cloob", {"beta": -1.0}, "beta is -1"),
        ("cloob", {"objective": "clip"}, "objective is 'clip'"),
        ("laclip", {"modalities": ("image", "sensor")}, "expected a text and one other"),
        ("laclip", {"text_to_image": "none"}, "text_to_image is 'none'"),
        ("symile", {"negatives": "all"}, "negatives is 'all'"),
    ],
)
@pytest.mark.usefixtures("unchecked")
def test_settings_are_refused_before_anything_is_trained(name: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        build(name, **options)
