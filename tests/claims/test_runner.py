import json
from dataclasses import replace

import pytest

import dipole.claims.images
from dipole.claims import Arm, Claim, Comparison, ImageData, load_results
from dipole.claims.runner import Journal, run_claim
from dipole.errors import InputError

DATA = ImageData("digits", 8, most_train=160, most_test=40)
OPTIONS = {"encoder": "convnet4-4", "projection_dim": 8}


def arm(name, **changes):
    return replace(Arm(name, "simclr", DATA, 1, 64, (0.01, 0.1), OPTIONS), **changes)


TOY = Claim(
    slug="toy",
    title="Toy",
    statement="Nothing much.",
    paper="None.",
    arms=(arm("one"), arm("other", learning_rates=(0.05,))),
    comparisons=(
        Comparison("one − other", "one", "other", "knn", margin=0.01),
        Comparison("one − itself", "one", "one", "images", judged=False),
    ),
    measure=lambda method, train, test, arm: {"images": float(len(train))},
)


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    folder = tmp_path_factory.mktemp("claims")
    return folder, run_claim(TOY, seeds=2, out=folder, progress=False)


def test_writes_a_whole_result_and_nothing_else(done):
    folder, result = done
    assert [path.name for path in folder.iterdir()] == ["toy.json"]
    assert load_results(folder) == {"toy": json.loads(json.dumps(result))}


def test_learning_rates_are_chosen_where_there_is_a_choice(done):
    one, other = done[1]["arms"]
    assert [row["learning_rate"] for row in one["tuning"]] == [0.01, 0.1]
    assert one["learning_rate"] == max(one["tuning"], key=lambda row: row["knn"])["learning_rate"]
    assert other["tuning"] == []
    assert other["learning_rate"] == 0.05


def test_runs_are_paired_by_seed(done):
    result = done[1]
    assert [[run["seed"] for run in arm["runs"]] for arm in result["arms"]] == [[0, 1], [0, 1]]
    first, itself = result["comparisons"]
    differences = [
        one["knn"] - other["knn"]
        for one, other in zip(result["arms"][0]["runs"], result["arms"][1]["runs"], strict=True)
    ]
    assert first["effect"] == pytest.approx(sum(differences) / 2)
    assert itself["effect"] == 0
    assert itself["treatment_mean"] == 160  # what the claim measures itself


def test_verdict_leaves_out_what_is_not_judged(done):
    result = done[1]
    assert result["verdict"] == result["comparisons"][0]["verdict"]
    assert result["summary"].endswith("of 1 comparisons reproduced")


def test_references_say_what_training_must_beat(done):
    assert set(done[1]["references"]["digits"]) == {"raw pixels", "untrained encoder"}


def test_an_interrupted_claim_continues(done, tmp_path, monkeypatch):
    train, calls = dipole.claims.images.train, []

    def interrupted(config, *arguments, **options):
        calls.append(config.seed)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return train(config, *arguments, **options)

    monkeypatch.setattr(dipole.claims.images, "train", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run_claim(TOY, seeds=2, out=tmp_path, progress=False)
    assert not (tmp_path / "toy.json").exists()
    with (tmp_path / ".toy.runs.jsonl").open("a") as journal:
        journal.write('{"key": "cut sho')
    result = run_claim(TOY, seeds=2, out=tmp_path, progress=False)
    assert calls == [100, 100, 0, 1, 1, 0, 1]  # the fourth run is repeated, the first three are not
    metrics = [[run["knn"] for run in arm["runs"]] for arm in result["arms"]]
    assert metrics == [[run["knn"] for run in arm["runs"]] for arm in done[1]["arms"]]


def test_the_journal_survives_a_line_that_was_cut_short(tmp_path):
    journal = Journal(tmp_path / "runs.jsonl")
    journal.add("a", {"knn": 0.5})
    journal.path.write_text(journal.path.read_text() + '{"key"')
    Journal(journal.path).add("b", {"knn": 0.6})
    assert Journal(journal.path).entries == {"a": {"knn": 0.5}, "b": {"knn": 0.6}}


def test_refuses_a_single_seed_and_the_tuning_seed(tmp_path):
    for seeds in (1, 101):
        with pytest.raises(InputError, match="paired runs"):
            run_claim(TOY, seeds=seeds, out=tmp_path, progress=False)


def test_missing_data_are_noticed_before_anything_is_trained(tmp_path):
    needy = replace(TOY, arms=(TOY.arms[0], arm("other", data=ImageData("mnist", 8))))
    with pytest.raises(InputError, match="--data-root"):
        run_claim(needy, seeds=2, out=tmp_path, progress=False)
    assert list(tmp_path.iterdir()) == []
