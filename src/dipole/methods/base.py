"""What every method is: networks, a loss on a batch, and embeddings for inference."""

import inspect
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, Literal

import lightning
import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from dipole.card import Card
from dipole.data.samplers import Order
from dipole.errors import InputError
from dipole.methods.optimization import (
    OptimizerName,
    ScheduleName,
    build_optimizer,
    check_optimization,
    learning_rate_factor,
)
from dipole.ops.checks import check_at_least


class Method(lightning.LightningModule):
    """Base class of all methods.

    A method states its paper in `card`, builds its networks in `__init__`, returns its loss from `loss_terms` and its
    embeddings from `embed`. Lightning's Trainer runs it on any device and with any strategy.

    Args:
        optimizer: `"sgd"`, `"adam"`, `"adamw"` or `"lars"`.
        learning_rate: after warm-up; not scaled by the batch size.
        weight_decay: of matrices and filters; biases and norms have none, unless `decay_all`.
        momentum: of SGD and LARS.
        warmup_epochs: epochs in which the learning rate rises linearly.
        schedule: `"cosine"`, `"cosine_restarts"`, `"linear"`, `"constant"`, or `"linear_contriever"` (see
            `learning_rate_factor`).
        learning_rate_min_ratio: share of the learning rate at which a schedule ends.
        adam_beta2: β₂ of Adam and AdamW.
        adam_epsilon: ε of Adam and AdamW.
        decay_all: biases and norms decay too.
        schedule_cycles: half cosines of the schedule `"cosine_restarts"`.
    """

    card: ClassVar[Card]
    # What it is trained on; decides how data are read, and how runs are measured and shown.
    domain: ClassVar[str] = "images"
    # Of images: what their label column holds, and whether those without a label are kept.
    label_role: ClassVar[Literal["classes", "numbers"]] = "classes"
    keeps_unlabelled: ClassVar[bool] = False

    def __init__(
        self,
        *,
        optimizer: OptimizerName = "sgd",
        learning_rate: float = 0.06,
        weight_decay: float = 5e-4,
        momentum: float = 0.9,
        warmup_epochs: float = 0.0,
        schedule: ScheduleName = "cosine",
        learning_rate_min_ratio: float = 0.0,
        adam_beta2: float = 0.999,
        adam_epsilon: float = 1e-8,
        decay_all: bool = False,
        schedule_cycles: int = 1,
    ) -> None:
        super().__init__()
        check_optimization(learning_rate, weight_decay, momentum, adam_beta2, adam_epsilon)
        if not 0 <= learning_rate_min_ratio <= 1:
            raise InputError(f"learning_rate_min_ratio is {learning_rate_min_ratio}: expected a share from 0 to 1.")
        check_at_least(warmup_epochs, 0, "warmup_epochs")
        check_at_least(schedule_cycles, 1, "schedule_cycles")
        # Epochs between two refreshes; 0 for none.
        self.refresh_every = 0
        self.refreshed: dict[str, Tensor] = {}
        self.optimizer = optimizer
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.momentum = momentum
        self.warmup_epochs = warmup_epochs
        self.schedule: ScheduleName = schedule
        self.learning_rate_min_ratio = learning_rate_min_ratio
        self.schedule_cycles = schedule_cycles
        self.adam_beta2, self.adam_epsilon, self.decay_all = adam_beta2, adam_epsilon, decay_all

    def loss_terms(self, batch: Mapping[str, Any]) -> dict[str, Tensor]:
        """Return the loss under the key `"loss"` and, under other keys, what is worth a curve.

        Args:
            batch: `views` (V, N, …), `index` (N,) and what else the data module gives.
        """
        raise NotImplementedError(f"{type(self).__name__} does not define loss_terms(batch).")

    def embed(self, inputs: Any) -> Tensor:
        """Return embeddings (N, D) for inference. Call `.eval()` first."""
        raise NotImplementedError(f"{type(self).__name__} does not define embed(inputs).")

    def before_training(self, training_set: Any) -> None:
        """Look at the labels of the training set; nothing by default.

        Raises:
            InputError: they lack what the method learns from.
        """
        return None

    def sampling(self, training_set: Any, batch_size: int) -> Order | None:
        """Return the order in which an epoch draws the samples; None for a shuffled one.

        Args:
            training_set: with its `labels`, if the domain has any.
            batch_size: samples in a batch of all processes together.
        """
        return None

    @classmethod
    def stage_arguments(cls, arguments: Mapping[str, Any]) -> list[dict[str, Any]] | None:
        """Return, of a method that trains in stages, what differs in the arguments of each; None for all others.

        Args:
            arguments: of the method, as settings hold them.
        """
        return None

    def given_weights(self, given: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return the weights of another run under the names that they have here."""
        return given

    @property
    def begins_anew(self) -> tuple[str, ...]:
        """Beginnings of the names of weights that are not taken from another run."""
        return ()

    def refresh_embed(self, inputs: Any) -> Tensor:
        """Return the embeddings (N, F) that `refresh` sees; those of `embed` unless a method says otherwise."""
        return self.embed(inputs)

    def refresh(self, embeddings: Float[Tensor, "n f"], index: Int64[Tensor, "n"]) -> dict[str, Tensor]:
        """Look at the whole training set between epochs and return what the next epochs go by.

        It is called before the first epoch and then after every `refresh_every` epochs, in evaluation mode, on every
        process with the same arguments. What it returns stands in `refreshed` and in the checkpoint; numbers among it
        are logged.

        Args:
            embeddings: of `refresh_embed`, on the CPU.
            index: which sample each row is: 0 … N − 1.
        """
        raise NotImplementedError(f"{type(self).__name__} does not define refresh(embeddings, index).")

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep what the last refresh has found."""
        checkpoint["refreshed"] = self.refreshed

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take it back."""
        self.refreshed = checkpoint.get("refreshed", {})

    def training_step(self, batch: Mapping[str, Any], batch_idx: int) -> Tensor | None:
        """Log the terms of the loss and return what Lightning minimises."""
        terms = self.loss_terms(batch)
        self.log_terms(terms, batch)
        return terms["loss"]

    def optimizer_step(self, *arguments: Any, **options: Any) -> None:
        """Let the optimiser make its step, and the method do what follows it."""
        super().optimizer_step(*arguments, **options)
        self.after_step()

    def after_step(self) -> None:
        """Change what has to follow a step of the optimiser, such as averages of weights; nothing by default.

        Checkpoints within an epoch are written before Lightning's `on_train_batch_end` of a method, so that what it
        changes would be lost.
        """
        return None

    def log_terms(self, terms: Mapping[str, Tensor], batch: Mapping[str, Any]) -> None:
        """Log what `loss_terms` has returned, and the learning rate."""
        rate = self.trainer.optimizers[0].param_groups[0]["lr"]
        self.log_dict(
            {**{name: value.detach() for name, value in terms.items()}, "learning_rate": rate},
            on_step=False,
            on_epoch=True,
            prog_bar=True,
            sync_dist=True,
            batch_size=len(batch["index"]),
        )

    def configure_model(self) -> None:
        """Divide the weights between the processes if the strategy wants it; Lightning calls it before training."""
        mesh = getattr(self, "_device_mesh", None)
        if mesh is not None:
            from dipole.nn.sharding import shard

            shard(self, mesh["data_parallel"])

    def configure_optimizers(self) -> Any:
        """Build the optimiser and its schedule, stepped after every batch."""
        return self.optimization(self.named_parameters(), self.learning_rate)

    def optimization(self, parameters: Iterable[tuple[str, nn.Parameter]], learning_rate: float) -> dict[str, Any]:
        """Build an optimiser of some parameters and its schedule, as Lightning wants them."""
        optimizer = build_optimizer(
            parameters,
            self.optimizer,
            learning_rate=learning_rate,
            weight_decay=self.weight_decay,
            momentum=self.momentum,
            adam_beta2=self.adam_beta2,
            adam_epsilon=self.adam_epsilon,
            decay_all=self.decay_all,
        )
        total = int(self.trainer.estimated_stepping_batches)
        warmup = int(self.warmup_epochs * total / max(1, self.trainer.max_epochs or 1))
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimizer,
            lambda step: learning_rate_factor(
                step,
                total,
                warmup=warmup,
                schedule=self.schedule,
                min_ratio=self.learning_rate_min_ratio,
                cycles=self.schedule_cycles,
            ),
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    @classmethod
    def arguments(cls) -> dict[str, inspect.Parameter]:
        """Return the constructor's arguments by name, those of the base classes included."""
        found: dict[str, inspect.Parameter] = {}
        for base in cls.__mro__:
            if "__init__" not in vars(base) or not issubclass(base, Method):
                continue
            for name, parameter in inspect.signature(base.__init__).parameters.items():
                if name != "self" and parameter.kind is not parameter.VAR_KEYWORD:
                    found.setdefault(name, parameter)
            if not any(p.kind is p.VAR_KEYWORD for p in inspect.signature(base.__init__).parameters.values()):
                break  # what its bases take, it does not hand on
        return found
