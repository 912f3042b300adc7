"""Every function of dipole is checked against its jaxtyping signature while the tests run."""

from jaxtyping import install_import_hook

hook = install_import_hook("dipole", "typechecking.check")
