"""One step of every text method on a small batch."""

import copy
import warnings
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from dipole.data.text import MemoryTextSet
from dipole.errors import InputError
from dipole.losses import (
    hard_negatives_info_nce_loss,
    info_nce_loss,
    multi_positive_info_nce_loss,
    nt_xent_loss,
)
from dipole.methods.registry import get_method, methods
from dipole.methods.text.contriever import collapse_monitors
from dipole.methods.text.embedding import SentenceEmbedding
from dipole.nn.text import DropHead, build_text_encoder
from text_models import TEXTS, Table, bert_folder, ids_batch, llama_folder

TEXT_METHODS = [name for name, cls in methods().items() if issubclass(cls, SentenceEmbedding)]
OPTIONS: dict[str, dict[str, Any]] = {
    "contriever": {"queue_size": 16},
    "whitenedcse": {"num_groups": 8},
    "debcse": {"neighbours": 2, "word_neighbours": 1, "random_candidates": 1, "teacher_groups": 0},
    "cocitation-moe": {"domains": ["law", "art"]},
    # An encoder that has learned nothing finds everything alike.
    "multicsr": {"false_negative_threshold": 0.9999, "pooling": "mean"},
    "nv-embed": {"num_latents": 4, "num_heads": 2, "lora_rank": 2, "lora_dropout": 0.0, "query_prompt": "Query: "},
}
PASSAGE_RECORDS = [
    {"question": text, "positive_ctxs": [{"text": TEXTS[i]}], "negative_ctxs": [{"text": TEXTS[i - 1]}]}
    for i, text in enumerate(TEXTS)
]


TRIPLETS = [
    {"text": text, "positive": TEXTS[i - 2], "negative": TEXTS[i - 1], "domain": ("law", "art")[i % 2]}
    for i, text in enumerate(TEXTS)
]
RECORDS: dict[str, list[dict[str, Any]]] = {
    "contriever-finetune": PASSAGE_RECORDS,
    "nv-embed": PASSAGE_RECORDS,
    "multicsr": TRIPLETS,
    "cocitation-moe": TRIPLETS,
    "curved-cl": [
        {"before": f"[O] [BEFORE] {text}", "after": f"[AFTER] {text}", "label": 0.2 * i} for i, text in enumerate(TEXTS)
    ],
}


def build(name: str, **options: Any) -> Any:
    torch.manual_seed(0)
    folder = str(llama_folder() if name == "nv-embed" else bert_folder())
    return get_method(name)(**{"encoder": folder, "max_length": 32, **OPTIONS.get(name, {}), **options})


def batch(method: Any, seed: int = 0) -> dict[str, Any]:
    records = RECORDS.get(method.card.name, [{"text": text} for text in TEXTS])
    generator = torch.Generator().manual_seed(seed)
    make, known = method.build_views(), {}
    if method.card.name == "debcse":
        make.texts = MemoryTextSet(TEXTS)
        table = torch.randn(5, 16, generator=torch.Generator().manual_seed(9))
        method.refreshed, known = method.refresh(table, torch.arange(5)), {"index": torch.arange(5)}
    views = make(records, method.encoder.tokenizer, generator=generator, **known)
    return {"views": views, "index": torch.arange(len(records))}


def without_dropout(name: str, **options: Any) -> Any:
    return build(name, dropout=0.0, **options)


def test_the_text_methods_are_there() -> None:
    assert set(TEXT_METHODS) == {
        "cocitation-moe",
        "contriever",
        "contriever-finetune",
        "contriever-in-batch",
        "curved-cl",
        "debcse",
        "mirror-bert",
        "multicsr",
        "nv-embed",
        "simcse",
        "whitenedcse",
    }
    assert all(get_method(name).domain == "text" for name in TEXT_METHODS)


@pytest.mark.parametrize("name", TEXT_METHODS)
def test_the_gradient_reaches_every_trained_parameter(name: str) -> None:
    method = build(name)
    terms = method.loss_terms(batch(method))
    assert all(value.ndim == 0 and value.isfinite() for value in terms.values())
    terms["loss"].backward()
    trained = {key for key, parameter in method.named_parameters() if parameter.requires_grad}
    assert {key for key, parameter in method.named_parameters() if parameter.grad is not None} == trained
    slow = {key for key, parameter in method.named_parameters() if not parameter.requires_grad}
    # Beside what follows slowly, the decoder to which adapters are added stays as it is.
    assert all(key.startswith("momentum_network.") or name == "nv-embed" for key in slow)


@pytest.mark.parametrize("name", TEXT_METHODS)
def test_a_few_steps_lower_the_loss(name: str) -> None:
    # Unit keys in the queue are too easy for embeddings that are longer.
    options: dict[str, Any] = {} if name == "curved-cl" else {"temperature": 0.5}
    method = without_dropout(name, **options, **({"normalize": True} if name == "contriever" else {}))
    data = batch(method)
    queue = copy.deepcopy(method.queue.state_dict()) if name == "contriever" else None
    permutations = {"permutations": torch.rand(3, 16).argsort(dim=1)} if name == "whitenedcse" else {}
    optimizer = torch.optim.Adam([p for p in method.parameters() if p.requires_grad], lr=1e-3)
    losses = []
    for _ in range(8):
        if queue is not None:
            method.queue.load_state_dict(queue)
        loss = method.loss_terms(data, **permutations)["loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]


@pytest.mark.parametrize("name", TEXT_METHODS)
def test_embeddings_are_those_of_the_encoder(name: str) -> None:
    method = build(name).eval()
    inputs = method.encoder.tokenizer(TEXTS, padding=True, return_tensors="pt", return_token_type_ids=False)
    with torch.inference_mode():
        z = method.embed(inputs)
        assert torch.equal(z, method.encoder(**inputs))
        assert z.shape == (5, 16)


@pytest.mark.parametrize("name", TEXT_METHODS)
def test_the_state_holds_all_that_the_next_step_needs(name: str) -> None:
    one, other = without_dropout(name), without_dropout(name)
    generator = torch.Generator().manual_seed(5)
    for parameter in one.parameters():
        parameter.data.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    one.loss_terms(batch(one))
    other.load_state_dict(one.state_dict())
    data = batch(one, seed=1)
    given = {"permutations": torch.rand(3, 16).argsort(dim=1)} if name == "whitenedcse" else {}
    torch.testing.assert_close(
        one.loss_terms(data, **given)["loss"], other.loss_terms(data, **given)["loss"], rtol=0, atol=0
    )


@pytest.mark.parametrize("name", [name for name in TEXT_METHODS if name != "whitenedcse"])
def test_encoding_in_chunks_changes_nothing(name: str) -> None:
    gradients = []
    for chunk_size in (None, 3):
        method = without_dropout(name, chunk_size=chunk_size).double()
        loss = method.loss_terms(batch(method))["loss"]
        loss.backward()
        gradients.append({key: p.grad for key, p in method.named_parameters() if p.grad is not None})
    for key, gradient in gradients[0].items():
        torch.testing.assert_close(gradients[1][key], gradient, msg=key)


def test_chunks_draw_dropout_once_for_both_passes() -> None:
    method = build("simcse", chunk_size=2).double()
    data = batch(method)
    torch.manual_seed(3)
    loss = method.loss_terms(data)["loss"]
    loss.backward()
    step = 1e-7
    with torch.no_grad():
        slope = sum(float(p.grad.square().sum()) for p in method.parameters())
        for parameter in method.parameters():
            parameter -= step * parameter.grad
        torch.manual_seed(3)
        change = float(method.loss_terms(data)["loss"] - loss)
    assert change == pytest.approx(-step * slope, rel=1e-3)


@pytest.mark.parametrize("name", ["simcse", "mirror-bert", "contriever", "contriever-in-batch"])
def test_a_static_encoder_can_be_trained(name: str) -> None:
    options: dict[str, Any] = {"pooling": "mean"} if name == "simcse" else {}
    method = build(name, encoder=f"static:{bert_folder()}", **options)
    data = batch(method)
    method.loss_terms(data)["loss"].backward()
    assert method.encoder.log_weight.grad.abs().max() > 0
    assert method.encoder.embeddings.weight.grad is None


def test_a_module_of_the_caller() -> None:
    built = build_text_encoder(str(bert_folder()), pooling="cls", max_length=16)
    method = build("mirror-bert", encoder=built)
    assert method.encoder is built
    assert method.encoder.pooling == "cls"
    assert method.build_views().max_length == 16


def test_simcse_trains_through_its_head() -> None:
    method = without_dropout("simcse")
    data = batch(method)
    z1, z2 = method.head(method.project(data["views"]))
    torch.testing.assert_close(method.loss_terms(data)["loss"], info_nce_loss(z1, z2, temperature=0.05))
    inputs = {key: values[0] for key, values in data["views"].items()}
    torch.testing.assert_close(method.embed(inputs, head=True), z1)
    assert not torch.allclose(method.embed(inputs), z1)
    plain = without_dropout("simcse", head=False)
    torch.testing.assert_close(plain.embed(inputs, head=True), plain.embed(inputs))


def test_mirror_bert_is_nt_xent_of_text_and_masked_text() -> None:
    method = without_dropout("mirror-bert", temperature=0.3)
    data = batch(method)
    z1, z2 = method.project(data["views"])
    torch.testing.assert_close(method.loss_terms(data)["loss"], nt_xent_loss(z1, z2, temperature=0.3))
    assert not torch.allclose(z1[:4], z2[:4])


def test_mirror_bert_with_drophead() -> None:
    method = without_dropout("mirror-bert", drophead=0.4)
    parts = [part for part in method.modules() if isinstance(part, DropHead)]
    assert [part.probability for part in parts] == [0.4, 0.4]
    inputs = {key: values[0] for key, values in batch(method)["views"].items()}
    assert not torch.equal(method.embed(inputs), method.embed(inputs))
    method.eval()
    assert torch.equal(method.embed(inputs), method.embed(inputs))


def test_mirror_bert_says_that_its_views_are_equal() -> None:
    method = without_dropout("mirror-bert")
    same = batch(method)
    same["views"] = {key: values[:1].expand(2, -1, -1) for key, values in same["views"].items()}
    with pytest.warns(UserWarning, match="both views of every text are the same"):
        method.loss_terms(same)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        method.loss_terms(same)  # once
        build("mirror-bert").loss_terms(same)  # dropout makes them differ


def test_whitenedcse_by_its_parts() -> None:
    method = without_dropout("whitenedcse", num_views=4, weights=[1.0, 0.5, 0.2], mode="inside_log")
    assert method.num_views == method.build_views().num_views == 4
    data = batch(method)
    permutations = torch.rand(4, 16).argsort(dim=1)
    z = method.head(method.whitening(method.project(data["views"]), permutations))
    expected = multi_positive_info_nce_loss(z[0], z[1:], weights=[1.0, 0.5, 0.2], mode="inside_log")
    torch.testing.assert_close(method.loss_terms(data, permutations=permutations)["loss"], expected)
    assert not torch.equal(method.loss_terms(data)["loss"], method.loss_terms(data)["loss"])


def test_whitenedcse_options_reach_the_whitening() -> None:
    method = build("whitenedcse", shuffle=False, whitening_eps=0.1, detach_whitening=False, layout="official")
    whitening = method.whitening
    assert (whitening.shuffle, whitening.eps, whitening.detach, whitening.layout) == (False, 0.1, False, "official")
    with pytest.raises(InputError, match=r"weights are \[1.0\]: expected 2, one for each positive"):
        build("whitenedcse", weights=[1.0])
    with pytest.raises(InputError, match="16 channels do not divide into num_groups=128: choose from"):
        build("whitenedcse", num_groups=128)


def test_contriever_meets_the_queue_as_it_was() -> None:
    method = without_dropout("contriever")
    data, before = batch(method), method.queue.entries.clone()
    queries = method.project(data["views"])[0]
    keys = method.project_keys(data["views"])[1]
    expected = info_nce_loss(queries, keys, before, temperature=0.05, normalize=False)
    loss = method.loss_terms(data)["loss"]
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(method.queue.entries[:5], keys)
    assert not torch.allclose(keys.norm(dim=1), torch.ones(5))
    loss.backward()  # the queue was written since
    assert method.similarity == "dot"


def test_contriever_with_cosines() -> None:
    method = without_dropout("contriever", normalize=True)
    assert method.similarity == "cosine"
    method.loss_terms(batch(method))
    torch.testing.assert_close(method.queue.entries.norm(dim=1), torch.ones(16))


def test_contrievers_keys_follow_slowly() -> None:
    method = build("contriever", encoder_momentum=0.75)
    slow = next(method.momentum_network.parameters())
    before = slow.clone()
    fast = next(method.encoder.parameters())
    fast.data.add_(1.0)
    method.on_train_batch_start(None, 0)
    torch.testing.assert_close(slow, before + 0.25)


@pytest.mark.parametrize("key_eval", [False, True])
def test_dropout_of_keys(key_eval: bool) -> None:
    method = build("contriever", dropout=0.3, key_eval=key_eval).train()
    views = batch(method)["views"]
    assert torch.equal(method.project_keys(views), method.project_keys(views)) == key_eval
    assert not torch.equal(method.project(views), method.project(views))
    method.eval().train()
    assert method.momentum_network.training != key_eval


def test_contriever_takes_a_batch_of_one() -> None:
    method = get_method("contriever")(encoder=Table(torch.eye(4)), queue_size=3)
    terms = method.loss_terms(ids_batch(torch.tensor([0]), torch.tensor([1])))
    assert all(value.isfinite() for value in terms.values())
    assert terms["query_std"] == 0


def test_contriever_in_the_batch() -> None:
    method = without_dropout("contriever-in-batch", label_smoothing=0.1)
    data = batch(method)
    queries, keys = method.project(data["views"])
    expected = info_nce_loss(queries, keys, temperature=0.05, label_smoothing=0.1, normalize=False)
    torch.testing.assert_close(method.loss_terms(data)["loss"], expected)


def test_contriever_with_relevant_passages() -> None:
    method = without_dropout("contriever-finetune")
    data = batch(method)
    views = data["views"]
    questions = method.encoder(views["query_input_ids"], views["query_attention_mask"])
    passages = method.encoder(views["passage_input_ids"], views["passage_attention_mask"])
    assert len(passages) == 10
    expected = hard_negatives_info_nce_loss(questions, passages[:5], passages[5:], normalize=False)
    torch.testing.assert_close(method.loss_terms(data)["loss"], expected)
    # Without negatives the batch is left.
    first = {key: values[:5] for key, values in views.items()}
    expected = info_nce_loss(questions, passages[:5], temperature=0.05, normalize=False)
    torch.testing.assert_close(method.loss_terms({**data, "views": first})["loss"], expected)
    assert not method.compares_views


@pytest.mark.parametrize("negatives", [0, 1])
def test_label_smoothing_spreads_over_all_passages(negatives: int) -> None:
    method = without_dropout("contriever-finetune", label_smoothing=0.1)
    data = batch(method)
    rows = slice(0, 5 * (1 + negatives))
    views = {key: values[rows] if key.startswith("passage") else values for key, values in data["views"].items()}
    tuples = method.embedded(views)
    candidates = torch.cat([tuples.positives, tuples.negatives.flatten(0, 1)])
    logits = tuples.queries @ candidates.T / 0.05
    expected = F.cross_entropy(logits, torch.arange(5), label_smoothing=0.1)
    torch.testing.assert_close(method.loss_terms({**data, "views": views})["loss"], expected)
    for options in ({"scope": "own"}, {"false_negative_threshold": 0.9}):
        with pytest.raises(InputError, match="label_smoothing is"):
            without_dropout("contriever-finetune", label_smoothing=0.1, **options)


def test_passages_that_fill_up_do_not_count() -> None:
    method = without_dropout("contriever-finetune")
    data = batch(method)
    expected = method.loss_terms({**data, "views": {key: values[:5] for key, values in data["views"].items()}})
    data["views"]["passage_valid"][5:] = False
    for key, value in method.loss_terms(data).items():
        torch.testing.assert_close(value, expected[key])


def test_collapse_is_seen() -> None:
    z = F.normalize(torch.randn(50, 8, generator=torch.Generator().manual_seed(0)), dim=1)
    found = collapse_monitors(z, z, z, chunk=7)
    assert found["accuracy"] == 100
    torch.testing.assert_close(found["query_std"], z.std(dim=0).mean())
    wrong = collapse_monitors(z, z.roll(1, dims=0), z)
    assert wrong["accuracy"] < 10
    constant = torch.ones(50, 8)
    assert collapse_monitors(constant, constant, constant)["key_std"] == 0


RECIPES: dict[str, dict[str, Any]] = {
    "simcse": {"learning_rate": 3e-5, "weight_decay": 0.0, "schedule": "linear", "pooling": "cls", "max_length": 32},
    "whitenedcse": {"learning_rate": 1e-5, "weight_decay": 0.0, "temperature": 0.05, "max_length": 32},
    "mirror-bert": {"learning_rate": 2e-5, "weight_decay": 0.01, "schedule": "constant", "temperature": 0.04},
    "contriever": {"learning_rate": 5e-5, "adam_beta2": 0.98, "adam_epsilon": 1e-6, "schedule": "linear"},
    "contriever-finetune": {"learning_rate": 1e-5, "temperature": 0.05, "weight_decay": 0.01},
    "debcse": {"learning_rate": 3e-5, "temperature": 0.05},
    "multicsr": {"learning_rate": 5e-5, "temperature": 0.05, "max_length": 32, "false_negative_threshold": 0.95},
    "nv-embed": {"learning_rate": 2e-5, "lora_rank": 16, "lora_alpha": 32.0, "lora_dropout": 0.1, "num_latents": 512},
    "cocitation-moe": {"learning_rate": 1e-4, "temperature": 0.05, "router": "enforced", "max_length": 512},
    "curved-cl": {"learning_rate": 2e-5, "weight_decay": 0.01, "window": 5, "speaker_tokens": True},
}


@pytest.mark.parametrize("name", RECIPES)
def test_defaults_are_those_of_the_paper(name: str) -> None:
    arguments = get_method(name).arguments()
    for key, value in RECIPES[name].items():
        assert arguments[key].default == value, key
    assert arguments["optimizer"].default == "adamw"
