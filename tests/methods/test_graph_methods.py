"""Methods of graphs: one step as the authors write it, Team-up over the epochs, shares of the nodes."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from dipole.data.graph import load_graph, make_graph
from dipole.errors import InputError
from dipole.methods.graph.csgcl import CSGCL
from dipole.methods.graph.embedding import NodeEmbedding
from dipole.methods.graph.gca import GCA
from dipole.methods.graph.grace import GRACE
from dipole.ops import tiles

CLASSES: tuple[type[NodeEmbedding], ...] = (GRACE, GCA, CSGCL)


def batch(method: NodeEmbedding, seed: int = 0) -> dict[str, Any]:
    graph = load_graph("karate-club").normalized().graph
    views = method.build_views()
    views.prepare(graph.x, graph.edge_index)
    made = views(graph.x, graph.edge_index, generator=torch.Generator().manual_seed(seed))
    return {"index": torch.arange(34), "x": graph.x, "edge_index": graph.edge_index, **made}


def half(a: Tensor, b: Tensor, bonus: Tensor, temperature: float) -> Tensor:
    a, b = F.normalize(a), F.normalize(b)
    within, between = (torch.exp((a @ other.T + bonus) / temperature) for other in (a, b))
    return -torch.log(between.diag() / (within.sum(1) + between.sum(1) - within.diag()))


@pytest.mark.parametrize("epoch", [0, 9])
@pytest.mark.parametrize("cls", CLASSES)
def test_a_step_is_what_the_authors_write(
    cls: type[NodeEmbedding], epoch: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    options: dict[str, Any] = {"team_up_start": 4, "team_up_ramp": 10} if cls is CSGCL else {}
    method = cls(hidden=8, **options)
    monkeypatch.setattr(cls, "current_epoch", epoch)
    given = batch(method)
    terms = method.loss_terms(given)
    h = []
    for x, edges in given["views"]:
        z = method.encoder(x, edges)
        first, _, second = method.projector
        h.append(second(F.elu(first(z))))
    gamma = max(0, epoch + 1 - 4) / 10 if cls is CSGCL else 0.0
    s = given.get("node_strength", torch.zeros(34))
    bonus = gamma * (s + s[:, None])
    expected = (half(h[0], h[1], bonus, 0.4) + half(h[1], h[0], bonus, 0.4)).mean() / 2
    torch.testing.assert_close(terms["loss"], expected)
    if cls is CSGCL:
        assert float(terms["gamma"]) == pytest.approx(gamma)


@pytest.mark.parametrize("cls", CLASSES)
def test_a_share_of_the_nodes_has_the_loss_of_all_in_the_mean(cls: type[NodeEmbedding]) -> None:
    torch.manual_seed(0)
    method = cls(hidden=8, anchors=17)
    given = batch(method)
    found = torch.stack([method.loss_terms(given)["loss"].detach() for _ in range(60)])
    method.anchors = None
    whole = float(method.loss_terms(given)["loss"].detach())
    assert float(found.std()) > 0
    assert abs(float(found.mean()) - whole) < 4 * float(found.std()) / 60**0.5
    method.anchors = 34
    assert method.draw_anchors(34) is None


@pytest.mark.parametrize("cls", CLASSES)
def test_training_brings_the_views_of_a_node_together(cls: type[NodeEmbedding]) -> None:
    torch.manual_seed(0)
    method = cls(hidden=16)
    optimizer = torch.optim.Adam(method.parameters(), lr=0.01)
    losses = []
    for seed in range(30):
        loss = method.loss_terms(batch(method, seed))["loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert sum(losses[-5:]) < sum(losses[:5]) - 0.5


class LargestTensor(TorchDispatchMode):
    """Remembers the number of entries of the largest dense tensor that an operation returns."""

    largest = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        dense = [leaf for leaf in tree_leaves(result) if isinstance(leaf, Tensor) and leaf.layout == torch.strided]
        self.largest = max([self.largest, *(leaf.numel() for leaf in dense)])
        return result


@pytest.mark.parametrize("cls", CLASSES)
def test_no_tensor_grows_with_the_square_of_the_nodes(
    cls: type[NodeEmbedding], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(tiles.KEPT_ENTRIES, "cpu", 1 << 20)  # what may be kept would hold the whole matrix of so few
    nodes = 3000
    generator = torch.Generator().manual_seed(0)
    edges = torch.randint(nodes, (2, 4 * nodes), generator=generator)
    graph = make_graph("g", edges, num_nodes=nodes, x=torch.rand(nodes, 4, generator=generator)).graph
    method = cls(num_features=4, hidden=8, **({"team_up_start": 0} if cls is CSGCL else {}))
    views = method.build_views()
    with LargestTensor() as seen:
        views.prepare(graph.x, graph.edge_index)
        made = views(graph.x, graph.edge_index, generator=generator)
        method.loss_terms(made)["loss"].backward()
    assert 0 < seen.largest <= 1 << 20 < nodes**2


def test_embeddings_are_the_encoders() -> None:
    method = GRACE(hidden=8, encoder="sage").eval()
    given = batch(method)
    embedded = method.embed(given)
    assert embedded.shape == (34, 8)
    torch.testing.assert_close(embedded, method.encoder(given["x"], given["edge_index"]))


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"encoder": "mlp"}, "encoder is 'mlp'"),
        ({"anchors": 0}, "anchors is 0"),
        ({"temperature": 0.0}, "temperature is 0"),
        ({"projector_hidden": 0}, "projector_hidden is 0"),
        ({"team_up_start": -1}, "team_up_start is -1"),
        ({"team_up_ramp": 0}, "team_up_ramp is 0"),
        ({"team_up_maximum": -0.5}, r"team_up_maximum is -0\.5"),
    ],
)
def test_mistakes(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        CSGCL(**options)
