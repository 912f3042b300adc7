"""The gallery: a run of each field, its report, and a picture of the page in docs/images/gallery.

    python docs/gallery.py            # all, some ten minutes on two cores; needs chromium and Pillow
    python docs/gallery.py graph      # some

The reports themselves hold plotly's code and are too large to be stored.
"""

import argparse
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

IMAGES = Path(__file__).resolve().parent / "images" / "gallery"
WIDTH, HEIGHT = 1100, 1500  # pixels of the page that are shown
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking")
# A name, what trains the run, and what is measured before the report is written.
RUNS = {
    "images": ("train simclr --epochs 30", "evaluate"),
    "texts": ("train simcse --data toy-sentences --method.encoder bert --epochs 1", ""),
    "modalities": ("train clip --epochs 8", "evaluate"),
    "sounds": ("train clip --data sound-captions --epochs 8", "evaluate"),
    "graph": ("train grace --data karate-club --epochs 100", "evaluate"),
    "series": ("train series-contrast --data aeon:ItalyPowerDemand --epochs 20 --method.depth 3", "evaluate"),
    "recommendation": ("train sasrec --epochs 20", "evaluate"),
}


def dipole(words: str, *more: str) -> None:
    """Call the command line."""
    subprocess.run([sys.executable, "-m", "dipole", *shlex.split(words), *more], check=True, stdout=subprocess.DEVNULL)


def make(name: str, folder: Path) -> Path:
    """Train a run and write its report.

    Raises:
        subprocess.CalledProcessError: a command failed.
    """
    train, evaluate = RUNS[name]
    if "encoder bert" in train:
        texts = folder / "texts.txt"
        from dipole.data.text import load_texts

        source = load_texts("toy-sentences")
        texts.write_text("\n".join(str(source[row]["text"]) for row in range(len(source))), encoding="utf-8")
        dipole("pretrain", str(folder / "bert"), "--data", str(texts), "--steps", "200")
        train = train.replace("encoder bert", f"encoder {folder / 'bert'}")
    dipole(train, "--out", str(folder / name))
    if evaluate:
        dipole(evaluate, str(folder / name))
    dipole("report", str(folder / name))
    return folder / name / "report.html"


def picture(page: Path, out: Path) -> None:
    """Store what a browser shows of a page, in 128 colours.

    Raises:
        SystemExit: there is no browser.
    """
    from PIL import Image

    browser = next((path for path in map(shutil.which, BROWSERS) if path), None)
    if browser is None:
        raise SystemExit(f"a browser is needed: one of {', '.join(BROWSERS)}")
    shot = page.with_suffix(".png")
    size = f"--window-size={WIDTH},{HEIGHT}"
    command = [browser, *FLAGS, "--hide-scrollbars", "--virtual-time-budget=8000", size, f"--screenshot={shot}"]
    subprocess.run([*command, page.resolve().as_uri()], check=True, capture_output=True, timeout=120)
    out.parent.mkdir(parents=True, exist_ok=True)
    with Image.open(shot) as image:
        image.convert("RGB").quantize(128).save(out, optimize=True)


def main() -> None:
    """Make the pictures that are named."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", choices=[[], *RUNS], help="all, if none is named")
    for name in parser.parse_args().names or RUNS:
        with tempfile.TemporaryDirectory() as folder:
            print(name, flush=True)
            picture(make(name, Path(folder)), IMAGES / f"{name}.png")


if __name__ == "__main__":
    main()
