"""`dipole pretrain`."""

from collections.abc import Sequence
from pathlib import Path

from dipole.cli.parsing import parse, parser
from dipole.errors import InputError


def run(arguments: Sequence[str]) -> None:
    """Make a small BERT from texts alone."""
    parser_ = parser(
        "pretrain",
        "Make a small BERT from your texts alone: learn word pieces, then train as a masked language model. "
        "For `--method.encoder`, where no hub is within reach or the language has no model.",
    )
    parser_.add_argument("out", type=str, help="folder to write")
    parser_.add_argument("--data", type=str, default="toy-sentences", help="a file of texts or the name of a set")
    parser_.add_argument("--data_root", type=str | None, default=None, help="folder of named data sets")
    parser_.add_argument("--steps", type=int, default=4000, help="of the optimiser")
    parser_.add_argument("--batch_size", type=int, default=64, help="texts a step")
    parser_.add_argument("--width", type=int, default=256, help="dimensions of an embedding")
    parser_.add_argument("--layers", type=int, default=4, help="transformer layers")
    parser_.add_argument("--heads", type=int, default=4, help="attention heads")
    parser_.add_argument("--vocabulary", type=int, default=8000, help="word pieces")
    parser_.add_argument("--max_length", type=int, default=128, help="tokens of a text at most")
    parser_.add_argument("--seed", type=int, default=0, help="of everything that is drawn")
    options = parse(parser_, arguments)

    import torch

    from dipole.data.text import load_texts
    from dipole.nn.text import new_bert, pretrain_mlm

    out = Path(options.out)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"{out} exists already: choose another folder.")
    found = load_texts(options.data, options.data_root)
    found.require("text")
    texts = [record["text"] for record in found.fetch(torch.arange(len(found)))]
    new_bert(
        texts,
        out,
        vocabulary=options.vocabulary,
        width=options.width,
        layers=options.layers,
        heads=options.heads,
        max_length=options.max_length,
        seed=options.seed,
    )
    losses = pretrain_mlm(
        out,
        texts,
        steps=options.steps,
        batch_size=options.batch_size,
        max_length=min(64, options.max_length),
        seed=options.seed,
        device="cuda" if torch.cuda.is_available() else "cpu",
    )
    print(
        f"{out}: {losses[0]:.2f} nats a masked token at first, {sum(losses[-50:]) / len(losses[-50:]):.2f} at the end"
    )
    print(f"dipole train simcse --method.encoder {out} --out runs/sentences")
