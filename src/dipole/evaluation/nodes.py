"""What embeddings of nodes are worth: a linear classifier, clusters, links."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from dipole.errors import InputError
from dipole.evaluation.linear_probes import LinearProbes
from dipole.losses.common import unit_rows
from dipole.ops.checks import check_at_least, check_node_pairs
from dipole.ops.clusters import exact_kmeans
from dipole.ops.door import public

TRAIN_SHARE = VALIDATION_SHARE = 0.1
LOOK_EVERY = 20  # steps of the classifier


class NodeSplit(NamedTuple):
    """Nodes that a classifier learns from, is chosen by, and is measured on."""

    train: Tensor
    validation: Tensor
    test: Tensor


class NodeScores(NamedTuple):
    """Test scores of a classifier of nodes, 0 to 1."""

    macro_f1: float
    micro_f1: float
    auc: float


@public
def random_node_split(
    labels: Int[Tensor, "n"],
    *,
    train: float = TRAIN_SHARE,
    validation: float = VALIDATION_SHARE,
    seed: int = 0,
) -> NodeSplit:
    """Divide the nodes with a class at random, all others being test nodes, as GCA and CSGCL do.

    Args:
        labels: (N,) negative where the class is unknown; such nodes are in no part.
        train: share of the nodes with a class.
        validation: the same.
        seed: of the draw.

    Returns:
        Indices of nodes.

    Raises:
        InputError: a part would be empty.

    Example:
        >>> [len(part) for part in random_node_split(torch.arange(30) % 3)]
        [3, 3, 24]
    """
    known = torch.nonzero(labels >= 0).flatten()
    order = known[torch.randperm(len(known), generator=torch.Generator().manual_seed(seed)).to(known.device)]
    sizes = int(len(known) * train), int(len(known) * validation)
    if min(*sizes, len(known) - sum(sizes)) < 1:
        raise InputError(f"{len(known)} nodes have a class: too few to learn from {train:.0%} of them.")
    return NodeSplit(*order.split([*sizes, len(known) - sum(sizes)]))


@public
def node_accuracy(
    embeddings: Float[Tensor, "n d"],
    labels: Int[Tensor, "n"],
    split: NodeSplit,
    *,
    steps: int = 3000,
    seed: int = 0,
) -> float:
    """Train a softmax classifier on frozen embeddings, and return its test accuracy where validation was best.

    The protocol of GCA (Zhu et al., WWW 2021) and CSGCL (Chen et al., IJCAI 2023): Adam with a learning rate of 0.01
    and no weight decay on the training nodes; every 20 steps the validation accuracy is looked at, and the first best
    one decides. Embeddings are taken as they are.

    Args:
        embeddings: (N, D).
        labels: (N,).
        split: see `random_node_split`.
        steps: of the classifier; authors: 3000, and 800 for each of the splits of Wiki-CS.
        seed: of the first weights.

    Returns:
        The share of test nodes, 0 to 1.

    Raises:
        InputError: a part of the split is empty, an embedding is not finite, or there are fewer than 20 steps.

    Example:
        >>> points, labels = torch.eye(2).repeat(15, 1), torch.arange(2).repeat(15)
        >>> node_accuracy(points, labels, random_node_split(labels), steps=100)
        1.0
    """
    return node_accuracies(embeddings, labels, [split], steps=steps, seeds=[seed])[0]


@public
def node_accuracies(
    embeddings: Float[Tensor, "n d"],
    labels: Int[Tensor, "n"],
    splits: Sequence[NodeSplit],
    *,
    steps: int = 3000,
    seeds: Sequence[int] | None = None,
) -> list[float]:
    """Do the same for several splits at once: all classifiers take their steps together, as one product.

    Embeddings most of which are 0, such as words, stay sparse.

    Args:
        embeddings: (N, D), taken as they are.
        labels: (N,).
        splits: of the nodes.
        steps: of the classifiers.
        seeds: of the first weights of each; 0, 1, … if None.

    Returns:
        The accuracy of each split.

    Raises:
        InputError: see `node_accuracy`.

    Example:
        >>> points, labels = torch.eye(2).repeat(15, 1), torch.arange(2).repeat(15)
        >>> node_accuracies(points, labels, [random_node_split(labels, seed=seed) for seed in range(3)], steps=100)
        [1.0, 1.0, 1.0]
    """
    check_at_least(steps, LOOK_EVERY, "steps")
    seeds = range(len(splits)) if seeds is None else seeds
    if not splits or len(seeds) != len(splits):
        raise InputError(f"{len(splits)} splits and {len(seeds)} seeds: expected one or more, and a seed for each.")
    if not bool(embeddings.isfinite().all()):
        raise InputError("embeddings contain NaN or infinite values: look at the learning rate.")
    if min(len(part) for split in splits for part in split) == 0:
        raise InputError(
            "a part of the split has no nodes: a classifier learns, is chosen and is measured on some each."
        )
    used = torch.unique(torch.cat([part for split in splits for part in split]))
    known, targets = torch.unique(labels[used], return_inverse=True)
    place = torch.full_like(labels, -1)
    place[used] = torch.arange(len(used), device=place.device)
    probes = LinearProbes(
        embeddings[used].float(), targets, len(known), [place[split.train] for split in splits], seeds
    )
    best = [(-1.0, 0.0)] * len(splits)
    for step in range(1, steps + 1):
        probes.step()
        if step % LOOK_EVERY == 0:
            right = probes.right()
            for number, split in enumerate(splits):
                found = [float(right[place[part], number].double().mean()) for part in split[1:]]
                best[number] = max(best[number], (found[0], found[1]), key=lambda pair: pair[0])
    return [accuracy for _, accuracy in best]


@public
def few_labels_split(labels: Int[Tensor, "n"], count: int, *, most: int = 1000, seed: int = 0) -> NodeSplit:
    """Draw some labelled nodes of each class, and divide the others into validation and test, as HeCo does.

    Args:
        labels: (N,) negative where the class is unknown; such nodes are in no part.
        count: training nodes of each class.
        most: validation nodes, and as many test nodes; half of the rest each where there are fewer.
        seed: of the draw.

    Raises:
        InputError: a class has too few nodes.

    Example:
        >>> [len(part) for part in few_labels_split(torch.arange(30) % 3, 2)]
        [6, 12, 12]
    """
    check_at_least(count, 1, "count")
    check_at_least(most, 1, "most")
    known = torch.nonzero(labels >= 0).flatten()
    order = known[torch.randperm(len(known), generator=torch.Generator().manual_seed(seed)).to(known.device)]
    train = [order[labels[order] == value][:count] for value in labels[known].unique()]
    if not train or min(map(len, train)) < count:
        raise InputError(f"{count} nodes of each class were asked for, and a class has fewer: ask for fewer.")
    chosen = torch.cat(train)
    rest = order[~torch.isin(order, chosen)]
    if len(rest) < 2:
        raise InputError(f"{len(rest)} nodes are left to choose and to test a classifier: ask for fewer labels.")
    half = min(most, len(rest) // 2)
    return NodeSplit(chosen, rest[:half], rest[half : 2 * half])


@public
def node_scores(
    embeddings: Float[Tensor, "n d"],
    labels: Int[Tensor, "n"],
    split: NodeSplit,
    *,
    steps: int = 200,
    learning_rate: float = 0.03,
    seed: int = 0,
) -> NodeScores:
    """Train logistic regression on frozen embeddings, and return test scores of the steps that validation chooses.

    The protocol of HeCo (Wang et al., KDD 2021) and MEOW (Yu et al., SDM 2023): Adam without weight decay; each F1 of
    the step with the best same F1 of the validation nodes, the area under the ROC curve, one class against the rest, of
    the step with the best validation micro-F1. Embeddings are taken as they are.

    Args:
        embeddings: (N, D).
        labels: (N,).
        split: see `few_labels_split`.
        steps: of the classifier.
        learning_rate: of the classifier.
        seed: of the first weights.

    Raises:
        InputError: a part of the split is empty or has one class alone, or an embedding is not finite.

    Example:
        >>> points, labels = torch.eye(2).repeat(15, 1), torch.arange(2).repeat(15)
        >>> node_scores(points, labels, few_labels_split(labels, 3))
        NodeScores(macro_f1=1.0, micro_f1=1.0, auc=1.0)
    """
    from sklearn.metrics import roc_auc_score

    check_at_least(steps, 1, "steps")
    check_at_least(learning_rate, 0, "learning_rate")
    parts = NodeSplit(*split)
    if not bool(embeddings.isfinite().all()):
        raise InputError("embeddings contain NaN or infinite values: look at the learning rate.")
    classes = len(torch.unique(labels[parts.train]))
    if min(map(len, parts)) == 0 or classes < 2 or len(torch.unique(labels[parts.test])) < classes:
        raise InputError("a part of the split has no nodes, or no node of some class.")
    known, targets = torch.unique(labels[torch.cat(list(parts))], return_inverse=True)
    own, validation, test = targets.split([len(part) for part in parts])
    x = [embeddings[part].float() for part in parts]
    layer = torch.nn.Linear(embeddings.shape[1], len(known))
    generator = torch.Generator().manual_seed(seed)
    bound = (6 / (embeddings.shape[1] + len(known))) ** 0.5
    torch.nn.init.uniform_(layer.weight, -bound, bound, generator=generator)
    torch.nn.init.zeros_(layer.bias)
    optimizer = torch.optim.Adam(layer.parameters(), lr=learning_rate)
    best: dict[str, tuple[float, float]] = {"macro": (-1.0, 0.0), "micro": (-1.0, 0.0)}
    scores = torch.zeros(len(test), len(known))
    with torch.enable_grad():
        for _ in range(steps):
            optimizer.zero_grad()
            F.cross_entropy(layer(x[0]), own).backward()
            optimizer.step()
            with torch.no_grad():
                found = [layer(part) for part in x[1:]]
            chosen, measured = (_f1(t, z.argmax(dim=1)) for t, z in zip((validation, test), found, strict=True))
            for kind in best:
                if chosen[kind] > best[kind][0]:
                    best[kind] = chosen[kind], measured[kind]
                    if kind == "micro":
                        scores = found[1].softmax(dim=1)
    positive = scores[:, 1] if len(known) == 2 else scores
    auc = float(roc_auc_score(test.numpy(), positive.double().numpy(), multi_class="ovr"))
    return NodeScores(best["macro"][1], best["micro"][1], auc)


def _f1(targets: Tensor, predicted: Tensor) -> dict[str, float]:
    """Macro- and micro-F1, as scikit-learn has them, in a hundredth of its time: every step of a classifier asks."""
    classes = int(torch.maximum(targets.max(), predicted.max())) + 1
    confusion = torch.bincount(targets * classes + predicted, minlength=classes**2).view(classes, classes).double()
    found, sizes = confusion.diagonal(), confusion.sum(dim=0) + confusion.sum(dim=1)
    met = sizes > 0
    return {"macro": float((2 * found[met] / sizes[met]).mean()), "micro": float(found.sum() / len(targets))}


@public
def cluster_agreement(embeddings: Float[Tensor, "n d"], labels: Int[Tensor, "n"], *, seed: int = 0) -> dict[str, float]:
    """Cluster embeddings by k-means with as many clusters as classes, and compare with the classes.

    Args:
        embeddings: (N, D), taken as they are.
        labels: (N,) negative where the class is unknown; such nodes are left out.
        seed: of the ten starts, of which the best is taken.

    Returns:
        `NMI`, normalised mutual information, and `ARI`, the adjusted Rand index.

    Raises:
        InputError: fewer than two classes are known.

    Example:
        >>> cluster_agreement(torch.eye(2).repeat(5, 1), torch.arange(2).repeat(5))
        {'NMI': 1.0, 'ARI': 1.0}
    """
    from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score

    known = labels >= 0
    classes = len(torch.unique(labels[known]))
    if classes < 2:
        raise InputError(f"{classes} classes are known: clusters are compared with two or more.")
    found = exact_kmeans(embeddings[known], classes, seed=seed)[0].numpy()
    truth = labels[known].cpu().numpy()
    return {
        "NMI": float(normalized_mutual_info_score(truth, found)),
        "ARI": float(adjusted_rand_score(truth, found)),
    }


@public
def link_scores(
    embeddings: Float[Tensor, "n d"], edges: Int[Tensor, "2 e"], others: Int[Tensor, "2 f"]
) -> dict[str, float]:
    """Tell edges from pairs of nodes without an edge by the cosine of their embeddings.

    Args:
        embeddings: (N, D) by an encoder that has not seen the edges.
        edges: (2, E).
        others: (2, F) pairs without an edge, see `sample_non_edges`.

    Returns:
        `link AUC`, the area under the ROC curve, and `link AP`, the average precision.

    Raises:
        InputError: there are no edges or no other pairs, or they are no pairs of nodes.

    Example:
        >>> points = torch.eye(2).repeat_interleave(2, dim=0)
        >>> link_scores(points, torch.tensor([[0, 2], [1, 3]]), torch.tensor([[0, 1], [2, 3]]))
        {'link AUC': 1.0, 'link AP': 1.0}
    """
    from sklearn.metrics import average_precision_score, roc_auc_score

    edges, others = (
        check_node_pairs(pairs, len(embeddings), name) for name, pairs in (("edges", edges), ("others", others))
    )
    if edges.shape[1] == 0 or others.shape[1] == 0:
        raise InputError(f"{edges.shape[1]} edges and {others.shape[1]} other pairs: links need some of each.")
    unit = unit_rows(embeddings.detach().float())
    scores = torch.cat([(unit[first] * unit[second]).sum(dim=1) for first, second in (edges, others)])
    truth = torch.cat([torch.ones(edges.shape[1]), torch.zeros(others.shape[1])])
    pair = truth.numpy(), scores.cpu().numpy()
    return {"link AUC": float(roc_auc_score(*pair)), "link AP": float(average_precision_score(*pair))}


@public
def sample_non_edges(
    edge_index: Int[Tensor, "2 e"], num_nodes: int, count: int, *, seed: int = 0
) -> Int[Tensor, "2 f"]:
    """Draw pairs of different nodes that no edge joins.

    Args:
        edge_index: (2, E) all edges, in both directions.
        num_nodes: N.
        count: pairs; fewer if the graph is too dense to find them.
        seed: of the draw.

    Returns:
        (2, F) different pairs, the smaller node first.

    Raises:
        InputError: fewer than two nodes, a negative count, or edges that are no pairs of nodes.

    Example:
        >>> sample_non_edges(torch.tensor([[0, 1], [1, 0]]), 3, 2).sort(dim=1).values.tolist()
        [[0, 1], [2, 2]]
    """
    check_at_least(num_nodes, 2, "num_nodes")
    check_at_least(count, 0, "count")
    edge_index = check_node_pairs(edge_index, num_nodes, "edge_index")
    generator = torch.Generator().manual_seed(seed)
    taken = torch.unique(edge_index[0] * num_nodes + edge_index[1])
    found = taken[:0]
    for _ in range(20):  # a share of the draws is thrown away, which is small in a sparse graph
        pairs = torch.randint(num_nodes, (2, 2 * count), generator=generator).to(edge_index.device).sort(dim=0).values
        codes = pairs[0] * num_nodes + pairs[1]
        codes = codes[(pairs[0] < pairs[1]) & ~torch.isin(codes, taken)]
        found = torch.unique(torch.cat([found, codes]))
        if len(found) >= count:
            break
    chosen = found[torch.randperm(len(found), generator=generator)[:count].to(found.device)]
    return torch.stack([chosen // num_nodes, chosen % num_nodes])
