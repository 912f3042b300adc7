import pytest
import torch

from dipole.errors import InputError
from dipole.views import choose_caption

VERSIONS = ["a cat on a mat", "cat", "", " cat", "a feline resting on a rug"]


@pytest.mark.parametrize(("draw", "used"), [(0, 0), (1, 0), (2, 0), (3, 3), (4, 4)])
def test_short_versions_give_way_to_the_original(draw: int, used: int) -> None:
    """ " cat" counts as two words, for it is split at every space."""
    caption = choose_caption(VERSIONS, draw=draw)
    assert caption == (used, VERSIONS[used])


def test_fewest_words() -> None:
    assert choose_caption(VERSIONS, draw=1, min_words=1).version == 1
    assert choose_caption(VERSIONS, draw=4, min_words=7).version == 0
    # The original stays even if it is short.
    assert choose_caption(["tea", "a cup of tea"], draw=0).text == "tea"


def test_the_draw_is_uniform_and_repeats() -> None:
    generator = torch.Generator().manual_seed(0)
    versions = [f"version number {index}" for index in range(4)]
    drawn = [choose_caption(versions, generator=generator).version for _ in range(4000)]
    counts = torch.bincount(torch.tensor(drawn))
    assert ((counts - 1000).abs() < 120).all()  # four standard deviations
    generator.manual_seed(0)
    assert drawn[:50] == [choose_caption(versions, generator=generator).version for _ in range(50)]


def test_without_rewrites_the_original_is_used() -> None:
    assert choose_caption(["two dogs run"]) == (0, "two dogs run")


def test_versions_that_are_refused() -> None:
    with pytest.raises(InputError, match="no version of the caption"):
        choose_caption([])
    for draw in (-1, 5):
        with pytest.raises(InputError, match="expected 0 to 4"):
            choose_caption(VERSIONS, draw=draw)
