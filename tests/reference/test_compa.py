"""CompA's losses, scores, composition and front end against the authors' code and independent loops, key by key."""

import torch
from torch import Tensor

from dipole.evaluation.winoground import winoground_correct, winoground_scores
from dipole.losses import clip_loss, hard_negative_clap_loss, modular_clap_loss
from dipole.nn.mel import MelSpectrogram, mel_to_square
from dipole.views.sound import (
    concatenated,
    expression_texts,
    overlaid,
    parse_expression,
    peak_normalised,
    verbalise,
)
from reference.cases import Case, parametrize


@parametrize(
    "compa",
    {
        "winoground": "in.caption0",
        "modular": "out.audio_to_text",
        "clap": "grad.audio",
        "composition": "out.overlay",
        "mel": "out.htk",
        "square": "in.mel",
    },
)
def test_every_value(case: Case, kind: str) -> None:
    if kind == "unknown" and "expected" in case.params:
        kind = "expressions"
    CHECKS[kind](case)
    case.check_all_read()


def check_winoground(case: Case) -> None:
    rows = [case[f"in.{name}"] for name in ("caption0", "caption1", "audio0", "audio1")]
    correct = winoground_correct(*rows)
    scores = winoground_scores(*rows)
    for place, name in enumerate(("text", "audio", "group")):
        case.check(f"out.{name}_correct", correct[place].long())
        case.check(f"out.{name}_score", torch.tensor(scores[place], dtype=torch.float64))


def check_clap(case: Case) -> None:
    audio, text = case.leaf("in.audio"), case.leaf("in.text")
    loss = clip_loss(audio, text, temperature=1 / case.params["scale"], normalize=False)
    case.check("out.loss", loss)
    case.check_gradient("grad.audio", loss, audio)
    case.check_gradient("grad.text", loss, text)


def check_modular(case: Case) -> None:
    audio, texts = case.leaf("in.audio"), case.leaf("in.text")
    scale = case.params["scale"]
    options = {"temperature": 1 / scale, "normalize": False}
    same = case.params.get("K")
    positives = torch.tensor(case.params.get("num_pos", [0] * len(audio)))
    negatives = torch.tensor(case.params.get("num_neg", [same] * len(audio)))
    loss = modular_clap_loss(audio, texts, positives, negatives, **options)
    case.check("out.loss", loss)
    for direction in ("audio_to_text", "text_to_audio"):
        part = modular_clap_loss(audio, texts, positives, negatives, **options, direction=direction)
        case.check(f"out.{direction}", part)
    if same is not None:
        case.check("out.loss", hard_negative_clap_loss(audio, texts, same, **options))
    case.check_gradient("grad.audio", loss, audio)
    case.check_gradient("grad.text", loss, texts)
    for key in ("out.official", "out.official_buggy"):
        if key in case:
            case.check(key, multiplied_mask(audio, texts, positives, negatives, scale))


def multiplied_mask(audio: Tensor, texts: Tensor, positives: Tensor, negatives: Tensor, scale: float) -> Tensor:
    """The authors' value: logits that are to be left out are multiplied by −10⁵, right if positive."""
    logits = scale * audio @ texts.T
    sizes = (1 + positives + negatives).tolist()
    starts = [sum(sizes[:i]) for i in range(len(sizes))]
    rows = []
    for i, start in enumerate(starts):
        mask = torch.full((len(texts),), -100000.0, dtype=logits.dtype)
        mask[torch.tensor(starts)] = 1
        mask[start : start + sizes[i]] = 1
        log_z = (logits[i] * mask).logsumexp(0)
        rows.append((log_z - logits[i, start : start + 1 + int(positives[i])]).mean())
    back = [
        logits[:, start + p].logsumexp(0) - logits[i, start + p]
        for i, start in enumerate(starts)
        for p in range(1 + int(positives[i]))
    ]
    return (torch.stack(rows).mean() + torch.stack(back).mean()) / 2


def check_composition(case: Case) -> None:
    x, y = case["in.x"], case["in.y"]
    case.check("out.overlay", overlaid(x, y, case.params["sample_rate"], case.params["r"]))
    case.check("out.concat", concatenated(x, y))
    head = case["out.x_normalised_head"]
    case.check("out.x_normalised_head", peak_normalised(x, centred=True)[: len(head)])


def check_expressions(case: Case) -> None:
    for text, expected in case.params["expected"].items():
        assert "".join(parse_expression(text).postfix) == expected["postfix"]
        found = expression_texts(text)
        assert found.caption == expected["caption"], text
        assert set(found.positives) == set(expected["positives"]), text
        assert set(found.negatives) == set(expected["negatives"]), text
    example = case.params["text_example"]
    assert verbalise(example["expr"], example["order_phrase"], example["overlap_phrase"]) == example["text"]


def check_mel(case: Case) -> None:
    given = case.params
    common = {
        "size": given["n_fft"],
        "hop": given["hop"],
        "bands": given["n_mels"],
        "lowest": given["fmin"],
        "highest": given["fmax"],
    }
    sound = case["in.x"][None]
    case.check("out.htk", MelSpectrogram(given["sample_rate"], **common, scale="htk")(sound)[0])
    slaney = MelSpectrogram(given["sample_rate"], **common, scale="slaney", equal_area=True)
    case.check("out.slaney", slaney(sound)[0])


def check_square(case: Case) -> None:
    assert case["in.mel"].shape[-1] == case.params["mel_bins"]
    case.check("out.image", mel_to_square(case["in.mel"], case.params["spec_size"]))


CHECKS = {
    "winoground": check_winoground,
    "clap": check_clap,
    "modular": check_modular,
    "composition": check_composition,
    "expressions": check_expressions,
    "mel": check_mel,
    "square": check_square,
}
