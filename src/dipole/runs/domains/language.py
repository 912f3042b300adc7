"""Language models: judged responses to train on, likelihoods to measure by, adapters to share."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any, cast

import lightning
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from dipole.data.language import JudgmentPairs, load_judgments
from dipole.data.language.judgments import BUILT_IN, TOY
from dipole.data.text import TextDataModule, TextSet
from dipole.errors import InputError
from dipole.evaluation.materials import LanguageMaterial
from dipole.evaluation.protocols.likelihood import LogLikelihoods
from dipole.files import atomic_write, write_json
from dipole.methods.base import Method
from dipole.methods.language.cut import CUT
from dipole.runs.config import RunConfig
from dipole.runs.directory import Run
from dipole.runs.domains.base import Domain, Embeddings
from dipole.runs.model import DESCRIPTION, build_method

ADAPTER = "adapter_model.safetensors"


class Language(Domain):
    """Judged responses of language models."""

    name = "language"
    default_data = TOY
    derived_view_options = ()

    @staticmethod
    def named_sets() -> Sequence[str]:
        """Return the names of the known sets."""
        return tuple(BUILT_IN)

    @staticmethod
    def loading_options(satisfactory_score: float = 7.0, satisfactory_ratio: float | None = 0.25) -> None:
        """How judgments are read.

        Args:
            satisfactory_score: the lowest score of a satisfactory response.
            satisfactory_ratio: satisfactory responses that are kept for each unsatisfactory one; all of them if None.
        """

    def data_module(self, config: RunConfig, sets: Any = None) -> TextDataModule:
        """Return the judgments of a run."""
        loading = self.loading(config)
        if sets is None:
            sets = load_judgments(config.data or self.default_data, config.data_root, seed=config.seed, **loading)
        return TextDataModule(sets, batch_size=config.batch_size, num_workers=config.num_workers, seed=config.seed)

    def attach_views(self, method: Method, data: lightning.LightningDataModule, config: RunConfig) -> None:
        """Prompts and responses need the tokenizer of the model."""
        assert isinstance(data, TextDataModule)
        data.views = self.pairs(method, config)
        data.tokenizer = cast(CUT, method).tokenizer
        data.train_set.require(*JudgmentPairs.columns)

    def pairs(self, method: Method, config: RunConfig) -> JudgmentPairs:
        """Return what makes prompts and responses of records."""
        return cast(CUT, method).views_class(**self.view_options(type(method), config))

    def save(self, method: Method, config: RunConfig, folder: Path) -> None:
        """Write the adapters as peft does, the tokenizer, and `dipole.json`, which names the model below them."""
        method = cast(CUT, method)
        base = str(config.method["model"])
        adapters = method.language_model.peft_config["default"]
        adapters.base_model_name_or_path = base
        folder.mkdir(parents=True, exist_ok=True)
        method.language_model.save_pretrained(folder, safe_serialization=True, save_embedding_layers=False)
        method.tokenizer.save_pretrained(folder)
        with atomic_write(folder / "README.md") as temporary:
            temporary.write_text(_readme(method, base), encoding="utf-8")
        write_json(folder / DESCRIPTION, {"name": config.name, "method": config.method})

    def load(self, folder: Path, config: dict[str, Any], encoder: nn.Module | None) -> Method:
        """Build the method upon its model and read the adapters."""
        from peft import set_peft_model_state_dict

        method = cast(CUT, build_method(config["name"], config["method"]))
        try:
            found: Any = set_peft_model_state_dict(method.language_model, load_file(folder / ADAPTER))
        except (SafetensorError, OSError, RuntimeError) as error:
            reason = str(error).splitlines()[0]
            raise InputError(f"{folder / ADAPTER} does not hold the adapters of this model ({reason}).") from error
        lost = [key for key in found.missing_keys if "lora_" in key]
        if lost or found.unexpected_keys:
            raise InputError(f"{folder / ADAPTER} does not hold the adapters of this model.")
        return method

    def untrained(self, trained: Method, settings: RunConfig) -> None:
        """The model before training is the trained one without its adapters."""

    def material(
        self,
        methods: Mapping[str, Method],
        settings: RunConfig,
        *,
        data: str | None = None,
        data_root: str | Path | None = None,
        protocols: Sequence[str] = (),
        progress: bool = False,
    ) -> LanguageMaterial:
        """Judged responses, where possible such as training has not seen."""
        method = cast(CUT, methods["trained"])
        source = data or (f"{TOY}-test" if settings.data == TOY else settings.data)
        root = data_root or settings.data_root
        judged = load_judgments(source, root, seed=settings.seed, **self.loading(settings))
        method.to("cuda" if torch.cuda.is_available() else "cpu")
        read = partial(log_likelihoods, method, judged, self.pairs(method, settings), batch_size=settings.batch_size)
        return LanguageMaterial(
            judged.name,
            {"trained": _Model(read), "untrained": _Model(read, method.language_model.disable_adapter)},
            settings.seed,
            progress,
            threshold=method.threshold,
        )

    def embeddings(
        self,
        method: Method,
        config: Mapping[str, Any],
        source: str,
        *,
        data_root: str | Path | None = None,
        batch_size: int = 256,
        progress: bool = False,
    ) -> Embeddings:
        """Refuse.

        Raises:
            InputError: always: there are no embeddings.
        """
        method.embed(None)
        raise AssertionError("embed refuses")

    def report_arguments(
        self, method: Method, run: Run, *, data_root: str | Path | None = None, progress: bool = False
    ) -> dict[str, Any]:
        """The name of the data; evaluation, curves and settings are read from the run."""
        return {"data": run.settings().data, "scores": False, "embeds": False}


class _Model:
    """A language model as protocols measure it, in a context of its own if there is one."""

    def __init__(
        self,
        read: Callable[[], LogLikelihoods],
        context: Callable[[], AbstractContextManager[Any]] = nullcontext,
    ) -> None:
        self.read, self.context = read, context

    def log_likelihoods(self) -> LogLikelihoods:
        """Log likelihoods of the tokens of all responses."""
        with self.context():
            return self.read()


@torch.no_grad()
def log_likelihoods(method: CUT, judged: TextSet, pairs: JudgmentPairs, *, batch_size: int = 8) -> LogLikelihoods:
    """Read judged responses with the model of a method.

    Args:
        method: in evaluation mode, on its device.
        judged: see `load_judgments`.
        pairs: makes prompts and responses.
        batch_size: responses at once.
    """
    device = next(method.parameters()).device
    parts: tuple[list[Tensor], ...] = ([], [], [])
    for indices in torch.arange(len(judged)).split(batch_size):
        views = {name: each.to(device) for name, each in pairs(judged.fetch(indices), method.tokenizer).items()}
        negative = views["is_negative"]
        for part, which, rows in zip(parts, (0, 1, 0), (negative, negative, ~negative), strict=True):
            part.append(method.score(views, which, rows).log_probability.cpu())
    return LogLikelihoods(*(torch.cat(part) for part in parts))


def _readme(method: CUT, base: str) -> str:
    """A short model card."""
    card = method.card
    return (
        f"---\nlibrary_name: peft\npipeline_tag: text-generation\ntags: [dipole, {card.name}]\n---\n\n"
        f"# Adapters of a language model, trained by {card.name}\n\n{card.summary} [{card.title}]"
        f"(https://arxiv.org/abs/{card.arxiv}), {card.authors}, {card.venue} {card.year}.\n\n"
        f"They belong to the model `{base}`, which is not in this folder. `dipole generate` opens both; in Python, "
        "`dipole.decoding.load_language_model` does.\n"
    )


DOMAIN = Language()
