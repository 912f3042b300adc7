"""Clusters, balanced transport and matching: what holds for any input."""

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given, settings

from dipole.errors import InputError
from dipole.negatives.clustered_memory import DynamicClusteredMemory
from dipole.ops.cosine_clusters import balanced_kmeans, cosine_kmeans
from dipole.ops.groups import sums_of_label
from dipole.ops.matching import estimate_class_distribution, match
from dipole.ops.sinkhorn import sinkhorn_assign, sinkhorn_log
from dipole.ops.transport import optimal_transport_align

FEW = settings(max_examples=10, deadline=None)
SEEDS = st.integers(0, 2**31)


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@FEW
@given(SEEDS, st.integers(4, 30), st.integers(1, 4))
def test_balanced_clusters_differ_by_one_sample(seed: int, rows: int, clusters: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    found = balanced_kmeans(random(rows, 3, seed=seed), clusters, generator=generator)
    sizes = found.assignment.bincount(minlength=clusters)
    assert int(sizes.max() - sizes.min()) <= 1
    assert len(cosine_kmeans(random(rows, 3, seed=seed), clusters, generator=generator).assignment) == rows


def test_more_clusters_than_samples_are_refused() -> None:
    for cluster in (balanced_kmeans, cosine_kmeans):
        with pytest.raises(InputError, match="5 clusters were asked for of 4 samples"):
            cluster(random(4, 2), 5)


@FEW
@given(SEEDS)
def test_an_assignment_is_balanced(seed: int) -> None:
    found = sinkhorn_assign(random(12, 3, seed=seed), epsilon=1.0, iterations=100).weights
    torch.testing.assert_close(found.sum(dim=1), torch.ones(12).double())
    torch.testing.assert_close(found.sum(dim=0), torch.full((3,), 4.0).double(), rtol=1e-3, atol=1e-3)


def test_scores_that_overflow_relax_epsilon() -> None:
    scores = torch.tensor([[900.0, 0.0], [0.0, 900.0]])
    found = sinkhorn_assign(scores, epsilon=1.0)
    assert found.epsilon > 1
    assert bool(found.weights.isfinite().all())
    with pytest.raises(InputError, match="NaN"):
        sinkhorn_assign(torch.full((2, 2), torch.nan))


def test_plans_move_all_mass() -> None:
    plan = sinkhorn_log(random(3, 7).abs(), threshold=1e-9).plan
    torch.testing.assert_close(plan.sum(dim=0), torch.full((7,), 1 / 7).double(), rtol=1e-4, atol=1e-6)
    same = torch.ones(2, 3).double()
    torch.testing.assert_close(optimal_transport_align(same, same), same)


def test_sums_of_labels() -> None:
    sums, counts = sums_of_label(torch.eye(3), torch.tensor([1, -1, 1]), torch.tensor([1, -1, 4]))
    assert sums.tolist() == [[1, 0, 1], [0, 0, 0], [0, 0, 0]]
    assert counts.tolist() == [2, 0, 0]


def test_sizes_of_classes_are_those_of_their_clusters() -> None:
    clusters = torch.tensor([0] * 6 + [1] * 3 + [2] * 2)
    labels = torch.tensor([0, 0, -1, -1, -1, -1, 1, -1, -1, -1, -1])
    found = estimate_class_distribution(clusters, labels, labels >= 0, num_known=2, num_classes=3)
    assert found.tolist() == [6, 3, 2]
    with pytest.raises(InputError, match="class 1 has no labelled sample"):
        estimate_class_distribution(clusters, labels.clamp_max(0), labels >= 0, num_known=2, num_classes=3)
    assert match(torch.eye(3)).tolist() == [0, 1, 2]


def filled(seed: int = 0, **options: bool) -> DynamicClusteredMemory:
    generator = torch.Generator().manual_seed(seed)
    memory = DynamicClusteredMemory(41, 4, clusters=4, generator=generator, **options)
    for step in range(8):
        memory.update(cloud(10, seed + step)[0])
    return memory


def cloud(rows: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Rows around four axes."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, 4, (rows,), generator=generator)
    return torch.eye(4)[labels] + 0.1 * torch.randn(rows, 4, generator=generator), labels


def test_neighbours_are_of_the_cluster() -> None:
    memory = filled()
    assert bool(memory.ready)
    rows, labels = cloud(12, 99)
    found = memory.neighbours(rows, 3)
    assert bool((memory.bank[found].argmax(dim=2) == labels[:, None]).all())
    wrong = filled(legacy_partition_indexing=True).neighbours(rows, 3)
    assert not bool((memory.bank[wrong].argmax(dim=2) == labels[:, None]).all())


def test_a_memory_goes_on_where_its_state_was_stored() -> None:
    memory, other = filled(), DynamicClusteredMemory(41, 4, clusters=4)
    other.load_state_dict(memory.state_dict())
    rows = cloud(10, 50)[0]
    for one in (memory, other):
        one.update(rows)
    assert all(torch.equal(a, b) for a, b in zip(memory.buffers(), other.buffers(), strict=True))


def test_gradient_reaches_the_batch_alone() -> None:
    rows = cloud(8, 3)[0].requires_grad_()
    found = filled().enhance(rows, 2)
    assert found.rows.shape == (24, 4)
    gradient = torch.autograd.grad(found.rows[4:12].sum(), rows, allow_unused=True)[0]
    assert gradient is None or float(gradient.abs().max()) == 0


@pytest.mark.usefixtures("unchecked")
def test_what_a_memory_refuses() -> None:
    with pytest.raises(InputError, match="cannot have 50 clusters"):
        DynamicClusteredMemory(41, 4, clusters=50)
    memory = DynamicClusteredMemory(9, 4, clusters=2)
    with pytest.raises(InputError, match="enlarge the memory"):
        memory.update(torch.ones(9, 4))
    with pytest.raises(InputError, match="not been full yet"):
        memory.enhance(torch.ones(4, 4), 1)
    with pytest.raises(InputError, match="ask for fewer"):
        filled().neighbours(torch.ones(1, 4), 41)
