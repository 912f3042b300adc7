"""What can be added to methods that learn from pairs: each option changes one thing."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from dipole.cli import main
from dipole.data.text import MemoryTextSet
from dipole.errors import InputError
from dipole.losses import false_negative_mask, tuple_info_nce_loss
from dipole.methods.registry import get_method
from dipole.methods.text.debcse import DebCSE
from dipole.nn.text import encode_texts
from dipole.runs import RunConfig, load, train
from text_models import TEXTS, bert_folder, llama_folder

RECORDS = [{"text": text, "positive": TEXTS[i - 1], "negative": TEXTS[i - 2]} for i, text in enumerate(TEXTS)]

PLAIN: dict[str, dict[str, Any]] = {
    "multicsr": {"head": False, "false_negative_threshold": None},
    "contriever-finetune": {},  # by inner products
}
both = pytest.mark.parametrize("name", PLAIN)

NO_CANDIDATES = [f"--method.{name}=0" for name in ("neighbours", "word_neighbours", "random_candidates")]


def build(name: str = "multicsr", **options: Any) -> Any:
    torch.manual_seed(0)
    given = {"encoder": str(bert_folder()), "max_length": 24, "dropout": 0.0, "pooling": "mean"}
    return get_method(name)(**{**given, **PLAIN[name], **options})


def batch(method: Any) -> dict[str, Any]:
    views = method.build_views()(RECORDS, method.encoder.tokenizer, generator=torch.Generator().manual_seed(0))
    return {"views": views, "index": torch.arange(len(RECORDS))}


@both
def test_the_plain_method_is_its_loss(name: str) -> None:
    method = build(name)
    data = batch(method)
    tuples = method.embedded(data["views"])
    torch.testing.assert_close(
        method.loss_terms(data)["loss"], tuple_info_nce_loss(*tuples[:3], normalize=method.normalize)
    )


@both
def test_the_teacher_masks_what_it_finds_alike(name: str) -> None:
    method = build(name, false_negative_threshold=0.98)
    data = batch(method)
    tuples = method.embedded(data["views"])
    frozen = [rows.detach() for rows in (tuples.queries, tuples.positives, tuples.negatives.flatten(0, 1))]
    mask = false_negative_mask(frozen[0], torch.cat(frozen[1:]), threshold=0.98, positives=torch.arange(len(RECORDS)))
    terms = method.loss_terms(data)
    torch.testing.assert_close(
        terms["loss"], tuple_info_nce_loss(*tuples[:3], normalize=method.normalize, exclude=mask)
    )
    torch.testing.assert_close(terms["masked"], mask.float().mean())
    for parameter in method.encoder.parameters():
        parameter.data.add_(0.1)
    torch.testing.assert_close(method.loss_terms(data)["masked"], mask.float().mean())  # it stays as it was
    assert not any("teacher" in name for name in method.state_dict())


@both
def test_widths_are_averaged(name: str) -> None:
    method = build(name, matryoshka_dims=[16, 4])
    data = batch(method)
    tuples = method.embedded(data["views"])
    losses = [tuple_info_nce_loss(*tuples.cut(width)[:3], normalize=method.normalize) for width in (16, 4)]
    torch.testing.assert_close(method.loss_terms(data)["loss"], torch.stack(losses).mean())


@both
def test_distillation_adds_the_divergence(name: str) -> None:
    method = build(name, distillation_weight=2.0)
    data = batch(method)
    terms = method.loss_terms(data)
    assert terms["distillation"].abs() < 1e-5  # at first the teacher is the method
    for parameter in method.encoder.parameters():
        parameter.data.add_(0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)))
    terms = method.loss_terms(data)
    assert terms["distillation"] > 1e-4
    plain = tuple_info_nce_loss(*method.embedded(data["views"])[:3], normalize=method.normalize)
    torch.testing.assert_close(terms["loss"] - 2 * terms["distillation"], plain)


def test_no_text_stands_in_a_batch_twice() -> None:
    texts = MemoryTextSet([*RECORDS, *RECORDS])
    order = build(distinct=True).sampling(texts, len(RECORDS))
    assert order is not None
    drawn = order.draw(torch.Generator().manual_seed(0)) % len(RECORDS)
    assert sorted(drawn[: len(RECORDS)].tolist()) == list(range(len(RECORDS)))
    assert build().sampling(texts, 5) is None


def test_prompts_go_with_the_model(tmp_path: Path) -> None:
    from sentence_transformers import SentenceTransformer

    path = tmp_path / "pairs.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in RECORDS), encoding="utf-8")
    method = {"encoder": str(bert_folder()), "max_length": 24, "query_prompt": "find: ", "passage_prompt": "text: "}
    config = RunConfig("multicsr", data=str(path), batch_size=4, epochs=1, method=method)
    done = train(config, tmp_path / "run", monitor=False, progress=False)
    encoder: Any = load(done.path).encoder
    assert encoder.prompts == {"query": "find: ", "passage": "text: "}
    other = SentenceTransformer(str(done.model), device="cpu", local_files_only=True)
    for name in ("query", "passage"):
        theirs = other.encode(TEXTS, prompt_name=name, convert_to_tensor=True)
        torch.testing.assert_close(encode_texts(encoder, TEXTS, prompt=name), theirs, rtol=0, atol=1e-5)


def test_debcse_draws_positives_in_other_words() -> None:
    candidates = {"neighbours": 4, "word_neighbours": 0, "random_candidates": 0, "teacher_groups": 0}
    method = DebCSE(encoder=str(bert_folder()), max_length=24, **candidates)
    views: Any = method.build_views(positive_threshold=None, alpha=0.0)  # the wording alone
    views.texts = MemoryTextSet(TEXTS)
    table = method.refresh(torch.randn(5, 16, generator=torch.Generator().manual_seed(0)), torch.arange(5))
    assert table["candidates"].shape == (5, 4)
    assert not bool((table["candidates"] == torch.arange(5)[:, None]).any())
    likely = views.probabilities(table["semantic"], table["surface"], "positive")
    even = (likely > 0).float() / 4
    assert (likely * table["surface"]).sum() < (even * table["surface"]).sum()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"matryoshka_dims": [99]}, r"matryoshka_dims are \[99\]: expected widths from 1 to 16"),
        ({"matryoshka_dims": []}, "matryoshka_dims are"),
        ({"distillation_weight": -1.0}, "distillation_weight is -1"),
        ({"temperature": 0.0}, "temperature is 0"),
        ({"form": "official_bce", "scope": "own"}, "scope cannot be 'own'"),
    ],
)
@pytest.mark.usefixtures("unchecked")
def test_wrong_options(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        build(**options)


def test_a_teacher_that_reads_other_tokens_is_told_of_before_training() -> None:
    with pytest.raises(InputError, match="has another tokenizer than the encoder"):
        build(teacher=str(llama_folder()), false_negative_threshold=0.9).build_views()


@pytest.mark.parametrize(
    ("method", "flags", "message"),
    [
        ("multicsr", ["--data", "toy-sentences"], "expected 'question' and 'positive_ctxs' or 'text' and 'positive'"),
        ("nv-embed", ["--data", "toy-triplets"], "a bert cannot be made bidirectional"),
        ("debcse", NO_CANDIDATES, "no candidates"),
        ("debcse", ["--views.surface_epsilon", "0"], "surface_epsilon is 0"),
        ("cocitation-moe", ["--data", "toy-triplets", "--method.domains", "[law]"], "domain 'cooking' is none of"),
    ],
)
def test_wrong_input_is_one_line(
    method: str, flags: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["--method.encoder", str(bert_folder()), "--method.max_length", "16", "--epochs", "1"]
    given += ["--out", str(tmp_path / "run")]
    assert main(["train", method, *given, *flags]) == 2
    assert message in capsys.readouterr().err.strip().splitlines()[-1]
