"""Tables larger than memory: how long training takes to begin, and the most memory it has in use.

Makes shards of small images and texts, trains CLIP on them for a few steps, and prints a table:

    python benchmarks/large_tables.py --rows 1000000 --format parquet
"""

import argparse
import io
import json
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

WORDS = [
    "red",
    "green",
    "blue",
    "small",
    "large",
    "round",
    "square",
    "bright",
    "dark",
    "old",
    "new",
    "quiet",
    "cat",
    "dog",
    "tree",
    "house",
    "river",
    "road",
]


def images(count: int, side: int, seed: int) -> list[bytes]:
    """Different JPEGs: noise in a few colours."""
    generator = np.random.default_rng(seed)
    found = []
    for _ in range(count):
        pixels = np.kron(generator.integers(0, 255, (4, 4, 3), np.uint8), np.ones((side // 4, side // 4, 1), np.uint8))
        if side > 64:  # so that it does not pack well
            pixels = pixels ^ generator.integers(0, 64, pixels.shape, np.uint8)
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, "JPEG")
        found.append(buffer.getvalue())
    return found


def unlike(image: bytes, row: int) -> bytes:
    """A JPEG with a comment in it, so that no two have the same bytes."""
    return image[:2] + b"\xff\xfe\x00\x0a" + row.to_bytes(8, "big") + image[2:]


def make(folder: Path, rows: int, shards: int, side: int, form: str) -> None:
    """Write shards."""
    folder.mkdir(parents=True, exist_ok=True)
    pool = images(2000, side, 0)
    generator = np.random.default_rng(1)
    for shard in range(shards):
        own = range(shard * rows // shards, (shard + 1) * rows // shards)
        captions = [" ".join(generator.choice(WORDS, 6)) + f" {row}" for row in own]
        if form == "parquet":
            cells = [unlike(pool[row % len(pool)], row) for row in own]
            table = pa.table({"image": cells, "caption": captions})
            pq.write_table(table, folder / f"{shard:04}.parquet", row_group_size=10_000)
            continue
        with tarfile.open(folder / f"{shard:04}.tar", "w") as file:
            for row, caption in zip(own, captions, strict=True):
                for suffix, content in (("jpg", unlike(pool[row % len(pool)], row)), ("txt", caption.encode())):
                    info = tarfile.TarInfo(f"{row:08}.{suffix}")
                    info.size = len(content)
                    file.addfile(info, io.BytesIO(content))


def measured(command: list[str], run: Path, seconds: float) -> dict[str, float]:
    """Seconds to the first step, and the most memory of the process (VmHWM) and of its loaders."""
    begun = time.monotonic()
    process = subprocess.Popen(command)
    most: dict[str, float] = {"training process, MB": 0.0, "with loaders, private, MB": 0.0}
    started = 0.0
    watched = psutil.Process(process.pid)
    while process.poll() is None:
        try:
            family = [watched, *watched.children(recursive=True)]
            status = Path(f"/proc/{process.pid}/status").read_text()
            most["training process, MB"] = int(status.partition("VmHWM:")[2].split()[0]) * 1024 / 1e6
            private = sum(each.memory_full_info().uss for each in family) / 1e6
            most["with loaders, private, MB"] = max(most["with loaders, private, MB"], private)
        except (psutil.Error, OSError, IndexError):  # it has ended
            pass
        if not started and (run / "checkpoints").exists() and any((run / "checkpoints").iterdir()):
            started = time.monotonic() - begun
            most["processor time until then, s"] = sum(watched.cpu_times()[:2])
        if time.monotonic() - begun > seconds:
            process.terminate()
        time.sleep(0.1)
    return {"seconds to the first steps": started, "seconds in all": time.monotonic() - begun, **most}


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--rows", type=int, default=1_000_000)
    options.add_argument("--shards", type=int, default=37)
    options.add_argument("--side", type=int, default=16)
    options.add_argument("--format", choices=("parquet", "tar"), default="parquet")
    options.add_argument("--folder", type=Path, default=None)
    options.add_argument("--seconds", type=float, default=120.0)
    options.add_argument("--workers", type=int, default=2)
    options.add_argument("--epochs", type=int, default=1)
    options.add_argument("--once", action="store_true", help="do not open the data a second time")
    given = options.parse_args()
    place = given.folder or Path(tempfile.mkdtemp(prefix="dipole-large-"))
    data = place / f"{given.format}-{given.rows}-{given.side}"
    if not data.exists():
        make(data, given.rows, given.shards, given.side, given.format)
    size = sum(path.stat().st_size for path in data.iterdir())
    run = Path(tempfile.mkdtemp(dir=place)) / "run"
    command = [sys.executable, "-m", "dipole", "train", "clip", "--data", str(data), "--out", str(run)]
    command += ["--epochs", str(given.epochs)]
    command += ["--batch_size", "256", "--num_workers", str(given.workers), "--method.image_encoder", "convnet4-4"]
    command += ["--loading.image_size", "16", "--checkpoint.every_steps", "5", "--monitor.every", "off"]
    for which in ("first",) if given.once else ("first", "again"):
        found = measured(
            [part if part != str(run) else f"{run}-{which}" for part in command], Path(f"{run}-{which}"), given.seconds
        )
        print(
            json.dumps({"data, MB": round(size / 1e6), "opened": which, **{k: round(v, 1) for k, v in found.items()}}),
            flush=True,
        )


if __name__ == "__main__":
    main()
