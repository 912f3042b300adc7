"""Symile: tuples of modalities and their negatives."""

import math
from itertools import product
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import dipole.losses.symile
from dipole.data import draw_xor
from dipole.errors import InputError
from dipole.losses import (
    clip_loss,
    draw_permutations,
    multilinear_inner_product,
    pairwise_clip_loss,
    permuted_candidates,
    symile_loss,
)
from losses.table import DIM, assert_same, random

SEEDS = st.integers(0, 2**32)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def literal(modalities: Tensor, scale: Any, permutations: Tensor | None) -> Tensor:
    """The losses (N,) by loops over anchors, rows and candidates."""
    count, rows = modalities.shape[:2]
    losses = []
    for anchor in range(count):
        rest = [m for m in range(count) if m != anchor]
        for row in range(rows):
            if permutations is None:
                tuples = list(product(range(rows), repeat=count - 1))
            else:
                tuples = [tuple(int(permutations[anchor, q, j]) for q in range(count - 1)) for j in range(rows)]
                tuples[row] = (row,) * (count - 1)
            products = [
                modalities[anchor, row] * math.prod(modalities[m, j] for m, j in zip(rest, chosen, strict=True))
                for chosen in tuples
            ]
            logits = scale * torch.stack(products).sum(dim=1)
            positive = (row,) * (count - 1)
            index = row if permutations is not None else tuples.index(positive)
            losses.append(logits.logsumexp(dim=0) - logits[index])
    return torch.stack(losses).view(count, rows).mean(dim=0)


@settings(max_examples=12, deadline=None)
@given(seed=SEEDS, count=st.integers(2, 4), rows=st.integers(2, 4), negatives=st.sampled_from(["n", "n_squared"]))
def test_by_definition(seed: int, count: int, rows: int, negatives: Any) -> None:
    modalities = random(count, rows, DIM, seed=seed).requires_grad_()
    temperature = torch.tensor(0.2, dtype=torch.float64, requires_grad=True)
    permutations = draw_permutations(count, rows, generator(seed)) if negatives == "n" else None
    for normalize in (True, False):
        given_rows = F.normalize(modalities, dim=-1) if normalize else modalities
        ours = symile_loss(
            modalities,
            temperature=temperature,
            negatives=negatives,
            permutations=permutations,
            normalize=normalize,
            reduction="none",
        )
        assert_same(ours, literal(given_rows, 1 / temperature, permutations), (modalities, temperature))


def test_the_inner_product_of_two_is_the_dot_product() -> None:
    x, y, z = random(3, 5, DIM)
    torch.testing.assert_close(multilinear_inner_product(x, y), (x * y).sum(dim=1))
    torch.testing.assert_close(multilinear_inner_product(x[:, None], y), x @ y.T)
    torch.testing.assert_close(multilinear_inner_product(x, y, z), torch.einsum("nd,nd,nd->n", x, y, z))
    with pytest.raises(InputError, match="takes two or more"):
        multilinear_inner_product(x)


def test_two_modalities_with_all_tuples_are_clip() -> None:
    pair = random(2, 5, DIM)
    torch.testing.assert_close(
        symile_loss(pair, temperature=0.2, negatives="n_squared"), clip_loss(*pair, temperature=0.2)
    )


@pytest.mark.parametrize("negatives", ["n", "n_squared"])
def test_the_order_of_the_modalities_does_not_matter(negatives: Any) -> None:
    modalities = random(3, 5, DIM)
    # One permutation of the whole batch is the same negative for every modality.
    permutations = torch.arange(5).roll(1).expand(3, 2, 5) if negatives == "n" else None
    options: dict[str, Any] = {"negatives": negatives, "permutations": permutations}
    torch.testing.assert_close(symile_loss(modalities[[2, 0, 1]], **options), symile_loss(modalities, **options))


def test_a_high_temperature_only_counts_candidates() -> None:
    modalities = random(3, 5, DIM)
    for negatives, candidates in (("n", 5), ("n_squared", 25)):
        loss = symile_loss(modalities, temperature=1e9, negatives=negatives)  # type: ignore[arg-type]
        assert float(loss) == pytest.approx(math.log(candidates), abs=1e-7)


def test_a_zero_modality_makes_all_tuples_alike() -> None:
    modalities = random(3, 5, DIM)
    modalities[1] = 0
    assert float(symile_loss(modalities, negatives="n_squared")) == pytest.approx(math.log(25))


def test_signs_cancel_in_pairs() -> None:
    modalities, signs = random(3, 5, DIM), random(DIM, seed=3).sign()
    flipped = torch.stack([signs * modalities[0], signs * modalities[1], modalities[2]])
    for negatives in ("n", "n_squared"):
        options: dict[str, Any] = {"negatives": negatives}
        torch.testing.assert_close(
            symile_loss(flipped, generator=generator(), **options),
            symile_loss(modalities, generator=generator(), **options),
        )


@pytest.mark.parametrize("entries", [1, 40, 1000])
def test_all_tuples_some_at_a_time(entries: int, monkeypatch: pytest.MonkeyPatch) -> None:
    leaf = random(4, 3, DIM).requires_grad_()
    expected = symile_loss(leaf, negatives="n_squared")
    (slope,) = torch.autograd.grad(expected, leaf)
    monkeypatch.setattr(dipole.losses.symile, "CANDIDATE_ENTRIES", entries)
    ours = symile_loss(leaf, negatives="n_squared")
    torch.testing.assert_close(ours, expected)
    torch.testing.assert_close(torch.autograd.grad(ours, leaf)[0], slope)


def test_permutations_are_drawn_anew_and_repeat_with_the_seed() -> None:
    drawn = draw_permutations(4, 20, generator(1))
    assert drawn.shape == (4, 3, 20)
    assert torch.equal(drawn.sort(dim=-1).values, torch.arange(20).expand(4, 3, 20))
    assert len(drawn.flatten(0, 1).unique(dim=0)) == 12
    assert torch.equal(drawn, draw_permutations(4, 20, generator(1)))
    modalities, source = random(3, 20, DIM), generator(1)
    first = symile_loss(modalities, generator=source)
    assert first != symile_loss(modalities, generator=source)
    assert first == symile_loss(modalities, generator=generator(1))
    assert first == symile_loss(modalities, permutations=draw_permutations(3, 20, generator(1)))


def test_candidates_are_products_of_permuted_rows() -> None:
    others, orders = random(2, 4, DIM), draw_permutations(3, 4, generator())[0]
    expected = torch.stack([others[0, orders[0, j]] * others[1, orders[1, j]] for j in range(4)])
    torch.testing.assert_close(permuted_candidates(others, orders), expected)


def test_xor_is_seen_by_three_and_not_by_pairs() -> None:
    """With c = a ⊕ b and bits as signs each tuple is recognised, while no pair says anything."""
    bits = draw_xor(64, 4, 1.0, generator())
    modalities = torch.stack([1.0 - 2 * part for part in bits])
    # The product of the signs of a true tuple is 1 in every coordinate.
    assert torch.equal(multilinear_inner_product(*modalities), torch.full((64,), 4.0))
    assert float(symile_loss(modalities, normalize=False, temperature=0.5, negatives="n_squared")) < math.log(64**2)
    pairs = [float(multilinear_inner_product(*modalities[[i, j]]).mean()) for i, j in ((0, 1), (0, 2), (1, 2))]
    assert max(map(abs, pairs)) < 1
    assert float(pairwise_clip_loss(modalities, normalize=False, temperature=0.5, pairs="mean")) > math.log(64)


@pytest.mark.usefixtures("unchecked")
def test_input_that_is_refused() -> None:
    z = random(3, 5, DIM)
    orders = draw_permutations(3, 5)
    repeated = orders.clone()
    repeated[0, 0] = 0
    wrong: list[tuple[Any, str]] = [
        (lambda: symile_loss(z[0]), "two or more modalities of N samples"),
        (lambda: symile_loss(z[:1]), "two or more modalities"),
        (lambda: symile_loss(z[:, :1]), "a batch of 1 sample has no negatives"),
        (lambda: symile_loss(z / 0), "modalities contains NaN"),
        (lambda: symile_loss(z, temperature=0.0), "temperature is 0.0"),
        (lambda: symile_loss(z, negatives="n_cubed"), "negatives is 'n_cubed'"),  # type: ignore[arg-type]
        (lambda: symile_loss(z, negatives="n_squared", permutations=orders), "takes all tuples: leave them out"),
        (lambda: symile_loss(z, permutations=orders[:2]), r"shape \(2, 2, 5\): expected \(3, 2, 5\)"),
        (lambda: symile_loss(z, permutations=repeated), "no order of the numbers 0 to 4"),
        (lambda: symile_loss(z, reduction="max"), "reduction is 'max'"),  # type: ignore[arg-type]
    ]
    for call, message in wrong:
        with pytest.raises(InputError, match=message):
            call()
