"""Checkpoints without pickle, and the callbacks whose state they carry."""

import json
import math
import struct
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import Tensor

from dipole.errors import InputError
from dipole.files import atomic_write, read_json, write_json
from dipole.runs.callbacks import step_seed
from dipole.runs.checkpoint import SafeCheckpointIO, from_tree, to_tree

SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=4)
KEYS = st.text(max_size=4) | st.integers()
TREES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(KEYS, inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.just({"dict": [1]})
        | st.just({"tensor": "0"})
    ),
    max_leaves=10,
)


def same_types(a: Any, b: Any) -> bool:
    if type(a) is not type(b):
        return False
    if isinstance(a, dict):
        return list(a) == list(b) and all(same_types(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(same_types, a, b))
    return bool(a == b)


@given(TREES)
def test_containers_come_back_through_json(tree: Any) -> None:
    tensors: dict[str, Tensor] = {}
    text = json.dumps(to_tree(tree, tensors))
    assert same_types(from_tree(json.loads(text), tensors), tree)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.int64, torch.bool, torch.uint8])
def test_tensors_come_back_bit_for_bit(tmp_path: Path, dtype: torch.dtype) -> None:
    shared = torch.randn(4, 3).to(dtype)
    checkpoint = {
        "state": {"a": shared, "view": shared.T, "scalar": shared[0, 0], "empty": shared[:0]},
        "again": (shared, [shared]),
        "inf": math.inf,
    }
    path = tmp_path / "last.safetensors"
    SafeCheckpointIO().save_checkpoint(checkpoint, path)
    found = SafeCheckpointIO().load_checkpoint(path)
    for name, value in checkpoint["state"].items():  # type: ignore[attr-defined]
        assert torch.equal(found["state"][name], value), name
        assert found["state"][name].dtype == dtype
    assert torch.equal(found["again"][1][0], shared)
    assert found["inf"] == math.inf
    assert [file.name for file in tmp_path.iterdir()] == ["last.safetensors"]


class Unknown:
    pass


@pytest.mark.parametrize("value", [{1, 2}, Unknown(), b"bytes", torch.nn.Linear(1, 1), 1j])
def test_what_a_checkpoint_cannot_hold_is_refused_when_it_is_written(tmp_path: Path, value: Any) -> None:
    path = tmp_path / "last.safetensors"
    path.write_text("the one before")
    with pytest.raises(TypeError, match=f"a checkpoint cannot hold {type(value).__name__}"):
        SafeCheckpointIO().save_checkpoint({"x": [value]}, path)
    assert path.read_text() == "the one before"
    assert list(tmp_path.iterdir()) == [path]


def raw(header: bytes, body: bytes = b"") -> bytes:
    return struct.pack("<Q", len(header)) + header + body


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"garbage",
        bytes(100),
        raw(b"{}")[:-1],
        raw(b"{}"),
        raw(json.dumps({"__metadata__": {"dipole_checkpoint": "{"}}).encode()),
        raw(json.dumps({"__metadata__": {"dipole_checkpoint": '{"tensor": "7"}'}}).encode()),
        raw(json.dumps({"a": {"dtype": "F32", "shape": [9], "data_offsets": [0, 36]}}).encode(), bytes(35)),
        struct.pack("<Q", 2**62) + b"{}",
    ],
)
def test_files_that_are_no_checkpoint(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "last.safetensors"
    path.write_bytes(content)
    with pytest.raises(InputError, match="is not a whole checkpoint of dipole"):
        SafeCheckpointIO().load_checkpoint(path)


@pytest.mark.parametrize("tree", ["[]", "3", "null", "{}", '{"dict": 3}', '{"dict": [[1]]}', '{"dict": [[[], 1]]}'])
def test_headers_that_are_no_tree(tmp_path: Path, tree: str) -> None:
    path = tmp_path / "last.safetensors"
    save_file({"0": torch.zeros(1)}, path, metadata={"dipole_checkpoint": tree})
    with pytest.raises(InputError, match="is not a whole checkpoint of dipole"):
        SafeCheckpointIO().load_checkpoint(path)


def test_removing_a_checkpoint_twice(tmp_path: Path) -> None:
    path = tmp_path / "last.safetensors"
    path.write_text("")
    SafeCheckpointIO().remove_checkpoint(path)
    SafeCheckpointIO().remove_checkpoint(path)
    assert not path.exists()


def test_seeds_of_steps_differ() -> None:
    seeds = {step_seed(seed, step, stream) for seed in range(10) for step in range(100) for stream in range(3)}
    assert len(seeds) == 3000
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert step_seed(2**63 - 1, 2**40, 512) < 2**63


def write_and_fail(target: Path, text: str) -> None:
    with atomic_write(target) as temporary:
        temporary.write_text(text)
        raise ZeroDivisionError


def test_a_file_is_whole_or_absent(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "file.txt"
    with pytest.raises(ZeroDivisionError):
        write_and_fail(target, "half")
    assert list(target.parent.iterdir()) == []
    with atomic_write(target) as temporary:
        temporary.write_text("one")
        assert temporary.parent == target.parent
        assert not target.exists()
    with pytest.raises(ZeroDivisionError):
        write_and_fail(target, "two")
    assert target.read_text() == "one"
    assert target.stat().st_mode & 0o777 == 0o644


def test_json_without_numbers_that_are_none(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    write_json(path, {"a": [1.5, None, "ü"]})
    assert read_json(path) == {"a": [1.5, None, "ü"]}
    with pytest.raises(ValueError, match="Out of range float"):
        write_json(path, {"a": math.nan})
    assert read_json(path) == {"a": [1.5, None, "ü"]}
    for content in (b"{", b"\xff\xff", b""):
        path.write_bytes(content)
        with pytest.raises(InputError, match=r"result\.json is not valid JSON"):
            read_json(path)
    with pytest.raises(InputError, match="cannot read"):
        read_json(tmp_path / "nowhere.json")
