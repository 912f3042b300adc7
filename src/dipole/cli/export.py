"""`dipole export`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from jsonargparse import Namespace

from dipole.cli.parsing import parse, parser
from dipole.errors import InputError

Format = Literal["onnx", "torch.export", "timm", "transformers", "sentence-transformers", "hub"]
OUT = (
    "of ONNX the file to write, model/onnx/model.onnx by default (of several modalities a folder, model/onnx); of the "
    "others the folder, which must be new"
)


def run(arguments: Sequence[str]) -> None:
    """Write the encoder of a run for other libraries."""
    parser_ = parser(
        "export",
        "Write the encoder of a run for other libraries, compared with what dipole computes, or push it to a hub.",
    )
    parser_.add_argument("run", type=str, help="run directory or model folder")
    parser_.add_argument("--to", type=Format, default="onnx", help="what opens it")
    parser_.add_argument("--out", type=str | None, default=None, help=OUT)
    parser_.add_argument("--repository", type=str | None, default=None, help="of a hub: user/name")
    parser_.add_argument("--private", type=bool, default=True, help="of a hub: whether a new repository is private")
    parser_.add_argument("--license", type=str | None, default=None, help="of the weights, for the card: mit, …")
    options = parse(parser_, arguments)
    print(_export(options))


def _export(options: Namespace) -> str | Path:
    """Write or push, and return where it is."""
    if (options.to == "hub") != (options.repository is not None):
        raise InputError("--to hub and --repository user/name belong together.")
    if options.to == "hub":
        from dipole.runs.hub import push_to_hub

        return push_to_hub(options.run, options.repository, private=options.private, license_name=options.license)
    if options.to == "onnx":
        from dipole.runs.export import export_onnx

        return export_onnx(options.run, options.out)
    if options.out is None:
        raise InputError(f"--to {options.to} writes a folder: name one that is new by --out.")
    from dipole.runs.export_folders import export_folder

    return export_folder(options.run, options.to, options.out, license_name=options.license)
