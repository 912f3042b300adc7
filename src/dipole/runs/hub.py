"""Models on a hub: pushed with a card, opened by their name. Nothing else than settings and safetensors is fetched."""

import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

from dipole.errors import InputError
from dipole.runs.loading import load
from dipole.runs.model import model_folder
from dipole.runs.model_card import model_card

PREFIX = "hf:"
FETCHED = ["*.json", "*.safetensors", "*.txt", "*.model", "*.md"]  # no pickle, no code
EXAMPLE = """import dipole

method = dipole.load("{address}")"""


def push_to_hub(run: str | Path, repository: str, *, private: bool = True, license_name: str | None = None) -> str:
    """Upload the model of a run to a hub, with a model card.

    `HF_ENDPOINT` names another hub than Hugging Face's, `HF_TOKEN` or `hf auth login` says who uploads.

    Args:
        run: a run directory or a model folder.
        repository: `"user/name"`; made if it is missing.
        private: whether a repository that is made is private.
        license_name: of the weights, for the card.

    Returns:
        The address by which `dipole.load` opens it, `"hf:user/name"`.

    Raises:
        InputError: the package is missing, the name is none, or the hub refuses.
    """
    address, api = PREFIX + _checked(repository), _client()
    method = load(run)
    card = model_card(
        run, method.card, method.domain, "dipole", EXAMPLE.replace("{address}", address), license_name=license_name
    )
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "model"
        shutil.copytree(model_folder(run), folder, ignore=shutil.ignore_patterns("onnx", ".*"))
        (folder / "README.md").write_text(card, encoding="utf-8")
        try:
            api.create_repo(repository, private=private, exist_ok=True)
            api.upload_folder(repo_id=repository, folder_path=folder, commit_message=f"A model of {method.card.name}")
        except Exception as error:  # of the client, of its network library, of the hub
            raise InputError(f"the hub did not take {repository} ({_reason(error)}).") from error
    return address


def fetch(address: str) -> Path:
    """Fetch a model from a hub, or take what was fetched before, and return its folder.

    Args:
        address: `"hf:user/name"`, or `"hf:user/name@revision"`.

    Raises:
        InputError: the package is missing, there is no such model, or the hub cannot be reached.
    """
    api = _client()
    repository, _, revision = address.removeprefix(PREFIX).partition("@")
    _checked(repository)
    try:
        folder = api.snapshot_download(repository, revision=revision or None, allow_patterns=FETCHED)
    except Exception as error:  # as above
        raise InputError(f"cannot fetch {repository} from the hub ({_reason(error)}).") from error
    return Path(folder)


def _client() -> Any:
    """The hub's client."""
    try:
        from huggingface_hub import HfApi
    except ImportError as error:
        raise InputError("a hub needs the package huggingface_hub: pip install 'dipole[text]'.") from error
    return HfApi(endpoint=os.environ.get("HF_ENDPOINT"))


def _checked(repository: str) -> str:
    """A name as hubs have them.

    Raises:
        InputError: it is none.
    """
    parts = repository.split("/")
    if len(parts) != 2 or not all(
        part and part.replace("-", "").replace("_", "").replace(".", "").isalnum() for part in parts
    ):
        raise InputError(f"{repository!r} names no model of a hub: expected user/name.")
    return repository


def _reason(error: Exception) -> str:
    """The first line of what the client says."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
