import pytest
import torch

from dipole.data import load_sts
from dipole.errors import InputError

ROW = "PAD\tPAD\tPAD\tPAD\t{}\t{}\t{}"


def write(folder, name, *rows):
    folder.mkdir(exist_ok=True)
    (folder / name).write_text("\n".join(ROW.format(*row) for row in rows), newline="")


def test_subsets_are_read_apart_and_unscored_rows_dropped(tmp_path):
    write(tmp_path, "sts15.belief-test.csv", (4.5, 'a "quote', "b"), ("", "not", "scored"), (1, "c", "d"))
    write(tmp_path, "sts15.images-test.csv", (0.25, "e", "f\r"))
    write(tmp_path, "sts15-test.csv", (5, "all", "in one"))
    write(tmp_path, "sts13-test.csv", (5, "all", "in one"))
    write(tmp_path, "sts-b-dev.csv", (2, "x", "y"))
    tasks = load_sts(tmp_path)
    assert [(task.name, len(task), task.unscored) for task in tasks] == [("STS13", 1, 0), ("STS15", 3, 1)]
    belief = tasks[1].subsets["belief"]
    assert (belief.first, belief.second) == (('a "quote', "c"), ("b", "d"))
    assert torch.equal(belief.gold, torch.tensor([4.5, 1.0], dtype=torch.float64))
    assert tasks[1].subsets["images"].second == ("f",)
    assert list(tasks[0].subsets) == ["STS13"]
    (dev,) = load_sts(tmp_path, ["STS-B-dev"])
    assert dev.subsets["STS-B-dev"].first == ("x",)


def test_the_files_may_lie_below_the_data_root(tmp_path):
    write(tmp_path / "sts", "sickr-test.csv", (1, "a", "b"), (2, "a", "c"))
    assert [task.name for task in load_sts(tmp_path)] == ["SICK-R"]
    assert [len(task) for task in load_sts(tmp_path / "sts", ["SICK-R"])] == [2]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("PAD\tPAD\t1\ta\tb", r"line 1 has 5 cells.*expected 7"),
        (ROW.format("1", "a", "b") + "\n\n", r"line 2 has 1 cells"),
        (ROW.format("high", "a", "b"), r"line 1: the score is 'high', expected a number or nothing"),
        (ROW.format("nan", "a", "b"), r"line 1: the score is 'nan'"),
        (ROW.format("", "a", "b"), "no scored pair: 1 rows without a score"),
    ],
)
def test_broken_files_are_refused(tmp_path, content, message):
    (tmp_path / "sts-b-test.csv").write_text(content)
    with pytest.raises(InputError, match=message):
        load_sts(tmp_path)


def test_missing_tasks_are_told(tmp_path):
    with pytest.raises(InputError, match=r"no files of any task.*Found: none"):
        load_sts(tmp_path)
    write(tmp_path, "sts-b-dev.csv", (2, "x", "y"))
    with pytest.raises(InputError, match=r"no files of STS16.*Found: STS-B-dev"):
        load_sts(tmp_path, ["STS16"])
    with pytest.raises(InputError, match=r"'STS17' is no STS task\. Known: STS12"):
        load_sts(tmp_path, ["STS17"])
    with pytest.raises(InputError, match=r"is no folder.*'toy-sts'"):
        load_sts(tmp_path / "missing")
    with pytest.raises(InputError, match="toy-sts has no tasks to choose from"):
        load_sts("toy-sts", ["STS12"])
