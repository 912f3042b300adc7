import pytest
import torch

from dipole.data import available, load_image_sets, photographs
from dipole.errors import InputError


def test_tiles_are_as_announced_and_test_tiles_lie_elsewhere():
    train, test = load_image_sets("photographs")
    [info] = [each for each in available() if each.name == "photographs"]
    assert info.images == f"{len(train)} + {len(test)}"
    assert info.classes == train.num_classes == len(photographs.SCIKIT_IMAGE + photographs.SCIKIT_LEARN)
    assert train.input_shape == test.input_shape == (3, 32, 32)
    assert not set(train.ids) & set(test.ids)
    for part in (train, test):
        assert len(part.labels["label"].unique()) == info.classes
    squares = [
        {(name, *(int(place) // photographs.BLOCK for place in where.split("-")))}
        for part in (train, test)
        for name, where in (each.split("/") for each in part.ids)
    ]
    in_train, in_test = set().union(*squares[: len(train)]), set().union(*squares[len(train) :])
    assert not in_train & in_test


def test_a_tile_is_the_place_that_it_is_named_after():
    from importlib.resources import files

    import numpy as np
    from PIL import Image

    train, _ = load_image_sets("photographs")
    place = next(number for number, name in enumerate(train.ids) if name.startswith("brick/"))
    row, column = (32 * int(each) for each in train.ids[place].removeprefix("brick/").split("-"))
    brick = np.asarray(Image.open(str(files("skimage") / "data" / "brick.png")))[row : row + 32, column : column + 32]
    tile = train.fetch(torch.tensor([place]))[0]
    assert torch.equal(tile, torch.from_numpy(brick.copy()).expand(3, 32, 32))


@pytest.mark.parametrize("missing", ["package", "photograph"])
def test_what_is_missing_is_named(missing, monkeypatch):
    if missing == "package":
        monkeypatch.setattr(photographs, "find_spec", lambda name: None)
        message = r"scikit-image, which is not installed: pip install 'dipole\[demo\]'"
    else:
        monkeypatch.setattr(photographs, "SCIKIT_IMAGE", ("no-such.png",))
        message = "no-such.png is missing"
    with pytest.raises(InputError, match=message):
        load_image_sets("photographs")
