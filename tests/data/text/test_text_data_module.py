import pytest
import torch
from lightning.pytorch import LightningModule, Trainer
from torch import nn

from dipole.data import TextDataModule, load_texts
from dipole.data.text import ChunkedCorpus, CorpusMixture, MemoryTextSet
from dipole.errors import InputError

pytestmark = [
    pytest.mark.filterwarnings("ignore:Checkpoint directory.*"),
    pytest.mark.filterwarnings("ignore:.*use of fork.*:DeprecationWarning"),
]


def noisy_views(records, tokenizer, *, generator):
    """Two rows of random numbers under the texts' own tokens: shows which random numbers it was given."""
    tokens = torch.tensor([tokenizer(record["text"]) for record in records])
    noise = torch.randint(1000, (2, *tokens.shape), generator=generator)
    ids = torch.stack([tokens, tokens]) * 1000 + noise
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}


def first_letters(text):
    return [ord(letter) for letter in text[:4].ljust(4)]


class Recorder(LightningModule):
    """Remembers the batches it is given; learns nothing."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(()))
        self.seen = []

    def training_step(self, batch, batch_idx):
        self.seen.append((self.current_epoch, batch["index"].tolist(), batch["views"]["input_ids"].tolist()))
        return self.weight * 0

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


def trainer(folder, epochs, **options):
    return Trainer(
        max_epochs=epochs,
        default_root_dir=folder,
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        **options,
    )


def make(texts=None, **options):
    texts = MemoryTextSet([f"{index:04d}" for index in range(50)]) if texts is None else texts
    options = {"batch_size": 8, "views": noisy_views, "tokenizer": first_letters, **options}
    return TextDataModule(texts, **options)


def test_batches_are_full_and_never_repeat_a_text():
    module = make()
    batches = list(module.train_dataloader())
    assert [len(batch["index"]) for batch in batches] == [8] * 6
    seen = torch.cat([batch["index"] for batch in batches])
    assert len(seen.unique()) == len(seen)
    batch = batches[0]
    assert set(batch) == {"index", "views"}
    assert batch["views"]["input_ids"].shape == batch["views"]["attention_mask"].shape == (2, 8, 4)
    tokens = [first_letters(record["text"]) for record in module.train_set.fetch(batch["index"])]
    assert (batch["views"]["input_ids"] // 1000).tolist() == [tokens, tokens]
    inputs = [batch["views"]["input_ids"] % 1000 for batch in batches]
    assert not any(torch.equal(x, y) for x in inputs for y in inputs if x is not y)


def test_a_set_smaller_than_a_batch_is_one_batch():
    (batch,) = make(batch_size=500).train_dataloader()
    assert sorted(batch["index"].tolist()) == list(range(50))


def test_without_views_batches_hold_the_records():
    module = make(views=None)
    batch = next(iter(module.train_dataloader()))
    assert set(batch) == {"index", "records"}
    assert batch["records"] == module.train_set.fetch(batch["index"])


@pytest.mark.parametrize("which", ["train", "test"])
def test_the_embedding_order_is_that_of_the_set(which):
    texts = load_texts("toy-retrieval")
    module = TextDataModule((texts, texts.select(torch.arange(7, 30))), batch_size=10, views=noisy_views)
    expected = module.train_set if which == "train" else module.test_set
    batches = list(module.embed_dataloader(which))
    assert torch.cat([batch["index"] for batch in batches]).tolist() == list(range(len(expected)))
    assert [record for batch in batches for record in batch["records"]] == expected.fetch(torch.arange(len(expected)))


def run(folder, module, epochs=2, **options):
    recorder = Recorder()
    trainer(folder, epochs, enable_checkpointing=False, **options).fit(recorder, datamodule=module)
    return recorder.seen


def test_training_repeats_by_seed_with_any_number_of_workers(tmp_path):
    seen = []
    for seed, workers in ((0, 0), (0, 2), (1, 0)):
        torch.manual_seed(len(seen))  # the global seed has no say
        seen.append(run(tmp_path, make(seed=seed, num_workers=workers)))
    assert seen[0] == seen[1]
    assert [epoch for epoch, _, _ in seen[0]] == [0] * 6 + [1] * 6
    assert seen[0][0][1] != seen[0][6][1]
    assert seen[0][0][1] != seen[2][0][1]


def test_loading_leaves_the_global_random_state_alone():
    before = torch.get_rng_state()
    list(make().train_dataloader())
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_resumed_run_repeats_the_rest_bit_for_bit(tmp_path, workers):
    whole = run(tmp_path, make(), epochs=4)
    first = trainer(tmp_path, 2)
    first.fit(Recorder(), datamodule=make())
    resumed = Recorder()
    path = first.checkpoint_callback.best_model_path
    trainer(tmp_path, 4).fit(resumed, datamodule=make(num_workers=workers), ckpt_path=path, weights_only=True)
    assert resumed.seen == whole[12:]


def chunk_views(records, tokenizer, *, generator):
    ids = torch.stack([record["tokens"] for record in records])
    return {"input_ids": torch.stack([ids, ids]), "attention_mask": torch.ones(2, *ids.shape)}


@pytest.mark.parametrize("mixed", [False, True])
def test_sets_that_change_with_the_epoch_follow_it_in_workers(tmp_path, mixed):
    def corpus():
        corpora = [ChunkedCorpus(torch.arange(start, start + 200), 8) for start in (0, 1000)]
        return CorpusMixture(corpora) if mixed else corpora[0]

    seen = [run(tmp_path, make(corpus(), views=chunk_views, num_workers=workers), 3) for workers in (0, 1)]
    assert seen[0] == seen[1]
    starts = [{row[0] % 8 for row in views[0]} for epoch, _, views in seen[0]]
    assert len({frozenset(start) for start in starts}) > 1


def test_processes_take_turns_and_have_views_of_their_own(monkeypatch):
    batches = []
    for rank in (0, 1):
        monkeypatch.setattr("dipole.ops.rank", lambda rank=rank: rank)
        monkeypatch.setattr("dipole.ops.world_size", lambda: 2)
        batches.append(list(make().train_dataloader()))
    assert [len(part) for part in batches] == [3, 3]
    seen = torch.cat([batch["index"] for part in batches for batch in part])
    assert len(seen.unique()) == len(seen) == 48
    noise = [part[0]["views"]["input_ids"] % 1000 for part in batches]
    assert not torch.equal(*noise)


def test_a_column_that_the_views_need_is_asked_for_before_training():
    class PairViews:
        columns = ("anchor", "positive")

        def __call__(self, records, tokenizer, *, generator):
            raise AssertionError

    with pytest.raises(InputError, match=r"no column 'anchor'\. Columns: text"):
        make(views=PairViews()).train_dataloader()


def test_names_and_paths_are_loaded_with_their_column(tmp_path):
    (tmp_path / "t.jsonl").write_text('{"body": "one"}\n{"body": "two"}\n')
    module = TextDataModule("t.jsonl", data_root=tmp_path, column="body")
    assert module.train_set[1]["text"] == "two"
    assert module.test_set is None
    with pytest.raises(InputError, match="there are no test texts"):
        module.embed_dataloader()
    with pytest.raises(InputError, match="'train' or 'test'"):
        module.embed_dataloader("validation")
    with pytest.raises(InputError, match="column='text' goes with a name or a path"):
        make(column="text")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 1}, "2 or more records in a batch"),
        ({"num_workers": -1}, "num_workers=-1"),
        ({"seed": -1}, "seed=-1"),
    ],
)
def test_settings_out_of_range_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        make(**options)


def test_a_single_text_is_refused():
    with pytest.raises(InputError, match="has 1 records for 1 processes"):
        make(MemoryTextSet(["one"])).train_dataloader()
