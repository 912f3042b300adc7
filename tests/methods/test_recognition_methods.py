"""Methods of recognition: what they see of the data, and what they refuse."""

from typing import Any

import pytest
import torch

from dipole.data import load_image_sets
from dipole.data.image_roles import ImageRoles, with_roles
from dipole.errors import InputError
from dipole.losses import sup_con_loss
from dipole.methods.recognition.bacon import BaCon
from dipole.methods.recognition.beclr import BECLR
from dipole.methods.recognition.sbcl import SBCL
from dipole.methods.recognition.sepclr import SepCLR
from dipole.methods.recognition.supremix import SupReMix
from dipole.methods.recognition.susana import SuSana

SMALL: dict[str, Any] = {"encoder": "convnet4-2", "image_size": 8}


def digits(role: Any = "classes", **roles: Any) -> Any:
    return with_roles(load_image_sets("digits"), ImageRoles(**roles), role, unlabelled=True)[0]


def views(count: int = 6) -> torch.Tensor:
    return torch.rand(2, count, 3, 8, 8, generator=torch.Generator().manual_seed(0))


def test_sbcl_begins_with_classes_and_goes_on_with_subclasses() -> None:
    method = SBCL(**SMALL, delta=10)
    train = digits(imbalance=20.0)
    method.before_training(train)
    found = method.refresh(torch.randn(len(train), 4, generator=torch.Generator().manual_seed(0)), torch.arange(3))
    sizes = torch.bincount(train.labels["label"])
    assert int(found["subclasses"]) == int((sizes // 10).clamp_min(1).sum())
    # No two classes share a subclass, and subclasses of a class are as large as one another.
    pairs = torch.stack([train.labels["label"], found["subclass"]]).unique(dim=1)
    assert len(pairs[1].unique()) == pairs.shape[1]
    largest = torch.bincount(found["subclass"][train.labels["label"] == 0])
    assert int(largest[largest > 0].max() - largest[largest > 0].min()) <= 1


def test_sbcl_needs_a_label_of_every_image() -> None:
    with pytest.raises(InputError, match="training images have no label"):
        SBCL(**SMALL).before_training(digits(known="first 5"))
    empty = load_image_sets("digits")[0]
    kept = empty.select((empty.labels["label"] != 3).nonzero().flatten())
    with pytest.raises(InputError, match="class '3' has no training image"):
        SBCL(**SMALL).before_training(kept)


def test_the_coarse_term_sees_classes() -> None:
    method = SBCL(**SMALL, beta=0.0, gather=False)
    label = torch.tensor([0, 0, 0, 1, 1, 1])
    method.refreshed = {"subclass": label, "class_temperature": torch.tensor([0.1, 0.1])}
    data = {"views": views(), "index": torch.arange(6), "label": label}
    expected = sup_con_loss(method.project(data["views"]).flatten(0, 1), label.repeat(2))
    torch.testing.assert_close(method.loss_terms(data)["loss"], expected)


def test_episodes_of_susana() -> None:
    method = SuSana(**SMALL, ways=3, shots=2, queries=2, episodes=4)
    order = method.sampling(load_image_sets("digits")[0], 12).draw(torch.Generator().manual_seed(0))
    labels = load_image_sets("digits")[0].labels["label"][order].view(4, 3, 4)
    assert bool((labels == labels[..., :1]).all())
    assert all(len(order[12 * n : 12 * n + 12].unique()) == 12 for n in range(4))
    images = torch.randint(0, 256, (12, 3, 8, 8), dtype=torch.uint8)
    losses = []
    optimizer = torch.optim.Adam(method.parameters(), lr=3e-3)
    for _ in range(8):
        loss = method.loss_terms({"images": images})["loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]
    assert all(parameter.grad is not None for parameter in method.parameters())


def test_what_susana_refuses() -> None:
    train = load_image_sets("digits")[0]
    with pytest.raises(InputError, match="--batch-size 80"):
        SuSana(**SMALL).sampling(train, 64)
    with pytest.raises(InputError, match="11 classes with 2 samples each was asked for"):
        SuSana(**SMALL, ways=11, queries=1).sampling(train, 22)
    with pytest.raises(InputError, match="expected one or more of cross"):
        SuSana(**SMALL, terms=["cros"])


def test_a_batch_of_beclr_is_enhanced_once_its_memories_are_full() -> None:
    method = BECLR(**SMALL, projection_dim=4, clusters=2, memory_scale=12, topk=2, mask_ratio=0.0, mask_variation=0.0)
    data = {"views": views(), "index": torch.arange(6)}
    enhanced = [float(method.loss_terms(data)["enhanced"]) for _ in range(4)]
    assert enhanced == [0, 0, 1, 1]
    of_predictions, of_student, _ = method.memories
    assert not torch.equal(of_predictions.bank, of_student.bank)
    assert all(not memory.bank.requires_grad for memory in method.memories)


@pytest.mark.parametrize("ratio", [0.0, 0.5])
def test_hidden_patches(ratio: float) -> None:
    method = BECLR(**SMALL, clusters=2, memory_scale=12, topk=2, patch=2, mask_ratio=ratio, mask_variation=0.0)
    shown = method._hidden(views() + 1)
    assert float((shown == 0).float().mean()) == pytest.approx(ratio)
    assert bool(((shown == 0) | (shown == views() + 1)).all())


def test_what_beclr_refuses() -> None:
    with pytest.raises(InputError, match="patches of 16 pixels do not fill images of 8"):
        BECLR(**SMALL)
    with pytest.raises(InputError, match="ask for fewer neighbours"):
        BECLR(**SMALL, patch=4, clusters=2, memory_scale=2, topk=9)
    with pytest.raises(InputError, match="expected shares"):
        BECLR(**SMALL, patch=4, mask_ratio=0.9, mask_variation=0.3)


def test_bacon_reads_no_hidden_label() -> None:
    method, train = BaCon(**SMALL), digits(known="first 5", imbalance=10.0)
    method.before_training(train)
    assert method.known == 5
    assert method.labels is not None
    assert int(method.labels.max()) == 4
    order = method.sampling(train, 64).draw(torch.Generator().manual_seed(0))
    assert float((method.labels[order] >= 0).float().mean()) == pytest.approx(0.5, abs=0.06)
    rows = torch.eye(10)[train.labels["label"]] + 0.01 * torch.randn(len(train), 10)
    sizes = method.refresh(rows, torch.arange(len(train)))["class_sizes"]
    assert sizes.tolist() == torch.bincount(train.labels["label"]).tolist()


@pytest.mark.parametrize("labelled", [[], [0, 1], [0, 1, 2, 3, 4, 5]])
def test_bacon_takes_any_share_of_labels(labelled: list[int]) -> None:
    method = BaCon(**SMALL, num_classes=3, contrast_epochs=0)
    method.refreshed = {"class_sizes": torch.tensor([3.0, 2.0, 1.0])}
    label = torch.full((6,), -1)
    label[labelled] = torch.tensor(labelled, dtype=torch.int64) % 3
    terms = method.loss_terms({"views": views(), "index": torch.arange(6), "label": label})
    assert bool(terms["loss"].isfinite())


def test_what_bacon_refuses() -> None:
    with pytest.raises(InputError, match="clusters were asked for of 1347 samples"):
        BaCon(**SMALL, novel_classes=5000).before_training(digits())
    with pytest.raises(InputError, match="bacon learns from labels of known ones"):
        BaCon(**SMALL, num_classes=0)


def test_the_window_of_supremix_is_chosen_from_the_targets() -> None:
    method = SupReMix(**SMALL, window=None)
    method.before_training(digits("numbers"))
    assert method.window == 1
    with pytest.raises(InputError, match="has no targets"):
        method.before_training(load_image_sets("digits")[0])


def test_parts_of_sepclr() -> None:
    method = SepCLR(**SMALL, common_dim=3, salient_dim=2).eval()
    images = torch.rand(4, 3, 8, 8)
    parts = method.embed_parts(images)
    assert {name: part.shape[1] for name, part in parts.items()} == {"common": 3, "salient": 2}
    assert torch.equal(method.embed(images), torch.cat([parts["common"], parts["salient"]], dim=1))
    own, other = (next(iter(net.encoder.parameters())) for net in (method.network, method.salient_network))  # type: ignore[union-attr]
    assert not torch.equal(own, other)
    with pytest.raises(InputError, match="two populations: name the background"):
        method.before_training(load_image_sets("digits")[0])
