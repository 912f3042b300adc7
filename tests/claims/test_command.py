import pytest

from dipole.claims import claims
from dipole.cli import main


@pytest.fixture(autouse=True)
def _wide(monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")


def test_lists_every_claim_with_its_verdict(capsys):
    assert main(["claims"]) == 0
    printed = capsys.readouterr().out
    for slug, claim in claims().items():
        assert slug in printed
        assert claim.comparisons[0].name in printed
    assert "reproduced" in printed


def test_a_claim_that_has_not_been_run_says_what_it_needs(capsys, tmp_path):
    assert main(["claims", "--out", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert "not run (needs digits, mnist)" in printed
    assert main(["claims", "show", "cacr", "--out", str(tmp_path)]) == 2
    assert "dipole claims run cacr" in capsys.readouterr().err


def test_shows_arms_and_comparisons(capsys):
    assert main(["claims", "show", "dcl"]) == 0
    printed = capsys.readouterr().out
    claim = claims()["dcl"]
    assert all(arm.name in printed for arm in claim.arms)
    assert all(entry.name in printed for entry in claim.comparisons)
    assert "raw pixels" in printed


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["rnu", "cacr"], "list, run, show"),
        (["run"], "name a claim"),
        (["run", "cacrr"], "Did you mean 'cacr'"),
        (["run", "dcl", "--seeds", "1"], "paired runs"),
        (["run", "cacr"], "--data-root"),
        (["run", "cacr", "--data-root", "nowhere"], "nowhere"),
    ],
)
def test_mistakes_are_one_line(capsys, tmp_path, arguments, message):
    assert main(["claims", *arguments, "--out", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
