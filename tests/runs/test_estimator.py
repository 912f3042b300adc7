"""Methods as estimators: scikit-learn's own checks, and series."""

from typing import Any

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.utils.estimator_checks import estimator_checks_generator

import dipole
from dipole.errors import InputError
from dipole.runs.estimator import ContrastiveTransformer

SMALL = {"hidden": 2, "depth": 1, "features": 4, "longest_kernel": 2, "segments": 4}
AUGMENTER = {"augmenter_hidden": 2, "augmenter_depth": 1, "augmenter_features": 2}
X = np.random.default_rng(0).standard_normal((12, 20, 2)).astype(np.float32)


def estimator(**changes: Any) -> ContrastiveTransformer:
    return ContrastiveTransformer(**{"epochs": 1, "options": SMALL | AUGMENTER, **changes})


# It asks for differences below 10⁻⁹; in single precision the last bit depends on a sample's place in the batch.
TOO_EXACT = {"check_methods_sample_order_invariance"}
CHECKS = [
    pytest.param(check, id=check.func.__name__)
    for _, check in estimator_checks_generator(estimator())
    if check.func.__name__ not in TOO_EXACT
]


@pytest.mark.slow
@pytest.mark.usefixtures("unchecked")
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("check", CHECKS)
def test_what_scikit_learn_asks_of_a_transformer(check: Any) -> None:
    check(estimator())


def test_series_are_embedded_like_by_the_method() -> None:
    fitted = estimator().fit(X)
    z = fitted.transform(X)
    assert z.shape == (12, 4)
    assert z.dtype == np.float32
    torch.testing.assert_close(torch.from_numpy(z), fitted.method_.embed(torch.from_numpy(X)).detach())
    assert fitted.transform(X[:, :7]).shape == (12, 4)
    assert list(fitted.get_feature_names_out()) == [f"contrastivetransformer{i}" for i in range(4)]


def test_same_state_same_bits_and_the_global_state_is_left_alone() -> None:
    torch.manual_seed(3)
    before = torch.get_rng_state()
    first, second = (estimator().fit_transform(X) for _ in range(2))
    assert torch.equal(torch.get_rng_state(), before)
    assert np.array_equal(first, second)
    assert not np.array_equal(first, estimator(random_state=1).fit_transform(X))
    assert np.array_equal(clone(estimator()).fit_transform(X), first)


def test_gaps_constant_series_and_one_channel() -> None:
    gaps = X.copy()
    gaps[0, 5:9] = np.nan
    gaps[1, 15:] = np.nan
    for x in (gaps, np.ones_like(X), X[:, :, 0], X[:1]):
        assert np.isfinite(estimator().fit_transform(x)).all()


def test_it_is_found_in_the_package() -> None:
    assert dipole.ContrastiveTransformer is ContrastiveTransformer


def test_another_method() -> None:
    z = estimator(method="series-contrast", options=SMALL, loading={"window": 8}).fit_transform(X)
    assert np.isfinite(z).all()


@pytest.mark.usefixtures("unchecked")
def test_mistakes() -> None:
    with pytest.raises(NotFittedError):
        estimator().transform(X)
    fitted = estimator().fit(X)
    for bad in (X[:, :, :1], X[:, :, 0]):
        with pytest.raises(InputError, match="is expecting 2 features"):
            fitted.transform(bad)
    for changes, message in (
        ({"method": "autotc"}, "Did you mean 'autotcl'"),
        ({"method": "simclr", "options": {}}, "methods of images are not trained on arrays"),
        ({"options": {"hiden": 3}}, "has no argument 'hiden'"),
        ({"loading": {"windw": 3}}, "loading has no argument 'windw'"),
        ({"epochs": 0}, "epochs is 0"),
        ({"random_state": None}, "seed is None"),
    ):
        with pytest.raises(InputError, match=message):
            estimator(**changes).fit(X)
    with pytest.raises(InputError, match="expected"):
        estimator().fit(X[None])
    with pytest.raises(ValueError, match="infinity"):
        estimator().fit(np.full_like(X, np.inf))
