"""Methods that represent every step of a time series, and contrast series with views of them."""

from typing import Any, ClassVar, Literal, cast

import torch
from jaxtyping import Float
from torch import Tensor
from torch.optim.swa_utils import AveragedModel

from dipole.errors import InputError
from dipole.losses import global_info_nce_loss, local_info_nce_loss, pool_time
from dipole.methods.base import Method
from dipole.methods.optimization import OptimizerName, ScheduleName
from dipole.nn.timeseries import DilatedConvEncoder, causal_sliding_encode
from dipole.ops.checks import check_at_least, check_choice, check_temperature
from dipole.ops.door import traced
from dipole.views.timeseries import Hiding, hide_steps


class SeriesEmbedding(Method):
    """A dilated convolution encoder, trained by a contrast of whole series and one inside each series.

    What is used after training is the mean of the encoder's weights over all steps (SWA). Series are scaled by the
    statistics of the training part, which belong to the model.

    Args:
        channels: columns of the series; the data decide it.
        hidden: width of the encoder's blocks.
        depth: number of blocks before the last one.
        features: D, of a representation.
        longest_kernel: the encoder's last layer has kernels of 1, 2, 4 … taps up to this one.
        local_weight: weight of the contrast inside a series.
        segments: of a series, which are contrasted with each other.
        temperature: of both contrasts.
        local_series: contrast inside `"all"` series, or the `"first"` of a batch as in the authors' code.
        input_mask: steps that the encoder does not see in training: `"none"`, `"binomial"` or `"continuous"`.
        optimizer: see `Method`; so are the next four.
        learning_rate: of the encoder.
        weight_decay: of all parameters.
        decay_all: biases decay too.
        schedule: of the learning rates.
        **optimization: further arguments of `Method`.
    """

    domain: ClassVar[str] = "timeseries"

    def __init__(
        self,
        *,
        channels: int = 1,
        hidden: int = 64,
        depth: int = 10,
        features: int = 320,
        longest_kernel: int = 128,
        local_weight: float = 0.72,
        segments: int = 16,
        temperature: float = 1.0,
        local_series: Literal["all", "first"] = "all",
        input_mask: Hiding = "none",
        optimizer: OptimizerName = "adamw",
        learning_rate: float = 1e-4,
        weight_decay: float = 0.01,
        decay_all: bool = True,
        schedule: ScheduleName = "constant",
        **optimization: Any,
    ) -> None:
        super().__init__(
            optimizer=optimizer,
            learning_rate=learning_rate,
            weight_decay=weight_decay,
            decay_all=decay_all,
            schedule=schedule,
            **optimization,
        )
        check_at_least(local_weight, 0, "local_weight")
        check_at_least(segments, 4, "segments")
        check_temperature(temperature)
        check_choice(local_series, ("all", "first"), "local_series")
        check_choice(input_mask, ("none", "binomial", "continuous"), "input_mask")
        self.local_weight, self.segments, self.temperature = local_weight, segments, temperature
        self.local_series, self.input_mask = local_series, input_mask
        self.encoder = DilatedConvEncoder(
            channels, hidden=hidden, depth=depth, features=features, kernels=kernels_up_to(longest_kernel)
        )
        self.averaged = AveragedModel(self.encoder).requires_grad_(False)
        self.mean: Tensor
        self.deviation: Tensor
        self.register_buffer("mean", torch.zeros(channels))
        self.register_buffer("deviation", torch.ones(channels))

    def scale_by(self, mean: Float[Tensor, "c"], deviation: Float[Tensor, "c"]) -> None:
        """Take over the statistics of the training part."""
        self.mean.copy_(mean)
        self.deviation.copy_(deviation)

    def scaled(self, series: Float[Tensor, "n t c"]) -> Float[Tensor, "n t c"]:
        """Scale series as they were measured.

        Raises:
            InputError: they have another number of channels than the model.
        """
        if series.ndim != 3 or series.shape[2] != len(self.mean):
            raise InputError(
                f"series of shape {tuple(series.shape)} do not fit a model of {len(self.mean)} channels: expected "
                f"(N, T, {len(self.mean)}), the columns it was trained on."
            )
        series = series.to(self.mean.dtype)
        if not traced() and bool(series.isinf().any()):
            raise InputError("series hold infinite values: expected numbers, or NaN where a value is missing.")
        return (series - self.mean) / self.deviation

    def contrast(self, series: Float[Tensor, "n t c"], view: Float[Tensor, "n t c"]) -> dict[str, Tensor]:
        """Return the loss of the encoder, which sees scaled series and views of them, and its two terms."""
        both = hide_steps(torch.cat([series, view]), self.input_mask)
        z, z_view = self.encoder(both).chunk(2)
        across = global_info_nce_loss(z, z_view, temperature=self.temperature)
        within = local_info_nce_loss(z, segments=self.segments, temperature=self.temperature, series=self.local_series)
        return {"loss": across + self.local_weight * within, "global": across, "local": within}

    def after_step(self) -> None:
        """Average the weights."""
        self.averaged.update_parameters(self.encoder)

    def represent(self, inputs: Float[Tensor, "n t c"]) -> Float[Tensor, "n t d"]:
        """Return representations of all steps, each of which sees the whole series, by the averaged encoder."""
        z: Tensor = self.averaged(self.scaled(inputs))
        return z

    def represent_causally(
        self, inputs: Float[Tensor, "n t c"], *, padding: int = 200, batch_size: int = 256
    ) -> Float[Tensor, "n t d"]:
        """Return representations of all steps, each of which sees `padding` steps before it and nothing after it."""
        encoder = cast(DilatedConvEncoder, self.averaged.module)
        return causal_sliding_encode(encoder, self.scaled(inputs), padding=padding, batch_size=batch_size)

    def embed(self, inputs: Float[Tensor, "n t c"]) -> Float[Tensor, "n d"]:
        """Return embeddings of whole series (N, D), as they were measured: the maximum over time.

        A series that ends with missing steps is embedded as if it ended before them.
        """
        if inputs.ndim != 3:
            raise InputError(f"series have shape {tuple(inputs.shape)}: expected (N, T, C).")
        inputs = inputs.to(self.mean.dtype)
        known = ~inputs.isnan().all(dim=2)
        # Of each series, the steps up to the last one that is known; 1 at least.
        lengths = (known * torch.arange(1, known.shape[1] + 1, device=known.device)).amax(dim=1).clamp_min(1)
        embeddings = inputs.new_empty((len(inputs), self.encoder.features))
        for length in lengths.unique():
            rows = lengths == length
            embeddings[rows] = pool_time(self.represent(inputs[rows, : int(length)])).to(embeddings.dtype)
        return embeddings


def kernels_up_to(longest: int) -> tuple[int, ...]:
    """Return the powers of two up to a number of taps.

    Raises:
        InputError: it is below 1.

    Example:
        >>> kernels_up_to(20)
        (1, 2, 4, 8, 16)
    """
    check_at_least(longest, 1, "longest_kernel")
    return tuple(2**i for i in range(longest.bit_length()))
