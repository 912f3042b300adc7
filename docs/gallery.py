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
# What is called before `dipole report`.
RUNS = {
    "images": (
        "train simclr-photographs --monitor.every 10 --out runs/images",
        "evaluate runs/images --protocol knn --k 20",
        "evaluate runs/images --protocol few-labels --shots 1,5,10",
    ),
    "texts": (
        "pretrain bert --data toy-sentences --steps 200",
        "train simcse --data toy-sentences --method.encoder bert --epochs 1 --out runs/texts",
        "evaluate runs/texts",
    ),
    "modalities": ("train clip --epochs 5 --out runs/modalities", "evaluate runs/modalities"),
    "graph": ("train grace --data karate-club --epochs 100 --out runs/graph", "evaluate runs/graph"),
    "series": (
        "train series-contrast --data aeon:ItalyPowerDemand --epochs 20 --method.depth 3 --out runs/series",
        "evaluate runs/series",
    ),
    "recommendation": ("train sasrec --epochs 20 --out runs/recommendation", "evaluate runs/recommendation"),
}


def dipole(folder: Path, words: str) -> None:
    """Call the command line in a folder."""
    command = [sys.executable, "-m", "dipole", *shlex.split(words)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=folder)


def make(name: str, folder: Path) -> Path:
    """Train a run and write its report.

    Raises:
        subprocess.CalledProcessError: a command failed.
    """
    for words in RUNS[name]:
        dipole(folder, words)
    dipole(folder, f"report runs/{name}")
    return folder / "runs" / name / "report.html"


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
