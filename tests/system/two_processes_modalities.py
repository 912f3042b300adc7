"""Run by test_two_processes.py in two processes: methods between modalities, with and without missing cells."""

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from dipole.methods.registry import get_method

N = 8
VECTOR = {"kind": "vector", "width": 3, "mean": [0.0] * 3, "std": [1.0] * 3, "missing": True}
METHODS: dict[str, dict[str, Any]] = {
    "clip": {},
    "cloob": {},
    "cwcl": {"locked": "a"},
    "siglip": {},
    "vlp-baselines": {"projector_hidden": 8},
    "vlp-baselines, swalip": {"projector_hidden": 8, "objective": "swalip"},
    "vlp-baselines, barlip": {"projector_hidden": 8, "objective": "barlip", "auxiliary_hidden": 4, "auxiliary_dim": 3},
    "vlp-baselines, slip": {"projector_hidden": 8, "objective": "slip", "auxiliary_hidden": 4, "auxiliary_dim": 3},
    "symile": {},
    "symile, complete": {"missing": "complete"},
}


def views(missing: bool) -> dict[str, dict[str, Tensor]]:
    generator = torch.Generator().manual_seed(0)
    inputs = {name: torch.randn(N, 3, generator=generator).double() for name in "abc"}
    present = {name: torch.ones(N, dtype=torch.bool) for name in "abc"}
    if missing:
        # The processes have different numbers of complete rows, and one of a single modality.
        present["a"][:3] = False
        present["b"][2:4] = False
        present["c"][6] = False
        inputs = {name: values * present[name][:, None] for name, values in inputs.items()}
    strong = {name: torch.stack([values + 0.1, values - 0.1]) for name, values in inputs.items()}
    return {"inputs": inputs, "present": present, "strong": strong}


def gradients(method: Any, rows: slice, missing: bool) -> list[Tensor]:
    batch = {part: {name: x[rows] for name, x in entries.items()} for part, entries in views(missing).items()}
    batch["strong"] = {name: x[:, rows] for name, x in views(missing)["strong"].items()}
    # Processes draw differently; the draw of the first one counts.
    torch.manual_seed(5 + (dist.get_rank() if rows != slice(None) else 0))
    loss = method.loss_terms({"views": batch, "index": torch.arange(N)[rows]})["loss"]
    trained = [p for p in method.parameters() if p.requires_grad]
    return list(torch.autograd.grad(loss, trained, allow_unused=True, materialize_grads=True))


def main() -> None:
    dist.init_process_group("gloo")
    half = N // dist.get_world_size()
    mine = slice(dist.get_rank() * half, (dist.get_rank() + 1) * half)
    for name, options in METHODS.items():
        for missing in (False, True):
            torch.manual_seed(0)
            kind = get_method(name.partition(",")[0])
            pair = kind.card.name == "vlp-baselines"
            facts = {modality: VECTOR for modality in ("ab" if pair else "abc")}
            method: Any = kind(modalities=facts, vector_encoder="mlp-4", embedding_dim=5, **options).double()
            method.train(not pair)  # statistics of batches are those of a process
            found = gradients(method, mine, missing)
            for gradient in found:
                dist.all_reduce(gradient)
                gradient /= dist.get_world_size()
            method.gather = False
            for ours, whole in zip(found, gradients(method, slice(None), missing), strict=True):
                torch.testing.assert_close(ours, whole, msg=lambda text: f"{name}, missing={missing}: {text}")  # noqa: B023
    if dist.get_rank() == 0:
        print("methods agree")
    dist.barrier()  # neither process leaves while the other still talks to it
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
