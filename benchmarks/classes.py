"""Memory and time of a step against very many classes, beyond the class weights and their optimiser state.

    python benchmarks/classes.py --classes 1000000 --dim 512 --ratio 0.01 --batch_size 128

The peak is that of the resident set of the process (Linux), read after it was reset at the beginning of the step.
"""

import argparse
import re
import time
from pathlib import Path

import torch

from dipole.nn import PartialClassifier

MEBIBYTE = 2**20


def resident(field: str) -> float:
    """Memory of this process in MB: `VmRSS` now, `VmHWM` at its peak."""
    found = re.search(rf"{field}:\s+(\d+) kB", Path("/proc/self/status").read_text(encoding="ascii"))
    assert found is not None
    return int(found[1]) * 1024 / MEBIBYTE


def step(classifier: PartialClassifier, batch_size: int, positives: int) -> tuple[float, float]:
    """Seconds of a step, and its peak of memory in MB above what there was."""
    dim, classes = classifier.weight.shape[1], classifier.classes
    embeddings = torch.randn(batch_size, dim, requires_grad=True)
    labels = torch.randint(0, classes, (batch_size, positives))
    before = resident("VmRSS")
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # the peak begins again
    began = time.perf_counter()
    classifier(embeddings, labels).backward()
    classifier.update(1e-3, weight_decay=0.05)
    return time.perf_counter() - began, resident("VmHWM") - before


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("classes", 1_000_000), ("dim", 512), ("batch_size", 128), ("positives", 8), ("steps", 3)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--ratio", type=float, default=0.01)
    options = parser.parse_args()
    torch.manual_seed(0)
    classifier = PartialClassifier(options.dim, options.classes, ratio=options.ratio)
    for value in classifier.buffers():
        value.mul_(1)  # touched, so that its memory is there before
    held = sum(value.numel() * value.element_size() for value in classifier.buffers()) / MEBIBYTE
    found = [step(classifier, options.batch_size, options.positives) for _ in range(options.steps)]
    print(
        f"{options.classes} classes, D = {options.dim}, r = {options.ratio}, batch {options.batch_size}: weights and "
        f"state {held:.0f} MB; a step {max(peak for _, peak in found):.0f} MB more, {min(s for s, _ in found):.2f} s"
    )


if __name__ == "__main__":
    main()
