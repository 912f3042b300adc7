"""`dipole export`."""

from collections.abc import Sequence

from dipole.cli.parsing import parse, parser

OUT = "file to write, model/onnx/model.onnx by default; of several modalities a folder, model/onnx by default"


def run(arguments: Sequence[str]) -> None:
    """Write the encoder of a run as ONNX."""
    parser_ = parser("export", "Write the encoder of a run as ONNX, or one for each modality, checked against PyTorch.")
    parser_.add_argument("run", type=str, help="run directory or model folder")
    parser_.add_argument("--out", type=str | None, default=None, help=OUT)
    options = parse(parser_, arguments)

    from dipole.runs.export import export_onnx

    print(export_onnx(options.run, options.out))
