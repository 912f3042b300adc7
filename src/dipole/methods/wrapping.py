"""Methods that change another one: they hold it and override what their paper says."""

from collections.abc import Mapping
from typing import Any, ClassVar

from torch import Tensor

from dipole.errors import InputError
from dipole.methods.base import Method

# Of the optimisation, a wrapping method has what its base has.
SHARED = (
    "optimizer",
    "learning_rate",
    "weight_decay",
    "momentum",
    "warmup_epochs",
    "schedule",
    "learning_rate_min_ratio",
    "schedule_cycles",
    "adam_beta2",
    "adam_epsilon",
    "decay_all",
)


class Wrapping(Method):
    """A method around another one, `base`. What it does not define is the base's.

    Its networks stand in `base`; what it adds stands beside it. The optimiser is that of the base, over the parameters
    of both. A subclass states in `wraps` which methods it can change.

    Args:
        base: the method that is changed. In settings it is `{"name": …, argument: …}`, or its name alone.

    Raises:
        InputError: the method cannot be changed so.
    """

    default_base: ClassVar[str] = "simclr"
    wraps: ClassVar[type | tuple[type, ...]] = Method

    def __init__(self, *, base: Method) -> None:
        super().__init__()
        if not isinstance(base, self.wraps) or isinstance(base, Wrapping):
            raise InputError(
                f"{self.card.name} cannot change {base.card.name!r}: `dipole methods {self.card.name}` says which "
                "methods it can."
            )
        self.base = base
        self.domain = base.domain  # type: ignore[misc]
        self.refresh_every = base.refresh_every
        self.automatic_optimization = base.automatic_optimization
        for name in SHARED:
            setattr(self, name, getattr(base, name))

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            if name == "base":
                raise
            return getattr(super().__getattr__("base"), name)

    @classmethod
    def view_changes(cls, base: type[Method]) -> dict[str, Any]:
        """Return arguments of the views of the base whose defaults are others here."""
        return {}

    def loss_terms(self, batch: Mapping[str, Any]) -> dict[str, Tensor]:
        """Return the loss of the base."""
        return self.base.loss_terms(batch)

    def embed(self, inputs: Any) -> Tensor:
        """Return embeddings of the base."""
        return self.base.embed(inputs)

    def refresh(self, embeddings: Tensor, index: Tensor) -> dict[str, Tensor]:
        """Let the base look."""
        self.base.refreshed = self.base.refresh(embeddings, index)
        return self.base.refreshed

    def before_training(self, training_set: Any) -> None:
        """Let the base look."""
        self.base.before_training(training_set)

    def sampling(self, training_set: Any, batch_size: int) -> Any:
        """Return the order of the base."""
        return self.base.sampling(training_set, batch_size)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take back what the last refresh has found."""
        super().on_load_checkpoint(checkpoint)
        self.base.refreshed = self.refreshed

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> Any:
        """Do what the base does before a batch."""
        return self.base.on_train_batch_start(batch, batch_idx)

    def after_step(self) -> None:
        """Do what the base does after a step."""
        self.base.after_step()


def unwrapped(method: Method) -> Method:
    """Return the method inside a wrapping one; a method that wraps nothing itself.

    Example:
        >>> from dipole.methods.vision.simclr import SimCLR
        >>> method = SimCLR(image_size=8)
        >>> unwrapped(method) is method
        True
    """
    return method.base if isinstance(method, Wrapping) else method


def base_of(cls: type[Method], arguments: Mapping[str, Any]) -> tuple[str, dict[str, Any]] | None:
    """Return name and arguments of the method that a wrapping one holds; None if it wraps none.

    Raises:
        InputError: the settings do not name it.

    Example:
        >>> from dipole.methods.vision.simclr import SimCLR
        >>> base_of(SimCLR, {}) is None, base_of(Wrapping, {"base": {"name": "moco", "temperature": 0.1}})
        (True, ('moco', {'temperature': 0.1}))
    """
    if not issubclass(cls, Wrapping):
        return None
    base = arguments.get("base") or cls.default_base
    if isinstance(base, str):
        return base, {}
    if not isinstance(base, Mapping) or not isinstance(base.get("name", cls.default_base), str):
        raise InputError(f"base is {base!r}: expected the name of a method, or its name and arguments.")
    return base.get("name", cls.default_base), {key: value for key, value in base.items() if key != "name"}
