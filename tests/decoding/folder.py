"""A model folder with a tiny GPT-2 and a tokenizer of words."""

from pathlib import Path

from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from transformers import PreTrainedTokenizerFast

from decoding.tiny import VOCABULARY, gpt2

WORDS = ["<bos>", "<pad>", "<unk>", *(f"w{number}" for number in range(3, VOCABULARY - 1)), "<eos>"]


def write_model(folder: Path) -> Path:
    gpt2().save_pretrained(folder)
    words = Tokenizer(WordLevel({word: number for number, word in enumerate(WORDS)}, unk_token="<unk>"))
    words.pre_tokenizer = Whitespace()
    PreTrainedTokenizerFast(
        tokenizer_object=words, bos_token="<bos>", eos_token="<eos>", pad_token="<pad>", unk_token="<unk>"
    ).save_pretrained(folder)
    return folder
