import pytest
import torch

from dipole.data.text import MemoryTextSet
from dipole.errors import InputError


def test_strings_and_records():
    texts = MemoryTextSet(["a", "b"], "two", ["x", "y"])
    assert texts.fetch(torch.tensor([1, 0])) == [{"text": "b"}, {"text": "a"}]
    assert [texts.id(0), texts.select(torch.tensor([1])).id(0)] == ["x", "y"]
    assert repr(texts) == "MemoryTextSet('two', 2 records, columns text)"
    pairs = MemoryTextSet([{"a": 1, "b": 2}, {"b": 3, "c": 4}])
    assert pairs.columns == ("b",)
    assert pairs[1] == {"b": 3, "c": 4}
    assert pairs.id(1) == "1"


def test_records_can_be_changed_without_changing_the_set():
    texts = MemoryTextSet([{"text": "a"}])
    texts[0]["text"] = "b"
    assert texts[0] == {"text": "a"}


def test_a_missing_column_is_named_with_those_that_exist():
    texts = MemoryTextSet([{"anchor": "a", "positive": "b"}], "pairs")
    texts.require("anchor", "positive")
    with pytest.raises(InputError, match=r"pairs has no column 'postive'\. Columns: anchor, positive\. Did you mean"):
        texts.require("anchor", "postive")


@pytest.mark.parametrize(
    ("records", "ids", "message"),
    [
        ([], None, "one text or more"),
        ("text", None, "list of one text or more"),
        (["a", {"text": "b"}], None, "record 1 is of type dict and record 0 of type str"),
        ([{"a": 1}, {"b": 1}], None, "no key in common"),
        (["a", "b"], ["x"], "1 ids for 2 records"),
    ],
)
def test_what_is_no_list_of_texts_is_refused(records, ids, message):
    with pytest.raises(InputError, match=message):
        MemoryTextSet(records, ids=ids)
