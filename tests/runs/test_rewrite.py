"""Captions are rewritten: by whatever continues prompts, resumed, and with what is of no use left out."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from decoding.folder import write_model
from dipole.errors import InputError
from dipole.runs.rewrite import EXAMPLES, RewriteSettings, degenerate, read_pool, rewrite_table

SETTINGS = RewriteSettings(count=3, batch_size=4)


def sentence(prompts, seed):
    """A language model that names the caption, and a number that depends on the seed."""
    return [
        f" Somebody shows {prompt.rsplit('=>', 2)[-2].split()[-1]} number {seed % 97 + row}.\nmore"
        for row, prompt in enumerate(prompts)
    ]


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "pairs.parquet"
    pq.write_table(pa.table({"photo": ["1.png", "2.png", "3.png"], "caption": ["a cat", None, "two dogs"]}), path)
    return path


def read(path):
    return pq.read_table(path).to_pydict()


def test_rewrites_stand_behind_the_original(table):
    done = rewrite_table(table, "caption", table.with_name("out.parquet"), settings=SETTINGS, write=sentence)
    found = read(done.path)
    assert found["photo"] == ["1.png", "2.png", "3.png"]
    assert found["caption"][1] is None
    for original, cell in zip(("a cat", "two dogs"), (found["caption"][0], found["caption"][2]), strict=True):
        assert cell[0] == original
        assert all(text.startswith(f"Somebody shows {original.split()[-1]} number") for text in cell[1:])
    assert (done.rows, done.captions) == (3, 2)
    assert done.kept + sum(done.left_out.values()) == 6
    assert not list(table.parent.glob(".*"))


@pytest.mark.parametrize("after", [0, 1])
def test_an_interrupted_run_ends_as_an_uninterrupted_one(table, after):
    whole = rewrite_table(table, "caption", table.with_name("whole.jsonl"), settings=SETTINGS, write=sentence)
    calls = []

    def breaks(prompts, seed):
        if len(calls) == after:
            raise KeyboardInterrupt
        calls.append(seed)
        return sentence(prompts, seed)

    with pytest.raises(KeyboardInterrupt):
        rewrite_table(table, "caption", table.with_name("out.jsonl"), settings=SETTINGS, write=breaks)
    journal = table.with_name(".out.jsonl.rewrites.jsonl")
    assert not table.with_name("out.jsonl").exists()
    if after:
        # As if the disk had been full in the middle of a line of a batch.
        text = journal.read_text()
        journal.write_text(text[: text.rindex("Somebody")])
    rewrite_table(table, "caption", table.with_name("out.jsonl"), settings=SETTINGS, write=sentence)
    assert table.with_name("out.jsonl").read_bytes() == whole.path.read_bytes()
    assert not journal.exists()


def test_other_settings_do_not_continue_a_run(table):
    def breaks(prompts, seed):
        raise KeyboardInterrupt

    out = table.with_name("out.parquet")
    with pytest.raises(KeyboardInterrupt):
        rewrite_table(table, "caption", out, settings=SETTINGS, write=breaks)
    with pytest.raises(InputError, match="begun with other settings"):
        rewrite_table(table, "caption", out, settings=RewriteSettings(count=2), write=sentence)


@pytest.mark.parametrize(
    ("rewrite", "reason"),
    [
        ("", "has fewer than two words"),
        ("cats", "has fewer than two words"),
        ("A CAT.", "repeats the caption"),
        ("a cat => a dog", "goes on with the prompt"),
        ("word " + " ".join(f"w{n}" for n in range(40)), "is much longer than the caption"),
        ("the the the the the the cat", "goes round in circles"),
        ("A cat sits there.", None),
    ],
)
def test_what_is_of_no_use(rewrite, reason):
    assert degenerate("a cat", rewrite) == reason


def test_a_file_of_rewrites_in_place_of_a_model(table, tmp_path):
    rows = [("a cat", "Some cat sits."), ("a cat", "a cat"), ("two dogs", "A pair of dogs."), ("other", "No matter.")]
    (tmp_path / "given.jsonl").write_text(
        "\n".join(json.dumps({"caption": caption, "rewrite": rewrite}) for caption, rewrite in rows)
    )
    done = rewrite_table(table, "caption", tmp_path / "out.parquet", given=tmp_path / "given.jsonl")
    assert read(done.path)["caption"] == [["a cat", "Some cat sits."], None, ["two dogs", "A pair of dogs."]]
    assert done.left_out == {"repeats the caption": 1}
    (tmp_path / "lines.txt").write_text("A small cat.\nnothing\nDogs, two.\n")
    done = rewrite_table(done.path, "caption", tmp_path / "more.parquet", given=tmp_path / "lines.txt")
    assert read(done.path)["caption"][0] == ["a cat", "Some cat sits.", "A small cat."]


@pytest.mark.parametrize(
    ("column", "out", "given", "message"),
    [
        ("captoin", "out.parquet", None, "no column 'captoin'. Did you mean 'caption'"),
        ("caption", "out.csv", None, "a file that ends in .parquet or .jsonl"),
        ("caption", "pairs.parquet", None, "another file in the folder"),
        ("caption", "deeper/out.parquet", None, "another file in the folder"),
        ("caption", "out.parquet", "short.txt", "has 1 lines for 3 rows"),
        ("caption", "out.parquet", "strange.jsonl", 'line 1: expected {"caption"'),
        ("caption", "out.parquet", "other.jsonl", "no rewrite of a caption of the table"),
        ("caption", "out.parquet", "broken.jsonl", "line 1 is not valid JSON"),
    ],
)
def test_mistakes_are_told(table, tmp_path, column, out, given, message):
    (tmp_path / "short.txt").write_text("one\n")
    (tmp_path / "strange.jsonl").write_text('{"text": 1}\n')
    (tmp_path / "other.jsonl").write_text('{"caption": "x", "rewrite": "y z"}\n')
    (tmp_path / "broken.jsonl").write_text("{\n")
    with pytest.raises(InputError, match=message):
        rewrite_table(table, column, tmp_path / out, given=None if given is None else tmp_path / given, write=sentence)


def test_examples_of_ones_own(tmp_path):
    path = tmp_path / "pool.jsonl"
    path.write_text('{"source": "a", "target": "b"}\n')
    assert read_pool(path) == [("a", "b")]
    path.write_text('{"source": "a"}\n')
    with pytest.raises(InputError, match=r"pool\.jsonl, record 1"):
        read_pool(path)
    assert len(EXAMPLES) >= 16
    assert all(degenerate(source, target) is None for source, target in EXAMPLES)


def test_a_language_model_from_a_folder(table, tmp_path):
    folder = write_model(tmp_path / "model")
    settings = RewriteSettings(model=str(folder), count=1, examples=1, max_new_tokens=5)
    pool = [("w3 w4", "w5"), ("w6", "w7")]
    # The tiny model knows 64 positions: the prompt of one example fits.
    first = rewrite_table(table, "caption", tmp_path / "first.jsonl", settings=settings, pool=pool)
    second = rewrite_table(table, "caption", tmp_path / "second.jsonl", settings=settings, pool=pool)
    assert first.path.read_bytes() == second.path.read_bytes()
    assert first.captions == 2
