"""Every function of dipole is checked against its jaxtyping signature while the tests run."""

from collections.abc import Iterator

import hypothesis
import jaxtyping
import pytest
import torch

# How long an example takes says more about the machine than about the code.
hypothesis.settings.register_profile("dipole", deadline=None)
hypothesis.settings.load_profile("dipole")

hook = jaxtyping.install_import_hook("dipole", "typechecking.check")


@pytest.fixture
def unchecked() -> Iterator[None]:
    """Leave signatures unchecked, as outside the tests, so that wrong input meets dipole's own messages."""
    before = jaxtyping.config.jaxtyping_disable
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", before)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call() -> Iterator[None]:
    """Refuse tests that leave torch with another number of threads: all after them would wait for busy processors."""
    threads = torch.get_num_threads()
    yield
    assert torch.get_num_threads() == threads, "the test, or what it calls, has changed the number of threads"
