"""One step of every method for images on a small batch."""

from collections.abc import Mapping
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from dipole.diagnostics import proxy_accuracy
from dipole.errors import InputError
from dipole.losses import (
    cacr_loss,
    cacr_momentum_views_loss,
    cacr_queue_loss,
    dcl_loss,
    dcl_queue_loss,
    dclw_loss,
    feature_transform_loss,
    groco_loss,
    hard_contrastive_loss,
    info_nce_loss,
    npc_multiplier,
    nt_xent_loss,
    own_negatives_info_nce_loss,
    simple_contrastive_loss,
)
from dipole.methods.joint_embedding import JointEmbedding, project_views
from dipole.methods.registry import get_method, methods
from dipole.negatives import mix_hard_negatives

SMALL: dict[str, Any] = {"encoder": "convnet4-2", "image_size": 8, "projection_dim": 6}
AROUND = [f"amcl around {base}" for base in ("simclr", "moco", "simsiam", "barlow-twins")]
# Episodes have a step of their own, see test_recognition_methods.
IMAGE_METHODS = [n for n, cls in methods().items() if issubclass(cls, JointEmbedding)] + AROUND
# What a look at the training set finds, for images whose class is their place modulo 3.
FOUND: dict[str, dict[str, Tensor]] = {
    "sbcl": {"subclass": torch.arange(16) % 6, "class_temperature": torch.tensor([0.1, 0.2, 0.1])},
    "bacon": {"class_sizes": torch.tensor([3.0, 2.0, 1.0])},
}
QUEUED = ("moco", "dcl-moco", "cacr-moco", "mochi", "feature-transform")
N = 5


def build(name: str, **options: Any) -> Any:
    torch.manual_seed(0)
    if " around " in name:
        name, base = name.split(" around ")
        return get_method(name)(base=build(base, **options))  # type: ignore[call-arg]
    if name in QUEUED:
        options = {"queue_size": 16, **options}
    if name == "mochi":
        options = {"num_hard": 8, "num_pairs": 4, "num_with_query": 2, "mixing_warmup_epochs": 0, **options}
    if name == "groco":
        options = {"top_k": 3, **options}  # a batch has fewer negatives than the authors' 10
    if name == "mlcd":
        method = get_method(name)(**{**SMALL, "clusters": 6, "positives": 2, "ratio": 1.0, **options})
        method.refreshed = {"labels": torch.arange(64).remainder(6)[:, None] + torch.tensor([[0, -1]])}
        method.setup("fit")
        return method
    if name == "beclr":
        options = {"patch": 4, "clusters": 4, "memory_scale": 16, **options}
    if name == "bacon":
        options = {"num_classes": 3, **options}
    method = get_method(name)(**{**SMALL, **options})
    method.refreshed = FOUND.get(name, {})
    return method


def batch(views: int, n: int = N) -> Mapping[str, Tensor]:
    generator = torch.Generator().manual_seed(1)
    index = torch.arange(n)
    labels = {"label": index % 3, "population": index % 2, "target": (index % 3).float()}
    return {"views": torch.rand(views, n, 3, 8, 8, generator=generator), "index": index, **labels}


@pytest.mark.parametrize("name", IMAGE_METHODS)
def test_the_gradient_reaches_every_trained_parameter(name: str) -> None:
    method = build(name)
    terms = method.loss_terms(batch(method.num_views))
    assert all(value.ndim == 0 and value.isfinite() for value in terms.values())
    terms["loss"].backward()
    trained = {key for key, parameter in method.named_parameters() if parameter.requires_grad}
    assert {key for key, parameter in method.named_parameters() if parameter.grad is not None} == trained
    moved = {key for key, p in method.named_parameters() if p.grad is not None and p.grad.abs().max() > 0}
    assert moved == trained
    slow = {key for key, parameter in method.named_parameters() if not parameter.requires_grad}
    assert all(key.removeprefix("base.").startswith("momentum_network.") for key in slow)


@pytest.mark.parametrize("name", IMAGE_METHODS)
def test_a_few_steps_lower_the_loss(name: str) -> None:
    # With a fixed batch and fixed draws; queues are kept fixed too, because new keys make the task harder.
    method = build(name)
    data = batch(method.num_views, 16)
    queued = name.split()[-1] in QUEUED
    queue = {k: v.clone() for k, v in method.queue.state_dict().items()} if queued else None
    optimizer = torch.optim.Adam([p for p in method.parameters() if p.requires_grad], lr=3e-3)
    losses = []
    for _ in range(8):
        if queue is not None:
            method.queue.load_state_dict({key: value.clone() for key, value in queue.items()})
        torch.manual_seed(2)
        loss = method.loss_terms(data)["loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]


@pytest.mark.parametrize("name", [name for name in IMAGE_METHODS if name != "sepclr"])
def test_embeddings_are_the_encoders_features(name: str) -> None:
    method = build(name).eval()
    images = torch.randint(0, 256, (3, 3, 8, 8), dtype=torch.uint8)
    with torch.inference_mode():
        z = method.embed(images)
        assert z.shape == (3, 16)
        assert torch.equal(z, method.encoder(images))
        torch.testing.assert_close(method.embed(images / 255), z)
        torch.testing.assert_close(method.embed(images[1:2]), z[1:2])


@pytest.mark.parametrize("name", IMAGE_METHODS)
def test_the_state_holds_all_that_the_next_step_needs(name: str) -> None:
    one, other = build(name), build(name, encoder="convnet4-2")
    torch.manual_seed(5)
    for parameter in one.parameters():
        parameter.data.normal_()
    one.loss_terms(batch(one.num_views))
    other.load_state_dict(one.state_dict())
    data = batch(one.num_views)
    losses = []
    for method in (one, other):
        torch.manual_seed(0)  # of what a step draws
        losses.append(method.loss_terms(data)["loss"])
    torch.testing.assert_close(*losses, rtol=0, atol=0)


OBJECTIVES: dict[str, Any] = {
    "simclr": lambda m, z: nt_xent_loss(z[0], z[1], temperature=m.temperature),
    "dcl": lambda m, z: dcl_loss(z[0], z[1], temperature=m.temperature),
    "dclw": lambda m, z: dclw_loss(z[0], z[1], temperature=m.temperature, sigma=m.sigma),
    "cacr": lambda m, z: cacr_loss(z, t_positive=m.t_positive, t_negative=m.t_negative),
    "groco": lambda m, z: groco_loss(z, top_k=m.top_k),
    "hard-contrastive": lambda m, z: hard_contrastive_loss(z[0], z[1], temperature=m.temperature),
}


@pytest.mark.parametrize("name", OBJECTIVES)
def test_the_loss_is_that_of_the_embeddings(name: str) -> None:
    method = build(name)
    data = batch(method.num_views)
    expected = OBJECTIVES[name](method, method.project(data["views"]))
    torch.testing.assert_close(method.loss_terms(data)["loss"], expected)


def test_options_reach_the_loss() -> None:
    for name, options, expected in (
        ("hard-contrastive", {"top_k": 2}, lambda z: hard_contrastive_loss(z[0], z[1], temperature=0.7, top_k=2)),
        ("hard-contrastive", {"loss": "simple"}, lambda z: simple_contrastive_loss(z[0], z[1])),
        ("hard-contrastive", {"alpha": 0.5}, lambda z: hard_contrastive_loss(z[0], z[1], temperature=0.7, alpha=0.5)),
        ("simclr", {"temperature": 0.9}, lambda z: nt_xent_loss(z[0], z[1], temperature=0.9)),
        ("groco", {"steepness": 3.0, "stop_gradient": False}, lambda z: groco_loss(z, top_k=3, steepness=3.0)),
        ("groco", {"distribution": "logistic"}, lambda z: groco_loss(z, top_k=3, distribution="logistic")),
        ("cacr", {"cost": "rbf", "alpha": 0.3}, lambda z: cacr_loss(z, cost="rbf", alpha=0.3, t_negative=2.0)),
    ):
        method = build(name, **options)
        data = batch(method.num_views)
        torch.testing.assert_close(method.loss_terms(data)["loss"], expected(method.project(data["views"])))


@pytest.mark.parametrize(("name", "ends"), [("simclr", True), ("dcl", True), ("dclw", True), ("moco", False)])
def test_the_projectors_of_simclr_end_normalised(name: str, ends: bool) -> None:
    assert isinstance(build(name).network.projector[-1], torch.nn.BatchNorm1d) == ends
    assert not isinstance(build(name, projector_final_norm=False).network.projector[-1], torch.nn.BatchNorm1d)


def test_cacr_logs_both_terms() -> None:
    method = build("cacr", alpha=0.5, beta=2.0)
    terms = method.loss_terms(batch(5))
    torch.testing.assert_close(terms["attraction"] + terms["repulsion"], terms["loss"])
    assert terms["attraction"] > 0 > terms["repulsion"]


def test_the_projector_of_groco_ends_with_a_norm() -> None:
    z = build("groco", num_positives=3).project(batch(4)["views"])
    assert z.shape == (4, N, 6)
    torch.testing.assert_close(z.mean(dim=1), torch.zeros(4, 6), atol=1e-6, rtol=0)  # each view by itself


def test_references_of_groco_pass_a_gradient_if_asked() -> None:
    data, gradients = batch(2), []
    for stop_gradient in (True, False):
        method = build("groco", stop_gradient=stop_gradient)
        loss = method.loss_terms(data)["loss"]
        gradients.append(torch.autograd.grad(loss, list(method.parameters())))
    assert not any(torch.allclose(one, other) for one, other in zip(*gradients, strict=True))


def test_dcl_logs_the_multiplier() -> None:
    method = build("dcl")
    data = batch(2)
    multiplier = method.loss_terms(data)["npc_multiplier"]
    torch.testing.assert_close(multiplier, npc_multiplier(*method.project(data["views"])).mean().detach())
    assert 0 < multiplier < 1


@pytest.mark.parametrize("name", ["moco", "dcl-moco"])
def test_a_query_meets_the_queue_as_it_was(name: str) -> None:
    method = build(name)
    data, before = batch(2), method.queue.entries.clone()
    queries = method.project(data["views"][:1])[0]
    keys = method.project_keys(data["views"][1:])[0]
    function = info_nce_loss if name == "moco" else dcl_queue_loss
    torch.testing.assert_close(
        method.loss_terms(data)["loss"], function(queries, keys, before, temperature=method.temperature)
    )
    torch.testing.assert_close(method.queue.entries[:N], F.normalize(keys, dim=1))
    assert torch.equal(method.queue.entries[N:], before[N:])
    assert int(method.queue.pointer) == N


def test_mochi_adds_mixtures_to_the_queue() -> None:
    method = build("mochi")
    data, before = batch(2), method.queue.entries.clone()
    queries = method.project(data["views"][:1])[0]
    keys = method.project_keys(data["views"][1:])[0]
    torch.manual_seed(3)
    mixed = mix_hard_negatives(queries, before, num_hard=8, num_pairs=4, num_with_query=2)
    torch.manual_seed(3)
    terms = method.loss_terms(data)
    expected = own_negatives_info_nce_loss(queries, keys, before, mixed.all, temperature=0.2)
    torch.testing.assert_close(terms["loss"], expected)
    torch.testing.assert_close(terms["proxy_accuracy"], proxy_accuracy(queries, keys, before, mixed.all))
    torch.testing.assert_close(method.queue.entries[:N], F.normalize(keys, dim=1))


@pytest.mark.parametrize(("pairs", "with_query", "sizes"), [(1, None, (0, 0)), (0, 1, (4, 0)), (1, 0, (0, 2))])
def test_mochi_begins_as_moco(pairs: int, with_query: int | None, sizes: tuple[int, int]) -> None:
    method = build("mochi", mixing_warmup_epochs=pairs, query_mixing_warmup_epochs=with_query)
    mixed = method.mix(torch.randn(N, 6))
    assert (mixed.pairs.shape[1], mixed.with_query.shape[1]) == sizes


@pytest.mark.parametrize(("exclude", "left"), [("image", 15), ("class", 13)])
def test_mochi_leaves_out_what_is_no_negative(exclude: str, left: int) -> None:
    method = build("mochi", exclude=exclude)
    data = {**batch(2), "label": torch.tensor([0, 0, 0, 1, 1])}
    method.loss_terms(data)
    assert method.queue.ids[:N].tolist() == (list(range(N)) if exclude == "image" else [0, 0, 0, 1, 1])
    ids = method.queue.ids[:1]
    assert int((ids[:, None] != method.queue.ids).sum()) == left
    before = method.queue.entries.clone()
    queries = method.project(data["views"][:1])[0]
    same = method._ids(data)[:, None] == method.queue.ids
    mixed = method.mix(queries, same)
    assert not same.gather(1, mixed.hardest[:, :1]).any()
    assert torch.equal(method.queue.entries, before)
    if exclude == "class":
        del data["label"]
        with pytest.raises(InputError, match="exclude='class' needs labels"):
            method.loss_terms(data)


def test_transformed_features_reach_the_loss() -> None:
    method = build("feature-transform", granularity="dimension", post_norm=True)
    data, before = batch(2), method.queue.entries.clone()
    queries = method.project(data["views"][:1])[0]
    keys = method.project_keys(data["views"][1:])[0]
    torch.manual_seed(3)
    expected = feature_transform_loss(queries, keys, before, granularity="dimension", post_norm=True)
    torch.manual_seed(3)
    torch.testing.assert_close(method.loss_terms(data)["loss"], expected)
    torch.testing.assert_close(method.queue.entries[:N], F.normalize(keys, dim=1))
    late = build("feature-transform", start_epoch=1)
    torch.testing.assert_close(late.loss_terms(data)["loss"], build("moco").loss_terms(data)["loss"])


def test_cacr_with_a_queue() -> None:
    method = build("cacr-moco", num_positives=2)
    data, before = batch(3), method.queue.entries.clone()
    queries, keys = method.project(data["views"]), method.project_keys(data["views"])
    torch.testing.assert_close(method.loss_terms(data)["loss"], cacr_queue_loss(queries, keys, before))
    torch.testing.assert_close(method.queue.entries[:N], F.normalize(keys[-1], dim=1))


def test_cacr_with_a_predictor() -> None:
    method = build("cacr-moco-v3", num_positives=2, num_keys=2)
    data = batch(3)
    predicted = torch.stack([method.predictor(z) for z in method.project(data["views"])])
    expected = cacr_momentum_views_loss(predicted, method.project_keys(data["views"][:2]))
    torch.testing.assert_close(method.loss_terms(data)["loss"], expected)
    assert build("cacr-moco-v3", num_positives=1, num_keys=9).num_keys == 2


def test_a_memory_bank_holds_every_image() -> None:
    method = build("hard-contrastive", bank_size=9, bank_momentum=0.0, temperature=0.5)
    data = {**batch(2), "index": torch.tensor([8, 0, 3, 4, 5])}
    z1, z2 = F.normalize(method.project(data["views"]), dim=-1)
    before = method.bank.entries.clone()
    expected = []
    for row, index in enumerate(data["index"].tolist()):
        others = torch.cat([before[:index], before[index + 1 :]])
        expected.append(info_nce_loss(z1[row : row + 1], z2[row : row + 1], others, temperature=0.5))
    torch.testing.assert_close(method.loss_terms(data)["loss"], torch.stack(expected).mean())
    torch.testing.assert_close(method.bank.entries[data["index"]], z1.detach())
    with pytest.raises(InputError, match="image 9 has no entry: bank_size is 9, set it to the number of images"):
        method.loss_terms({**data, "index": torch.arange(5, 10)})


@pytest.mark.parametrize("together", [False, True])
def test_views_share_batch_statistics_or_not(together: bool) -> None:
    views = torch.randn(2, 6, 3)
    norm = torch.nn.BatchNorm1d(3)
    z = project_views(norm, views, together)
    assert z.shape == views.shape
    means = z.mean(dim=1)
    assert torch.allclose(z.mean(dim=(0, 1)), torch.zeros(3), atol=1e-6)
    assert torch.allclose(means, torch.zeros(2, 3), atol=1e-6) != together
    assert int(norm.num_batches_tracked) == (1 if together else 2)  # type: ignore[arg-type]


def test_chunks_change_no_gradient() -> None:
    class Flat(torch.nn.Module):
        """No batch normalisation: rows are independent."""

        def __init__(self) -> None:
            super().__init__()
            self.linear = torch.nn.Linear(3 * 8 * 8, 7)

        def forward(self, images: Tensor) -> Tensor:
            return self.linear(images.flatten(1)).tanh()

    results = []
    for chunk_size in (None, 2, 64):
        torch.manual_seed(0)
        options: dict[str, Any] = {**SMALL, "encoder": Flat(), "projector_layers": 1, "chunk_size": chunk_size}
        options["projector_final_norm"] = False
        method = get_method("simclr")(**options)
        loss = method.loss_terms(batch(2))["loss"]
        results.append([loss, *torch.autograd.grad(loss, list(method.parameters()))])
    for other in results[1:]:
        for ours, theirs in zip(other, results[0], strict=True):
            torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("simclr", {"temperature": 0.0}, "temperature is 0.0"),
        ("simclr", {"projection_dim": 0}, "to 0 features"),
        ("simclr", {"projector_hidden": 0}, "over 0"),
        ("simclr", {"chunk_size": 0}, "chunk_size is 0"),
        ("simclr", {"learning_rate": 0.0}, "learning_rate is 0.0: expected a number above 0"),
        ("simclr", {"weight_decay": -1.0}, "weight_decay is -1.0"),
        ("simclr", {"momentum": -0.5}, "momentum is -0.5"),
        ("simclr", {"warmup_epochs": -1.0}, "warmup_epochs is -1.0"),
        ("dclw", {"sigma": 0.0}, "sigma is 0.0"),
        ("mochi", {"num_hard": 17}, "num_hard is 17: expected a number from 1 to the queue's 16 entries"),
        ("mochi", {"exclude": "all"}, "exclude is 'all'"),
        ("mochi", {"mixing_warmup_epochs": -1}, "mixing_warmup_epochs is -1"),
        ("feature-transform", {"target": "all"}, "target is 'all'"),
        ("feature-transform", {"granularity": "row"}, "granularity is 'row'"),
        ("feature-transform", {"pos_alpha": 0.0}, "pos_alpha is 0.0"),
        ("feature-transform", {"neg_alpha": -1.0}, "neg_alpha is -1.0"),
        ("feature-transform", {"start_epoch": -1}, "start_epoch is -1"),
        ("moco", {"queue_size": 0}, "the queue's size is 0"),
        ("moco", {"encoder_momentum": 1.5}, "momentum is 1.5"),
        ("cacr", {"num_positives": 0}, "num_positives is 0"),
        ("cacr", {"t_negative": -1.0}, "t_negative is -1.0"),
        ("cacr-moco", {"t_positive": -1.0}, "t_positive is -1.0"),
        ("cacr-moco-v3", {"num_keys": 0}, "num_keys is 0"),
        ("cacr-moco-v3", {"predictor_hidden": 0}, "over 0"),
        ("groco", {"num_positives": 0}, "num_positives is 0"),
        ("groco", {"top_k": 0}, "top_k is 0"),
        ("groco", {"steepness": 0.0}, "steepness is 0.0: expected a number above 0"),
        ("hard-contrastive", {"top_k": 0}, "top_k is 0"),
        ("hard-contrastive", {"alpha": 1.5}, "alpha is 1.5"),
        ("hard-contrastive", {"alpha": 0.5, "top_k": 2}, "at most one of them"),
        ("hard-contrastive", {"bank_size": 1}, "bank_size is 1"),
        ("hydra", {"temperature": 0.0}, "temperature is 0.0"),
        ("hydra", {"num_classes": 0}, "the data have 0 classes: hydra pairs classes, so choose labelled data"),
        ("hydra", {"gate_hidden": 0}, "hidden_dim of a gate is 0"),
    ],
)
@pytest.mark.usefixtures("unchecked")
def test_settings_are_refused_before_anything_is_trained(name: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        build(name, **options)


def test_an_abstract_joint_embedding_has_two_views() -> None:
    assert JointEmbedding(**SMALL).num_views == 2
