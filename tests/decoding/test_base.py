import pytest
import torch

from decoding.tiny import gpt2, left_padded, prompts
from dipole.card import Card
from dipole.decoding import BeamSearch, Decoder, Greedy, NucleusSampling, decoders, get_decoder
from dipole.errors import InputError


def test_every_decoder_is_found_by_its_card() -> None:
    assert set(decoders()) >= {"adacad", "beam", "cad", "contrastive-search", "greedy", "nucleus"}
    for name, decoder in decoders().items():
        assert isinstance(decoder.card, Card)
        assert decoder.card.name == name
        assert decoder.card.field == "language"
        assert issubclass(decoder, Decoder)
        assert isinstance(decoder().settings(), dict)


def test_an_unknown_name() -> None:
    with pytest.raises(InputError, match="Did you mean 'nucleus'"):
        get_decoder("nuclus")
    with pytest.raises(InputError, match="There are adacad, beam"):
        get_decoder("zzz")


def test_greedy_and_beam_search_are_those_of_transformers() -> None:
    model = gpt2()
    ids, mask = left_padded(prompts(4))
    rest = {"attention_mask": mask, "max_new_tokens": 8}
    assert torch.equal(Greedy().generate(model, ids, **rest), model.generate(ids, do_sample=False, **rest))
    beams = BeamSearch(num_beams=3).generate(model, ids, **rest)
    assert torch.equal(beams, model.generate(ids, do_sample=False, num_beams=3, **rest))


def test_a_seed_repeats_a_sample_and_leaves_the_random_state() -> None:
    model = gpt2()
    ids, mask = left_padded(prompts(4))
    state = torch.get_rng_state()
    first, again, other = (
        NucleusSampling().generate(model, ids, attention_mask=mask, max_new_tokens=8, seed=seed) for seed in (3, 3, 4)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(torch.get_rng_state(), state)


def test_a_small_nucleus_is_greedy() -> None:
    model = gpt2()
    ids, mask = left_padded(prompts(4))
    rest = {"attention_mask": mask, "max_new_tokens": 8}
    sampled = NucleusSampling(top_p=1e-6).generate(model, ids, seed=0, **rest)
    assert torch.equal(sampled, Greedy().generate(model, ids, **rest))


def test_wrong_arguments() -> None:
    with pytest.raises(InputError, match="num_beams is 1"):
        BeamSearch(num_beams=1)
    with pytest.raises(InputError, match="top_p is 0"):
        NucleusSampling(top_p=0.0)
    with pytest.raises(InputError, match="sampling_temperature"):
        NucleusSampling(sampling_temperature=0.0)
