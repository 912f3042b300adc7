import hashlib
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from dipole.errors import InputError
from dipole.nn.text import build_text_encoder, mask_for_prediction, new_bert, pretrain_mlm
from text_models import TEXTS

SMALL: dict[str, Any] = {"width": 16, "layers": 1, "vocabulary": 100, "max_length": 32}


def digest(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}


def test_the_same_texts_and_seed_give_the_same_files(tmp_path: Path) -> None:
    one, same, other = (new_bert(TEXTS, tmp_path / str(i), **SMALL, seed=i // 2) for i in range(3))
    assert digest(one) == digest(same)
    assert digest(one)["tokenizer.json"] == digest(other)["tokenizer.json"]
    assert digest(one)["model.safetensors"] != digest(other)["model.safetensors"]


@pytest.mark.slow
def test_another_process_writes_the_same_files(tmp_path: Path) -> None:
    """Hash tables, of which the tokenizer's trainer is full, are seeded anew in every process."""
    folder = new_bert(TEXTS, tmp_path / "here", **SMALL)
    code = f"from dipole.nn.text import new_bert; new_bert({TEXTS!r}, {str(tmp_path / 'there')!r}, **{SMALL!r})"
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
    assert digest(tmp_path / "there") == digest(folder)


def test_the_global_random_state_is_left_alone(tmp_path: Path) -> None:
    torch.manual_seed(0)
    expected = torch.rand(2)
    torch.manual_seed(0)
    new_bert(TEXTS, tmp_path, **SMALL)
    pretrain_mlm(tmp_path, TEXTS, steps=1, batch_size=2, progress=False)
    assert torch.equal(torch.rand(2), expected)


def test_the_tokenizer_learns_words(tmp_path: Path) -> None:
    encoder = build_text_encoder(str(new_bert(TEXTS, tmp_path, **{**SMALL, "vocabulary": 400})), max_length=32)
    tokenizer = encoder.tokenizer
    assert tokenizer.tokenize("The CAT zzz!") == ["the", "cat", "[UNK]", "[UNK]"]
    ids = tokenizer("the cat [MASK]")["input_ids"]
    assert ids[0] == tokenizer.cls_token_id
    assert ids[-2:] == [tokenizer.mask_token_id, tokenizer.sep_token_id]
    assert tokenizer.decode(tokenizer(TEXTS[0])["input_ids"], skip_special_tokens=True) == TEXTS[0]
    assert encoder.width == 16


def test_a_small_vocabulary_still_spells_every_word(tmp_path: Path) -> None:
    built = build_text_encoder(str(new_bert(TEXTS, tmp_path, **{**SMALL, "vocabulary": 6})), max_length=32)
    ids = built.tokenizer(" ".join(TEXTS))["input_ids"]
    assert built.tokenizer.unk_token_id not in ids


def test_pretraining_learns_and_repeats(tmp_path: Path) -> None:
    folders = [new_bert(TEXTS, tmp_path / str(i), **SMALL) for i in range(2)]
    before = digest(folders[0])
    losses = [
        pretrain_mlm(folder, TEXTS, steps=60, batch_size=16, learning_rate=1e-2, progress=False) for folder in folders
    ]
    assert losses[0] == losses[1]
    assert digest(folders[0]) == digest(folders[1])
    assert digest(folders[0])["model.safetensors"] != before["model.safetensors"]
    assert digest(folders[0])["tokenizer.json"] == before["tokenizer.json"]
    assert len(losses[0]) == 60
    assert sum(losses[0][-10:]) < 0.8 * sum(losses[0][:10])
    build_text_encoder(str(folders[0]), max_length=32)


def test_masks_by_their_shares() -> None:
    generator = torch.Generator().manual_seed(0)
    ids = torch.full((400, 500), 50)
    maskable = torch.arange(500).expand(400, -1) < 400
    masked, chosen = mask_for_prediction(ids, maskable, mask_id=3, vocabulary=1000, generator=generator)
    assert not chosen[~maskable].any()
    assert torch.equal(masked[~chosen], ids[~chosen])
    assert abs(float(chosen[maskable].float().mean()) - 0.15) < 0.005
    seen = masked[chosen]
    assert abs(float((seen == 3).float().mean()) - 0.8) < 0.01
    assert abs(float((seen == 50).float().mean()) - 0.1) < 0.01


def test_what_is_refused(tmp_path: Path) -> None:
    wrong: list[tuple[Any, str]] = [
        (lambda: new_bert([], tmp_path), "0 texts"),
        (lambda: new_bert(TEXTS, tmp_path, width=10, heads=4), "heads that divide"),
        (lambda: new_bert(TEXTS, tmp_path, layers=0), "layers is 0"),
        (lambda: new_bert(TEXTS, tmp_path, vocabulary=5), "vocabulary is 5"),
        (lambda: pretrain_mlm(tmp_path, TEXTS, progress=False), "cannot open the encoder"),
        (lambda: pretrain_mlm(tmp_path, [], progress=False), "the number of texts is 0"),
        (lambda: pretrain_mlm(tmp_path, TEXTS, steps=0), "steps is 0"),
        (lambda: pretrain_mlm(tmp_path, TEXTS, mask_probability=0.0), "mask_probability is 0.0"),
    ]
    for call, message in wrong:
        with pytest.raises(InputError, match=message):
            call()
    assert list(tmp_path.iterdir()) == []
