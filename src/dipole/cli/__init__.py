"""The command line: `dipole COMMAND …`. Each command is a module of this package with `run(arguments)`."""

import difflib
import importlib
import io
import os
import sys
from collections.abc import Sequence

from dipole import __version__
from dipole.errors import InputError, Terminated

COMMANDS = {
    "methods": "list the methods, or show one",
    "data": "list the data sets, or look at one",
    "pretrain": "make a small BERT from texts alone, to start from",
    "train": "train a method on data and write a run",
    "evaluate": "measure a run beside what it started from",
    "embed": "write embeddings to Parquet",
    "detect": "find in pictures what has a name",
    "discover": "sort images without a label into known classes and new ones",
    "index": "make an index of embeddings that stays on disk",
    "search": "find the texts, or the rows of an index, nearest to a query",
    "forecast": "forecast a series beyond its end with a run",
    "recommend": "recommend items to users with a run",
    "generate": "write text with a language model by contrastive decoding",
    "rewrite": "rewrite the captions of a table with a language model",
    "triplets": "let a language model write positives and negatives of sentences",
    "curate": "keep the triplets whose scores say that they are good",
    "mine": "add hard negatives to a file of pairs",
    "export": "write the encoder of a run for other libraries, or push it to a hub",
    "report": "make one HTML page of a run",
    "audit": "ask what manipulated training images could do to a run",
    "analyse": "show what each temperature would penalise on a run's embeddings",
    "claims": "list or run the experiments behind the papers' claims",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return the exit code: 0, 2 for input at fault, 130 if interrupted, 143 if told to end.

    Set `DIPOLE_TRACEBACK=1` to see where an input error was found.

    Args:
        arguments: of the command line; those of the process if it is None.

    Example:
        >>> main(["--version"])
        dipole 0.1.0
        0
    """
    for stream in (sys.stdout, sys.stderr):  # names of files are bytes, and need not be UTF-8
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    arguments = [_from_home(each) for each in (sys.argv[1:] if arguments is None else arguments)]
    command = arguments[0] if arguments else "--help"
    try:
        if command in ("-h", "--help", "--version"):
            print(f"dipole {__version__}" if command == "--version" else _help(), flush=True)
            return 0
        if command not in COMMANDS:
            close = difflib.get_close_matches(command, COMMANDS, n=1)
            hint = f"Did you mean {close[0]!r}?" if close else "`dipole --help` lists them."
            raise InputError(f"there is no command {command!r}. {hint}")
        importlib.import_module(f"dipole.cli.{command}").run(arguments[1:])
    except InputError as error:
        if os.environ.get("DIPOLE_TRACEBACK"):
            raise
        print(f"dipole: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except Terminated as stopped:
        print(f"dipole: told to end{stopped}; --resume goes on there.", file=sys.stderr)
        return 143
    except KeyboardInterrupt:
        print("dipole: interrupted; with --resume a training run goes on from its latest checkpoint.", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # The reader of our output (head, say) has left: no error, and nobody to tell.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        reason = _of_the_machine(error)
        if reason is None or os.environ.get("DIPOLE_TRACEBACK"):
            raise
        print(f"dipole: {' '.join(reason.split())}", file=sys.stderr)
        return 2
    return 0


def _from_home(argument: str) -> str:
    """`~/…` as the path that it means: a shell leaves `--out=~/run` as it is."""
    name, equals, value = argument.partition("=") if argument.startswith("--") else ("", "", argument)
    return name + equals + os.path.expanduser(value) if value.startswith("~/") else argument


def _of_the_machine(error: BaseException | None) -> str | None:
    """What the disk, the memory, a damaged file or an absent package did not allow; None for a defect of ours."""
    while error is not None:
        if isinstance(error, ModuleNotFoundError):
            from dipole.cli.missing import advice

            return advice(error)
        if isinstance(error, OSError):
            place = f" {os.fsdecode(error.filename)}" if isinstance(error.filename, str | bytes) else ""
            return (
                f"cannot use the file or folder{place}: {error.strerror or error}. Check its place, rights and space."
            )
        if isinstance(error, MemoryError):
            return "out of memory: use a smaller batch, or fewer or smaller inputs."
        if isinstance(error, RecursionError):
            return "a file is nested more deeply than can be read: write it flat."
        if isinstance(error, UnicodeError):
            return f"a name or a text cannot be read as UTF-8 ({error}): rename the file, or say its encoding."
        if type(error).__module__.startswith("safetensors"):
            return f"cannot read or write weights ({error}). Check the file and the space on the disk."
        error = error.__cause__ or error.__context__
    return None


def _help() -> str:
    """The page of `dipole --help`."""
    width = max(map(len, COMMANDS))
    listed = "\n".join(f"  {name:<{width}}  {text}" for name, text in COMMANDS.items())
    return (
        "usage: dipole COMMAND …\n\nContrastive learning: train encoders, look at what they learned, use them.\n\n"
        f"commands:\n{listed}\n\n"
        "`dipole COMMAND --help` explains a command; `dipole --version` prints the version.\n"
        "Start with:  dipole train simclr --data digits --out runs/first"
    )
