"""A text model is the same model wherever it is opened: here, in sentence-transformers, as the start of another run."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch

from dipole.cli import main
from dipole.errors import InputError
from dipole.nn.text import TextEncoder, build_text_encoder, encode_texts, new_bert
from dipole.nn.text.build import own_settings
from dipole.runs import RunConfig, load, train
from dipole.runs.search import search

TEXTS = ["a few words about birds", "birds", "the sea", "birds and the sea and the wind that blows " * 6]


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    return new_bert(TEXTS, tmp_path_factory.mktemp("bert"), width=16, layers=2, max_length=128)


def changed(folder: Path, target: Path, file: str, **entries: Any) -> Path:
    """A copy of a folder in which a JSON file says something else."""
    shutil.copytree(folder, target, dirs_exist_ok=True)
    path = target / file
    content = json.loads(path.read_text()) if path.is_file() else {}
    path.write_text(json.dumps(content | entries))
    return target


def gap(run: Any) -> float:
    """The largest difference between dipole's embeddings and those of sentence-transformers."""
    from sentence_transformers import SentenceTransformer

    mine = encode_texts(load(run.path).encoder, TEXTS)  # type: ignore[arg-type]
    theirs = SentenceTransformer(str(run.model), device="cpu", local_files_only=True).encode(TEXTS, batch_size=4)
    return float((mine - torch.tensor(theirs)).abs().max())


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("pooling", ["cls", "mean", "last"])
def test_either_side_of_padding_every_pooling_and_long_texts(
    side: str, pooling: str, bert: Path, tmp_path: Path
) -> None:
    encoder = changed(bert, tmp_path / "bert", "tokenizer_config.json", padding_side=side)
    (tmp_path / "texts.txt").write_text("\n".join(TEXTS * 4))
    method = {"encoder": str(encoder), "pooling": pooling, "max_length": 12}
    config = RunConfig("simcse", data=str(tmp_path / "texts.txt"), epochs=1, batch_size=8, method=method)
    assert gap(train(config, tmp_path / "run", monitor=False, progress=False)) < 1e-5


@pytest.mark.parametrize("side", ["left", "right"])
def test_a_static_encoder_keeps_its_length_and_the_side_that_is_cut(side: str, bert: Path, tmp_path: Path) -> None:
    encoder = changed(bert, tmp_path / "bert", "tokenizer_config.json", truncation_side=side)
    (tmp_path / "texts.txt").write_text("\n".join(TEXTS * 4))
    method = {"encoder": f"static:{encoder}", "max_length": 6}
    config = RunConfig("mirror-bert", data=str(tmp_path / "texts.txt"), epochs=1, batch_size=8, method=method)
    assert gap(train(config, tmp_path / "run", monitor=False, progress=False)) < 1e-5


def test_a_folder_of_sentence_transformers_keeps_what_it_says(bert: Path, tmp_path: Path) -> None:
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.modules import Normalize, Transformer
    from sentence_transformers.sentence_transformer.modules import Pooling

    modules = [Transformer(str(bert), max_seq_length=20), Pooling(16, pooling_mode="lasttoken"), Normalize()]
    prompts = {"query": "birds: ", "passage": "sea: "}
    theirs = SentenceTransformer(modules=modules, prompts=prompts, default_prompt_name="query", device="cpu")
    theirs.save(str(tmp_path / "model"))
    found = own_settings(str(tmp_path / "model"))
    assert (found["pooling"], found["unit_length"], found["max_length"]) == ("last", True, 20)
    encoder = build_text_encoder(str(tmp_path / "model"), pooling="mean", max_length=128)
    torch.testing.assert_close(encode_texts(encoder, TEXTS), torch.tensor(theirs.encode(TEXTS)), atol=1e-5, rtol=0)
    (tmp_path / "texts.txt").write_text("\n".join(TEXTS * 4))
    method = {"encoder": str(tmp_path / "model")}
    config = RunConfig("simcse", data=str(tmp_path / "texts.txt"), epochs=1, batch_size=8, method=method)
    run = train(config, tmp_path / "run", monitor=False, progress=False)
    assert gap(run) < 1e-5
    stored = json.loads((run.model / "config_sentence_transformers.json").read_text())
    assert stored["prompts"]["query"] == "birds: "


def test_prompts_that_are_left_out_of_the_pooling_are_refused(bert: Path, tmp_path: Path) -> None:
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.modules import Transformer
    from sentence_transformers.sentence_transformer.modules import Pooling

    for name, prompts in (("with", {"query": "birds: "}), ("without", None)):
        modules = [Transformer(str(bert)), Pooling(16, pooling_mode="mean", include_prompt=False)]
        SentenceTransformer(modules=modules, prompts=prompts, device="cpu").save(str(tmp_path / name))
    with pytest.raises(InputError, match="leaves the tokens of its prompts out of the pooling"):
        build_text_encoder(str(tmp_path / "with"))
    assert build_text_encoder(str(tmp_path / "without")).pooling == "mean"


def test_a_module_that_dipole_does_not_compute_is_refused(bert: Path, tmp_path: Path) -> None:
    shutil.copytree(bert, tmp_path / "model")
    modules = [
        {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
        {"idx": 1, "name": "1", "path": "1_Dense", "type": "sentence_transformers.models.Dense"},
    ]
    (tmp_path / "model" / "modules.json").write_text(json.dumps(modules))
    with pytest.raises(InputError, match="module 'Dense', which dipole does not compute"):
        build_text_encoder(str(tmp_path / "model"))


def test_a_causal_encoder_takes_the_last_token_and_needs_no_padding_token(bert: Path) -> None:
    from transformers import GPT2Config, GPT2Model

    tokenizer = build_text_encoder(str(bert), max_length=32).tokenizer
    tokenizer.pad_token = None
    sizes = {"vocab_size": len(tokenizer), "n_positions": 64, "n_embd": 16, "n_layer": 2, "n_head": 2}
    model = GPT2Model(GPT2Config(**sizes))
    with pytest.raises(InputError, match="use 'last'"):
        TextEncoder(model, tokenizer, pooling="cls", max_length=16)
    encoder = TextEncoder(model, tokenizer, pooling="last", max_length=16)
    together = encode_texts(encoder, TEXTS)
    alone = torch.cat([encode_texts(encoder, [text]) for text in TEXTS])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=0)
    assert float((together[0] - together[1]).abs().max()) > 1e-2


def test_a_search_finds_what_the_texts_say_now(bert: Path, tmp_path: Path) -> None:
    lines = ["birds navigate by the stars", "the sea is deep", "words about wind"]
    (tmp_path / "texts.txt").write_text("\n".join(lines * 8))
    config = RunConfig(
        "simcse",
        data=str(tmp_path / "texts.txt"),
        epochs=1,
        batch_size=8,
        method={"encoder": str(bert), "pooling": "mean"},
    )
    run = train(config, tmp_path / "run", monitor=False, progress=False)
    corpus = tmp_path / "corpus"
    corpus.mkdir()

    def best(texts: list[str]) -> str:
        rows = [json.dumps({"_id": f"d{row}", "title": "", "text": text}) for row, text in enumerate(texts)]
        (corpus / "corpus.jsonl").write_text("\n".join(rows) + "\n")
        times = (corpus / "corpus.jsonl").stat()
        os.utime(corpus / "corpus.jsonl", ns=(times.st_atime_ns, 10**18))  # as a copy that keeps its time
        return search(run.path, str(corpus), [lines[0]], k=1)[0][0].id

    assert best(lines) == "d0"
    assert best(lines[::-1]) == "d2"
    index = next((run.path / "indexes").rglob("index.json"))
    before = index.stat().st_mtime_ns
    assert best(lines[::-1]) == "d2"
    assert index.stat().st_mtime_ns == before, "nothing has changed, nothing is embedded"
    tokenizer = run.model / "tokenizer_config.json"
    tokenizer.write_text(tokenizer.read_text() + "\n")
    assert best(lines[::-1]) == "d2"
    assert index.stat().st_mtime_ns > before, "another tokenizer gives other embeddings"


def test_the_column_of_a_table_is_a_choice(bert: Path, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("text,body\n" + "".join(f"wrong {i},the sea {i}\n" for i in range(16)))
    out = str(tmp_path / "run")
    flags = ["--method.encoder", str(bert), "--epochs", "1", "--batch_size", "8", "--loading.column", "body"]
    assert main(["train", "simcse", "--data", str(tmp_path / "t.csv"), *flags, "--out", out]) == 0
    assert main(["embed", out, str(tmp_path / "t.csv"), "--out", str(tmp_path / "e.parquet")]) == 0
    assert pq.read_table(tmp_path / "e.parquet")["text"][0].as_py() == "the sea 0"
    assert main(["embed", out, str(tmp_path / "t.csv"), "--column", "text", "--out", str(tmp_path / "e.parquet")]) == 0
    assert pq.read_table(tmp_path / "e.parquet")["text"][0].as_py() == "wrong 0"
    assert search(out, str(tmp_path / "t.csv"), ["the sea"], k=1)[0][0].text.startswith("the sea")


def test_a_folder_that_makes_its_texts_lower_case_reads_them_so(bert: Path, tmp_path: Path) -> None:
    from sentence_transformers import SentenceTransformer

    texts = ["The SEA and Birds", "the sea and birds"]
    cased = changed(bert, tmp_path / "cased", "tokenizer_config.json", do_lower_case=False)
    content = json.loads((cased / "tokenizer.json").read_text())
    content["normalizer"] = None
    (cased / "tokenizer.json").write_text(json.dumps(content))
    SentenceTransformer(str(cased), device="cpu").save(str(tmp_path / "plain"))
    plain = encode_texts(build_text_encoder(str(tmp_path / "plain")), texts)
    assert float((plain[0] - plain[1]).abs().max()) > 1e-3
    lower = changed(tmp_path / "plain", tmp_path / "lower", "sentence_bert_config.json", do_lower_case=True)
    encoder = build_text_encoder(str(lower))
    torch.testing.assert_close(encode_texts(encoder, texts), plain[[1, 1]], atol=1e-6, rtol=0)


def test_positions_that_a_model_never_uses_are_no_part_of_its_length(bert: Path, tmp_path: Path) -> None:
    from transformers import AutoTokenizer, RobertaConfig, RobertaModel

    tokenizer = AutoTokenizer.from_pretrained(bert)
    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
    config = RobertaConfig(vocab_size=len(tokenizer), max_position_embeddings=18, pad_token_id=1, **sizes)
    model = RobertaModel(config, add_pooling_layer=False)
    tokenizer.model_max_length = 10**30
    with pytest.raises(InputError, match="max_length is 17: the encoder has positions for 16 tokens"):
        TextEncoder(model, tokenizer, max_length=17)
    assert encode_texts(TextEncoder(model, tokenizer, max_length=16), TEXTS).isfinite().all()


def test_a_folder_that_was_never_trained_here_embeds_a_file(bert: Path, tmp_path: Path) -> None:
    (tmp_path / "texts.txt").write_text("\n".join(TEXTS))
    before = sorted(path.name for path in bert.iterdir())
    out = tmp_path / "e.parquet"
    assert main(["embed", str(bert), str(tmp_path / "texts.txt"), "--out", str(out)]) == 0
    table = pq.read_table(out)
    assert table["text"].to_pylist() == TEXTS
    mine = encode_texts(build_text_encoder(str(bert), max_length=128), TEXTS)
    torch.testing.assert_close(torch.tensor(table["vector"].to_pylist()), mine, atol=1e-5, rtol=0)
    assert sorted(path.name for path in bert.iterdir()) == before
