"""Interactions: files, filters, splits, and what happens to odd rows."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dipole.data.recommendation import (
    InteractionDataModule,
    Interactions,
    expand_prefixes,
    interactions_of,
    k_core,
    keep_last,
    leave_one_out,
    load_interactions,
    split_sequences,
    toy_interactions,
    whole_histories,
)
from dipole.errors import InputError

INTER = (
    "user_id:token\titem_id:token\trating:float\ttimestamp:float\nann\ttea\t3\t20\nbob\ttea\t1\t5\nann\tmilk\t2\t10\n"
)
WANTED = {"ann": ["milk", "tea"], "bob": ["tea"]}
PAIRS = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=1, max_size=60)


def histories(table: Interactions) -> dict[str, list[str]]:
    return {
        name: [table.items[item - 1] for item in table.history(user).tolist()] for user, name in enumerate(table.users)
    }


def write(folder: Path, name: str, text: str) -> str:
    (folder / name).write_text(text, encoding="utf-8")
    return str(folder / name)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.inter", INTER),
        ("a.csv", "user,item,timestamp\nann,tea,20\nbob,tea,5\nann,milk,10\n"),
        ("a.tsv", "uid\tasin\ttime\nann\ttea\t2024-03-02\nbob\ttea\t2024-01-01\nann\tmilk\t2024-03-01\n"),
        (
            "a.jsonl",
            '{"user": "ann", "item": "milk"}\n{"user": "ann", "item": "tea"}\n{"user": "bob", "item": "tea"}\n',
        ),
        ("a.txt", "ann milk\nbob tea\nann tea\n"),
        ("b.txt", "ann milk tea\n\nbob tea\n"),
    ],
)
def test_every_format_gives_the_same_table(tmp_path: Path, name: str, text: str) -> None:
    assert histories(load_interactions(write(tmp_path, name, text), min_interactions=1)) == WANTED


def test_parquet_with_named_columns_and_dates(tmp_path: Path) -> None:
    times = pa.array([3, 1, 2], pa.timestamp("s"))
    pq.write_table(pa.table({"who": ["ann", "bob", "ann"], "what": [9, 9, 7], "when": times}), tmp_path / "a.parquet")
    columns = {"user_column": "who", "item_column": "what", "time_column": "when"}
    table = load_interactions("a.parquet", tmp_path, min_interactions=1, **columns)
    assert histories(table) == {"ann": ["7", "9"], "bob": ["9"]}


def test_rows_that_are_not_whole_are_left_out_and_counted(tmp_path: Path) -> None:
    text = "user,item,timestamp\nann,tea,1\n,tea,2\nann,,3\nann,milk,\nann,rice,4\nann,too,many,5\n"
    table = load_interactions(write(tmp_path, "a.csv", text), min_interactions=1)
    assert histories(table) == {"ann": ["tea", "rice"]}
    assert table.skipped == (
        "3 rows without a user, an item or a time",
        "1 lines with another number of fields",
    )


def test_titles_stand_beside_recbole_files(tmp_path: Path) -> None:
    write(tmp_path, "a.item", "item_id:token\tmovie_title:token_seq\ntea\tGreen Tea\nmilk\t\n")
    table = load_interactions(write(tmp_path, "a.inter", INTER), min_interactions=1)
    assert {table.items[item - 1]: table.title(item) for item in (1, 2)} == {"tea": "Green Tea", "milk": "milk"}


@pytest.mark.parametrize(
    ("name", "text", "options", "message"),
    [
        ("a.csv", "user,itm\nann,tea\n", {}, "no column of a usual name for the item"),
        ("a.csv", "user,item\nann,tea\n", {"item_column": "itm"}, "Did you mean 'item'?"),
        ("a.csv", "user,item,time\nann,tea,soon\n", {}, "neither numbers nor dates"),
        ("a.csv", "user,item,time\nann,,1\n", {}, "holds no row with a user, an item and a time"),
        ("a.csv", "", {}, "cannot read .* as a table, csv"),
        ("a.txt", "ann\n\n", {}, "holds no interaction"),
        ("a.inter", INTER, {"min_interactions": 5}, "a smaller --loading.min_interactions"),
        ("a.xls", "user", {}, "is no file of interactions"),
        ("a.csv", "user,item\nann,tea\n", {"min_interactions": 0}, "min_interactions is 0"),
        ("a.csv", "user,item\nann,tea\n", {"min_interactions": 1, "last": 0}, "last is 0"),
    ],
)
def test_mistakes(tmp_path: Path, name: str, text: str, options: dict[str, int], message: str) -> None:
    with pytest.raises(InputError, match=message):
        load_interactions(write(tmp_path, name, text), **options)


@pytest.mark.parametrize(
    ("data", "root", "message"),
    [
        ("ml-100", None, "Did you mean 'ml-100k'"),
        ("ml-100k", None, "give --data-root"),
        ("ml-100k", ".", "is not in the data root"),
        ("x/y.csv", None, "there is no such file"),
        ("toy-interactions", "nowhere", "is no folder"),
    ],
)
def test_names_that_lead_nowhere(tmp_path: Path, data: str, root: str | None, message: str) -> None:
    with pytest.raises(InputError, match=message):
        load_interactions(data, None if root is None else tmp_path / root)


@settings(max_examples=60, deadline=None)
@given(pairs=PAIRS, k=st.integers(1, 4))
def test_core_is_the_largest_set_in_which_all_have_k(pairs: list[tuple[int, int]], k: int) -> None:
    left = list(pairs)
    while True:
        kept = [(u, i) for u, i in left if sum(x == u for x, _ in left) >= k and sum(y == i for _, y in left) >= k]
        if kept == left:
            break
        left = kept
    table = interactions_of([str(u) for u, _ in pairs], [str(i) for _, i in pairs])
    if not left:
        with pytest.raises(InputError, match="min_interactions"):
            k_core(table, k)
        return
    found = histories(k_core(table, k))
    assert found == {str(u): [str(i) for v, i in left if v == u] for u in dict.fromkeys(u for u, _ in left)}


@settings(max_examples=60, deadline=None)
@given(pairs=PAIRS, length=st.integers(1, 5))
def test_rows_are_all_prefixes_and_every_user_keeps_one(pairs: list[tuple[int, int]], length: int) -> None:
    table = interactions_of([str(u) for u, _ in pairs], [str(i) for _, i in pairs])
    rows = expand_prefixes(table.user, length)
    expected = [
        (user, history[max(0, end - length) : end].tolist(), int(history[end]))
        for user in range(len(table.users))
        for history in [table.history(user)]
        for end in range(1, len(history))
    ]
    found = [
        (int(user), table.item[start:end].tolist(), int(table.item[target]))
        for user, start, end, target in zip(*rows, strict=True)
    ]
    assert found == expected
    split = leave_one_out(rows.user)
    assert np.array_equal(np.sort(np.concatenate(split)), np.arange(len(expected)))
    assert set(rows.user[split.train].tolist()) == set(rows.user.tolist())
    for later, earlier in ((split.test, split.validation), (split.validation, split.train)):
        for row in later:
            others = earlier[rows.user[earlier] == rows.user[row]]
            assert (others < row).all()


def test_users_with_one_interaction_have_no_row_and_break_nothing() -> None:
    table = interactions_of(["ann", "bob", "bob", "cat"], ["tea", "tea", "milk", "rice"])
    train, validation, test = split_sequences(table, max_length=3)
    assert (len(train), len(validation), len(test)) == (1, 0, 0)
    assert train.fetch(torch.tensor([0]))["target"].tolist() == [table.items.index("milk") + 1]
    with pytest.raises(InputError, match="no user has two interactions"):
        split_sequences(interactions_of(["ann", "bob"], ["tea", "tea"]))


def test_unseen_items_are_left_out_and_counted() -> None:
    table = interactions_of(["ann", "ann", "bob"], ["tea", "new", "new"])
    known = table.with_items(["milk", "tea"])
    assert known.items == ("milk", "tea")
    assert histories(known) == {"ann": ["tea"], "bob": []}
    assert known.skipped == ("2 interactions with items that training has not seen",)


def test_keep_last_and_whole_histories() -> None:
    table = keep_last(toy_interactions(), 4)
    assert np.bincount(table.user).max() == 4
    rows = whole_histories(table, np.array([3, 0]), max_length=2)
    assert rows["history"].tolist() == [table.history(3)[-2:].tolist(), table.history(0)[-2:].tolist()]
    assert rows["length"].tolist() == [2, 2]


def test_seen_goes_back_further_than_the_history() -> None:
    _, _, test = split_sequences(toy_interactions(), max_length=3)
    indices = torch.arange(5)
    rows, seen = test.fetch(indices), test.seen(indices)
    for row in range(5):
        whole = torch.from_numpy(test.interactions.history(int(rows["user"][row])))
        assert seen[row][seen[row] > 0].tolist() == whole[:-1].tolist()
        assert rows["history"][row].tolist() == whole[-4:-1].tolist()


def test_epochs_are_shuffled_by_seed_and_epoch_alone() -> None:
    def orders(seed: int, epoch: int) -> list[int]:
        loader = InteractionDataModule(toy_interactions(), seed=seed).train_dataloader()
        loader.sampler.set_epoch(epoch)  # type: ignore[attr-defined]
        return torch.cat([batch["index"] for batch in loader]).tolist()

    assert orders(0, 1) == orders(0, 1)
    assert orders(0, 1) != orders(0, 2) != orders(1, 2)
