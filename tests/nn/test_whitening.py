import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from dipole.errors import InputError
from dipole.nn.whitening import ShuffledGroupWhitening, group_whiten


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@settings(max_examples=20, deadline=None)
@given(groups=st.sampled_from([1, 2, 3, 6]), seed=st.integers(0, 1000))
def test_each_group_is_white(groups: int, seed: int) -> None:
    x = random(20, 6, seed=seed) @ random(6, 6, seed=seed + 1) + 5
    permutation = torch.randperm(6, generator=torch.Generator().manual_seed(seed))
    y = group_whiten(x, groups, permutation)
    torch.testing.assert_close(y.mean(dim=0), torch.zeros(6, dtype=torch.float64), atol=1e-9, rtol=0)
    covariance = y.T @ y / len(y)
    for channels in permutation.view(groups, -1):
        white = torch.eye(len(channels), dtype=torch.float64)
        torch.testing.assert_close(covariance[channels][:, channels], white, atol=1e-8, rtol=0)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 1000))
def test_invariances(seed: int) -> None:
    x = random(15, 6, seed=seed)
    y = group_whiten(x, 2)
    torch.testing.assert_close(group_whiten(3 * x + 7, 2), y)
    order = torch.randperm(15, generator=torch.Generator().manual_seed(seed))
    torch.testing.assert_close(group_whiten(x[order], 2), y[order])
    # White channels stay: ZCA is the rotation-free whitening.
    torch.testing.assert_close(group_whiten(y, 2), y)


def test_one_channel_a_group_is_standardisation() -> None:
    x = random(9, 4)
    expected = (x - x.mean(dim=0)) / x.std(dim=0, correction=0)
    for permutation in (None, torch.tensor([2, 0, 3, 1])):
        torch.testing.assert_close(group_whiten(x, 4, permutation), expected)


@pytest.mark.parametrize("eps", [0.0, 0.3])
def test_the_full_gradient_is_that_of_finite_differences(eps: float) -> None:
    """With ε = 0.3 some eigenvalues are clamped; the floor moves with the mean variance, which the gradient ignores."""
    x = random(12, 6).requires_grad_()
    if eps == 0:
        assert torch.autograd.gradcheck(lambda x: group_whiten(x, 2, detach=False), (x,))
        return
    values = torch.linalg.eigvalsh(torch.cov((x.detach() - x.detach().mean(dim=0)).T, correction=0))
    floor = float(values.mean()) * eps
    assert (values < floor).any()

    def fixed_floor(x: Tensor) -> Tensor:
        centred = x - x.mean(dim=0)
        eigenvalues, vectors = torch.linalg.eigh(centred.T @ centred / len(x))
        return centred @ (vectors * eigenvalues.clamp_min(floor).rsqrt()) @ vectors.T

    w = random(12, 6, seed=3)
    (expected,) = torch.autograd.grad((fixed_floor(x) * w).sum(), x)
    (ours,) = torch.autograd.grad((group_whiten(x, 1, eps=eps, detach=False) * w).sum(), x)
    torch.testing.assert_close(ours, expected)


def test_equal_eigenvalues_have_a_finite_gradient() -> None:
    x = torch.cat([torch.eye(4), -torch.eye(4)]).double().requires_grad_()
    (gradient,) = torch.autograd.grad((group_whiten(x, 1, detach=False) * random(8, 4)).sum(), x)
    assert gradient.isfinite().all()
    numerical = torch.autograd.gradcheck(lambda x: group_whiten(x, 1, detach=False), (x,))
    assert numerical


def test_a_detached_matrix_leaves_a_linear_map() -> None:
    x, w = random(12, 4).requires_grad_(), random(12, 4, seed=1)
    with torch.no_grad():
        centred = x - x.mean(dim=0)
        matrix = torch.linalg.lstsq(centred, group_whiten(x, 1)).solution
    (expected,) = torch.autograd.grad((((x - x.mean(dim=0)) @ matrix) * w).sum(), x)
    (ours,) = torch.autograd.grad((group_whiten(x, 1) * w).sum(), x)
    torch.testing.assert_close(ours, expected)


@pytest.mark.parametrize("detach", [True, False])
@pytest.mark.parametrize("case", ["constant channel", "constant batch", "few rows", "collinear"])
def test_degenerate_batches_stay_finite(case: str, detach: bool) -> None:
    x = random(10, 6).float()
    if case == "constant channel":
        x[:, :3] = 2.0
    elif case == "constant batch":
        x[:] = 1.0
    elif case == "few rows":
        x = x[:2]
    else:
        x[:, 1] = x[:, 0]
    x.requires_grad_()
    y = group_whiten(x, 2, eps=1e-5, detach=detach)
    (gradient,) = torch.autograd.grad((y * random(*y.shape).float()).sum(), x)
    assert y.isfinite().all()
    assert gradient.isfinite().all()
    assert y.abs().max() < 1e3


def test_types() -> None:
    x = random(10, 6)
    expected = group_whiten(x.bfloat16().float(), 2)
    half = group_whiten(x.bfloat16(), 2)
    assert half.dtype == torch.float32
    torch.testing.assert_close(half, expected)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(group_whiten(x.bfloat16(), 2), expected)


def test_every_view_draws_its_own_channels() -> None:
    module = ShuffledGroupWhitening(8, 4)
    x = random(1, 12, 8).expand(3, -1, -1)
    y = module(x, generator=torch.Generator().manual_seed(0))
    assert not torch.allclose(y[0], y[1])
    assert torch.equal(module(x, generator=torch.Generator().manual_seed(0)), y)
    permutations = torch.rand(3, 8).argsort(dim=1)
    given = module(x, permutations)
    for view in range(3):
        torch.testing.assert_close(given[view], group_whiten(x[view], 4, permutations[view], eps=1e-5))
    torch.testing.assert_close(module(x[0], permutations[:1]), given[0])


def test_layouts() -> None:
    x = random(3, 6, 4)
    permutations = torch.rand(3, 4).argsort(dim=1)
    official = ShuffledGroupWhitening(4, 2, layout="official")(x, permutations)
    rows = x.transpose(0, 1).reshape(18, 4)
    blocks = [group_whiten(rows[6 * b : 6 * b + 6], 2, permutations[b], eps=1e-5) for b in range(3)]
    torch.testing.assert_close(official, torch.cat(blocks).view(6, 3, 4).transpose(0, 1))
    # One permutation, and the statistics of all rows.
    for layout in ("paper", "official"):
        module = ShuffledGroupWhitening(4, 2, layout=layout).eval()
        expected = group_whiten(x.reshape(-1, 4), 2, permutations[0], eps=1e-5).view(x.shape)
        torch.testing.assert_close(module(x, permutations[:1]), expected)


def test_shuffling_that_would_change_nothing_is_off() -> None:
    assert [ShuffledGroupWhitening(8, groups).shuffle for groups in (1, 2, 8)] == [False, True, False]
    assert not ShuffledGroupWhitening(8, 2, shuffle=False).shuffle
    assert "num_groups=2" in repr(ShuffledGroupWhitening(8, 2))
    assert list(ShuffledGroupWhitening(8, 2).state_dict()) == []


@pytest.mark.usefixtures("unchecked")
def test_what_is_refused() -> None:
    x = random(10, 6)
    for call, message in (
        (lambda: group_whiten(x, 4), r"6 channels do not divide into num_groups=4: choose from \[1, 2, 3, 6\]"),
        (lambda: ShuffledGroupWhitening(6, 0), "num_groups=0"),
        (lambda: group_whiten(x[:1], 2), "a batch of 1 sample has no covariance"),
        (lambda: group_whiten(x[:3], 2), "3 samples in groups of 3 channels have no full covariance"),
        (lambda: group_whiten(x, 2, eps=-1.0), "eps is -1.0"),
        (lambda: group_whiten(x / 0, 2), "contains NaN or infinite values"),
        (lambda: ShuffledGroupWhitening(6, 2)(x[:, :4]), "expected views"),
        (lambda: ShuffledGroupWhitening(6, 2, layout="mine"), "expected one of 'paper', 'official'"),
    ):
        with pytest.raises(InputError, match=message):
            call()
