"""CLIP-rocket and its baselines: weak and strong views, objectives, the space that is embedded in."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dipole.data.multimodal import load_modalities
from dipole.errors import InputError
from dipole.losses import clip_loss
from dipole.methods.multimodal.siglip import SigLIP
from dipole.methods.multimodal.vlp_baselines import AUXILIARY, VLPBaselines
from dipole.nn.block_dropout import block_dropout
from dipole.nn.modalities import TokenEncoder
from dipole.runs import RunConfig, train
from dipole.views.caption_augmentation import open_synonyms, strong_caption, weak_caption
from dipole.views.weak_and_strong import WeakAndStrongViews

N = 6
VECTOR = {"kind": "vector", "width": 3, "mean": [0.5] * 3, "std": [0.3] * 3}
FACTS = {"left": VECTOR, "right": VECTOR}
SMALL = {"projector_hidden": 8, "auxiliary_hidden": 8, "auxiliary_dim": 4, "prototypes": 5, "vector_encoder": "mlp-16"}


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def build(**options: Any) -> Any:
    torch.manual_seed(0)
    return VLPBaselines(modalities=FACTS, embedding_dim=5, **{**SMALL, **options})


def batch(strong: int = 2, missing: bool = False) -> dict[str, Any]:
    rows = [{name: torch.rand(3, generator=seeded(row)) for name in FACTS} for row in range(N)]
    if missing:
        rows[2]["left"] = None  # type: ignore[assignment]
    views = WeakAndStrongViews(FACTS, strong=strong)(rows, {}, generator=seeded())
    return {"views": views, "index": torch.arange(N)}


@pytest.mark.parametrize("objective", ["clip", "swalip", *AUXILIARY])
@pytest.mark.parametrize("missing", [False, True])
def test_every_objective_trains_all_that_it_has(objective: Any, missing: bool) -> None:
    method = build(objective=objective)
    terms = method.loss_terms(batch(missing=missing))
    terms["loss"].backward()
    if objective != "clip":
        torch.testing.assert_close(terms["loss"].detach(), terms["contrast"] + terms[objective])
    idle = [name for name, p in method.named_parameters() if p.requires_grad and p.grad is None]
    assert not idle


def test_without_strong_views_it_is_clip_twice() -> None:
    method = build()
    z = method.encode(batch()["views"]).embeddings
    torch.testing.assert_close(method.loss_terms(batch(strong=0))["loss"], 2 * clip_loss(z["left"], z["right"]))


def test_the_ensemble_is_the_mean_of_the_cosines() -> None:
    inputs = {name: batch()["views"]["inputs"][name] for name in FACTS}

    def cosines(weight: float) -> Tensor:
        method = build(ensemble_weight=weight).eval()
        left, right = (method.embed({name: rows}) for name, rows in inputs.items())
        torch.testing.assert_close(left.norm(dim=1), torch.ones(N))
        return left @ right.T

    torch.testing.assert_close(cosines(0.3), 0.3 * cosines(1.0) + 0.7 * cosines(0.0))


def test_the_momentum_network_follows() -> None:
    method = build(objective="byolip", encoder_momentum=0.5)
    before = [p.clone() for p in method.momentum_encoder.module["projectors"].parameters()]
    with torch.no_grad():
        for p in method.projectors.parameters():
            p += 1
    method.on_train_batch_end(None, None, 0)
    for old, new, online in zip(
        before, method.momentum_encoder.module["projectors"].parameters(), method.projectors.parameters(), strict=True
    ):
        torch.testing.assert_close(new, (old + online) / 2)


def test_dropout_is_for_the_text_of_strong_views() -> None:
    encoder = TokenEncoder(9, width=32, layers=2).train()
    tokens = torch.ones(2, 2, 4, dtype=torch.long)
    plain = encoder(tokens)
    with block_dropout(encoder, 0.5):
        assert not torch.allclose(encoder(tokens), plain)
    torch.testing.assert_close(encoder(tokens), plain)
    with pytest.raises(InputError, match="no blocks"):
        block_dropout(nn.Linear(1, 1), 0.5)


@pytest.mark.parametrize(
    ("wrong", "match"),
    [
        ({"objective": "swalip", "label_smoothing": 0.1}, "soft targets"),
        ({"ensemble_weight": 1.5}, "ensemble_weight"),
        ({"ensemble_weight": 0.5, "separate_projector": False}, "second pair"),
        ({"text_dropout": 0.5}, "no blocks"),
        ({"modalities": {"a": VECTOR, "b": VECTOR, "c": VECTOR}}, "expected two"),
    ],
)
def test_what_cannot_be_is_refused(wrong: dict[str, Any], match: str) -> None:
    with pytest.raises(InputError, match=match):
        VLPBaselines(**{"modalities": FACTS, **SMALL, **wrong})


def test_captions_are_augmented_as_the_seed_says(tmp_path: Path) -> None:
    text = "a big dog is running on the beach"
    assert weak_caption(text, probability=1.0) == "big dog running beach"
    assert weak_caption(text, probability=0.0) == text
    drawn = {strong_caption(text, generator=seeded(seed)) for seed in range(20)}
    assert len(drawn) > 3
    assert drawn == {strong_caption(text, generator=seeded(seed)) for seed in range(20)}
    file = tmp_path / "synonyms.json"
    file.write_text(json.dumps({"dog": ["hound"]}))
    options: dict[str, Any] = {"synonyms": open_synonyms(str(file)), "weights": (0, 1, 0, 0)}
    with pytest.raises(InputError, match="weights"):
        strong_caption(text, **options)
    options["weights"] = (0, 1, 0, 1e-9)
    assert strong_caption(text, generator=seeded(), probability=0.0, **options) == text.replace("dog", "hound")
    assert strong_caption("", generator=seeded()) == ""
    with pytest.raises(InputError, match="JSON file"):
        open_synonyms(str(tmp_path / "none.json"))


def test_views_of_images_and_texts() -> None:
    class Words:
        def __call__(self, texts: list[str], **options: Any) -> dict[str, Tensor]:
            ids = torch.tensor([[len(text)] for text in texts])
            return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}

    facts = {"image": {"kind": "image", "size": 8}, "text": {"kind": "text"}}
    views = WeakAndStrongViews(facts, {"text": 4}, strong=3, synonyms="none")
    rows = [
        {"image": torch.randint(0, 255, (3, 9, 9), dtype=torch.uint8), "text": ["one two three"]},
        {"image": None, "text": ["x"]},
    ]
    made = views(rows, {"text": Words()}, generator=seeded())
    assert made["strong"]["image"].shape == (3, 2, 3, 8, 8)
    assert made["strong"]["text"].shape == (3, 2, 2, 1)
    assert not made["strong"]["image"][:, 1].any()
    assert not torch.equal(made["strong"]["image"][0, 0], made["strong"]["image"][1, 0])
    assert "strong" not in views(rows, {"text": Words()})


def test_siglip_learns_its_bias() -> None:
    method = SigLIP(modalities=FACTS, vector_encoder="mlp-4")
    terms = method.loss_terms(batch())
    terms["loss"].backward()
    assert float(terms["logit_bias"]) == -10
    assert method.logit_bias.grad is not None
    assert float(method.logit_bias.grad) < 0  # few pairs belong together, but −10 says that none does
    inputs = F.normalize(torch.ones(1, 3))
    assert method.embed({"left": inputs}).shape == (1, 128)


def without_wordnet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "nltk", None)
    monkeypatch.setitem(sys.modules, "nltk.corpus", None)


def test_missing_wordnet_is_said_and_what_stands_in_for_it_is_named(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    without_wordnet(monkeypatch)
    assert open_synonyms("auto") is None
    [said] = caplog.messages
    assert "WordNet is not installed" in said
    assert "nltk.downloader wordnet" in said
    assert "--views.synonyms none" in said
    caplog.clear()
    assert open_synonyms("none") is None
    assert open_synonyms("deletion") is None
    assert not caplog.messages
    with pytest.raises(InputError, match=r"nltk.downloader wordnet.*none or deletion"):
        open_synonyms("wordnet")


def test_words_are_deleted_in_place_of_synonyms() -> None:
    facts = {"a": {"kind": "text"}, "b": VECTOR}
    text = "dogs cats birds fish"

    def changed(synonyms: str) -> float:
        weights = WeakAndStrongViews(facts, {"a": 8}, synonyms=synonyms).weights
        options: dict[str, Any] = {"weights": weights, "deletion": 1.0 - 1e-9}
        return sum(strong_caption(text, generator=seeded(seed), **options) != text for seed in range(600)) / 600

    # Where all words are deleted, all stay: only a swap changes the text.
    assert changed("none") == pytest.approx(2 / 3, abs=0.08)
    assert changed("deletion") == pytest.approx(0.4, abs=0.08)


def test_a_run_says_which_synonyms_it_had(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    without_wordnet(monkeypatch)
    method = {"text_encoder": "bag-8", "image_encoder": "convnet4-4", "embedding_dim": 8}
    config = RunConfig("vlp-baselines", epochs=1, batch_size=512, method=method, precision="32-true")
    rows, _ = load_modalities("shape-captions")
    sets = (rows.select(torch.arange(32)), None)
    done = train(config, tmp_path / "run", sets=sets, monitor=False, progress=False)
    assert done.settings().views["synonyms"] == "none"
    assert sum("WordNet" in message for message in caplog.messages) == 1
