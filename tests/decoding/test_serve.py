"""A model folder that decodes as a decoder of dipole does, wherever transformers loads it: the file of the docs."""

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

from decoding.folder import write_model
from dipole.decoding import ContrastiveSearch, Greedy, load_language_model

DOCS = Path(__file__).parents[2] / "docs" / "decoding.md"
PROMPT = torch.tensor([[3, 4, 5]])


class Tokens:
    """What a server gives to `generate` to hear of tokens as they come."""

    def __init__(self) -> None:
        self.heard: list[int] = []
        self.ended = False

    def put(self, tokens: Any) -> None:
        self.heard += tokens.flatten().tolist()

    def end(self) -> None:
        self.ended = True


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HF_MODULES_CACHE", str(tmp_path / "modules"))
    found = write_model(tmp_path / "model")
    [code] = re.findall(r"<!-- serve -->\n```python\n(.*?)^```$", DOCS.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    (found / "custom_generate").mkdir()
    (found / "custom_generate" / "generate.py").write_text(code)
    return found


def test_a_served_model_decodes_by_the_file_in_its_folder(folder: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(folder, trust_remote_code=True).eval()
    inputs = {"input_ids": PROMPT, "attention_mask": torch.ones_like(PROMPT)}
    plain = AutoModelForCausalLM.from_pretrained(folder).eval()
    expected = ContrastiveSearch(top_k=4, degeneration_penalty=0.6).generate(plain, PROMPT, max_new_tokens=8)
    greedy = plain.generate(**inputs, max_new_tokens=8, do_sample=False)
    assert expected.tolist() != greedy.tolist()
    for _ in range(2):
        assert model.generate(**inputs, max_new_tokens=8).tolist() == expected.tolist()
    streamer = Tokens()
    model.generate(**inputs, max_new_tokens=8, streamer=streamer)
    assert streamer.ended
    assert streamer.heard[-(expected.shape[1] - 3) :] == expected[0, 3:].tolist()


def test_dipole_does_not_run_the_file(folder: Path) -> None:
    (folder / "custom_generate" / "generate.py").write_text(f"open({str(folder / 'ran')!r}, 'w')\n")
    model, _ = load_language_model(folder, device="cpu")
    Greedy().generate(model, PROMPT, max_new_tokens=2)
    assert not (folder / "ran").exists()
