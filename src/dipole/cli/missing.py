"""Which extra of dipole brings a package that is not installed."""

# By the names under which packages are imported.
EXTRAS = {
    "PIL": "vision",
    "aeon": "timeseries",
    "bm25s": "text",
    "faiss": "text",
    "gguf": "language",
    "huggingface_hub": "text",
    "igraph": "graph",
    "implicit": "recommendation",
    "leidenalg": "graph",
    "litdata": "stream",
    "mteb": "mteb",
    "networkx": "graph",
    "onnx": "onnx",
    "onnxruntime": "onnx",
    "onnxscript": "onnx",
    "open_clip": "clip",
    "peft": "text",
    "pycocotools": "vision",
    "pytrec_eval": "text",
    "rapidfuzz": "text",
    "ray": "ray",
    "sentence_transformers": "text",
    "soundfile": "audio",
    "timm": "vision",
    "tokenizers": "text",
    "torch_geometric": "graph",
    "torchmetrics": "vision",
    "torchvision": "vision",
    "transformers": "text",
}


def advice(error: ModuleNotFoundError) -> str | None:
    """Return how to install what an import did not find; None if no extra brings it.

    Args:
        error: of the import.

    Example:
        >>> advice(ModuleNotFoundError(name="timm.models"))
        "timm is not installed: pip install 'dipole[vision]'."
    """
    package = (error.name or "").split(".")[0]
    extra = EXTRAS.get(package)
    return None if extra is None else f"{package} is not installed: pip install 'dipole[{extra}]'."
