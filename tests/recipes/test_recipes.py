import pytest
import yaml

from dipole.cli.train import _config, _settings
from dipole.methods.registry import get_method, methods
from dipole.methods.wrapping import base_of
from dipole.runs import RunConfig, build_method, recipes
from dipole.runs.domains import domain_of
from dipole.runs.stages import stages_of
from text_models import bert_folder, llama_folder


@pytest.mark.parametrize("recipe", recipes())
def test_a_recipe_says_what_it_is_and_can_be_built(recipe):
    path = recipes()[recipe]
    assert path.read_text(encoding="utf-8").startswith("# ")
    config = RunConfig.load(path)
    domain = domain_of(config.name, config.method)
    if domain.name == "images":
        base = base_of(get_method(config.name), config.method)
        sized = {"image_size": config.image_size}
        own = sized if base is None else {"base": {"name": base[0], **base[1], **sized}}
        method = build_method(config.name, {**config.method, **own})
        views = domain.views(method, config)
        # Methods of episodes see images as they are.
        assert views.size == config.image_size if hasattr(method, "views_class") else views is None
    elif domain.name == "text":
        folder = llama_folder() if config.name == "nv-embed" else bert_folder(128, 1, 2)
        method = build_method(config.name, {**config.method, "encoder": str(folder), "max_length": 64})
        assert method.build_views(**domain.view_options(type(method), config)).num_views == method.num_views
    elif domain.name == "recommendation":
        method = build_method(config.name, {**config.method, "items": 5})
        assert method.views_class(**domain.view_options(type(method), config)).columns
    elif domain.name == "multimodal":
        facts = domain.facts(domain.data_module(config))
        own = {key: value for key, value in facts.items() if key in get_method(config.name).arguments()}
        method = build_method(config.name, {**config.method, **own})
        assert method.build_views(**domain.view_options(type(method), config)).columns == tuple(facts["modalities"])
    elif domain.name == "timeseries":
        method = build_method(config.name, {**config.method, "channels": 8})
        assert domain.loading(config)["window"] >= method.segments
        assert isinstance(domain.view_options(type(method), config), dict)
    assert recipe.startswith(config.name)


@pytest.mark.parametrize("recipe", recipes())
def test_the_command_line_takes_every_recipe(recipe):
    settings = _settings(recipe, [])
    settings.pop("stages", None)
    config, (out, resume) = _config(settings, ["--out", "somewhere"])
    assert (config.name, out, resume) == (settings["name"], "somewhere", False)
    assert (
        config.method.items()
        >= {key: value for key, value in settings.get("method", {}).items() if key != "base"}.items()
    )


def test_every_method_has_a_recipe_of_its_name():
    assert set(methods()) <= set(recipes())


STAGED = [name for name, path in recipes().items() if "\nstages:" in path.read_text(encoding="utf-8")]


@pytest.mark.parametrize("recipe", STAGED)
def test_every_setting_of_every_stage_reaches_its_run(recipe):
    settings = yaml.safe_load(recipes()[recipe].read_text(encoding="utf-8"))
    stages = stages_of(settings)
    configs = [_config(stage, ["--out", "x"])[0] for stage in stages]
    assert len(configs) == len(settings["stages"]) > 1
    shared = {key: value for key, value in settings.items() if key != "stages"}
    for own, config in zip(settings["stages"], configs, strict=True):
        for key, value in {**shared, **own}.items():
            if isinstance(value, dict):
                wanted = {**shared.get(key, {}), **own.get(key, {})}
                found = getattr(config, key)
                assert {name: found[name] for name in wanted} == wanted
            else:
                assert getattr(config, key) == value
    assert [config.init_from for config in configs[1:]] == ["previous"] * (len(configs) - 1)


def test_the_stages_of_dito_train_whole_images_then_regions():
    settings = yaml.safe_load(recipes()["dito"].read_text(encoding="utf-8"))
    for stage, objective in zip(stages_of(settings), ("image", "regions"), strict=True):
        config = _config(stage, ["--out", "x"])[0]
        facts = domain_of("dito", config.method).facts(domain_of("dito", config.method).data_module(config))
        method = build_method("dito", {**config.method, "modalities": facts["modalities"]})
        assert method.objective == objective
        assert method.boxes == settings["method"]["boxes"]
        trained = {name.split(".")[0] for name, value in method.named_parameters() if value.requires_grad}
        assert ("encoders" in trained) == (objective == "image")
        assert ("pyramid" in trained) == (objective == "regions")
