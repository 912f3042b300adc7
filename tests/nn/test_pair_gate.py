import math
from typing import Any

import pytest
import torch

from dipole.errors import InputError
from dipole.nn import PairGate, gate_statistics

Y1, Y2 = torch.tensor([0, 1, 2, 0]), torch.tensor([3, 1, 0, 2])


def small(**options: Any) -> PairGate:
    torch.manual_seed(0)
    return PairGate(4, 6, **{"embed_dim": 5, "hidden_dim": 8, **options})


@pytest.mark.parametrize("fuse", [True, False])
def test_a_gate_is_symmetric_and_between_zero_and_one(fuse: bool) -> None:
    gate = small(fuse=fuse).eval()
    gates = gate(Y1, Y2)
    assert gates.shape == (4, 6)
    assert ((gates > 0) & (gates < 1)).all()
    torch.testing.assert_close(gate(Y2, Y1), gates)


def test_a_pair_of_one_class_is_that_class_if_fused_and_its_square_if_not() -> None:
    torch.testing.assert_close(small().eval()(Y1, Y1), small().eval()(Y1))
    product = small(fuse=False).eval()
    torch.testing.assert_close(product(Y1, Y1), product(Y1).square())


def test_statistics_are_those_of_the_batch_in_training() -> None:
    gate = small()
    trained = gate(Y1, Y2)
    assert int(gate.mlp[1].num_batches_tracked) == 1  # type: ignore[index,arg-type]
    assert not torch.allclose(trained[:2], gate(Y1[:2], Y2[:2]))
    assert int(small(fuse=False)(Y1, Y2).shape[0]) == 4


def test_gates_of_all_classes_leave_the_gate_as_it_is() -> None:
    gate = small()
    before = {key: value.clone() for key, value in gate.state_dict().items()}
    gates = gate.of_classes()
    assert gate.training
    assert all(torch.equal(value, before[key]) for key, value in gate.state_dict().items())
    torch.testing.assert_close(gates, gate.eval()(torch.arange(4)).detach())
    assert not gates.requires_grad


def test_statistics_of_open_closed_and_undecided_gates() -> None:
    for value, entropy in ((0.0, 0.0), (1.0, 0.0), (0.5, math.log(2))):
        found = gate_statistics(torch.full((3, 8), value))
        assert float(found.activation) == pytest.approx(8 * value)
        assert float(found.entropy) == pytest.approx(entropy)


def test_half_precision_gives_single() -> None:
    assert small().eval().bfloat16()(Y1, Y2).dtype == torch.float32


@pytest.mark.parametrize("labels", [[0, 4], [-1, 0]])
def test_classes_that_the_gate_does_not_know(labels: list[int]) -> None:
    gate, wrong = small().eval(), torch.tensor(labels)
    for pair in ((wrong, Y1[:2]), (Y1[:2], wrong)):
        with pytest.raises(InputError, match=r"classes range from .*the gate knows 4, numbered from 0"):
            gate(*pair)


def test_one_pair_has_no_batch_statistics() -> None:
    gate = small()
    with pytest.raises(InputError, match=r"use a batch of 2 or more, or \.eval\(\)"):
        gate(Y1[:1], Y2[:1])
    assert gate.eval()(Y1[:1], Y2[:1]).isfinite().all()


@pytest.mark.parametrize("size", ["num_classes", "dim", "embed_dim", "hidden_dim"])
def test_sizes_below_one(size: str) -> None:
    with pytest.raises(InputError, match=f"{size} of a gate is 0"):
        PairGate(**{"num_classes": 4, "dim": 6, size: 0})
