"""SASRec's encoder and MCLRec's augmenters."""

from typing import Any

import pytest
import torch
from torch import Tensor

from dipole.errors import InputError
from dipole.nn.recommendation import AttentionAugmenter, ModelAugmenter, SASRecEncoder

HISTORY = torch.tensor([[3, 5, 2, 0, 0, 0], [1, 0, 4, 4, 0, 0], [7, 0, 0, 0, 0, 0]])
LENGTH = torch.tensor([3, 4, 1])


def encoder(**options: Any) -> SASRecEncoder:
    torch.manual_seed(0)
    built = SASRecEncoder(
        9, **{"max_length": 6, "width": 8, "layers": 3, "dropout": 0.0, "attention_dropout": 0.0} | options
    )
    for parameter in built.parameters():  # far from the start, where all items are alike
        parameter.data += 0.3 * torch.randn_like(parameter)
    return built.double()


def test_only_what_is_seen_counts() -> None:
    built = encoder()
    states = built(HISTORY, LENGTH)
    padded = torch.cat([HISTORY, torch.zeros(3, 0, dtype=torch.long)], dim=1)
    later = padded.clone()
    later[0, 3:] = 8  # after the end
    torch.testing.assert_close(built(later, LENGTH), states)
    changed = HISTORY.clone()
    changed[0, 0] = 6
    difference = (built(changed, LENGTH) - states).abs().amax(dim=1)
    assert difference[0] > 1e-3
    assert difference[1:].max() == 0
    # A masked item is not seen, but keeps its place.
    moved = torch.tensor([[1, 4, 4, 0, 0, 0]])
    assert not torch.allclose(built(moved, torch.tensor([3])), states[1:2])


def test_columns_of_padding_can_be_left_out() -> None:
    built = encoder()
    torch.testing.assert_close(built(HISTORY[:, :4], LENGTH), built(HISTORY, LENGTH))


def test_rows_do_not_see_each_other() -> None:
    built = encoder()
    order = torch.tensor([2, 0, 1])
    torch.testing.assert_close(built(HISTORY[order], LENGTH[order]), built(HISTORY, LENGTH)[order])


def test_a_history_that_is_masked_whole_is_finite_with_all_columns() -> None:
    built = encoder()
    hidden = torch.zeros(1, 6, dtype=torch.long)
    state = built(hidden, torch.tensor([2]))
    assert bool(state.isfinite().all())
    # Its attention is over all columns, so that company does not change it.
    together = built(torch.cat([hidden, HISTORY]), torch.cat([torch.tensor([2]), LENGTH]))
    torch.testing.assert_close(together[:1], state)
    torch.testing.assert_close(together[1:], built(HISTORY, LENGTH))


def test_as_a_transformer_that_computes_every_place() -> None:
    """PyTorch's own layers with the same weights."""
    built = encoder(heads=2)
    x = built.norm(built.item_embedding(HISTORY) + built.position_embedding.weight)
    places = torch.arange(6)
    hidden = ~((HISTORY > 0)[:, None, :] & (places <= places[:, None]))
    mask = torch.where(hidden, -10000.0, 0.0).double().repeat_interleave(2, dim=0)
    for layer in built.layers:
        other = torch.nn.TransformerEncoderLayer(
            8, 2, 256, dropout=0.0, activation="gelu", layer_norm_eps=1e-12, batch_first=True, dtype=torch.float64
        )
        state = other.state_dict()
        parts = (layer.query, layer.key, layer.value)
        state["self_attn.in_proj_weight"] = torch.cat([part.weight for part in parts])
        state["self_attn.in_proj_bias"] = torch.cat([part.bias for part in parts])
        for ours, theirs in {
            "output": "self_attn.out_proj",
            "feed_forward.0": "linear1",
            "feed_forward.2": "linear2",
            "attention_norm": "norm1",
            "feed_forward_norm": "norm2",
        }.items():
            part = layer.get_submodule(ours)
            state[f"{theirs}.weight"], state[f"{theirs}.bias"] = part.weight, part.bias
        other.load_state_dict(state)
        x = other(x, src_mask=mask)
    torch.testing.assert_close(built(HISTORY, LENGTH), x[torch.arange(3), LENGTH - 1])


def test_scores_are_inner_products_and_gradients_reach_the_items() -> None:
    built = encoder()
    states = built(HISTORY, LENGTH)
    scores = built.scores(states)
    assert scores.shape == (3, 10)
    scores.logsumexp(dim=1).sum().backward()
    gradient = built.item_embedding.weight.grad
    assert gradient is not None
    assert bool((gradient.abs().sum(dim=1) > 0).all())


@pytest.mark.parametrize(
    "options",
    [{"heads": 3}, {"heads": 0}, {"width": 0}, {"layers": 0}, {"dropout": 1.0}, {"attention_dropout": -0.1}],
)
def test_sizes_out_of_range(options: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=next(iter(options))):
        SASRecEncoder(9, **{"width": 8, **options})


@pytest.mark.parametrize("augmenter", [ModelAugmenter(8), ModelAugmenter(8, ()), AttentionAugmenter(8)])
def test_augmenters_give_unit_rows(augmenter: torch.nn.Module) -> None:
    h = torch.randn(5, 8, generator=torch.Generator().manual_seed(0))
    z: Tensor = augmenter(h)
    torch.testing.assert_close(z.norm(dim=1), torch.ones(5))
    order = torch.tensor([4, 2, 0, 1, 3])
    torch.testing.assert_close(augmenter(h[order]), z[order])


def test_an_augmenter_whose_network_gives_zero_has_no_nan() -> None:
    augmenter = ModelAugmenter(4, (2,))
    for parameter in augmenter.parameters():
        torch.nn.init.zeros_(parameter)
    assert augmenter(torch.ones(2, 4)).tolist() == [[0.0] * 4] * 2
    with pytest.raises(InputError, match="widths"):
        ModelAugmenter(4, (0,))
