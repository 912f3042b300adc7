"""Curved contrastive learning on generated dialogues: direction, order of goals, next turn.

Dialogues follow one script with random words (`toy_dialogues`): 400 to train on, 100 to judge by, 50 more to choose
learning rates by the error of the cosines. The encoder is a transformer of one layer and width 48 that begins at
random. The baseline has the same positives and random negatives, but neither tokens nor directional negatives. Judged:
direction (margin 0.1) and order of goals (margin 0.05). The rank of the next turn is reported: a prototype found it
worse than the baseline's at this budget.
"""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch

from dipole.claims.base import Arm, Claim, Comparison, Data, Metrics
from dipole.claims.training import run_config
from dipole.data.text import MemoryTextSet, toy_dialogues
from dipole.evaluation import goal_order_scores, planning_ranks, rank_of, sequence_scores
from dipole.files import cache_folder
from dipole.methods.text.curved_cl import CurvedCL
from dipole.nn.text import new_bert
from dipole.runs import load, train

RATES = (1e-3, 3e-3)
HISTORY, GOALS, APART = 3, 3, 2


@dataclass(frozen=True)
class DialogueData(Data):
    """Generated dialogues.

    Args:
        name: of the data.
        train: dialogues to train on.
        test: dialogues to judge by.
    """

    name: str = "toy-dialogues"
    train: int = 400
    test: int = 100

    tuning_metric: ClassVar[str] = "direction"
    tuning: ClassVar[str] = "learning rate by the direction accuracy on dialogues of their own"

    def load(self, data_root: str | Path | None = None) -> Any:
        """Return dialogues to train on, to tune by and to judge by, and the folder of an encoder."""
        everything = toy_dialogues(self.train + self.test + 50, seed=1)
        texts = MemoryTextSet(everything[: self.train], self.name)
        turns = [dialogue["dialogue"] for dialogue in everything[self.train :]]
        folder = cache_folder() / f"dialogue-bert-{self.train}"
        if not (folder / "config.json").is_file():
            lines = [turn for dialogue in everything[: self.train] for turn in dialogue["dialogue"]]
            new_bert(lines, folder, vocabulary=400, width=48, layers=1, heads=4, max_length=32)
        return texts, turns[self.test :], turns[: self.test], str(folder)

    def size(self, loaded: Any) -> int:
        """Number of dialogues."""
        return len(loaded[0])

    def once(self, claim: Claim, arm: Arm, rate: float, seed: int, loaded: Any, *, tune: bool) -> Metrics:
        """Train an encoder of turns and measure direction, order and rank."""
        texts, development, test, encoder = loaded
        config = run_config(
            arm, self.name, rate, seed, {"encoder": encoder, "max_length": 24, "dropout": 0.0, "seed": seed}
        )
        with tempfile.TemporaryDirectory() as folder:
            run = train(config, Path(folder) / "run", sets=texts, monitor=False, progress=False)
            method = load(run.path)
        assert isinstance(method, CurvedCL)
        dialogues = development if tune else test
        found: Metrics = {"direction": direction_accuracy(method, dialogues)}
        if not tune:
            found |= {"goal order": goal_order(method, dialogues), "next turn rank": next_turn_rank(method, dialogues)}
        return found


def direction_accuracy(method: CurvedCL, dialogues: Sequence[Sequence[str]], window: int = 5) -> float:
    """Return how often cos(before i, after j) exceeds cos(before j, after i) for turns i < j < i + window."""
    right, total = 0.0, 0
    for turns in dialogues:
        after = method.encode_after(turns)
        sides = [method.encode_before(turns, odd=odd) @ after.T for odd in (False, True)]
        for i in range(len(turns)):
            for j in range(i + 1, min(i + window, len(turns))):
                scores = sides[(j - i) % 2]
                forward, back = float(scores[i, j]), float(scores[j, i])
                right += 1.0 if forward > back else 0.5 if forward == back else 0.0
                total += 1
    return right / total


def goal_order(method: CurvedCL, dialogues: Sequence[Sequence[str]]) -> float:
    """Return how often the true order of three goals, two turns apart, scores best among all but its reverse."""
    best, total = 0, 0
    for turns in dialogues:
        goals = [turns[HISTORY + APART * number] for number in range(GOALS) if HISTORY + APART * number < len(turns)]
        if len(goals) < GOALS:
            continue
        # Goals are an even number of turns apart.
        found = goal_order_scores(method.encode_before(goals, odd=False), method.encode_after(goals))
        ranks = planning_ranks(found.scores)
        best += ranks.partial == 1 and ranks.reverse == 1
        total += 1
    return best / total


def next_turn_rank(method: CurvedCL, dialogues: Sequence[Sequence[str]]) -> float:
    """Return the mean rank of the true next turn after three among those of all dialogues."""
    after = method.encode_after([turns[HISTORY] for turns in dialogues])
    ranks = []
    for place, turns in enumerate(dialogues):
        other, same = (method.encode_before(turns[:HISTORY], odd=odd) for odd in (True, False))
        ranks.append(rank_of(sequence_scores(other, same, after), place))
    return float(torch.tensor(ranks, dtype=torch.float64).mean())


DATA = DialogueData()


def _arm(name: str, **options: Any) -> Arm:
    """As many pairs for every arm."""
    return Arm(name, "curved-cl", DATA, 2 if options.get("directional", True) else 3, 128, RATES, options)


CLAIM = Claim(
    slug="curved-cl",
    title="Imagination is All You Need! Curved Contrastive Learning for Abstract Sequence Modeling Utilized on Long "
    "Short-Term Dialogue Planning",
    statement="Cosines that fall with the distance of two turns say which one comes first and put goals in order.",
    paper="DailyDialog: the order of three goals is found in 61.56 % of the conversations (abstract).",
    arms=(
        _arm("curved"),
        _arm("undirected", marked=False, directional=False),
        _arm("curved, no directional negatives", directional=False),
    ),
    comparisons=(
        Comparison("direction of two turns", "curved", "undirected", "direction", margin=0.1),
        Comparison("order of three goals", "curved", "undirected", "goal order", margin=0.05),
        Comparison("rank of the next turn", "curved", "undirected", "next turn rank", "lower", judged=False),
        Comparison(
            "directional negatives, direction", "curved", "curved, no directional negatives", "direction", judged=False
        ),
    ),
    seeds=(0, 1, 2),
    notes=(
        "The dialogues are generated from one script; real ones are far less regular.",
        "An undirected cosine is the same both ways: its direction accuracy is one half by construction.",
        "A window gives 12 pairs with directional negatives and 8 without: two and three passes are equal budgets.",
    ),
)
