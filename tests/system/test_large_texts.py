"""A file of texts larger than what may be kept of it."""

import subprocess
import sys
from pathlib import Path

import pytest

from dipole.nn.text import new_bert

TRAIN = """
import sys
from pathlib import Path
from dipole.runs import RunConfig, train

encoder, data, out = sys.argv[1:]
method = {"encoder": f"static:{encoder}", "pooling": "mean"}
trainer = {"accelerator": "cpu", "limit_train_batches": 20}
config = RunConfig("simcse", data=data, batch_size=64, epochs=1, precision="32-true", method=method, trainer=trainer)
train(config, out, progress=False)
# Of this process alone: what getrusage tells may be that of the process which has started it.
print(1024 * int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0]))
"""


def peak_memory(encoder: Path, data: str, out: Path) -> int:
    """Bytes that training took at most, in a process of its own."""
    command = [sys.executable, "-c", TRAIN, str(encoder), data, str(out)]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    return int(result.stdout.splitlines()[-1])


@pytest.mark.slow
def test_a_file_is_not_read_into_memory(tmp_path: Path) -> None:
    encoder = new_bert(["some words of a line"], tmp_path / "bert", width=8)
    file = tmp_path / "large.txt"
    lines = "".join(f"line {number} of a block, with some words to make it longer\n" for number in range(10000))
    with file.open("w", encoding="utf-8") as stream:
        while stream.tell() < 200e6:
            stream.write(lines)
    small = peak_memory(encoder, "toy-sentences", tmp_path / "small")
    large = peak_memory(encoder, str(file), tmp_path / "large")
    # 3 million lines: their places, the order of an epoch and what reading needs, and not their 200 MB.
    assert large - small < 130e6
