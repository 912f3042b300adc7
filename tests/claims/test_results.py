import copy

import pytest

from dipole.claims import claims, load_results
from dipole.claims.results import check_result
from dipole.claims.runner import judge_again
from dipole.claims.statistics import Effect, overall, paired_effect, verdict
from dipole.errors import InputError
from dipole.files import write_json

STORED = load_results()


def test_every_claim_has_a_result_and_every_result_a_claim():
    assert set(STORED) == set(claims())


@pytest.mark.parametrize("slug", STORED)
def test_stored_verdicts_follow_from_the_stored_runs(slug):
    result = STORED[slug]
    runs = {arm["name"]: arm["runs"] for arm in result["arms"]}
    for entry in result["comparisons"]:
        pair = [[run[entry["metric"]] for run in runs[entry[side]]] for side in ("treatment", "baseline")]
        effect = paired_effect(*pair)
        assert effect.mean == pytest.approx(entry["effect"])
        assert effect.interval == pytest.approx(tuple(entry["interval"]))
        assert (
            verdict(Effect(entry["effect"], tuple(entry["interval"])), entry["expected"], entry["margin"])
            == (entry["verdict"])
        )
    assert result["verdict"] == overall([entry["verdict"] for entry in result["comparisons"] if entry["judged"]])


@pytest.mark.parametrize("slug", STORED)
def test_stored_results_are_of_the_claim_as_it_stands(slug):
    claim, result = claims()[slug], STORED[slug]
    assert result["statement"] == claim.statement
    assert [arm["name"] for arm in result["arms"]] == [arm.name for arm in claim.arms]
    assert [list(arm.learning_rates) for arm in claim.arms] == [arm["learning_rates"] for arm in result["arms"]]
    expected = [(entry.name, entry.metric, entry.expected, entry.margin, entry.judged) for entry in claim.comparisons]
    keys = ("name", "metric", "expected", "margin", "judged")
    assert expected == [tuple(entry[key] for key in keys) for entry in result["comparisons"]]
    assert result["seeds"] == list(claim.seeds)


@pytest.mark.parametrize("slug", STORED)
def test_stored_results_are_judged_by_the_rule_of_today(slug):
    judged, stored = judge_again(STORED[slug]), STORED[slug]
    for key in ("verdict", "summary"):
        assert judged[key] == stored[key]
    assert [entry["verdict"] for entry in judged["comparisons"]] == [e["verdict"] for e in stored["comparisons"]]


def test_an_effect_that_misses_its_margin_is_not_reproduced_when_judged_again():
    result = copy.deepcopy(next(each for each in STORED.values() if each["verdict"] == "reproduced"))
    entry = next(each for each in result["comparisons"] if each["judged"] and each["expected"] == "higher")
    entry["margin"] = 2 * abs(entry["effect"]) + entry["interval"][1]
    judged = judge_again(result)
    assert judged["verdict"] == "not reproduced"
    assert judged["summary"] != result["summary"]


def test_what_is_no_result_is_refused(tmp_path):
    write_json(tmp_path / "x.json", [])
    with pytest.raises(InputError, match="expected a JSON object"):
        load_results(tmp_path)
    slug, *_ = STORED
    for key in ("verdict", "arms", "provenance"):
        with pytest.raises(InputError, match=key):
            check_result({name: value for name, value in STORED[slug].items() if name != key})
    broken = copy.deepcopy(STORED[slug])
    del broken["comparisons"][0]["interval"]
    with pytest.raises(InputError, match="no 'interval'"):
        check_result(broken)
    broken = copy.deepcopy(STORED[slug])
    broken["arms"][0]["runs"].pop()
    with pytest.raises(InputError, match="every seed"):
        check_result(broken)
