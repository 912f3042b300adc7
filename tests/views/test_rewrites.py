from collections import Counter

import pytest
import torch

from dipole.errors import InputError
from dipole.views import build_rewrite_prompt, parse_rewrite, sample_examples

PAIRS = [(f"source {index}", f"target {index}") for index in range(5)]
GROUPS = [[f"caption {image}{version}" for version in "abcd"] for image in range(5)]


def test_the_layout_of_a_prompt() -> None:
    lines = build_rewrite_prompt(PAIRS[:3], "a red\ncar").split("\n")
    assert lines[0] == "write image captions differently,"
    assert lines[1::2] == [""] * 4
    assert lines[2] == " " * 12 + "source 0 => target 0"
    assert lines[8] == " " * 12 + "a red car =>"
    assert len(lines) == 9
    assert build_rewrite_prompt([], "a car", instruction="say it,", indent=0) == "say it,\n\na car =>"


@pytest.mark.parametrize(
    ("completion", "expected"),
    [
        (" A scarlet automobile.", "A scarlet automobile."),
        (" A scarlet automobile. \n\n next => line", "A scarlet automobile."),
        (" A scarlet automobile. => A vehicle.", "A scarlet automobile."),
        ("", "a red car"),
        ("  \n => more", "a red car"),
        (" => more", "a red car"),
    ],
)
@pytest.mark.parametrize("count", [0, 1, 3])
def test_what_is_read_from_an_answer(completion: str, expected: str, count: int) -> None:
    prompt = build_rewrite_prompt(PAIRS[:count], "a red car")
    for parser in ("prefix", "official"):
        assert parse_rewrite(prompt, completion, "a red car", parser=parser) == expected  # type: ignore[arg-type]


def test_an_arrow_in_the_caption_misleads_the_official_parser_alone() -> None:
    caption = "left => right"
    prompt = build_rewrite_prompt(PAIRS[:3], caption)
    assert parse_rewrite(prompt, " To the right.", caption) == "To the right."
    assert parse_rewrite(prompt, " To the right.", caption, parser="official") == "right"


def test_examples_are_drawn_without_replacement() -> None:
    generator = torch.Generator().manual_seed(0)
    drawn = [tuple(sample_examples(PAIRS, 3, generator=generator)) for _ in range(300)]
    assert all(len(set(examples)) == 3 and set(examples) <= set(PAIRS) for examples in drawn)
    counts = Counter(pair for examples in drawn for pair in examples)
    assert min(counts.values()) > 120  # 180 expected
    assert len(set(drawn)) > 50
    generator.manual_seed(0)
    assert tuple(sample_examples(PAIRS, 3, generator=generator)) == drawn[0]


def test_examples_of_groups_are_two_captions_of_one_image() -> None:
    generator = torch.Generator().manual_seed(0)
    seen = set()
    for _ in range(100):
        examples = sample_examples(GROUPS, 3, groups=True, generator=generator)
        assert len({source[:-1] for source, _ in examples}) == 3
        for source, target in examples:
            assert source != target
            assert source[:-1] == target[:-1]
            seen.add((source[-1], target[-1]))
    assert len(seen) == 12  # every ordered pair of versions


def test_pools_that_are_too_small() -> None:
    with pytest.raises(InputError, match="the pool holds 5 entries: expected 6 or more"):
        sample_examples(PAIRS, 6)
    with pytest.raises(InputError, match="of two captions or more each"):
        sample_examples([["alone"], *GROUPS], 3, groups=True)


@pytest.mark.usefixtures("unchecked")
def test_unknown_parsers() -> None:
    with pytest.raises(InputError, match="parser is 'regex'"):
        parse_rewrite("", "", "", parser="regex")  # type: ignore[arg-type]
