"""Windows, statistics, batches."""

from typing import Any

import lightning
import pytest
import torch

from dipole.data.timeseries import SeriesData, SeriesDataModule, SeriesSet, load_series, statistics, windows
from dipole.errors import InputError


def series(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def test_statistics_leave_gaps_out_and_do_not_divide_by_zero() -> None:
    x = series(4, 50, 3)
    x[..., 1] = 1e6 + 0.1  # constant up to rounding
    x[1, 5:20, 0] = torch.nan
    mean, deviation = statistics(x)
    known = x[..., 0][~x[..., 0].isnan()]
    torch.testing.assert_close(mean[0], known.mean())
    torch.testing.assert_close(deviation[0], known.std(correction=0))
    assert deviation[1] == 1
    empty = statistics(torch.full((1, 3, 1), torch.nan))
    assert [float(x) for x in empty] == [0, 1]


@pytest.mark.parametrize(("steps", "length", "shape"), [(10, 20, (2, 10)), (39, 20, (2, 39)), (41, 20, (4, 21))])
def test_windows_hold_every_step_once(steps: int, length: int, shape: tuple[int, int]) -> None:
    x = torch.arange(2.0 * steps).view(2, steps, 1)
    cut = windows(x, length)
    assert cut.shape[:2] == shape
    assert cut[~cut.isnan()].sort().values.tolist() == x.flatten().tolist()


def test_windows_without_a_value_are_left_out() -> None:
    x = series(1, 40, 2)
    x[:, 10:20] = torch.nan
    assert len(windows(x, 10)) == 3


def batches(module: SeriesDataModule, epochs: int = 1) -> list[dict[str, Any]]:
    seen: list[dict[str, Any]] = []

    class Look(lightning.LightningModule):
        def training_step(self, batch: Any, batch_idx: int) -> None:
            seen.append(batch)

        def configure_optimizers(self) -> None:
            return None

    trainer = lightning.Trainer(
        max_epochs=epochs,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        accelerator="cpu",
    )
    trainer.fit(Look(), datamodule=module)
    return seen


@pytest.mark.filterwarnings("ignore:.*configure_optimizers.*", "ignore:.*training_step.*returned.*")
def test_crops_and_order_follow_from_the_seed() -> None:
    data = SeriesData(SeriesSet("x", series(10, 30, 2), ("a", "b")))

    def made(seed: int) -> list[dict[str, Any]]:
        return batches(SeriesDataModule(data, batch_size=4, window=20, seed=seed), epochs=2)

    first, again, other = made(0), made(0), made(1)
    assert len(first) == 4
    assert first[0]["series"].shape == (4, 20, 2)
    assert all(torch.equal(a["series"], b["series"]) for a, b in zip(first, again, strict=True))
    assert not all(torch.equal(a["series"], b["series"]) for a, b in zip(first, other, strict=True))
    mean, deviation = statistics(data.train.values)
    scaled = (data.train.values - mean) / deviation
    starts = {int((scaled[int(b["index"][0]), :, 0] == b["series"][0, 0, 0]).nonzero()) for b in first}
    assert len(starts) > 1


def test_a_set_smaller_than_a_batch_is_one_batch() -> None:
    module = SeriesDataModule(load_series("toy-load"), batch_size=32, window=300)
    (batch,) = module.train_dataloader()
    assert batch["series"].shape == (3, 300, 9)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 0}, "batch_size is 0"),
        ({"window": 0}, "window is 0"),
        ({"num_workers": -1}, "num_workers=-1"),
        ({"seed": -1}, "seed=-1"),
    ],
)
def test_settings_out_of_range(options: dict[str, int], message: str) -> None:
    with pytest.raises(InputError, match=message):
        SeriesDataModule(load_series("toy-patterns"), **options)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="window is 0"):
        windows(series(1, 3, 1), 0)
