"""Results of claims: one JSON file each."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dipole.errors import InputError
from dipole.files import read_json

LOWER_IS_BETTER = ("MSE", "MAE", "mean MSE", "mean MAE")
FOLDER = Path(__file__).parent / "results"

_KEYS: dict[str, type | tuple[type, ...]] = {
    "slug": str,
    "title": str,
    "statement": str,
    "paper": str,
    "verdict": str,
    "summary": str,
    "comparisons": list,
    "arms": list,
    "references": dict,
    "seeds": list,
    "settings": dict,
    "data": list,
    "notes": list,
    "provenance": dict,
    "seconds": (int, float),
    "date": str,
}
_COMPARISON_KEYS = ("name", "treatment", "baseline", "metric", "expected", "margin", "judged", "effect", "interval")


def load_results(folder: str | Path = FOLDER) -> dict[str, dict[str, Any]]:
    """Read the stored results, by slug.

    Args:
        folder: of the JSON files; that of the package by default.

    Raises:
        InputError: a file is not a result.

    Example:
        >>> isinstance(load_results(), dict)
        True
    """
    found = {}
    for path in sorted(Path(folder).glob("*.json")):
        content = read_json(path)
        check_result(content, str(path))
        found[content["slug"]] = content
    return found


def check_result(content: Any, where: str = "the result") -> None:
    """Require the format of a result.

    Args:
        content: as read from JSON.
        where: what it is called in the message.

    Raises:
        InputError: a key is missing or of another type.
    """
    if not isinstance(content, Mapping):
        raise InputError(f"{where} is not the result of a claim: expected a JSON object.")
    for key, kind in _KEYS.items():
        if not isinstance(content.get(key), kind):
            raise InputError(f"{where} is not the result of a claim: {key!r} is missing. Run the claim again.")
    for comparison in content["comparisons"]:
        missing = [key for key in (*_COMPARISON_KEYS, "verdict") if key not in comparison]
        if missing:
            raise InputError(f"{where}: a comparison has no {missing[0]!r}. Run the claim again.")
    for arm in content["arms"]:
        if [run.get("seed") for run in arm.get("runs", [])] != content["seeds"]:
            raise InputError(
                f"{where}: arm {arm.get('name')!r} does not have a run for every seed. Run the claim again."
            )


def ahead_of_all(result: Mapping[str, Any]) -> list[str]:
    """Return what is simple and better than every arm, a sentence for each judged metric.

    Args:
        result: of a claim, whose references are what stands beside the arms.

    Example:
        >>> arms = [{"name": "ours", "runs": [{"HR@10": 0.1}, {"HR@10": 0.2}]}]
        >>> compared = [{"metric": "HR@10", "judged": True}]
        >>> ahead_of_all({"arms": arms, "comparisons": compared, "references": {"shop": {"kNN": {"HR@10": 0.3}}}})
        ['kNN (shop) is ahead of every arm in HR@10: 0.300 beside 0.150 of ours.']
    """
    found = []
    for metric in dict.fromkeys(entry["metric"] for entry in result["comparisons"] if entry["judged"]):
        sign = -1 if metric.startswith(LOWER_IS_BETTER) else 1
        arms = {
            arm["name"]: sum(run[metric] for run in arm["runs"]) / len(arm["runs"])
            for arm in result["arms"]
            if all(metric in run for run in arm["runs"])
        }
        simple = {
            f"{name} ({label})": values[metric]
            for label, references in result["references"].items()
            for name, values in references.items()
            if metric in values
        }
        if not arms or not simple:
            continue
        best, best_simple = (max(each, key=lambda name: sign * each[name]) for each in (arms, simple))
        if sign * simple[best_simple] > sign * arms[best]:
            found.append(
                f"{best_simple} is ahead of every arm in {metric}: {simple[best_simple]:.3f} beside "
                f"{arms[best]:.3f} of {best}."
            )
    return found
