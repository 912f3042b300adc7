"""Experiments on texts: similarity of sentences, and retrieval."""

import tempfile
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, cast

from torch import Tensor

from dipole.claims.base import Arm, Claim, Data, Metrics
from dipole.claims.small_encoders import named, new_bag
from dipole.claims.training import run_config
from dipole.data.text import RetrievalSet, STSTask, TextSet, load_retrieval, load_sts, load_texts
from dipole.diagnostics import uniformity
from dipole.evaluation.bm25 import bm25_run
from dipole.evaluation.retrieval import evaluate_retrieval, task_metrics
from dipole.evaluation.sts import evaluate_sts
from dipole.methods.text.embedding import SentenceEmbedding
from dipole.nn.text import TextEncoder, encode_texts
from dipole.nn.whitening import group_whiten
from dipole.runs import RunConfig, build_method, load, train

METRICS = ("ndcg@10", "recall@100")
TASKS = ("STS12", "STS13", "STS14", "STS15", "STS-B")


def train_method(arm: Arm, config: RunConfig, texts: TextSet, encoder: TextEncoder | None = None) -> SentenceEmbedding:
    """Train the method of an arm on texts; with no epochs, build it only."""
    if arm.epochs == 0:
        return cast(
            SentenceEmbedding, build_method(config.name, config.method, seed=config.seed, encoder=encoder).eval()
        )
    with tempfile.TemporaryDirectory() as folder:
        run = train(config, Path(folder) / "run", sets=texts, encoder=encoder, monitor=False, progress=False)
        return cast(SentenceEmbedding, load(run.path))


@dataclass(frozen=True)
class SentenceData(Data):
    """Sentences to train on, and STS to measure by.

    Learning rates are chosen on the development pairs of STS-B, as the papers do. Spearman's correlations are 0 to 1.

    Args:
        name: of the training texts.
        encoder: `"static"` or `"small-bert"`, see `dipole.claims.small_encoders`.
        tasks: of STS.
        whitened_groups: whiten the embeddings of a task in so many groups of channels before they are compared.
    """

    name: str
    encoder: str
    tasks: tuple[str, ...] = TASKS
    whitened_groups: int | None = None

    tuning_metric = "STS-B dev"
    tuning = "learning rate by Spearman on the development pairs of STS-B"

    @property
    def label(self) -> str:
        """Name of the texts, the encoder, and what is done to its embeddings."""
        whitened = "" if self.whitened_groups is None else f", whitened in {self.whitened_groups} groups"
        return f"{self.name}, {self.encoder}{whitened}"

    def load(self, data_root: str | Path | None = None) -> tuple[TextSet, list[STSTask], list[STSTask], str]:
        """Return training texts, development and test tasks, and the encoder's name for methods."""
        root = data_root or "."
        texts = load_texts(self.name, data_root)
        return texts, load_sts(root, ["STS-B-dev"]), load_sts(root, list(self.tasks)), named(self.encoder, data_root)

    def size(self, loaded: Any) -> int:
        """Number of training texts."""
        return len(loaded[0])

    def once(self, claim: Claim, arm: Arm, rate: float, seed: int, loaded: Any, *, tune: bool) -> Metrics:
        """Train an encoder and correlate its cosines with people's scores."""
        texts, development, test, encoder = loaded
        config = run_config(arm, self.name, rate, seed, self.shared(encoder))
        method = train_method(arm, config, texts)
        tasks = development if tune else [*development, *test]
        encode = partial(self.embed, method)
        found = {}
        for task in tasks:
            # One task at a time, because whitening is over its sentences.
            (score,) = evaluate_sts([task], encode).values()
            found[task.name.replace("-dev", " dev")] = score.spearman.all
        if not tune:
            found["mean STS"] = sum(found[task] for task in self.tasks) / len(self.tasks)
            found["uniformity"] = float(uniformity(encode(sentences(test[-1]))))
            if claim.measure is not None:
                found |= claim.measure(method, texts, test, arm)
        return found

    def shared(self, encoder: Any) -> dict[str, Any]:
        """Return the arguments that all arms have."""
        return {"encoder": encoder}

    def embed(self, method: SentenceEmbedding, texts: list[str]) -> Tensor:
        """Return embeddings, whitened if the experiment asks for it."""
        z = encode_texts(method.encoder, texts, batch_size=64)
        return z if self.whitened_groups is None else group_whiten(z.double(), self.whitened_groups, eps=1e-5)


def sentences(task: STSTask) -> list[str]:
    """Return the different sentences of a task."""
    sides = (side for pairs in task.subsets.values() for side in (pairs.first, pairs.second))
    return list(dict.fromkeys(text for side in sides for text in side))


@dataclass(frozen=True)
class RetrievalData(Data):
    """Documents to train on without queries, and queries to measure by.

    Every third query chooses learning rates, the others judge. The encoder is a bag of word pieces whose embeddings
    are random at first.

    Args:
        name: of the task.
        width: of the encoder.
    """

    name: str
    width: int = 128

    tuning_metric = "ndcg@10"
    tuning = "learning rate by nDCG@10 of every third query, which does not judge"

    def load(self, data_root: str | Path | None = None) -> tuple[TextSet, RetrievalSet, RetrievalSet]:
        """Return the documents, the task of the queries that tune, and that of the others."""
        task = load_retrieval(self.name, data_root)
        queries = task.judged_queries
        tuning = set(queries[::3])
        return load_texts(self.name, data_root), _part(task, tuning), _part(task, set(queries) - tuning)

    def size(self, loaded: Any) -> int:
        """Number of documents."""
        return len(loaded[0])

    def once(self, claim: Claim, arm: Arm, rate: float, seed: int, loaded: Any, *, tune: bool) -> Metrics:
        """Train an encoder on the documents and search with the queries."""
        texts, development, test = loaded
        encoder = new_bag(texts, width=self.width, seed=seed)
        method = train_method(arm, run_config(arm, self.name, rate, seed, {}), texts, encoder)
        task = development if tune else test
        encode = partial(encode_texts, method.encoder, batch_size=64)
        scores = evaluate_retrieval(task, encode, METRICS, score=method.similarity).mean
        found = {metric: float(scores[metric]) for metric in METRICS}
        if not tune and claim.measure is not None:
            found |= claim.measure(method, texts, test, arm)
        return found

    def references(self, claim: Claim, arm: Arm, loaded: Any) -> dict[str, dict[str, float]]:
        """BM25, which counts words."""
        task = loaded[2]
        scores = task_metrics(task, bm25_run(task), METRICS).mean
        return {"BM25": {metric: float(scores[metric]) for metric in METRICS}}


def _part(task: RetrievalSet, names: set[str]) -> RetrievalSet:
    """The task with some of its queries."""
    queries = {name: text for name, text in task.queries.items() if name in names}
    judgements = {name: grades for name, grades in task.judgements.items() if name in names}
    return replace(task, queries=queries, judgements=judgements)
