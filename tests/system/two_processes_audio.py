"""Run by test_two_processes.py in two processes: the losses between sounds and texts."""

from collections.abc import Callable

import torch
import torch.distributed as dist
from torch import Tensor

from dipole.losses import (
    coconut_loss,
    modular_clap_loss,
    sup_con_distillation_loss,
    supervised_multimodal_loss,
    tnce_loss,
)

N, D = 8, 5
generator = torch.Generator().manual_seed(0)
POSITIVES, NEGATIVES = torch.tensor([2, 1, 0, 3, 0, 0, 1, 0]), torch.tensor([1, 2, 3, 0, 0, 1, 0, 2])
OWNER = torch.arange(N).repeat_interleave(1 + POSITIVES + NEGATIVES)
LABELS = torch.tensor([0, 0, 1, 2, 1, 0, 2, 3])
REHEARSAL = torch.tensor([True, True, True, False, False, False, False, False])  # all of them in one process
TEACHER = torch.randn(N, D, generator=generator, dtype=torch.float64)
LOGITS = torch.randn(N, 4, generator=generator, dtype=torch.float64)
Loss = Callable[[Tensor, Tensor, slice, bool], Tensor]


def tnce(audio: Tensor, text: Tensor, rows: slice, gather: bool) -> Tensor:
    blocks = [x.unflatten(0, (-1, 3)).transpose(0, 1) for x in (audio, text)]
    weights = {"alpha_same": 0.7, "alpha_cross": 0.3, "beta": 0.5}
    return tnce_loss(blocks[0], blocks[1], temperature=0.2, gather=gather, **weights)


def modular(audio: Tensor, text: Tensor, rows: slice, gather: bool) -> Tensor:
    return modular_clap_loss(audio, text, POSITIVES[rows], NEGATIVES[rows], temperature=0.2, gather=gather)


def distillation(denominator: str) -> Loss:
    def loss(audio: Tensor, text: Tensor, rows: slice, gather: bool) -> Tensor:
        options = {"anchors": REHEARSAL[rows], "denominator": denominator, "gather": gather}
        return sup_con_distillation_loss(audio, TEACHER[rows], LABELS[rows], **options)

    return loss


def multimodal(audio: Tensor, text: Tensor, rows: slice, gather: bool) -> Tensor:
    return supervised_multimodal_loss(audio, text, LABELS[rows], anchors=~REHEARSAL[rows], gather=gather)


def coconut(audio: Tensor, text: Tensor, rows: slice, gather: bool) -> Tensor:
    given = (LOGITS[rows], LABELS[rows], audio, text, TEACHER[rows], LABELS[rows], REHEARSAL[rows])
    return coconut_loss(*given, gather=gather)


# The rows of sounds and of texts of one sample, and the loss.
LOSSES: dict[str, tuple[int, Tensor | None, Loss]] = {
    "tnce": (3, None, tnce),
    "modular": (1, OWNER, modular),
    **{f"distillation, {name}": (1, None, distillation(name)) for name in ("student", "mixed", "teacher")},
    "multimodal": (1, None, multimodal),
    "coconut": (1, None, coconut),
}


def main() -> None:
    dist.init_process_group("gloo")
    half = N // dist.get_world_size()
    mine = slice(dist.get_rank() * half, (dist.get_rank() + 1) * half)
    for name, (each, owner, loss) in LOSSES.items():
        drawn = torch.Generator().manual_seed(1)
        audio = torch.randn(N * each, D, generator=drawn, dtype=torch.float64)
        text = torch.randn(N * each if owner is None else len(owner), D, generator=drawn, dtype=torch.float64)
        own = slice(mine.start * each, mine.stop * each)
        of_text = own if owner is None else (owner >= mine.start) & (owner < mine.stop)
        leaves = [audio.clone().requires_grad_(), text.clone().requires_grad_()]
        part = loss(leaves[0][own], leaves[1][of_text], mine, True)
        found = list(torch.autograd.grad(part, leaves, allow_unused=True, materialize_grads=True))
        part = part.detach()
        for value in (part, *found):
            dist.all_reduce(value)
            value /= dist.get_world_size()
        whole = loss(*leaves, slice(0, N), False)
        expected = torch.autograd.grad(whole, leaves, allow_unused=True, materialize_grads=True)
        for ours, one in zip((part, *found), (whole.detach(), *expected), strict=True):
            torch.testing.assert_close(ours, one, rtol=1e-6, atol=1e-9, msg=lambda text: f"{name}: {text}")  # noqa: B023
    if dist.get_rank() == 0:
        print("audio losses agree")
    dist.barrier()
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
