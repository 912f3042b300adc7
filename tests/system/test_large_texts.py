"""A file of texts larger than what may be kept of it."""

import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
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

LOOK = """
import sys
from pathlib import Path
from dipole.cli import main

assert main(["data", sys.argv[1]]) == 0
print(1024 * int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0]))
"""
WRITERS = {".parquet": pq.ParquetWriter, ".csv": pyarrow.csv.CSVWriter}


def peak_memory(program: str, *arguments: str | Path) -> int:
    """Bytes that a program took at most, in a process of its own."""
    command = [sys.executable, "-c", program, *map(str, arguments)]
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
    small = peak_memory(TRAIN, encoder, "toy-sentences", tmp_path / "small")
    large = peak_memory(TRAIN, encoder, file, tmp_path / "large")
    # 3 million lines: their places, the order of an epoch and what reading needs, and not their 200 MB.
    assert large - small < 130e6


@pytest.mark.slow
@pytest.mark.parametrize("kind", [".parquet", ".csv"])
def test_a_table_is_looked_at_by_pieces(kind: str, tmp_path: Path) -> None:
    few, many = tmp_path / f"few{kind}", tmp_path / f"many{kind}"
    for path, times in ((few, 1), (many, 25)):
        rows = [f"row {number} " + "of words that make it long, " * 30 for number in range(10_000)]
        batch = pa.record_batch({"topic": rows, "text": rows})
        with WRITERS[kind](path, batch.schema) as writer:
            for _ in range(times):
                writer.write_batch(batch)
    # 400 MB of text; Arrow reads 32 blocks of 4 MiB of a CSV file ahead.
    assert peak_memory(LOOK, many) - peak_memory(LOOK, few) < 250e6
