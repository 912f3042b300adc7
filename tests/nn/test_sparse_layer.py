"""A first layer that skips what is 0."""

import torch

from dipole.nn.graph import encoder as encoders
from dipole.nn.graph.encoder import GraphEncoder
from dipole.nn.graph.sparse_layer import sparse_product


def test_values_and_gradients_are_those_of_the_dense_product() -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(7, 5, generator=generator, dtype=torch.float64) * (torch.rand(7, 5, generator=generator) < 0.3)
    weight = torch.randn(5, 3, generator=generator, dtype=torch.float64, requires_grad=True)
    upstream = torch.randn(7, 3, generator=generator, dtype=torch.float64)
    torch.testing.assert_close(sparse_product(x, weight), x @ weight)
    (found,) = torch.autograd.grad((sparse_product(x, weight) * upstream).sum(), weight)
    torch.testing.assert_close(found, x.T @ upstream)
    assert torch.autograd.gradcheck(lambda w: sparse_product(x, w), (weight,))


def test_an_encoder_embeds_alike(monkeypatch) -> None:  # type: ignore[no-untyped-def]
    generator = torch.Generator().manual_seed(0)
    x = (torch.rand(30, 12, generator=generator) < 0.1).double()
    edges = torch.randint(30, (2, 80), generator=generator)
    found = []
    for sparse in (False, True):
        monkeypatch.setattr(encoders, "is_sparse_enough", lambda x, sparse=sparse: sparse)
        torch.manual_seed(0)
        encoder = GraphEncoder(12, 4).double()
        z = encoder(x, edges)
        z.square().sum().backward()
        found.append((z.detach(), [p.grad for p in encoder.parameters()]))
    torch.testing.assert_close(found[0], found[1])
