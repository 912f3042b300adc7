import pytest

from dipole.methods.registry import methods
from dipole.runs import RunConfig, build_method, recipes
from dipole.runs.domains import get_domain


@pytest.mark.parametrize("recipe", recipes())
def test_a_recipe_says_what_it_is_and_can_be_built(recipe):
    path = recipes()[recipe]
    assert path.read_text(encoding="utf-8").startswith("# ")
    config = RunConfig.load(path)
    method = build_method(config.name, {**config.method, "image_size": config.image_size})
    assert get_domain(method.domain).views(method, config).size == config.image_size
    assert recipe.startswith(config.name)


def test_every_method_has_a_recipe_of_its_name():
    assert set(methods()) <= set(recipes())
