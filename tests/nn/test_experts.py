"""Experts, domains, and a folder that holds them."""

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModel

from dipole.errors import InputError
from dipole.nn.text import DomainEncoder, MixtureOfExperts, build_text_encoder, encode_texts, extend_to_experts
from dipole.runs import RunConfig, load, train
from text_models import TEXTS, bert_folder

SIZES = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 4, "vocab_size": 40}
KINDS: dict[str, dict[str, Any]] = {
    "bert": SIZES,
    "roberta": SIZES,
    "mpnet": SIZES,
    "modernbert": {
        **SIZES,
        "pad_token_id": 0,
        "cls_token_id": 1,
        "sep_token_id": 2,
        "bos_token_id": 1,
        "eos_token_id": 2,
    },
    "distilbert": {"dim": 16, "hidden_dim": 24, "n_layers": 2, "n_heads": 4, "vocab_size": 40},
    "llama": SIZES,
}
DOMAINS = ["law", "art"]


@pytest.mark.parametrize("kind", KINDS)
def test_an_extended_model_begins_as_the_one_it_was(kind: str) -> None:
    torch.manual_seed(0)
    model = AutoModel.from_config(AutoConfig.for_model(kind, **KINDS[kind])).eval()
    ids = torch.tensor([[5, 6, 7, 8], [9, 10, 11, 12]])
    with torch.inference_mode():
        before = model(input_ids=ids).last_hidden_state
        routing = extend_to_experts(model, 3)
        routing.start(torch.tensor([2, 0]))
        torch.testing.assert_close(model(input_ids=ids).last_hidden_state, before)
    assert sum(isinstance(module, MixtureOfExperts) for module in model.modules()) == 2


def test_only_the_expert_of_a_domain_counts() -> None:
    mixture = MixtureOfExperts(torch.nn.Linear(4, 4), 3, width=4)
    x = torch.randn(3, 5, 4)
    mixture.routing.start(torch.tensor([0, 2, 0]))
    before = mixture(x)
    torch.nn.init.zeros_(mixture.experts[2].weight)
    torch.nn.init.zeros_(mixture.experts[1].weight)
    after = mixture(x)
    assert torch.equal(after[[0, 2]], before[[0, 2]])
    assert not torch.equal(after[1], before[1])


def test_a_text_is_of_the_domain_that_its_first_token_says() -> None:
    torch.manual_seed(0)
    plain = build_text_encoder(str(bert_folder()), max_length=16)
    encoder = DomainEncoder(plain.backbone, plain.tokenizer, domains=DOMAINS, max_length=16).eval()
    torch.nn.init.normal_(encoder.backbone.encoder.layer[0].intermediate.experts[1][1].weight)
    law = encode_texts(encoder, TEXTS)
    encoder.default_domain = "art"
    assert not torch.allclose(encode_texts(encoder, TEXTS), law)
    table = encoder.backbone.get_input_embeddings().weight
    assert torch.equal(table[encoder.first_id], table[encoder.tokenizer.cls_token_id])


def test_a_folder_holds_all_experts(tmp_path: Path) -> None:
    method = {"encoder": str(bert_folder()), "max_length": 16, "learning_rate": 1e-2}
    method |= {"domains": ["cooking", "music", "medicine", "sailing", "farming", "football"]}
    config = RunConfig("cocitation-moe", data="toy-triplets", epochs=1, batch_size=128, method=method)
    done = train(config, tmp_path / "run", monitor=False, progress=False)
    first: Any = load(done.path).encoder
    again: Any = load(done.model).encoder
    vectors = {}
    for domain in ("cooking", "football"):
        first.default_domain = again.default_domain = domain
        vectors[domain] = encode_texts(first, TEXTS)
        assert torch.equal(encode_texts(again, TEXTS), vectors[domain])
    assert not torch.allclose(vectors["cooking"], vectors["football"])
    # Nothing that would open the folder without its experts finds a model in it.
    assert not (done.model / "config.json").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "domains are missing"),
        ({"domains": ["a", "a"]}, "different names"),
        ({"domains": ["a"], "router": "best"}, "router is 'best'"),
        ({"domains": ["a"], "router": "sentence_top_k", "top_k": 2}, "top_k is 2"),
    ],
)
@pytest.mark.usefixtures("unchecked")
def test_wrong_input(options: dict[str, Any], message: str) -> None:
    from dipole.methods.text.cocitation_moe import CoCitationMoE

    with pytest.raises(InputError, match=message):
        CoCitationMoE(encoder=str(bert_folder()), max_length=16, **options)


def test_domains_without_an_expert_are_refused() -> None:
    mixture = MixtureOfExperts(torch.nn.Linear(4, 4), 2, width=4)
    with pytest.raises(InputError, match="domains are missing"):
        mixture(torch.zeros(1, 2, 4))
    mixture.routing.start(torch.tensor([2]))
    with pytest.raises(InputError, match="a domain is 2: there are 2 experts"):
        mixture(torch.zeros(1, 2, 4))
