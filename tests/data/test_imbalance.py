from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dipole.data import imbalanced_indices, imbalanced_sizes
from dipole.errors import InputError

REFERENCE = Path(__file__).parents[1] / "reference_values" / "cacr.npz"


@pytest.mark.parametrize("profile", ["linear", "exponential"])
@pytest.mark.parametrize(("name", "counts", "groups"), [("cifar10", [5000] * 10, None), ("cifar100", [500] * 100, 10)])
def test_sizes_are_the_authors(name, counts, groups, profile):
    with np.load(REFERENCE, allow_pickle=False) as reference:
        expected = reference[f"case5.out.{name}.{profile}"].tolist()
    assert imbalanced_sizes(counts, profile, groups) == expected
    labels = torch.arange(len(counts)).repeat(counts[0])
    kept = imbalanced_indices(labels, profile, groups)
    assert torch.bincount(labels[kept], minlength=len(counts)).tolist() == expected


@given(
    st.lists(st.integers(0, 5), min_size=1, max_size=80),
    st.sampled_from(["linear", "exponential"]),
    st.sampled_from([None, 1, 2, 3]),
)
def test_indices_are_a_subset_of_the_announced_sizes(labels, profile, groups):
    labels = torch.tensor(labels)
    kept = imbalanced_indices(labels, profile, groups)
    assert torch.equal(kept, kept.unique())
    counts = torch.bincount(labels).tolist()
    assert torch.bincount(labels[kept], minlength=len(counts)).tolist() == imbalanced_sizes(counts, profile, groups)
    last = labels == labels.max()
    assert set(torch.nonzero(last).flatten().tolist()) <= set(kept.tolist())


def test_the_subset_depends_on_the_seed():
    labels = torch.zeros(100, dtype=torch.long).index_fill(0, torch.arange(50), 1)
    first = imbalanced_indices(labels)
    assert torch.equal(first, imbalanced_indices(labels, seed=2021))
    assert not torch.equal(first, imbalanced_indices(labels, seed=1))


def test_bad_input_is_refused():
    with pytest.raises(InputError, match="'linear' or 'exponential'"):
        imbalanced_sizes([4], "quadratic")
    with pytest.raises(InputError, match="groups 0"):
        imbalanced_sizes([4], "linear", 0)
    with pytest.raises(InputError, match="one count"):
        imbalanced_sizes([])
    with pytest.raises(InputError, match="0 or more for every image"):
        imbalanced_indices(torch.tensor([-1, 2]))
