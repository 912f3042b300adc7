"""What `evaluation.json` holds: the latest table, and earlier ones of the same model that say something else."""

from typing import Any

EARLIER = "earlier"  # tables of a file, oldest first; files of older versions have none
MODEL = "model"  # fingerprint of the weights that were measured; files of older versions have none


def with_earlier(table: dict[str, Any], model: str, before: Any) -> dict[str, Any]:
    """Return the content of a file that has a new table, and keeps the ones which the new one does not replace.

    A table is replaced once all its columns have been measured anew on the same data. Tables of other weights, or of
    weights that they do not name, go: they are about another model.

    Args:
        table: the new one, as `Evaluation.to_dict` gives it.
        model: fingerprint of the weights that were measured.
        before: content of the file; None if there is none.

    Example:
        >>> knn = {"protocols": ["knn"], "rows": [], "data": "digits"}
        >>> few = {"protocols": ["1 label", "5 labels"], "rows": [], "data": "digits"}
        >>> content = with_earlier(few, "a1", with_earlier(knn, "a1", None))
        >>> [each["protocols"] for each in tables(content)]
        [['knn'], ['1 label', '5 labels']]
        >>> [each["protocols"] for each in tables(with_earlier(knn, "b2", content))]
        [['knn']]
    """
    kept = [each for each in tables(before) if each.get(MODEL) == model and not _replaces(table, each)]
    return {**table, MODEL: model, EARLIER: kept}


def tables(content: Any) -> list[dict[str, Any]]:
    """Return the tables of a file, oldest first.

    Args:
        content: of `evaluation.json`. What is no mapping is left out.
    """
    if not isinstance(content, dict):
        return []
    earlier = content.get(EARLIER)
    latest = {name: value for name, value in content.items() if name != EARLIER}
    return [*(each for each in (earlier if isinstance(earlier, list) else ()) if isinstance(each, dict)), latest]


def _replaces(new: dict[str, Any], old: dict[str, Any]) -> bool:
    """Whether all that an old table says is said anew."""
    return bool(old.get("data") == new["data"] and set(old.get("protocols", ())) <= set(new["protocols"]))
