"""Interactions of users with items: the next item is predicted, ranked among all and shown."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import lightning
import numpy as np
import torch
from torch import Tensor, nn

from dipole.data.recommendation import (
    InteractionDataModule,
    Interactions,
    SequenceSet,
    available_interactions,
    load_interactions,
    split_sequences,
    whole_histories,
)
from dipole.data.recommendation.registry import TOY
from dipole.errors import InputError
from dipole.evaluation.materials import InteractionMaterial
from dipole.evaluation.online_ranking import OnlineRanking, rank_next_items
from dipole.evaluation.ranking import full_ranking, top_items
from dipole.methods.base import Method
from dipole.methods.recommendation.base import SequentialRecommender
from dipole.report.recommendations import Example, recommendation_section
from dipole.runs.config import RunConfig
from dipole.runs.directory import Run
from dipole.runs.domains.base import Domain, Embeddings
from dipole.runs.model import load_model, save_model

logger = logging.getLogger(__name__)
COLUMNS = ("user_column", "item_column", "time_column", "encoding")
MOST_ITEMS = 1500  # of a report
EXAMPLES = 8
SHOWN = 5  # items of a history, and recommendations, in a report


class Recommendation(Domain):
    """Tables of users and items."""

    name = "recommendation"
    default_data = TOY
    derived_view_options = ()
    derived_method_options = ("items",)

    @staticmethod
    def named_sets() -> Sequence[str]:
        """Return the names of the known sets."""
        return [info.name for info in available_interactions()]

    @staticmethod
    def loading_options(
        min_interactions: int = 5,
        last: int | None = None,
        user_column: str | None = None,
        item_column: str | None = None,
        time_column: str | None = None,
        encoding: str = "utf-8",
    ) -> None:
        """How interactions are read.

        Args:
            min_interactions: users and items with fewer are left out, until all have so many.
            last: keep the latest so many interactions of every user.
            user_column: of a table; the usual names are tried if it is not given. So are the next two.
            item_column: see above.
            time_column: see above; without one the rows are in the order of time.
            encoding: of a table, e.g. `latin-1`.
        """

    def data_module(self, config: RunConfig, sets: Any = None) -> InteractionDataModule:
        """Return the interactions of a run."""
        return InteractionDataModule(
            self._read(config) if sets is None else sets,
            max_length=_max_length(config.method),
            batch_size=config.batch_size,
            num_workers=config.num_workers,
            seed=config.seed,
        )

    def _read(self, config: RunConfig, data: str | None = None, data_root: str | Path | None = None) -> Interactions:
        """The table that settings name, or other data read in the same way."""
        return load_interactions(
            data or config.data or self.default_data, data_root or config.data_root, **self.loading(config)
        )

    def facts(self, data: lightning.LightningDataModule) -> dict[str, Any]:
        """The number of items."""
        return {"items": len(cast(InteractionDataModule, data).interactions.items)}

    def attach_views(self, method: Method, data: lightning.LightningDataModule, config: RunConfig) -> None:
        """Views are made of histories; the model learns what its items are called."""
        data = cast(InteractionDataModule, data)
        for note in data.interactions.skipped:
            logger.warning("%s: left out: %s.", data.interactions.name, note)
        method = cast(SequentialRecommender, method)
        data.views = method.views_class(**self.view_options(type(method), config))
        method.catalogue = data.interactions.items

    def monitors(self, method: Method, data: lightning.LightningDataModule, run: Run) -> list[lightning.Callback]:
        """Ranking of validation rows."""
        validation = cast(InteractionDataModule, data).validation_set
        return [OnlineRanking(validation)] if len(validation) else []

    def save(self, method: Method, config: RunConfig, folder: Path) -> None:
        """Write the weights, and the names of the items in their order."""
        names = list(cast(SequentialRecommender, method).catalogue)
        columns = {name: config.loading.get(name) for name in COLUMNS}
        facts = {"catalogue": names, "columns": columns}
        save_model(method, folder, name=config.name, arguments=config.method, facts=facts)

    def load(self, folder: Path, config: dict[str, Any], encoder: nn.Module | None) -> Method:
        """Load what `save` has written."""
        method = cast(SequentialRecommender, load_model(folder, config, encoder))
        method.catalogue = tuple(config["catalogue"])
        if len(method.catalogue) != method.encoder.items:
            raise InputError(f"{folder} names {len(method.catalogue)} items, and its model has {method.encoder.items}.")
        return method

    def material(
        self,
        methods: Mapping[str, Method],
        settings: RunConfig,
        *,
        data: str | None = None,
        data_root: str | Path | None = None,
        protocols: Sequence[str] = (),
        progress: bool = False,
    ) -> InteractionMaterial:
        """The last item of every user, to be ranked among all that training has seen.

        Raises:
            InputError: no user has three interactions.
        """
        trained = cast(SequentialRecommender, methods["trained"])
        table = self._read(settings, data, data_root)
        _, _, test = split_sequences(table.with_items(trained.catalogue), max_length=trained.encoder.max_length)
        if not len(test):
            raise InputError(f"{table.name}: no user has three interactions, so that one could be predicted.")
        device = "cuda" if torch.cuda.is_available() else "cpu"
        return InteractionMaterial(
            table.name,
            {name: _Encoder(cast(SequentialRecommender, method.to(device))) for name, method in methods.items()},
            settings.seed,
            progress,
            {"users": len(test), "items": len(trained.catalogue), "candidates": "all items"},
            test=test,
        )

    def embeddings(
        self,
        method: Method,
        config: Mapping[str, Any],
        source: str,
        *,
        data_root: str | Path | None = None,
        batch_size: int = 256,
        progress: bool = False,
    ) -> Embeddings:
        """Embed users: the state after all they have used. Items that training has not seen are left out."""
        method = cast(SequentialRecommender, method)
        columns = {n: v for n, v in config.get("loading", {}).items() if n in COLUMNS}
        columns = config.get("columns", {}) | columns
        table = load_interactions(source, data_root, min_interactions=1, **columns)
        table = table.with_items(method.catalogue)
        known = np.unique(table.user)
        unknown = sorted(set(range(len(table.users))) - set(known.tolist()))
        skipped = [(table.users[user], "nothing that training has seen") for user in unknown]
        skipped += [(table.name, note) for note in table.skipped]

        def batches() -> Iterator[tuple[dict[str, list[Any]], Tensor]]:
            for start in range(0, len(known), batch_size):
                users = known[start : start + batch_size]
                yield {"id": [table.users[user] for user in users]}, states(method, table, users)

        return Embeddings(batches(), skipped, f"{source}: no user has used an item that training has seen.")

    def report_arguments(
        self, method: Method, run: Run, *, data_root: str | Path | None = None, progress: bool = False
    ) -> dict[str, Any]:
        """Embeddings of the most frequent items, and recommendations for some users beside what they took."""
        settings = run.settings()
        method = cast(SequentialRecommender, method)
        table = self._read(settings, data_root=data_root)
        counts = np.bincount(table.item, minlength=len(table.items) + 1)[1:]
        frequent = np.sort(np.argsort(-counts, kind="stable")[:MOST_ITEMS]) + 1
        _, _, test = split_sequences(table, max_length=method.encoder.max_length)
        return {
            "embeddings": method.encoder.item_embedding.weight[torch.from_numpy(frequent)].detach(),
            "texts": [table.title(item) for item in frequent.tolist()],
            "data": table.name,
            "scores": False,
            "sections": [recommendation_section(_examples(method, table, test))] if len(test) else [],
        }


class _Encoder:
    """A method as protocols of recommendation measure it."""

    def __init__(self, method: SequentialRecommender) -> None:
        self.method = method

    def rank_items(self, test: SequenceSet, exclude_seen: bool) -> Tensor:
        """Ranks of the next items."""
        return rank(self.method, test, exclude_seen=exclude_seen)


def rank(method: SequentialRecommender, sequences: SequenceSet, *, exclude_seen: bool = False) -> Tensor:
    """Rank the next items with a method, see `rank_next_items`."""
    return rank_next_items(method.embed, method.encoder.item_embedding.weight, sequences, exclude_seen=exclude_seen)


@torch.inference_mode()
def states(method: SequentialRecommender, table: Interactions, users: np.ndarray) -> Tensor:
    """States (N, H) of users after all that they have used."""
    rows = whole_histories(table, users, method.encoder.max_length)
    device = method.encoder.item_embedding.weight.device
    return method.embed({name: value.to(device) for name, value in rows.items()})  # type: ignore[attr-defined]


@torch.inference_mode()
def _examples(method: SequentialRecommender, table: Interactions, test: SequenceSet) -> list[Example]:
    """Histories of some users, what they took next, and what was recommended."""
    chosen = torch.randperm(len(test), generator=torch.Generator().manual_seed(0))[:EXAMPLES].sort().values
    rows: Any = test.fetch(chosen)
    items = method.encoder.item_embedding.weight
    embedded = method.embed(rows)
    found = top_items(embedded, items, SHOWN)
    ranks = full_ranking(embedded, items, rows["target"])
    return [
        Example(
            user=table.users[int(rows["user"][row])],
            history=[table.title(item) for item in rows["history"][row, :length][-SHOWN:].tolist()],
            target=table.title(int(rows["target"][row])),
            rank=int(ranks[row]),
            recommended=[table.title(item) for item in found.items[row].tolist() if item],
        )
        for row, length in enumerate(rows["length"].tolist())
    ]


def _max_length(method: Mapping[str, Any]) -> int:
    """Items of a history that the method reads."""
    return int(method.get("max_length", SequentialRecommender.arguments()["max_length"].default))


DOMAIN = Recommendation()
