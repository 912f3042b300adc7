"""Settings as Python, as YAML and back."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from dipole.errors import InputError
from dipole.runs import RunConfig, recipes
from dipole.runs.config import provenance, read_settings


def test_settings_come_back_as_they_were(tmp_path: Path) -> None:
    config = RunConfig(
        "cacr",
        data="bilder/größe",
        image_size=24,
        seed=2**62,
        method={"temperature": 1e-7, "encoder": None, "flags": [1, 2.5, True]},
        trainer={"devices": 2},
    )
    path = tmp_path / "new" / "config.yaml"
    config.save(path)
    assert RunConfig.load(path) == config
    assert "größe" in path.read_text(encoding="utf-8")
    assert list(path.parent.iterdir()) == [path]


def test_a_recipe_may_leave_out_everything_but_the_name(tmp_path: Path) -> None:
    path = tmp_path / "short.yaml"
    path.write_text("name: simclr\n")
    assert RunConfig.load(path) == RunConfig("simclr")


def test_the_provenance_names_the_versions() -> None:
    import torch

    found = provenance()
    assert found["torch"] == torch.__version__.split("+")[0] or found["torch"] == torch.__version__
    commit = found["git_commit"]
    assert commit is None or (len(commit) == 40 and int(commit, 16) >= 0)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": 3}, "name is 3: expected str"),
        ({"epochs": "many"}, "epochs is 'many': expected int"),
        ({"epochs": True}, "epochs is True: expected int"),
        ({"epochs": None}, "epochs is None: expected int"),
        ({"epochs": 0}, "epochs is 0: expected a number of at least 1"),
        ({"batch_size": 1}, "batch_size is 1: expected a number of at least 2"),
        ({"batch_size": 32.0}, "batch_size is 32.0: expected int"),
        ({"num_workers": -1}, "num_workers is -1"),
        ({"seed": -1}, "seed is -1: expected a whole number from 0"),
        ({"seed": 2**63}, "seed is 9223372036854775808"),
        ({"precision": "half"}, "precision is 'half': expected one of auto, 32-true"),
        ({"image_size": "big"}, "image_size is 'big': expected"),
        ({"method": ["temperature"]}, "method is .* expected dict"),
        ({"trainer": None}, "trainer is None: expected dict"),
    ],
)
def test_settings_that_are_none(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        RunConfig(**{"name": "simclr", **changes})


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "does not hold settings: expected lines such as"),
        (b"- simclr\n", "does not hold settings"),
        (b"just text", "does not hold settings"),
        (b"name: [", "is not valid YAML"),
        (b"\xff\xfe\x00", "is not valid YAML"),
        (b"name: simclr\nepoch: 3\n", "has the unknown setting 'epoch'"),
        (b"name: [simclr]\n", r"names the method \['simclr'\]"),
        (b"name: simclr\nmethod: 3\n", "has method = 3: expected indented lines"),
        (b"name: simclr\nviews:\n", "has views = None: expected indented lines"),
        (b"epochs: 3\n", "does not name a method: it needs the key 'name'"),
        (b"name: simclr\nepochs: many\n", "epochs is 'many': expected int"),
    ],
)
@pytest.mark.usefixtures("unchecked")
def test_files_that_hold_no_settings(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "config.yaml"
    path.write_bytes(content)
    with pytest.raises(InputError, match=message):
        RunConfig.load(path)


def test_files_that_are_not_there(tmp_path: Path) -> None:
    for path in (tmp_path / "nowhere.yaml", tmp_path):
        with pytest.raises(InputError, match=r"cannot read .* Check the path"):
            RunConfig.load(path)


def test_yaml_makes_no_objects(tmp_path: Path) -> None:
    sprung, path = tmp_path / "sprung", tmp_path / "config.yaml"
    path.write_text(f"name: !!python/object/apply:os.mknod ['{sprung}']\n")
    with pytest.raises(InputError, match="is not valid YAML"):
        RunConfig.load(path)
    assert not sprung.exists()


@given(st.dictionaries(st.text(max_size=5), st.integers() | st.text(max_size=5), max_size=3))
def test_no_dictionary_breaks_the_reader(content: dict[str, Any]) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "config.yaml"
        path.write_text(yaml.safe_dump(content, allow_unicode=True), encoding="utf-8")
        known = set(content) <= {"data", "epochs"}
        if known:
            assert read_settings(path) == content
        else:
            with pytest.raises(InputError):
                read_settings(path)


def test_recipes_are_found() -> None:
    assert {"simclr", "cacr"} <= set(recipes())
    assert all(path.suffix == ".yaml" for path in recipes().values())
