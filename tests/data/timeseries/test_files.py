"""Reading time series: tables, arrays and archives, good and bad."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from dipole.data.timeseries import available_series, load_series, read_time_table
from dipole.errors import InputError

pytestmark = pytest.mark.usefixtures("unchecked")
HOURS = np.datetime64("2021-12-30T22", "s") + np.arange(50) * np.timedelta64(1, "h")


def table(path: Path, rows: list[str], header: str = "date,load") -> Path:
    path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return path


def hourly(path: Path, order: Any = slice(None)) -> Path:
    return table(path, [f"{str(time).replace('T', ' ')},{step}" for step, time in enumerate(HOURS)][order])


def test_a_table_is_one_long_series_in_three_parts(tmp_path: Path) -> None:
    data = load_series(str(hourly(tmp_path / "load.csv")))
    task = data.forecast
    assert task is not None
    assert (task.train_end, task.validation_end, task.test_end) == (30, 40, 50)
    assert task.targets == ("load",)
    assert task.columns[:2] == ("minute", "hour")
    assert data.train.values.shape == (1, 30, 8)
    assert task.values[0, :, -1].tolist() == list(range(50))
    # 30 December 2021 was a Thursday of week 52; 1 January 2022, two hours later, a Saturday of week 52.
    assert task.values[0, 0, :7].tolist() == [0, 22, 3, 30, 364, 12, 52]
    assert task.values[0, 26, :7].tolist() == [0, 0, 5, 1, 1, 1, 52]


def test_the_calendar_is_pythons(tmp_path: Path) -> None:
    times = np.datetime64("1969-12-28T00:07", "s") + np.arange(3000) * np.timedelta64(17 * 3600 + 60, "s")
    rows = [f"{time},{step}" for step, time in enumerate(times)]
    values = load_series(str(table(tmp_path / "x.csv", rows))).forecast.values[0, :, :7]  # type: ignore[union-attr]
    for row, time in zip(values.tolist(), times.tolist(), strict=True):
        calendar = (time.minute, time.hour, time.weekday(), time.day, time.timetuple().tm_yday, time.month)
        assert row == [*calendar, time.isocalendar().week]


def test_rows_are_sorted_by_time_and_that_is_said(tmp_path: Path) -> None:
    data = load_series(str(hourly(tmp_path / "load.csv", slice(None, None, -1))))
    assert data.notes == ("rows were not in the order of time: sorted",)
    assert data.train.values[0, :, -1].tolist() == list(range(30))


def test_gaps_stay_gaps(tmp_path: Path) -> None:
    rows = [f"{time},{'' if step == 3 else 'NaN' if step == 4 else step}" for step, time in enumerate(HOURS)]
    values = load_series(str(table(tmp_path / "x.csv", rows)), covariates=False).train.values.flatten()
    assert values.isnan().nonzero().flatten().tolist() == [3, 4]


def test_a_target_is_forecast_alone_and_the_calendar_can_be_left_out(tmp_path: Path) -> None:
    rows = [f"{time},{step},{-step}" for step, time in enumerate(HOURS)]
    path = str(table(tmp_path / "x.csv", rows, "ds,up,down"))
    assert load_series(path, target="down", covariates=False).train.columns == ("down",)
    assert load_series(path, covariates=False).train.columns == ("up", "down")
    with pytest.raises(InputError, match="has no column 'don': choose from down"):
        load_series(path, target="don")


def test_without_a_time_column_rows_are_taken_as_they_are(tmp_path: Path) -> None:
    task = load_series(str(table(tmp_path / "x.csv", [f"{step},1" for step in range(20)], "a,b"))).forecast
    assert task is not None
    assert (task.covariates, task.times, task.targets) == (0, None, ("a", "b"))


def test_a_file_of_the_ett_sets_has_their_parts(tmp_path: Path) -> None:
    times = np.datetime64("2016-07-01T00", "s") + np.arange(17420) * np.timedelta64(1, "h")
    (tmp_path / "ett").mkdir()
    table(tmp_path / "ett" / "ETTh1.csv", [f"{time},{step % 24}" for step, time in enumerate(times)], "date,OT")
    task = load_series("ETTh1", tmp_path).forecast
    assert task is not None
    assert (task.train_end, task.validation_end, task.test_end) == (8640, 11520, 14400)
    assert load_series("ETTh1.csv", tmp_path).forecast is not None


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "cannot read .* as a table"),
        ("date,x\n", "has no rows"),
        ("date\n2020-01-01\n", "a time column and nothing else"),
        ("date,x\n2020-01-01,one\n", "column 'x' holds 'one' in row 2, not numbers"),
        ("date,x\nlater,1\n", "column 'date' holds 'later', not dates"),
        ("time,x\n1,1\n", "column 'time' holds '1', not dates"),
        ("date,x\n2020-01-01,1\n,2\n", "every row needs a time"),
        ("date,x\n2020-01-01,1\n2020-01-01,2\n", "two rows of the time"),
        ("date,x,x\n2020-01-01,1,2\n", "two columns of one name"),
        ("date,x\n2020-01-01,inf\n", "holds infinite values"),
        ("date,x\n2020-01-01,1\n2020-01-02\n", "cannot read .* as a table"),
        ("date,x\n2020-01-01,1\n2020-01-02,2\n", "2 steps are too few"),
        ("x,y\n" + "1,\n" * 20, "column 'y' holds no value in the training part"),
    ],
)
def test_tables_that_cannot_be_used(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "x.csv"
    path.write_text(content)
    with pytest.raises(InputError, match=message):
        load_series(str(path))


def test_binary_files_are_no_tables(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_bytes(b"\xff\xfe\x00,\x81\n\x80,1\n")
    with pytest.raises(InputError):
        read_time_table(tmp_path / "x.csv")
    with pytest.raises(InputError, match="does not exist"):
        read_time_table(tmp_path / "y.csv")


def test_arrays_of_series(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((20, 30, 2)), np.arange(20) % 2
    np.savez(tmp_path / "whole.npz", x=x, y=y)
    np.savez(tmp_path / "parts.npz", x_train=x[:12, :, 0], y_train=y[:12], x_test=x[12:, :, 0], y_test=y[12:])
    np.save(tmp_path / "many.npy", x)
    np.save(tmp_path / "long.npy", rng.standard_normal((50, 3)))
    whole, parts, many, long = (load_series(n, tmp_path) for n in ("whole.npz", "parts.npz", "many.npy", "long.npy"))
    assert whole.test is not None
    assert (len(whole.train), len(whole.test), whole.train.class_names) == (16, 4, ("0", "1"))
    assert torch.equal(whole.train.values[0], torch.from_numpy(x[int(whole.train.ids[0].split("#")[1])]).float())
    assert parts.train.values.shape == (12, 30, 1)
    assert (many.train.labels, many.train.num_classes) == (None, 0)
    assert long.forecast is not None
    assert long.forecast.targets == ("0", "1", "2")


def test_arrays_that_cannot_be_used(tmp_path: Path) -> None:
    good = np.zeros((4, 5, 1))
    for name, arrays, message in (
        ("keys", {"z": good}, "has the keys z"),
        ("rank", {"x": np.zeros(5)}, "expected numbers"),
        ("text", {"x": np.array([["a", "b"]])}, "expected numbers"),
        ("labels", {"x": good, "y": np.zeros(3)}, "labels have another shape"),
        ("one", {"x": good[:1]}, "1 series: too few"),
        ("empty", {"x": good[:, :0]}, "none of them 0"),
        ("gaps", {"x": good * np.nan}, "holds no value at all"),
        ("inf", {"x": good + np.inf}, "holds infinite values"),
        ("channels", {"x_train": good, "x_test": np.zeros((4, 5, 2))}, "expected as many in each"),
    ):
        np.savez(tmp_path / f"{name}.npz", **arrays)
        with pytest.raises(InputError, match=message):
            load_series(f"{name}.npz", tmp_path)
    np.save(tmp_path / "objects.npy", np.array([{}, {}], dtype=object), allow_pickle=True)
    (tmp_path / "damaged.npy").write_bytes(b"\x93NUMPY\x01")
    np.savez(tmp_path / "several.npz", x=good)
    (tmp_path / "several.npz").rename(tmp_path / "several.npy")
    for name, message in (("objects", "cannot read"), ("damaged", "cannot read"), ("several", "several arrays")):
        with pytest.raises(InputError, match=message):
            load_series(f"{name}.npy", tmp_path)


def test_archives_of_ts_files(tmp_path: Path) -> None:
    pytest.importorskip("aeon")
    data = load_series("aeon:JapaneseVowels")
    assert data.test is not None
    assert data.train.values.shape == (270, 26, 12)
    assert data.train.num_classes == data.test.num_classes == 9
    assert bool(data.train.values.isnan().any())  # shorter ones end with missing steps
    assert bool(data.train.values[:, 0].isfinite().all())
    assert "JapaneseVowels" in next(info for info in available_series() if info.name == "aeon:NAME").description
    with pytest.raises(InputError, match="Did you mean 'GunPoint'"):
        load_series("aeon:GunPont")
    (tmp_path / "A_TRAIN.ts").write_text("@problemName A\n@data\nnonsense\n")
    with pytest.raises(InputError, match=r"expected A_TRAIN\.ts and A_TEST\.ts in one folder"):
        load_series("A_TRAIN.ts", tmp_path)
    (tmp_path / "A_TEST.ts").write_text("nonsense")
    with pytest.raises(InputError, match="holds no series"):
        load_series("A_TRAIN.ts", tmp_path)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("toy-pattern", "Did you mean 'toy-patterns'"),
        ("no/such.csv", "no such file or folder"),
        ("ETTh1", "give --data-root"),
        ("", "neither a known set"),
    ],
)
def test_names_that_lead_nowhere(data: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        load_series(data)


def test_other_mistakes(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is no folder"):
        load_series("toy-load", tmp_path / "nowhere")
    with pytest.raises(InputError, match="toy-patterns holds many series"):
        load_series("toy-patterns", target="x")
    (tmp_path / "x.txt").write_text("1")
    with pytest.raises(InputError, match="does not read as series"):
        load_series("x.txt", tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"holds no file NAME_TRAIN\.ts"):
        load_series("empty", tmp_path)


def test_labels_that_are_no_whole_numbers_are_no_class(tmp_path):
    np.savez(tmp_path / "a.npz", x=np.zeros((10, 5)), y=np.array([0.0, 1.0] * 4 + [0.0, np.nan]))
    with pytest.raises(InputError, match="a label is nan"):
        load_series(str(tmp_path / "a.npz"))


def test_rows_that_are_missing_between_two_times_are_told(tmp_path):
    (tmp_path / "a.csv").write_text("time,x\n2024-01-01,1\n2024-01-02,2\n2024-01-03,2\n2024-03-05,3\n")
    (note,) = read_time_table(tmp_path / "a.csv").notes
    assert note.startswith("1 steps are longer than usual")
    (tmp_path / "b.csv").write_text("time,x\n" + "".join(f"2024-{month:02}-01,1\n" for month in range(1, 13)))
    assert read_time_table(tmp_path / "b.csv").notes == ()
