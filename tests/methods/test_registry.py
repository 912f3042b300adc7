"""Cards, names and constructor arguments of all methods."""

import inspect

import pytest
import torch

from dipole.errors import InputError
from dipole.methods.base import Method
from dipole.methods.registry import get_method, methods
from dipole.methods.vision.cacr import CACRMoCo

METHODS = methods()


def test_the_methods_of_the_three_papers_are_there() -> None:
    expected = {"cacr", "cacr-moco", "cacr-moco-v3", "dcl", "dclw", "dcl-moco", "hard-contrastive", "simclr", "moco"}
    assert expected <= set(METHODS)
    assert list(METHODS) == sorted(METHODS)


@pytest.mark.parametrize("name", METHODS)
def test_a_card_says_what_the_method_is(name: str) -> None:
    cls = METHODS[name]
    card = cls.card
    assert get_method(name) is cls
    assert card.name == name
    assert card.equations
    assert 1990 < card.year < 2100
    for text in (card.slug, card.title, card.authors, card.venue, card.arxiv, card.field, card.summary):
        assert text.strip()
    assert card.summary.endswith(".")
    assert cls.__module__.startswith(f"dipole.methods.{card.field}.")
    documentation = inspect.getdoc(cls)
    assert documentation is not None
    own = inspect.signature(vars(cls)["__init__"]).parameters if "__init__" in vars(cls) else {}
    assert all(f"{key}:" in documentation for key, p in own.items() if p.kind is p.KEYWORD_ONLY)


@pytest.mark.parametrize("name", METHODS)
def test_every_argument_has_a_type_and_a_default(name: str) -> None:
    for key, parameter in METHODS[name].arguments().items():
        assert parameter.annotation is not parameter.empty, key
        # What a method wraps is named by the settings; `default_base` stands for it.
        assert parameter.default is not parameter.empty or key == "base", key


def test_arguments_of_the_bases_are_found() -> None:
    arguments = CACRMoCo.arguments()
    for key in ("queue_size", "encoder_momentum", "projection_dim", "learning_rate"):
        assert key in arguments
    assert "options" not in arguments
    assert arguments["t_negative"].default == 2.0


@pytest.mark.parametrize(
    ("name", "message"),
    [("simcl", "there is no method 'simcl'. Did you mean 'simclr'?"), ("xyz", "`dipole methods` lists them")],
)
def test_names_that_are_none(name: str, message: str) -> None:
    with pytest.raises(InputError, match=message.replace("?", r"\?")):
        get_method(name)


def test_a_method_must_say_what_it_minimises() -> None:
    method = Method()
    with pytest.raises(NotImplementedError, match="loss_terms"):
        method.loss_terms({})
    with pytest.raises(NotImplementedError, match="embed"):
        method.embed(torch.zeros(1))
