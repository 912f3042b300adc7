"""Every function of dipole is checked against its jaxtyping signature while the tests run."""

from collections.abc import Iterator

import hypothesis
import jaxtyping
import pytest

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
