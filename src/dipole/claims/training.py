"""Settings that the runs of all experiments share."""

from collections.abc import Mapping
from typing import Any

from dipole.claims.base import Arm
from dipole.runs import RunConfig


def run_config(
    arm: Arm, data: str, rate: float, seed: int, method: Mapping[str, Any] | None = None, **settings: Any
) -> RunConfig:
    """Return the settings of a run of an arm, in single precision on the processor.

    Args:
        arm: says what is trained and for how long.
        data: name of the data.
        rate: the learning rate.
        seed: of the run.
        method: arguments that all arms of the data have; those of the arm go before them.
        **settings: further ones of `RunConfig`.
    """
    return RunConfig(
        arm.method,
        data=data,
        batch_size=arm.batch_size,
        epochs=max(1, arm.epochs),
        seed=seed,
        precision="32-true",
        method={**(method or {}), **arm.options, "learning_rate": rate},
        trainer={"accelerator": "cpu"},
        **{"views": dict(arm.views), **settings},
    )
