"""A text method through all verbs, with a BERT of random weights."""

import json
import shutil

import pyarrow.parquet as pq
import pytest
import torch

from dipole.data.text import MemoryTextSet, load_texts
from dipole.errors import InputError
from dipole.nn.text import encode_texts, new_bert
from dipole.runs import Run, RunConfig, load, train
from dipole.runs.embed import embed_to_parquet
from dipole.runs.evaluate import evaluate
from dipole.runs.look import analyse_temperatures, report
from dipole.runs.search import search

TEXTS = ["a man plays the guitar", "", "two dogs run across a field of grass", "one", "a woman is slicing an onion"]


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    texts = [record["text"] for record in load_texts("toy-sentences").sample(500)]
    return str(new_bert(texts, tmp_path_factory.mktemp("bert"), width=16, layers=1, vocabulary=400, max_length=32))


def settings(encoder, name="simcse", **changes):
    options = {"encoder": encoder, "max_length": 32, **changes.pop("method", {})}
    return RunConfig(name, batch_size=64, epochs=changes.pop("epochs", 1), method=options, **changes)


@pytest.fixture(scope="module")
def run(encoder, tmp_path_factory):
    copied = tmp_path_factory.mktemp("copy") / "bert"
    shutil.copytree(encoder, copied)
    done = train(settings(str(copied)), tmp_path_factory.mktemp("runs") / "run", progress=False)
    shutil.rmtree(copied)  # a model needs nothing but its folder
    return done


def test_a_run_has_its_files(run):
    names = {path.name for path in run.model.iterdir()}
    assert {"dipole.json", "config.json", "model.safetensors", "modules.json", "tokenizer.json", "README.md"} <= names
    assert run.settings().data == "toy-sentences"
    entries = json.loads(run.diagnostics.read_text())["epochs"]
    assert entries[-1]["positive"]["mean"] > entries[-1]["negative"]["mean"]


@pytest.mark.parametrize("pooling", ["cls", "mean", "static"])
def test_sentence_transformers_gives_the_same_embeddings(encoder, pooling, tmp_path):
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.evaluation import EmbeddingSimilarityEvaluator

    name = f"static:{encoder}" if pooling == "static" else encoder
    method = {"pooling": "mean" if pooling == "static" else pooling}
    done = train(settings(name, method=method), tmp_path / "run", monitor=False, progress=False)
    other = SentenceTransformer(str(done.model), device="cpu", local_files_only=True)
    texts = [*TEXTS, "word " * 100]
    ours = encode_texts(load(done.path).encoder, texts)
    theirs = other.encode(texts, convert_to_tensor=True)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-5)
    evaluator = EmbeddingSimilarityEvaluator(texts[2:], texts[:4], [0.1, 0.5, 0.9, 0.3], show_progress_bar=False)
    assert -1 <= evaluator(other)["spearman_cosine"] <= 1


def test_a_pooling_that_sentence_transformers_lacks_is_stored_for_transformers(encoder, tmp_path):
    from transformers import AutoModel

    config = settings(encoder, method={"pooling": "first_last_average"})
    done = train(config, tmp_path / "run", monitor=False, progress=False)
    assert not (done.model / "modules.json").exists()
    AutoModel.from_pretrained(done.model, local_files_only=True)
    assert encode_texts(load(done.path).encoder, TEXTS).shape == (5, 16)


def test_evaluate(run):
    result = evaluate(run.path)
    assert result.protocols == ("toy-sts", "alignment", "uniformity", "ndcg@10", "recall@100", "mrr@10")
    assert [row["encoder"] for row in result.rows] == ["trained", "BM25"]  # what it started from is gone
    assert set(result.rows[1]) == {"encoder", "ndcg@10", "recall@100", "mrr@10"}
    assert result.settings["untrained"] == "left out: its encoder cannot be opened any more"
    assert result.data == "toy-sts, toy-retrieval"
    assert json.loads(run.evaluation.read_text())["rows"][0]["toy-sts"] == result.rows[0]["toy-sts"]


def test_training_changes_what_evaluate_measures(encoder, tmp_path):
    # The first token of a small random network says nothing of its text, and a rate for large ones moves nothing.
    method = {"pooling": "mean", "learning_rate": 1e-3}
    done = train(settings(encoder, epochs=2, method=method), tmp_path / "run", monitor=False, progress=False)
    trained, untrained = evaluate(done.path, protocols=["sts"]).rows
    assert untrained["encoder"] == "untrained"
    assert trained["uniformity"] < untrained["uniformity"]


def test_a_protocol_of_images_is_refused(run):
    with pytest.raises(InputError, match="no protocol 'knn': choose from sts, retrieval"):
        evaluate(run.path, protocols=["knn"])


def test_embed(run, tmp_path):
    file = tmp_path / "texts.txt"
    file.write_text("one text\n\nanother text\n", encoding="utf-8")
    result = embed_to_parquet(run.path, str(file), tmp_path / "e.parquet")
    table = pq.read_table(result.path)
    assert table.column("text").to_pylist() == ["one text", "another text"]
    assert [reason for _, reason in result.skipped] == ["1 line without text (first: line 2)"]
    expected = encode_texts(load(run.model).encoder, ["one text", "another text"])
    torch.testing.assert_close(torch.tensor(table.column("vector").to_pylist()), expected)


def test_report(run):
    page = report(run.path).read_text()
    text = load_texts("toy-sentences").sample(1500)[0]["text"]
    assert text in page
    assert '<option value="0">topic' in page or ">topic<" in page or '"name":"topic"' in page
    assert "share the label of the sample" in page


def test_temperatures_are_analysed_of_images_only(run):
    with pytest.raises(InputError, match="not compare views of images"):
        analyse_temperatures(run.path, [0.1])


def test_search_keeps_an_index_until_the_corpus_changes(run, tmp_path):
    corpus, index = tmp_path / "corpus.txt", tmp_path / "index"
    corpus.write_text("\n".join(TEXTS[2:]), encoding="utf-8")
    (hits,) = search(run.path, str(corpus), [TEXTS[4]], k=2, index=index)
    assert (hits[0].text, hits[0].rank, len(hits)) == (TEXTS[4], 1, 2)
    assert hits[0].score == pytest.approx(1, abs=1e-5)
    written = (index / "vectors.npy").stat().st_mtime_ns
    search(run.path, str(corpus), ["one"], index=index)
    assert (index / "vectors.npy").stat().st_mtime_ns == written
    corpus.write_text("something else entirely\n", encoding="utf-8")
    (hits,) = search(run.path, str(corpus), [TEXTS[4]], index=index)
    assert [hit.text for hit in hits] == ["something else entirely"]


def test_search_refuses_what_it_cannot_search(run, tmp_path):
    corpus = tmp_path / "corpus.txt"
    corpus.write_text("a text\n", encoding="utf-8")
    for k, queries in ((0, ["one"]), (1, [" "]), (1, [])):
        with pytest.raises(InputError, match="expected k of 1 or more"):
            search(run.path, str(corpus), queries, k=k)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.tex").write_text("dear to me")
    with pytest.raises(InputError, match="holds other files than an index"):
        search(run.path, str(corpus), ["one"], index=tmp_path / "other")
    assert (tmp_path / "other" / "thesis.tex").read_text() == "dear to me"


def test_a_run_without_texts_cannot_be_searched(tmp_path):
    images = RunConfig("simclr", epochs=1, batch_size=512, method={"encoder": "convnet4-2"})
    done = train(images, tmp_path / "run", monitor=False, progress=False)
    with pytest.raises(InputError, match="embeds no texts"):
        search(done.path, "toy-retrieval", ["one"])


@pytest.mark.parametrize("name", ["simcse", "mirror-bert", "whitenedcse", "contriever", "contriever-in-batch"])
def test_a_stopped_run_ends_as_an_uninterrupted_one(encoder, name, tmp_path, monkeypatch):
    import dipole.runs.saving

    options = {"num_groups": 4} if name == "whitenedcse" else {}
    options |= {"queue_size": 128} if name == "contriever" else {}
    config = settings(encoder, name, epochs=2, method=options)
    texts = MemoryTextSet([record["text"] for record in load_texts("toy-sentences").sample(200)])
    whole = train(config, tmp_path / "whole", sets=texts, progress=False)
    save = dipole.runs.saving.LastCheckpoint.on_train_epoch_end

    def stop(self, trainer, *rest):
        save(self, trainer, *rest)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(dipole.runs.saving.LastCheckpoint, "on_train_epoch_end", stop)
        with pytest.raises(KeyboardInterrupt):
            train(config, tmp_path / "stopped", sets=texts, progress=False)
    train(config, tmp_path / "stopped", sets=texts, resume=True, progress=False)
    for file in ("model/model.safetensors", "model/method.safetensors", "metrics.csv", "diagnostics.json"):
        assert (Run(tmp_path / "stopped").path / file).read_bytes() == (whole.path / file).read_bytes(), file


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"data": "toy-sentence"}, "Did you mean 'toy-sentences'"),
        ({"loading": {"column": "text"}}, "needs no column"),
        ({"method": {"encoder": "no/such/folder/here"}}, "cannot open the encoder"),
        ({"method": {"temperature": 0.0}}, "temperature"),
        ({"views": {"nonsense": 1}}, "views have no argument 'nonsense'"),
    ],
)
def test_mistakes_are_told_and_leave_nothing(encoder, changes, message, tmp_path):
    with pytest.raises(InputError, match=message):
        train(settings(encoder, **changes), tmp_path / "run", progress=False)
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["transformer", "static"])
def test_onnx_gives_the_same_embeddings(encoder, kind, tmp_path):
    import onnxruntime

    from dipole.runs.export import export_onnx

    name = encoder if kind == "transformer" else f"static:{encoder}"
    done = train(settings(name, method={"pooling": "mean"}), tmp_path / "run", monitor=False, progress=False)
    path = export_onnx(done.path)
    assert path == done.model / "onnx" / "model.onnx"
    built = load(done.path).encoder
    tokens = built.tokenizer(TEXTS, padding=True, return_tensors="np", return_token_type_ids=False)
    (found,) = onnxruntime.InferenceSession(str(path)).run(None, dict(tokens))
    torch.testing.assert_close(torch.from_numpy(found), encode_texts(built, TEXTS), rtol=0, atol=1e-5)
