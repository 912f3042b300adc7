"""A small language model that copies letters, some wrongly, as its demonstrations do."""

from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F

from dipole.data.language import JudgmentPairs, toy_judgments
from dipole.data.language.toy import LENGTH, LETTERS
from dipole.nn.text.encoder import quiet

SPECIAL = ("<pad>", "<unk>", "<end>")
WORDS = (*LETTERS, *map(str, range(1, LENGTH + 1)), "Copy", "Wrong", ":", "|", "->")
# The distance from a letter to its copy is the same with and without a judgment.
VIEWS: dict[str, Any] = {"plain_template": "{instruction} ->", "judged_template": "{judgment} | {instruction} ->"}
FIRST_SEED = 10_000  # of demonstrations: no other records have it


def copying_model(
    folder: str | Path,
    *,
    seed: int = 0,
    steps: int = 500,
    batch_size: int = 32,
    width: int = 64,
    layers: int = 2,
    learning_rate: float = 3e-3,
) -> tuple[Path, float]:
    """Train a Llama from scratch on generated demonstrations and write it with its tokenizer.

    A demonstration is a record of `toy_judgments`; an unsatisfactory one is read twice, with and without its judgment.

    Args:
        folder: to write.
        seed: of weights and demonstrations.
        steps: of training; 0 leaves random weights.
        batch_size: records in a step.
        width: of the model.
        layers: of the model.
        learning_rate: of AdamW, at its highest.

    Returns:
        The folder and the mean loss of the last steps, in nats a token; NaN without training.
    """
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Whitespace
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    vocabulary = {word: number for number, word in enumerate((*SPECIAL, *WORDS))}
    words = Tokenizer(WordLevel(vocabulary, unk_token="<unk>"))
    words.pre_tokenizer = Whitespace()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, pad_token="<pad>", unk_token="<unk>", eos_token="<end>")
    config = LlamaConfig(
        vocab_size=len(vocabulary),
        hidden_size=width,
        intermediate_size=2 * width,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=64,
        pad_token_id=0,
        bos_token_id=None,
        eos_token_id=2,
    )
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        torch.manual_seed(seed)
        model = LlamaForCausalLM(config)
        optimizer = torch.optim.AdamW(model.parameters(), lr=learning_rate, weight_decay=0.01)
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, learning_rate, total_steps=max(1, steps), pct_start=0.1
        )
        pairs, losses = JudgmentPairs(**VIEWS), []
        for step in range(steps):
            records = toy_judgments(batch_size, seed=FIRST_SEED + seed * steps + step)
            views = pairs(records, tokenizer)
            read = views["attention_mask"].flatten(0, 1).any(dim=1)
            ids, mask, labels = (views[name].flatten(0, 1)[read] for name in ("input_ids", "attention_mask", "labels"))
            logits = model(ids, attention_mask=mask).logits
            loss = F.cross_entropy(logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            losses.append(float(loss.detach()))
    with quiet():
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
    last = losses[-20:]
    return Path(folder), sum(last) / len(last) if last else float("nan")
