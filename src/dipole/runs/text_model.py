"""Text models as people share them: a folder that sentence-transformers, transformers and dipole open."""

import copy
import tempfile
from pathlib import Path
from typing import Any, Literal, cast

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from dipole.errors import InputError
from dipole.files import atomic_write, write_json
from dipole.methods.base import Method
from dipole.methods.text.embedding import SentenceEmbedding
from dipole.negatives import Queue
from dipole.nn import MomentumEncoder
from dipole.nn.text import DecoderEncoder, MixtureOfExperts, StaticTextEncoder, TextEncoder, without_adapters
from dipole.nn.text.domains import DomainEncoder
from dipole.nn.text.encoder import open_tokenizer, open_transformer, quiet
from dipole.runs.model import DESCRIPTION, build_method

REST = "method.safetensors"
BASE = "base"  # folder of the transformer that is extended by experts, which no other library would add
# What sentence-transformers can compute too.
SHARED_POOLINGS = {"cls": "cls", "mean": "mean", "last": "lasttoken"}


def save_text_model(method: SentenceEmbedding, folder: str | Path, *, name: str, arguments: dict[str, Any]) -> None:
    """Write a model that `SentenceTransformer(folder)` opens, and what dipole needs beside it.

    The encoder is written as sentence-transformers does it: `config.json`, `model.safetensors`, tokenizer,
    `modules.json`. `method.safetensors` holds the rest of the method without what only training needs (momentum
    encoder, queue), and `dipole.json`, written last, says how the method is built. Poolings that sentence-transformers
    lacks (`mean_with_padding`, `first_last_average`) leave a plain transformers model.

    Args:
        method: whose encoder is written.
        folder: made if it is missing.
        name: of the method.
        arguments: of its constructor, as JSON can hold them.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    encoder = method.encoder
    plain = cast(Any, without_adapters(encoder.backbone)) if hasattr(encoder, "backbone") else None
    with quiet():
        if is_shared(encoder):
            _sentence_transformer(encoder, method.similarity, plain).save(str(folder), create_model_card=False)
        elif isinstance(encoder, DomainEncoder):
            _save_base(encoder, folder / BASE)
        else:
            assert plain is not None
            plain.save_pretrained(folder)
        # Also for a static encoder, of which sentence-transformers keeps less than the tokenizer.
        tokenizer = encoder.tokenizer
        if isinstance(encoder, StaticTextEncoder):
            # sentence-transformers reads a text without special tokens, which count here.
            tokenizer = copy.deepcopy(tokenizer)
            _cut_as(encoder, tokenizer._tokenizer)
        tokenizer.save_pretrained(folder / BASE if isinstance(encoder, DomainEncoder) else folder)
    left_out = _left_out(method)
    rest = {
        key: value.detach().cpu().contiguous().clone()
        for key, value in method.state_dict().items()
        if not key.startswith(left_out)
    }
    with atomic_write(folder / REST) as temporary:
        save_file(rest, temporary)
    with atomic_write(folder / "README.md") as temporary:
        temporary.write_text(_readme(method, is_shared(encoder)), encoding="utf-8")
    write_json(
        folder / DESCRIPTION, {"name": name, "method": {**arguments, "encoder": "."}, "encoder": _facts(encoder)}
    )


def load_text_model(folder: Path, config: dict[str, Any], encoder: nn.Module | None = None) -> Method:
    """Load what `save_text_model` has written.

    Args:
        folder: of the model.
        config: the content of `dipole.json`.
        encoder: a module in place of the stored encoder, if it was not one that dipole can build.

    Raises:
        InputError: a file is missing or not whole.
    """
    built = _open_encoder(folder, config["encoder"]) if encoder is None else encoder
    method = build_method(config["name"], config["method"], encoder=built)
    assert isinstance(method, SentenceEmbedding)
    try:
        missing, unexpected = method.load_state_dict(load_file(folder / REST), strict=False)
    except (SafetensorError, OSError, RuntimeError) as error:
        raise InputError(f"{folder / REST} is not whole ({str(error).splitlines()[0]}).") from error
    lost = [key for key in missing if not key.startswith(_left_out(method))]
    if lost or unexpected:
        raise InputError(f"{folder / REST} does not hold the weights of this model: {(lost or unexpected)[0]} differs.")
    return method


def is_shared(encoder: TextEncoder) -> bool:
    """Return whether sentence-transformers can compute the encoder's embeddings."""
    if isinstance(encoder, DomainEncoder):
        return False
    return isinstance(encoder, StaticTextEncoder) or encoder.pooling in SHARED_POOLINGS


def _facts(encoder: TextEncoder) -> dict[str, Any]:
    """How the stored encoder is opened."""
    if isinstance(encoder, DomainEncoder):
        names = ("domains", "default_domain", "layers", "router", "top_k")
        own: dict[str, Any] = {"experts": True, **{name: getattr(encoder, name) for name in names}}
    elif isinstance(encoder, DecoderEncoder):
        own = {"decoder": True, "bidirectional": encoder.bidirectional, "latents": encoder.latents}
    else:
        own = {}
    return {
        "static": isinstance(encoder, StaticTextEncoder),
        **own,
        "pooling": encoder.kind if isinstance(encoder, DecoderEncoder) else encoder.pooling,
        "max_length": encoder.max_length,
        "unit_length": encoder.unit_length,
        "prompts": encoder.prompts,
        "default_prompt": encoder.default_prompt,
    }


def _save_base(encoder: DomainEncoder, folder: Path) -> None:
    """Write the transformer that experts are added to: its sizes, with the first expert of every layer."""
    backbone: Any = copy.deepcopy(encoder.backbone)
    for block in list(backbone.modules()):
        for name, module in list(block.named_children()):
            if isinstance(module, MixtureOfExperts):
                first = module.experts[0]
                if isinstance(first, nn.Sequential):
                    block.intermediate, block.output.dense = first[0], first[1]
                else:
                    setattr(block, name, first)
    backbone.save_pretrained(folder)


def _open_encoder(folder: Path, facts: dict[str, Any]) -> TextEncoder:
    """The encoder of a model folder; the weights of a static one come with those of the method."""
    if not facts["static"]:
        place = str(folder / BASE if facts.get("experts") else folder)
        backbone, tokenizer = open_transformer(place), open_tokenizer(place)
        if getattr(backbone, "pooler", None) is not None:
            backbone.pooler = None
        cls = DecoderEncoder if facts.get("decoder") else DomainEncoder if facts.get("experts") else TextEncoder
        options = {key: facts[key] for key in facts if key not in ("static", "decoder", "experts")}
        return cls(backbone.train(), tokenizer, **options)
    table: Tensor = load_file(folder / "model.safetensors")["embedding.weight"]
    return StaticTextEncoder(table, open_tokenizer(str(folder)), max_length=facts["max_length"])


def _sentence_transformer(encoder: TextEncoder, similarity: Literal["cosine", "dot"], plain: Any) -> Any:
    """The encoder as a SentenceTransformer."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.modules import Normalize, Transformer
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding

    if isinstance(encoder, StaticTextEncoder):
        tokenizer = type(encoder.tokenizer._tokenizer).from_str(encoder.tokenizer._tokenizer.to_str())
        _cut_as(encoder, tokenizer)
        modules: list[nn.Module] = [StaticEmbedding(tokenizer, embedding_weights=encoder.table().cpu())]
    else:
        with tempfile.TemporaryDirectory() as temporary:
            plain.save_pretrained(temporary)
            encoder.tokenizer.save_pretrained(temporary)
            transformer = Transformer(temporary, max_seq_length=encoder.max_length)
            # The weights of the file may be mapped into memory, and the file is about to go.
            transformer.load_state_dict({key: value.clone() for key, value in transformer.state_dict().items()})
        modules = [transformer, _shared_pooling(encoder)]
        modules += [Normalize()] if encoder.unit_length else []
    return SentenceTransformer(
        modules=modules,
        similarity_fn_name=similarity,
        prompts=encoder.prompts or None,
        default_prompt_name=encoder.default_prompt,
        device="cpu",
    )


def _is_own(encoder: TextEncoder) -> bool:
    """Whether the pooling of an encoder is none that sentence-transformers has."""
    return isinstance(encoder, DecoderEncoder) and (encoder.latent_attention is not None or bool(encoder.prompts))


def _shared_pooling(encoder: TextEncoder) -> Any:
    """The pooling of an encoder as a module of sentence-transformers."""
    from sentence_transformers.sentence_transformer.modules import Pooling

    if not isinstance(encoder, DecoderEncoder) or not _is_own(encoder):
        return Pooling(encoder.width, pooling_mode=SHARED_POOLINGS[encoder.pooling])
    from dipole.nn.text.shared_decoder import DecoderPoolingModule

    prefixes = [encoder.prefix(prompt) for prompt in encoder.prompts.values()]
    module = DecoderPoolingModule(encoder.width, encoder.kind, prefixes, encoder.latents)
    if encoder.latent_attention is not None:
        assert module.latent_attention is not None
        module.latent_attention.load_state_dict(encoder.latent_attention.state_dict())
    return module


def _cut_as(encoder: TextEncoder, tokenizer: Any) -> None:
    """Let a tokenizer that adds no special tokens cut texts as the encoder's own does, which adds them."""
    own = encoder.tokenizer
    tokenizer.enable_truncation(encoder.max_length - own.num_special_tokens_to_add(), direction=own.truncation_side)


def _left_out(method: SentenceEmbedding) -> tuple[str, ...]:
    """Prefixes of the weights that are stored with the encoder, or that only training needs."""
    stored: tuple[nn.Module, ...] = (method.encoder,)
    if isinstance(method.encoder, StaticTextEncoder):
        stored = ()
    elif isinstance(method.encoder, DomainEncoder):
        stored = ()  # all of it is stored with the method
    elif isinstance(method.encoder, DecoderEncoder):
        stored = (method.encoder.backbone,)  # its pooling is none that a folder of transformers holds
    return tuple(
        f"{name}."
        for name, module in method.named_modules()
        if module in stored or isinstance(module, MomentumEncoder | Queue)
    )


def _readme(method: SentenceEmbedding, shared: bool) -> str:
    """A short model card."""
    card = method.card
    # sentence-transformers asks before it imports a class that is not its own, here that of the installed dipole.
    asked = ", trust_remote_code=True" if _is_own(method.encoder) else ""
    how = (
        "from sentence_transformers import SentenceTransformer\n\n"
        f'embeddings = SentenceTransformer("this folder"{asked}).encode(["a sentence", "another one"])'
        if shared
        else 'from dipole import load\nfrom dipole.nn.text import encode_texts\n\nmethod = load("this folder")\n'
        'embeddings = encode_texts(method.encoder, ["a sentence", "another one"])'
    )
    library = "sentence-transformers" if shared else "transformers"
    return (
        f"---\nlibrary_name: {library}\npipeline_tag: sentence-similarity\ntags: [dipole, {card.name}]\n---\n\n"
        f"# A text encoder trained by {card.name}\n\n{card.summary} [{card.title}]"
        f"(https://arxiv.org/abs/{card.arxiv}), {card.authors}, {card.venue} {card.year}.\n\n"
        f"```python\n{how}\n```\n\nCompare embeddings by the {_SIMILARITIES[method.similarity]}. "
        "`dipole embed` and `dipole search` use the folder as well.\n"
    )


_SIMILARITIES = {"cosine": "cosine similarity", "dot": "inner product"}
