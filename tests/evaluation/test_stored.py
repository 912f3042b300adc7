from typing import Any

import pytest

from dipole.evaluation.stored import tables, with_earlier


def table(*columns: str, data: str = "digits") -> dict[str, Any]:
    return {"protocols": list(columns), "rows": [], "data": data}


def columns(content: Any) -> list[list[str]]:
    return [each["protocols"] for each in tables(content)]


def test_a_table_goes_when_all_of_it_is_measured_anew_on_the_same_data() -> None:
    content = with_earlier(table("knn", "linear"), "a", None)
    content = with_earlier(table("5 labels"), "a", content)
    assert columns(content) == [["knn", "linear"], ["5 labels"]]
    assert content["protocols"] == ["5 labels"]  # the latest, for readers that know of no other
    again = with_earlier(table("knn"), "a", content)
    assert columns(again) == [["knn", "linear"], ["5 labels"], ["knn"]]  # of `linear` there is no newer value
    assert columns(with_earlier(table("linear", "knn"), "a", again)) == [["5 labels"], ["linear", "knn"]]
    assert columns(with_earlier(table("knn", data="shapes"), "a", again)) == [*columns(again), ["knn"]]


def test_tables_of_other_weights_go() -> None:
    content = with_earlier(table("knn"), "a", None)
    assert columns(with_earlier(table("5 labels"), "b", content)) == [["5 labels"]]


@pytest.mark.parametrize("before", [None, 3, [], {"rows": 3}, table("knn"), {"earlier": 3, "model": "b"}])
def test_what_says_nothing_of_its_weights_goes(before: Any) -> None:
    assert columns(with_earlier(table("5 labels"), "a", before)) == [["5 labels"]]


def test_files_of_older_versions_are_one_table() -> None:
    assert tables(table("knn")) == [table("knn")]
