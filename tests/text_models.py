"""Tiny text encoders for tests, made from nothing and kept for the session."""

import tempfile
from functools import cache
from pathlib import Path

import torch
from torch import Tensor, nn

from dipole.nn.text import TextEncoder, new_bert

TEXTS = [
    "the cat sat on the mat near the door of the house",
    "two dogs ran over the green field after a red ball",
    "a bird sings in the old tree every single morning",
    "she reads a long book about the history of the town",
    "short text",
]


@cache
def bert_folder(width: int = 16, layers: int = 2, heads: int = 4) -> Path:
    """A folder with a random BERT whose tokenizer knows the texts."""
    folder = tempfile.mkdtemp(prefix="dipole-test-")
    return new_bert(TEXTS, folder, vocabulary=120, width=width, layers=layers, heads=heads, max_length=64)


class Table(TextEncoder):
    """The embedding of a text is the row that its first token names."""

    def __init__(self, rows: Tensor) -> None:
        nn.Module.__init__(self)
        self.rows = nn.Parameter(rows.clone())
        self.width, self.max_length, self.pooling, self.tokenizer = rows.shape[1], 2, "cls", None

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        return self.rows[input_ids[:, 0]]


def ids_batch(*views: Tensor) -> dict[str, object]:
    """A batch whose views are single tokens."""
    ids = torch.stack(views)[:, :, None]
    return {"views": {"input_ids": ids, "attention_mask": torch.ones_like(ids)}, "index": torch.arange(ids.shape[1])}


@cache
def llama_folder(width: int = 16, layers: int = 2) -> Path:
    """A folder with a random Llama whose byte-level tokenizer knows the texts."""
    from tokenizers import ByteLevelBPETokenizer
    from transformers import LlamaConfig, LlamaModel, PreTrainedTokenizerFast

    folder = Path(tempfile.mkdtemp(prefix="dipole-test-"))
    learned = ByteLevelBPETokenizer()
    learned.train_from_iterator(TEXTS, vocab_size=400, special_tokens=["<|endoftext|>"], show_progress=False)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=learned._tokenizer, eos_token="<|endoftext|>")
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    sizes = {"hidden_size": width, "intermediate_size": 2 * width, "num_hidden_layers": layers}
    config = LlamaConfig(vocab_size=len(tokenizer), num_attention_heads=4, max_position_embeddings=128, **sizes)
    LlamaModel(config).save_pretrained(folder)
    return folder
