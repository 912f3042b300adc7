"""What each extra is for: commands that must work with the wheel, this extra and nothing else.

    python tests/system/extras.py dist/dipole-0.1.0-py3-none-any.whl          # each extra in an environment of its own
    python tests/system/extras.py dist/dipole-0.1.0-py3-none-any.whl clip     # one

The packages come from the index of pip, as `constraints.txt` says. What all extras need is installed once and linked.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# All in one process, since importing torch takes longer than any of them. What starts with `import` is Python.
ONE_BY_ONE = """
import sys
from dipole.cli import main
for line in sys.argv[1:]:
    if line.startswith("import "):
        exec(line, {})
        continue
    code = main(line.split())
    if code:
        raise SystemExit(f"{line}: exit code {code}")
"""
TINY_IMAGES = "train simclr --method.encoder convnet4-4 --batch-size 256 --epochs 1 --out run"
TINY_BERT = "pretrain bert --data toy-sentences --width 16 --layers 1 --heads 2 --vocabulary 200 --steps 3"
TINY_SENTENCES = "train simcse --data toy-sentences --method.encoder bert --out run"
LETTERS = """import dipole.claims.small_language_model as small
small.copying_model("letters", steps=0, width=16, layers=1)"""
SOUNDS = """import numpy, soundfile
names = [(f"{n}.flac", ("low", "high")[n % 2]) for n in range(16)]
for n, (name, kind) in enumerate(names):
    soundfile.write(name, numpy.sin(numpy.arange(8000) * (0.1 + 0.2 * (kind == "high") + 0.001 * n)) / 2, 8000)
open("sounds.csv", "w").write("sound,kind\\n" + "".join(f"{name},{kind}\\n" for name, kind in names))"""
OPEN_CLIP = """import json, pathlib, open_clip, safetensors.torch
vision = {"image_size": 16, "layers": 1, "width": 32, "patch_size": 8, "head_width": 16}
text = {"context_length": 16, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1}
shape = {"embed_dim": 12, "vision_cfg": vision, "text_cfg": text}
config = {"model_cfg": shape, "preprocess_cfg": {"mean": [0.5] * 3, "std": [0.25] * 3}}
weights = {name: weight.contiguous().clone() for name, weight in open_clip.CLIP(**shape).state_dict().items()}
pathlib.Path("small").mkdir()
pathlib.Path("small/open_clip_config.json").write_text(json.dumps(config))
safetensors.torch.save_file(weights, "small/open_clip_model.safetensors")"""
MTEB = """import dipole.runs.mteb, mteb
assert isinstance(dipole.runs.mteb.MTEBEncoder("run"), mteb.EncoderProtocol)"""
VERBS = {
    "vision": [TINY_IMAGES, "evaluate run", "report run"],
    "text": [TINY_BERT, TINY_SENTENCES, "evaluate run", "report run"],
    "graph": ["train csgcl --data karate-club --epochs 3 --out run", "evaluate run", "report run"],
    "timeseries": ["train series-contrast --epochs 1 --method.depth 2 --out run", "evaluate run", "report run"],
    "recommendation": [
        "train sasrec --epochs 1 --out run",
        "evaluate run",
        "recommend run --users all --out top.parquet",
    ],
    "onnx": [TINY_IMAGES, "export run --out encoder.onnx"],
    "stream": ["data optimize digits chunks"],
    "language": [
        LETTERS,
        "generate letters --decoder contrastive-search --prompt Copy --max-new-tokens 3",
        "train cut --data toy-judgments --epochs 1 --method.model letters --out run",
        "evaluate run",
    ],
    "audio": [
        SOUNDS,
        "train clip --data sounds.csv --loading.modalities sound,kind:category --batch-size 8 --epochs 1 --out run",
        "evaluate run",
        "embed run sounds.csv --out sounds.parquet",
    ],
    "clip": [
        OPEN_CLIP,
        "train clip --epochs 1 --method.image_encoder small --method.text_encoder small --loading.image_size 16 "
        "--out run",
        "evaluate run",
    ],
}
# Slower ones, which the tests leave to `make wheel-extras`.
SLOW_VERBS = {
    "demo": [
        "train simclr-photographs --method.encoder convnet4-4 --monitor.every 10 --epochs 1 --out run",
        "evaluate run --protocol few-labels --shots 1",
        "report run",
    ],
    "mteb": [TINY_BERT, TINY_SENTENCES, MTEB],
    "ray": [TINY_IMAGES, "embed run digits --out embedded --engine ray --workers 1"],
}
OTHERS = {"all", "benchmarks", "dev", "docs", "tutorials"}  # several of these, or of developers


def call(home: Path, *arguments: str | Path, cwd: Path | None = None) -> None:
    """Run the Python of an environment."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    subprocess.run([home / "bin" / "python", *arguments], check=True, env=kept, cwd=cwd)


def install(home: Path, requirement: str) -> None:
    """Install into an environment what a requirement asks for."""
    constraints = ("--constraint", ROOT / "constraints.txt")
    call(home, "-m", "pip", "--disable-pip-version-check", "install", "--quiet", *constraints, requirement)


def linked(base: Path, home: Path) -> None:
    """Make an environment that begins with the packages of another one, as links to the same files."""
    venv.create(home, with_pip=False, symlinks=True)
    [packages] = base.glob("lib/python*/site-packages")
    target = home / packages.relative_to(base)
    shutil.rmtree(target)
    shutil.copytree(packages, target, copy_function=os.link)


def main() -> None:
    """Try each extra that is named; all, if none is."""
    known = VERBS | SLOW_VERBS
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("wheel", type=Path)
    parser.add_argument("extras", nargs="*", choices=[[], *known])
    options = parser.parse_args()
    failed = []
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder) / "base"
        venv.create(base, with_pip=True, symlinks=True)
        install(base, str(options.wheel.resolve()))
        for extra in options.extras or known:
            start, home, work = time.monotonic(), Path(folder) / extra, Path(folder) / f"{extra}-work"
            work.mkdir()
            linked(base, home)
            try:
                install(home, f"{options.wheel.resolve()}[{extra}]")
                call(home, "-c", ONE_BY_ONE, *known[extra], cwd=work)
            except subprocess.CalledProcessError:
                failed.append(extra)
            print(f"{extra}: {'failed' if extra in failed else 'works'}, {time.monotonic() - start:.0f} s", flush=True)
            shutil.rmtree(home)
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
