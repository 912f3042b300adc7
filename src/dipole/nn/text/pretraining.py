"""Small encoders from nothing: a tokenizer and a BERT of random weights, pretrained as a masked language model."""

import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from dipole.errors import InputError
from dipole.files import atomic_write
from dipole.nn.foreign import refuse_code
from dipole.nn.text.encode import check_texts
from dipole.nn.text.encoder import explained, open_tokenizer, quiet
from dipole.ops.checks import check_at_least

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


def new_bert(
    texts: Sequence[str],
    folder: str | Path,
    *,
    vocabulary: int = 8000,
    width: int = 128,
    layers: int = 2,
    heads: int = 2,
    max_length: int = 128,
    seed: int = 0,
) -> Path:
    """Write a BERT with random weights and a word-piece tokenizer learned from texts.

    `build_text_encoder(folder)` opens it, and so does transformers. The head of the masked language model is kept.

    Args:
        texts: what the word pieces are learned from; lower-cased.
        folder: where `config.json`, `model.safetensors` and the tokenizer's files go.
        vocabulary: number of word pieces; all single characters are kept, even if they are more.
        width: D; the feed-forward layers have 4 D.
        layers: number of layers.
        heads: attention heads, a divisor of the width.
        max_length: positions.
        seed: of the weights.

    Returns:
        The folder.

    Raises:
        InputError: there are no texts, or an impossible size.

    Example:
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     sorted(path.name for path in new_bert(["a few words"], folder, width=8).iterdir())
        ['config.json', 'model.safetensors', 'tokenizer.json', 'tokenizer_config.json']
    """
    check_texts(texts)
    sizes = {"width": width, "layers": layers, "heads": heads, "max_length - 1": max_length - 1}
    for name, value in sizes.items():
        check_at_least(value, 1, name)
    check_at_least(vocabulary, len(SPECIAL) + 1, "vocabulary")
    if not texts or width % heads:
        raise InputError(f"{len(texts)} texts, width {width} and {heads} heads: expected texts, and heads that divide.")
    from transformers import BertConfig, BertForMaskedLM

    tokenizer = learn_tokenizer(texts, vocabulary, max_length)
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        intermediate_size=4 * width,
        max_position_embeddings=max_length,
        pad_token_id=tokenizer.pad_token_id,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = BertForMaskedLM(config)
    _save(Path(folder), model, tokenizer)
    return Path(folder)


def pretrain_mlm(
    folder: str | Path,
    texts: Sequence[str],
    *,
    steps: int = 1000,
    batch_size: int = 64,
    learning_rate: float = 5e-4,
    weight_decay: float = 0.01,
    warmup: float = 0.1,
    max_length: int = 64,
    mask_probability: float = 0.15,
    seed: int = 0,
    device: torch.device | str = "cpu",
    progress: bool = True,
) -> list[float]:
    """Train the BERT in a folder as a masked language model, and write it back.

    Of the tokens 15 % are chosen; of these 80 % become [MASK], 10 % a random token, 10 % stay. AdamW; the learning rate
    rises linearly and falls linearly to 0. Same seed and number of threads, same weights.

    Devlin et al.: *BERT* (NAACL 2019).

    Args:
        folder: as written by `new_bert`, or any BERT with safetensors weights.
        texts: the corpus.
        steps: of the optimiser.
        batch_size: texts a step.
        learning_rate: at its highest.
        weight_decay: of all parameters.
        warmup: share of the steps in which the learning rate rises.
        max_length: tokens of a text that are read.
        mask_probability: share of the tokens that are predicted.
        seed: of order, masks and dropout.
        device: where to compute.
        progress: whether to show a progress bar.

    Returns:
        The loss of every step, in nats a predicted token.

    Raises:
        InputError: the folder holds no such model, there are no texts, or a number is out of range.
    """
    check_texts(texts)
    for name, value, least in (
        ("the number of texts", len(texts), 1),
        ("steps", steps, 1),
        ("batch_size", batch_size, 1),
    ):
        check_at_least(value, least, name)
    if not 0 < mask_probability < 1:
        raise InputError(f"mask_probability is {mask_probability}: expected a number between 0 and 1, e.g. 0.15.")
    from transformers import BertForMaskedLM, get_linear_schedule_with_warmup

    tokenizer = open_tokenizer(str(folder))
    with explained(str(folder)), quiet():
        refuse_code(folder)
        model: Any = BertForMaskedLM.from_pretrained(folder, use_safetensors=True, local_files_only=True)
    model.to(device).train()
    tokens = tokenizer(list(texts), truncation=True, max_length=max_length)["input_ids"]
    optimizer = torch.optim.AdamW(model.parameters(), lr=learning_rate, weight_decay=weight_decay)
    schedule = get_linear_schedule_with_warmup(optimizer, int(warmup * steps), steps)
    generator = torch.Generator().manual_seed(seed)
    numbers: Any = range(steps)
    if progress:
        from rich.console import Console
        from rich.progress import track

        numbers = track(numbers, description="masked language model", console=Console(stderr=True))
    losses: list[float] = []
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        for _ in numbers:
            rows = torch.randint(len(tokens), (batch_size,), generator=generator).tolist()
            batch = tokenizer.pad({"input_ids": [tokens[row] for row in rows]}, return_tensors="pt")
            loss = _masked_loss(model, tokenizer, batch, mask_probability, generator)
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            losses.append(float(loss.detach()))
    _save(Path(folder), model.cpu())
    return losses


def mask_for_prediction(
    input_ids: Int[Tensor, "n t"],
    maskable: Bool[Tensor, "n t"],
    *,
    mask_id: int,
    vocabulary: int,
    probability: float = 0.15,
    generator: torch.Generator | None = None,
) -> tuple[Int[Tensor, "n t"], Bool[Tensor, "n t"]]:
    """Choose tokens to predict: 80 % become the mask, 10 % a random token, 10 % stay.

    Args:
        input_ids: (N, T).
        maskable: (N, T), False at padding and special tokens.
        mask_id: token of the mask.
        vocabulary: number of tokens.
        probability: share of the tokens that are chosen.
        generator: source of randomness.

    Returns:
        The new ids and where to predict, both (N, T).

    Example:
        >>> ids = torch.arange(8).view(1, 8)
        >>> nothing = torch.zeros_like(ids, dtype=torch.bool)
        >>> torch.equal(mask_for_prediction(ids, nothing, mask_id=0, vocabulary=8)[0], ids)
        True
    """
    chosen = (torch.rand(input_ids.shape, generator=generator) < probability) & maskable
    kind = torch.rand(input_ids.shape, generator=generator)
    other = torch.randint(vocabulary, input_ids.shape, generator=generator)
    masked = torch.where(chosen & (kind < 0.8), mask_id, input_ids)
    return torch.where(chosen & (kind >= 0.9), other, masked), chosen


def _masked_loss(model: Any, tokenizer: Any, batch: Any, probability: float, generator: torch.Generator) -> Tensor:
    """Cross entropy of the chosen tokens; the output layer, most of the work, sees no others."""
    ids = batch["input_ids"]
    maskable = ~torch.isin(ids, torch.tensor(tokenizer.all_special_ids))
    masked, chosen = mask_for_prediction(
        ids,
        maskable,
        mask_id=tokenizer.mask_token_id,
        vocabulary=len(tokenizer),
        probability=probability,
        generator=generator,
    )
    device = model.device
    hidden = model.bert(input_ids=masked.to(device), attention_mask=batch["attention_mask"].to(device))
    states: Float[Tensor, "m d"] = hidden.last_hidden_state[chosen.to(device)]
    # The sum over nothing is 0, where a mean would be no number.
    total = F.cross_entropy(model.cls(states).float(), ids[chosen].to(device), reduction="sum")
    return total / max(1, int(chosen.sum()))


def learn_tokenizer(texts: Sequence[str], vocabulary: int, max_length: int) -> Any:
    """Learn a word-piece tokenizer that treats text as BERT (uncased) does; the same texts give the same tokenizer.

    Args:
        texts: what the word pieces are learned from; lower-cased.
        vocabulary: number of word pieces; all single characters are kept, even if they are more.
        max_length: tokens of a text that are read.

    Example:
        >>> learn_tokenizer(["a few words"], 30, 16).tokenize("few words")
        ['few', 'words']
    """
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    def tokenizer_of(model: Any) -> Any:
        built = Tokenizer(model)
        built.normalizer = normalizers.BertNormalizer(lowercase=True)
        built.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        return built

    learner = tokenizer_of(models.WordPiece(unk_token="[UNK]"))
    characters = sorted(set("".join(learner.normalizer.normalize_str(text) for text in texts)) - {" "})
    # The trainer numbers continuations by the order of a hash table, and equal counts are decided by number: reserved
    # as special tokens they have fixed numbers.
    reserved = [*SPECIAL, *(f"##{character}" for character in characters)]
    size = max(vocabulary, len(reserved) + len(characters))
    trainer = trainers.WordPieceTrainer(vocab_size=size, special_tokens=reserved, show_progress=False)
    learner.train_from_iterator(texts, trainer)
    tokenizer = tokenizer_of(models.WordPiece(learner.get_vocab(), unk_token="[UNK]"))
    tokenizer.decoder = decoders.WordPiece()
    ends = [(name, tokenizer.token_to_id(name)) for name in ("[CLS]", "[SEP]")]
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=ends
    )
    names = {f"{name.strip('[]').lower()}_token": name for name in SPECIAL}
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=max_length, **names)


def _save(folder: Path, *parts: Any) -> None:
    """Write a model, or a model and its tokenizer; each file whole or not at all."""
    with tempfile.TemporaryDirectory() as temporary, quiet():
        for part in parts:
            part.save_pretrained(temporary)
        for path in sorted(Path(temporary).iterdir()):
            with atomic_write(folder / path.name) as target:
                shutil.copyfile(path, target)
