"""Compile every loss on the arguments of its own example; `python tests/compiled_losses.py`."""

import inspect
from collections.abc import Iterator, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch._dynamo import lookup_backend

import dipole.losses
from dipole.losses.episodes import TERMS
from dipole.ops import (
    pairwise_logsumexp,
    pairwise_logsumexp_both,
    pairwise_softmax_mean,
    pairwise_softplus_sum,
    softmax_retrieval,
)
from recorded_calls import recorded_call

# They are no losses: they select rows by values, or draw with numpy.
NOT_COMPILED = {"draw_transform", "mix_positive_index", "sample_mixing_coefficients"}
OPERATIONS: list[str] = []  # of the graph that was compiled last
LOSSES = sorted(
    name
    for name in dipole.losses.__all__
    if inspect.isfunction(getattr(dipole.losses, name)) and name != "multilinear_inner_product"
)


def tensors_of(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Mapping):
        for entry in value.values():
            yield from tensors_of(entry)
    elif isinstance(value, tuple | list):
        for entry in value:
            yield from tensors_of(entry)


def compile_all() -> int:
    count = 0
    for name in sorted(set(LOSSES) - NOT_COMPILED):
        torch._dynamo.reset()
        function = getattr(dipole.losses, name)
        arguments = recorded_call(name, function)
        torch.manual_seed(0)
        expected = list(tensors_of(function(**arguments)))
        torch.manual_seed(0)
        found = list(tensors_of(compiled(lambda function=function, arguments=arguments: function(**arguments))()))
        assert len(found) == len(expected), name
        for one, other in zip(found, expected, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6, msg=lambda text, name=name: f"{name}: {text}")
        count += 1
    return count


def compare_gradients() -> None:
    drawn = torch.Generator().manual_seed(0)
    labels, flags = torch.arange(40) % 4, torch.arange(40) % 3 == 0
    cases: list[tuple[Any, int, dict[str, Any]]] = [
        (dipole.losses.nt_xent_loss, 2, {"temperature": 0.2}),
        (dipole.losses.clip_loss, 2, {"temperature": 0.2}),
        (dipole.losses.siglip_loss, 2, {"temperature": 0.2}),
        (dipole.losses.sup_con_distillation_loss, 2, {"labels": labels, "anchors": flags, "positives": "student"}),
        (lambda *z: dipole.losses.sepclr_loss(*z, flags, background_pairs=False).loss, 4, {}),
        (lambda *z: dipole.losses.disentangled_sepclr_loss(*z, target=flags).loss, 4, {}),
        (lambda x, y: dipole.losses.episode_loss(x, labels, y, labels), 2, {}),
        (lambda x, y: dipole.losses.episode_loss(x, labels, y, labels, query_to="prototypes", terms=TERMS), 2, {}),
        (lambda x, y: dipole.losses.cut_loss(x[None], labels[None], y[None], labels[None], flags[:1]), 2, {}),
        (lambda x, y: dipole.losses.token_contrastive_loss(torch.stack([x, y]), flags.expand(2, 40)), 2, {}),
        (lambda x, y: dipole.losses.supremix_loss(torch.stack([x, y]), labels.float(), mix_neg=False), 2, {}),
        (lambda x, y: dipole.losses.cloob_loss(x, y, beta=2.0), 2, {}),
        (lambda x, y: dipole.losses.cacr_loss(torch.stack([x, y]), false_negatives=labels[:, None] == labels), 2, {}),
        (lambda x, y: dipole.losses.hard_negative_clap_loss(x[:20], y, 1), 2, {}),
    ]
    for function, count, settings in cases:
        torch._dynamo.reset()
        views = [torch.randn(40, 8, generator=drawn, requires_grad=True) for _ in range(count)]
        expected = torch.autograd.grad(function(*views, **settings), views, materialize_grads=True)
        found = torch.autograd.grad(compiled(function)(*views, **settings), views, materialize_grads=True)
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6, msg=lambda text, f=function: f"{f}: {text}")


def compare_statistics() -> None:
    """The operators of a compiled graph give what their functions give; no graph has a product of queries and keys."""
    drawn = torch.Generator().manual_seed(0)
    x, y = (F.normalize(torch.randn(n, 8, generator=drawn)).requires_grad_() for n in (300, 400))
    scale, bias = torch.tensor(5.0, requires_grad=True), torch.tensor(-1.0, requires_grad=True)
    large, mask = torch.tensor(300.0, requires_grad=True), torch.rand(300, 400, generator=drawn) < 0.2
    weight = torch.randn(400, generator=drawn)
    calls: list[tuple[Any, tuple[Tensor, ...], dict[str, Any]]] = [
        (pairwise_logsumexp, (x, y, scale), {"exclude": mask}),
        (pairwise_logsumexp, (x, y, large), {"log_weight": weight}),
        (pairwise_logsumexp, (x, x, scale), {"exclude": "own"}),
        (pairwise_logsumexp, (x, x, large), {"exclude": torch.arange(300)}),
        (pairwise_logsumexp_both, (x, y, scale), {}),
        (pairwise_logsumexp_both, (x, y, large), {"exclude": mask}),
        (pairwise_softmax_mean, (x, y, scale), {"exclude": mask}),
        (pairwise_softmax_mean, (x, y.detach(), 5.0), {"detach_weights": True}),
        (pairwise_softplus_sum, (x, y, scale, bias), {}),
        (pairwise_softplus_sum, (x, x, scale, bias), {}),
        (softmax_retrieval, (x, y, scale), {}),
        (softmax_retrieval, (x, y, large), {"groups": [100, 300]}),
        (softmax_retrieval, (x, x, scale), {"groups": [100, 200]}),
        (softmax_retrieval, (x, x, large), {}),
    ]
    for function, arguments, settings in calls:
        torch._dynamo.reset()
        leaves = [part for part in arguments if isinstance(part, Tensor) and part.requires_grad]
        pairs = []
        for run in (function, compiled(lambda *given, f=function, s=settings: f(*given, **s))):
            results = run(*arguments, **settings) if run is function else run(*arguments)
            results = results if isinstance(results, tuple) else (results,)
            total = sum((part * torch.linspace(0.5, 1.5, part.numel()).view_as(part)).sum() for part in results)
            pairs.append((results, torch.autograd.grad(total, leaves)))
        torch.testing.assert_close(
            pairs[1], pairs[0], rtol=1e-5, atol=1e-6, msg=lambda text, f=function: f"{f}: {text}"
        )
        name = function.__name__
        assert f"dipole.{name}.default" in OPERATIONS, f"{name}: {OPERATIONS}"
        assert not {"matmul", "mm", "aten.mm.default"} & set(OPERATIONS), f"{name}: {OPERATIONS}"


def compiled(function: Any) -> Any:
    return torch.compile(function, fullgraph=True, backend=recorded)


def recorded(graph: torch.fx.GraphModule, inputs: list[Tensor]) -> Any:
    OPERATIONS[:] = [str(getattr(node.target, "__name__", node.target)) for node in graph.graph.nodes]
    OPERATIONS.extend(str(node.target) for node in graph.graph.nodes)
    return lookup_backend("aot_eager")(graph, inputs)


if __name__ == "__main__":
    compare_gradients()
    compare_statistics()
    print(f"{compile_all()} losses compile")
