"""Baselines against loops, and beside encoders."""

import math
from typing import Any

import numpy as np
import pytest
import torch

from dipole.data.graph import make_hetero
from dipole.data.recommendation import interactions_of, split_sequences, toy_interactions
from dipole.data.timeseries import ForecastTask, SeriesData, SeriesSet, load_series, toy_patterns
from dipole.evaluation.baselines import add_baselines
from dipole.evaluation.baselines.als import als_ranks
from dipole.evaluation.baselines.item_knn import item_knn_ranks, item_similarity
from dipole.evaluation.baselines.markov import markov_ranks
from dipole.evaluation.baselines.meta_path_attributes import walked
from dipole.evaluation.baselines.mini_rocket import MiniRocketBaseline
from dipole.evaluation.baselines.popularity import popularity_ranks
from dipole.evaluation.baselines.propagated_attributes import propagated
from dipole.evaluation.baselines.raw_window import RawWindow, filled, raw_windows
from dipole.evaluation.baselines.seasonal_naive import SeasonalNaive, seasonal_errors, seasons
from dipole.evaluation.materials import InteractionMaterial, SeriesMaterial
from dipole.evaluation.next_items import history_matrix, training_matrix
from dipole.evaluation.ranking import ranking_metrics

# In training (all but the last two of each): ann tea milk, bob tea milk, cat tea rice.
TABLE = interactions_of(
    ["ann"] * 4 + ["bob"] * 4 + ["cat"] * 4,
    ["tea", "milk", "rice", "tea", "tea", "milk", "oil", "rice", "tea", "rice", "milk", "oil"],
)


def test_baselines_learn_from_what_encoders_are_trained_on() -> None:
    test = split_sequences(TABLE)[2]
    # Columns: padding, tea, milk, rice, oil.
    assert training_matrix(test).toarray().tolist() == [[0, 1, 1, 0, 0], [0, 1, 1, 0, 0], [0, 1, 0, 1, 0]]
    assert history_matrix(test).toarray().tolist() == [[0, 1, 1, 1, 0], [0, 1, 1, 0, 1], [0, 1, 1, 1, 0]]


def test_equal_scores_are_no_gain() -> None:
    test = split_sequences(TABLE)[2]
    # Next: tea, rice, oil; used 3, 1 and 0 times in training.
    assert popularity_ranks(test).tolist() == [1, 3, 4]
    assert popularity_ranks(test, exclude_seen=True).tolist() == [1, 1, 1]
    # After rice, oil and milk nothing was known to follow: by popularity.
    assert markov_ranks(test).tolist() == [1, 3, 4]


def test_a_chain_knows_what_follows() -> None:
    table = interactions_of(["a"] * 6 + ["b"] * 6, [*"xyxyxy", *"yzyzyz"])
    test = split_sequences(table)[2]
    # Known: x y x y and y z y z. After x comes y; after y comes z twice and x once.
    assert markov_ranks(test).tolist() == [1, 1]


def test_item_knn_by_a_loop() -> None:
    test = split_sequences(toy_interactions(users=60))[2]
    used = training_matrix(test)
    dense = used.toarray().astype(np.float64)
    weighted = dense.T * np.log(dense.shape[1] / np.maximum(1, (dense > 0).sum(axis=1)))
    unit = weighted / np.maximum(np.linalg.norm(weighted, axis=1, keepdims=True), 1e-12)
    cosines = unit @ unit.T
    np.fill_diagonal(cosines, 0)
    np.testing.assert_allclose(item_similarity(used, 1000).toarray(), cosines, atol=1e-6)
    nearest = item_similarity(used, 3).toarray()
    for row in range(1, len(nearest)):
        kept = np.flatnonzero(nearest[row])
        assert set(kept) <= set(np.flatnonzero(cosines[row] >= np.sort(cosines[row])[-3] - 1e-9))
    scores = history_matrix(test).toarray() @ cosines
    counts = dense.sum(axis=0)
    for row, rank in enumerate(item_knn_ranks(test, neighbours=1000).tolist()):
        target = int(test.fetch(torch.tensor([row]))["target"])
        above = (scores[row] > scores[row, target] + 1e-5).copy()
        near = np.abs(scores[row] - scores[row, target]) <= 1e-5
        above[0] = near[0] = False
        assert 1 + above.sum() <= rank <= above.sum() + (near & (counts >= counts[target])).sum()


def test_simple_recommenders_find_the_shelves_of_the_toy() -> None:
    test = split_sequences(toy_interactions())[2]
    found = {
        name: ranking_metrics(ranks, [10])["HR@10"]
        for name, ranks in {
            "popularity": popularity_ranks(test),
            "knn": item_knn_ranks(test),
            "chain": markov_ranks(test),
            "ALS": als_ranks(test),
        }.items()
    }
    assert min(found["knn"], found["chain"], found["ALS"]) > 2 * found["popularity"]
    assert torch.equal(als_ranks(test), als_ranks(test))


def test_what_is_not_installed_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dipole.evaluation.baselines.als.ALS.package", "no_such_package")
    material = InteractionMaterial("toy", {}, test=split_sequences(TABLE)[2])
    add_baselines(material)
    assert set(material.candidates) == {"popularity", "item-kNN", "Markov chain"}
    assert "dipole[recommendation]" in material.notes["ALS"]


def long_material(data: SeriesData) -> SeriesMaterial:
    return SeriesMaterial("load", {}, data=data, scaled=lambda values: values)


def test_the_season_is_found_and_repeated() -> None:
    values = torch.arange(7.0).repeat(60)[None, :, None]
    task = ForecastTask(values, ("x",), 0, 250, 330, 420)
    material = long_material(SeriesData(SeriesSet("load", values, ("x",)), forecast=task))
    baseline = SeasonalNaive(material)
    assert baseline.season == 7
    assert material.notes["season of the seasonal naive"] == "7 steps"
    assert baseline.forecast_errors(task, [20]) == ({20: (0.0, 0.0)}, [])


def test_seasonal_errors_by_a_loop() -> None:
    values = torch.randn(1, 40, 2, generator=torch.Generator().manual_seed(0))
    values[0, 30, 1] = torch.nan
    errors = []
    for step in range(20, 40 - 5):
        for ahead in range(1, 6):
            error = values[0, step + ahead] - values[0, step + ahead - 3 * math.ceil(ahead / 3)]
            errors += error[error.isfinite()].tolist()
    found = seasonal_errors(values, 20, 5, 3)
    assert found == pytest.approx((float(np.square(errors).mean()), float(np.abs(errors).mean())), rel=1e-5)


def test_seasons_are_days_weeks_and_years() -> None:
    task = load_series("toy-load").forecast
    assert task is not None
    assert seasons(task) == (24, 168, 8766)
    assert seasons(ForecastTask(torch.zeros(1, 9, 1), ("x",), 0, 3, 6, 9))[0] == 4


def test_windows_see_the_past_alone() -> None:
    values = torch.tensor([5.0, torch.nan, 7.0, 8.0])[None, :, None]
    assert filled(values).flatten().tolist() == [5, 5, 7, 8]
    task = ForecastTask(torch.arange(40.0)[None, :, None], ("x",), 0, 20, 30, 40)
    windows = raw_windows(task.values, task)
    assert windows.shape == (1, 40, 5)
    assert windows[0, 10].tolist() == [6, 7, 8, 9, 10]
    errors, alphas = RawWindow(
        long_material(SeriesData(SeriesSet("x", task.values, ("x",)), forecast=task))
    ).forecast_errors(task, [2])
    assert errors[2][0] < 1
    assert len(alphas) == 1


def test_propagation_by_matrices() -> None:
    edges = torch.tensor([[0, 1, 1, 2], [1, 0, 2, 1]])
    adjacency = torch.eye(4)
    adjacency[edges[0], edges[1]] = 1
    scale = adjacency.sum(dim=1).rsqrt()
    operator = scale[:, None] * adjacency * scale
    x = torch.randn(4, 3, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(propagated(x, edges, 2), operator @ operator @ x)


def test_mini_rocket_classifies_patterns_with_gaps() -> None:
    train, test = toy_patterns()
    values = test.values.clone()
    values[:, 50:] = torch.nan
    changed: Any = SeriesSet("gaps", values, test.columns, test.labels, test.class_names)
    material = SeriesMaterial("x", {}, data=SeriesData(train, changed), scaled=lambda values: values)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        assert MiniRocketBaseline(material).classify_series(train, changed) > 0.8
        assert torch.get_num_threads() == 1, "what follows would be computed by other threads than asked for"
    finally:
        torch.set_num_threads(threads)


def test_a_walk_along_a_meta_path_averages_its_ends() -> None:
    # Papers 0 and 1 have the author 0; paper 1 also the author 1, of whom is paper 2; paper 3 has none.
    pairs = torch.tensor([[0, 1, 1, 2], [0, 0, 1, 1]])
    graph = make_hetero("g", {("paper", "author"): pairs}, sizes={"paper": 4, "author": 2}, target="paper")
    x = torch.tensor([[1.0], [2.0], [4.0], [8.0]])
    found = walked(graph, ("paper", "author", "paper"), x)
    assert found.flatten().tolist() == [1.5, (1.5 + 3) / 2, 3, 0]
