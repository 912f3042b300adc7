"""What embeddings of nodes are worth: a linear classifier, clusters, links."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from dipole.errors import InputError
from dipole.losses.common import unit_rows
from dipole.ops.checks import check_at_least, check_node_pairs
from dipole.ops.clusters import exact_kmeans
from dipole.ops.door import public

TRAIN_SHARE = VALIDATION_SHARE = 0.1
LEARNING_RATE = 0.01
LOOK_EVERY = 20  # steps of the classifier


class NodeSplit(NamedTuple):
    """Nodes that a classifier learns from, is chosen by, and is measured on."""

    train: Tensor
    validation: Tensor
    test: Tensor


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
    check_at_least(steps, LOOK_EVERY, "steps")
    if not bool(embeddings.isfinite().all()):
        raise InputError("embeddings contain NaN or infinite values: look at the learning rate.")
    if min(len(part) for part in split) == 0:
        raise InputError(
            "a part of the split has no nodes: a classifier learns, is chosen and is measured on some each."
        )
    known, targets = torch.unique(labels[torch.cat(split)], return_inverse=True)
    parts = [embeddings[part].float() for part in split]
    train_targets, *others = targets.split([len(part) for part in split])
    bound = (6 / (embeddings.shape[1] + len(known))) ** 0.5
    generator = torch.Generator().manual_seed(seed)
    weight = torch.empty(len(known), embeddings.shape[1]).uniform_(-bound, bound, generator=generator)
    weight = weight.to(embeddings.device).requires_grad_()
    bias = torch.zeros(len(known), device=embeddings.device, requires_grad=True)
    optimizer = torch.optim.Adam([weight, bias], lr=LEARNING_RATE)
    best = (-1.0, 0.0)
    with torch.enable_grad():
        for step in range(1, steps + 1):
            optimizer.zero_grad()
            F.cross_entropy(F.linear(parts[0], weight, bias), train_targets).backward()
            optimizer.step()
            if step % LOOK_EVERY == 0:
                found = [
                    float((F.linear(part, weight, bias).argmax(dim=1) == target).double().mean())
                    for part, target in zip(parts[1:], others, strict=True)
                ]
                best = max(best, (found[0], found[1]), key=lambda pair: pair[0])
    return best[1]


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
