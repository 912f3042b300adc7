"""Methods between modalities through all verbs, on a table with missing cells."""

import json
import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile
import torch
from PIL import Image

from dipole.data.multimodal import Reading, load_modalities, load_table
from dipole.errors import InputError
from dipole.methods.registry import methods
from dipole.runs import Run, RunConfig, load, train
from dipole.runs.embed import embed_to_parquet
from dipole.runs.evaluate import evaluate
from dipole.runs.look import report
from dipole.runs.modality_items import embed_items
from dipole.runs.modality_searches import searches
from text_models import bert_folder

COLOURS = {"red": (200, 20, 20), "green": (20, 200, 20), "blue": (20, 20, 200), "grey": (90, 90, 90)}
ROWS = 60
SMALL = {"image_encoder": "convnet4-2", "text_encoder": "bag-16", "sound_encoder": "convnet-2", "embedding_dim": 8}
LOADING = {"image_size": 8, "sample_rate": 4000, "seconds": 0.1, "test_fraction": 0.25}
READING = Reading(image_size=8, sample_rate=4000, seconds=0.1)
IMAGES_AND_TEXTS = ("dito", "laclip", "vlp-baselines")
NAMES = [name for name, cls in methods().items() if cls.domain == "multimodal" and cls.card.field == "multimodal"]


def write_table(folder, missing, **changes):
    """Colours as an image, a word, a tone and a vector; a share of all cells is missing."""
    rng = np.random.default_rng(0)
    names = [list(COLOURS)[row % 4] for row in range(ROWS)]
    for row, name in enumerate(names):
        noise = rng.integers(0, 30, 3)
        Image.new("RGB", (8, 8), tuple(int(v) for v in np.array(COLOURS[name]) + noise)).save(folder / f"{row}.png")
        tone = np.sin(np.arange(400) / (2 + row % 4)) * rng.uniform(0.4, 0.8)
        soundfile.write(folder / f"{row}.wav", tone.astype(np.float32), 4000)
    table = {
        "photo": [f"{row}.png" for row in range(ROWS)],
        "caption": [[f"something {name}", f"it is {name}"] for name in names],
        "tone": [f"{row}.wav" for row in range(ROWS)],
        "sensor": [[float(row % 4), float(rng.normal())] for row in range(ROWS)],
    }
    for cells in table.values():
        for row in range(ROWS):
            if rng.random() < missing:
                cells[row] = None
    table |= {"label": names, "id": [f"row {row}" for row in range(ROWS)]}
    pq.write_table(pa.table(table | changes), folder / "colours.parquet")
    return folder / "colours.parquet"


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    return write_table(tmp_path_factory.mktemp("colours"), 0.3)


def settings(table, name="clip", **changes):
    options = {**SMALL, **changes.pop("method", {})}
    if name == "cwcl":
        options = {"locked": "photo", **options}
    chosen = {"modalities": "photo,caption"} if name in IMAGES_AND_TEXTS else {}
    loading = {**LOADING, **chosen, **changes.pop("loading", {})}
    return RunConfig(
        name,
        data=str(table),
        batch_size=16,
        epochs=changes.pop("epochs", 1),
        method=options,
        loading=loading,
        **changes,
    )


@pytest.fixture(scope="module")
def run(table, tmp_path_factory):
    return train(settings(table, "symile", epochs=2), tmp_path_factory.mktemp("runs") / "run", progress=False)


def test_a_table_with_missing_cells_trains(run, table):
    cells = [load_table(table)[0].present(name) for name in ("photo", "caption", "tone", "sensor")]
    assert 0.2 < 1 - torch.stack(cells).double().mean() < 0.4
    rows = [line.split(",") for line in run.metrics.read_text().splitlines()]
    losses = [float(row[rows[0].index("loss")]) for row in rows[1:]]
    assert len(losses) == 2
    assert all(np.isfinite(losses))
    method = load(run.path)
    assert all(bool(value.isfinite().all()) for value in method.state_dict().values())
    assert json.loads(run.diagnostics.read_text())["epochs"][-1]["epoch"] == 1


def test_a_run_has_its_files(run):
    names = {path.relative_to(run.model).as_posix() for path in run.model.rglob("*") if path.is_file()}
    assert names == {
        "dipole.json",
        "model.safetensors",
        "towers/caption/tokenizer.json",
        "towers/caption/tokenizer_config.json",
    }
    assert sorted(run.settings().method["modalities"]) == ["caption", "photo", "sensor", "tone"]


@pytest.mark.parametrize("name", NAMES)
def test_every_method_trains_and_is_evaluated(name, table, tmp_path):
    done = train(settings(table, name), tmp_path / "run", monitor=False, progress=False)
    result = evaluate(done.path)
    assert [row["encoder"] for row in result.rows] == ["trained", "untrained", "chance", "largest class"]
    assert result.rows[3]["photo zero-shot top-1"] >= 0.25
    assert {"photo → caption R@1", "caption → photo R@10", "photo zero-shot top-1"} <= set(result.protocols)
    assert all(0 <= value <= 1 for row in result.rows for key, value in row.items() if key != "encoder")
    chance = result.rows[2]
    assert chance["photo zero-shot top-1"] == 0.25
    if name not in IMAGES_AND_TEXTS:
        assert "photo | caption, tone, sensor R@1" in result.protocols
        assert "caption | photo, tone, sensor class" in result.protocols


def test_protocols_can_be_chosen_and_other_data_given(run, table, tmp_path):
    one = evaluate(run.path, protocols=["retrieval"], data=str(table))
    assert one.settings["rows"] == ROWS
    assert {name.rsplit(" ", 1)[1] for name in one.protocols} == {"R@1", "R@5", "R@10"}
    (tmp_path / "prompts.txt").write_text("something {}\nit is {}\n")
    config = settings(table, loading={"templates": str(tmp_path / "prompts.txt")})
    done = train(config, tmp_path / "run", monitor=False, progress=False)
    result = evaluate(done.path, protocols=["zero-shot"])
    assert result.settings["templates"] == ["something {}", "it is {}"]
    assert set(result.protocols) == {f"{name} zero-shot top-1" for name in ("photo", "tone", "sensor")}
    with pytest.raises(InputError, match="no protocol 'knn': choose from retrieval, zero-shot, conditional"):
        evaluate(run.path, protocols=["knn"])


@pytest.mark.slow
def test_training_brings_modalities_together(tmp_path):
    table = write_table(tmp_path, 0.0)
    (tmp_path / "prompts.txt").write_text("something {}")
    loading = {"modalities": "caption,sensor", "templates": str(tmp_path / "prompts.txt")}
    config = settings(table, epochs=40, method={"learning_rate": 0.02}, loading=loading)
    done = train(config, tmp_path / "run", monitor=False, progress=False)
    trained, untrained, chance, largest = evaluate(done.path).rows
    assert trained["sensor zero-shot top-1"] > largest["sensor zero-shot top-1"]
    assert trained["sensor zero-shot top-1"] == 1 > untrained["sensor zero-shot top-1"]
    assert trained["caption → sensor R@1"] > chance["caption → sensor R@1"]


def test_embed_all_modalities_or_those_that_a_table_has(run, table, tmp_path):
    result = embed_to_parquet(run.path, str(table), tmp_path / "e.parquet")
    found = pq.read_table(result.path).to_pydict()
    rows = load_table(table)[0]
    expected = {name: int(rows.present(name).sum()) for name in ("photo", "caption", "tone", "sensor")}
    assert {name: found["modality"].count(name) for name in expected} == expected
    vectors = torch.tensor(found["vector"])
    torch.testing.assert_close(vectors.norm(dim=1), torch.ones(len(vectors)))
    (tmp_path / "words.csv").write_text("id,caption,other\na,something red,1\nb,,2\nc,it is blue,3\n")
    again = embed_to_parquet(run.path, str(tmp_path / "words.csv"), tmp_path / "w.parquet")
    assert pq.read_table(again.path).to_pydict()["id"] == ["a", "c"]
    (tmp_path / "none.csv").write_text("a,b\n1,2\n")
    with pytest.raises(InputError, match="has no column 'photo'"):
        embed_to_parquet(run.path, str(tmp_path / "none.csv"), tmp_path / "n.parquet")


def test_unreadable_files_are_told_of_when_embedding(run, tmp_path):
    (tmp_path / "bad.png").write_bytes(b"no image")
    Image.new("RGB", (8, 8)).save(tmp_path / "good.png")
    (tmp_path / "t.csv").write_text("photo\nbad.png\ngood.png\n")
    result = embed_to_parquet(run.path, str(tmp_path / "t.csv"), tmp_path / "e.parquet")
    assert result.rows == 1
    assert result.skipped == (("photo bad.png", "its content is no image that Pillow knows"),)


def test_a_file_that_is_damaged_inside_has_no_row(run, tmp_path):
    for name in ("a", "b"):
        Image.effect_noise((16, 16), 50).convert("RGB").save(tmp_path / f"{name}.png")
    whole = (tmp_path / "b.png").read_bytes()
    start = whole.index(b"IDAT") + 4
    (tmp_path / "b.png").write_bytes(whole[:start] + bytes(len(whole) - start - 12) + whole[-12:])
    (tmp_path / "t.csv").write_text("id,photo\none,a.png\ntwo,b.png\n")
    result = embed_to_parquet(run.path, str(tmp_path / "t.csv"), tmp_path / "e.parquet")
    assert pq.read_table(result.path).to_pydict()["id"] == ["one"]
    assert [name for name, _ in result.skipped] == ["two"]


def test_a_model_that_is_not_whole_is_told(run, tmp_path):
    copied = shutil.copytree(run.model, tmp_path / "model")
    (copied / "towers" / "caption" / "tokenizer.json").unlink()
    with pytest.raises(InputError, match=r"holds no tokenizer\.json: the model is not whole"):
        load(copied)


def test_report(run):
    page = report(run.path).read_text()
    assert "something red" in page


def test_a_report_of_symile_finds_one_modality_by_all_others(tmp_path):
    done = train(settings(write_table(tmp_path, 0), "symile"), tmp_path / "run", monitor=False, progress=False)
    page = report(done.path).read_text()
    assert "caption + tone + sensor → photo" in page
    assert "photo → caption" not in page
    method, items = load(done.path), embed_items(load(done.path), load_table(done.settings().data, READING)[0])
    found = searches(method, items)[2]
    assert found.title == "photo + caption + sensor → tone"
    for query, hits in found.rows:
        assert [shown.image is not None for shown in query] == [True, False, False]
        row = next(row for row, place in enumerate(items["photo"].shown) if place == query[0].text)
        parts = [items[name].first(row)[None] for name in ("photo", "caption", "sensor")]
        best = method.score(parts, items["tone"].embeddings)[0].topk(4)
        np.testing.assert_allclose([hit.score for hit in hits], best.values.numpy(), atol=1e-6)
        assert [hit.belongs for hit in hits] == [place == row for place in best.indices.tolist()]


def test_a_text_tower_by_path_is_stored_and_opens_in_transformers(table, tmp_path):
    from transformers import AutoModel, AutoTokenizer

    config = settings(table, "laclip", method={"text_encoder": str(bert_folder()), "multi_text": True})
    done = train(config, tmp_path / "run", monitor=False, progress=False)
    tower = AutoModel.from_pretrained(done.model / "towers" / "caption", local_files_only=True).eval()
    tokenizer = AutoTokenizer.from_pretrained(done.model / "towers" / "caption", local_files_only=True)
    method = load(done.path)
    tokens = tokenizer(["something red"], return_tensors="pt")
    states = tower(input_ids=tokens["input_ids"], attention_mask=tokens["attention_mask"]).last_hidden_state
    packed = torch.stack([tokens["input_ids"], tokens["attention_mask"]], dim=1)
    torch.testing.assert_close(method.encoders["caption"](packed), states.mean(dim=1))


@pytest.mark.parametrize("name", NAMES)
def test_a_stopped_run_ends_as_an_uninterrupted_one(name, table, tmp_path, monkeypatch):
    import dipole.runs.saving

    config = settings(table, name, epochs=2)
    whole = train(config, tmp_path / "whole", progress=False)
    save = dipole.runs.saving.LastCheckpoint.on_train_epoch_end

    def stop(self, trainer, *rest):
        save(self, trainer, *rest)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(dipole.runs.saving.LastCheckpoint, "on_train_epoch_end", stop)
        with pytest.raises(KeyboardInterrupt):
            train(config, tmp_path / "stopped", progress=False)
    train(config, tmp_path / "stopped", resume=True, progress=False)
    for file in ("model/model.safetensors", "metrics.csv", "diagnostics.json"):
        assert (Run(tmp_path / "stopped").path / file).read_bytes() == (whole.path / file).read_bytes(), file


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"loading": {"modalities": "photo,captoin"}}, "no column 'captoin'. Did you mean 'caption'"),
        ({"loading": {"modality": "photo"}}, "loading has no argument 'modality'"),
        ({"loading": {"modalities": "photo"}}, "expected two or more"),
        ({"loading": {"templates": "nowhere.txt"}}, "cannot read the templates"),
        ({"method": {"locked": "foto"}}, "Did you mean 'photo'"),
        ({"method": {"image_encoder": "resnet1800"}}, "or a timm model"),
        ({"views": {"crop": 1}}, "views have no argument 'crop'"),
    ],
)
def test_mistakes_are_told_and_leave_nothing(table, changes, message, tmp_path):
    with pytest.raises(InputError, match=message):
        train(settings(table, **changes), tmp_path / "run", progress=False)
    assert not (tmp_path / "run").exists()


def test_without_test_rows_data_must_be_named(table, tmp_path):
    done = train(settings(table, loading={"test_fraction": 0.0}), tmp_path / "run", monitor=False, progress=False)
    with pytest.raises(InputError, match="no test rows: name data to measure on"):
        evaluate(done.path)


def test_sets_in_memory(tmp_path):
    sets = load_modalities("shape-captions")
    small = (sets[0].sample(64), sets[1].sample(16))
    config = RunConfig("clip", batch_size=32, epochs=1, method=SMALL)
    done = train(config, tmp_path / "run", sets=small, progress=False)
    assert evaluate(done.path, protocols=["zero-shot"]).data == "shape-captions"
