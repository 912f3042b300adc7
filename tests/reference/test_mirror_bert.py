"""Mirror-BERT against the authors' code, key by key."""

import torch
from torch import Tensor

from dipole.losses import nt_xent_loss
from dipole.nn.text import drop_heads, pool
from dipole.views.text import span_mask
from reference.cases import Case, parametrize

# Theirs: "mean" averages padding too, "mean_std" does not.
POOLINGS = {"cls": "cls", "mean": "mean_with_padding", "mean_std": "mean"}


@parametrize("mirror-bert", {"pooling and loss": "in.h1", "span mask": "in.text", "drophead": "in.keep_mask"})
def test_every_value(case: Case, kind: str) -> None:
    CHECKS[kind](case)
    case.check_all_read()


def check_pooling_and_loss(case: Case) -> None:
    hidden = [case.leaf("in.h1"), case.leaf("in.h2")]
    masks = [case["in.mask1"], case["in.mask2"]]
    temperature = case.params["temperature"]
    for theirs, ours in POOLINGS.items():
        z = [pool(h, mask, ours) for h, mask in zip(hidden, masks, strict=True)]
        case.check(f"out.{theirs}_emb1", z[0])
        case.check(f"out.{theirs}_emb2", z[1])
        loss = nt_xent_loss(*z, temperature=temperature)
        case.check(f"out.{theirs}_loss", loss)
        case.check(f"out.{theirs}_paper_sum_loss", nt_xent_loss(*z, temperature=temperature, reduction="sum"))
        for view in (0, 1):
            case.check_gradient(f"grad.h{view + 1}.{theirs}", loss, hidden[view])


def strings(case: Case, key: str) -> list[str]:
    case.unread.discard(key)
    return case.values[key].tolist()


def check_span_mask(case: Case) -> None:
    texts, starts = strings(case, "in.text"), case["in.start"].tolist()
    options = {
        "span_chars": case.params["mask_len"],
        "min_chars": case.params["min_chars"],
        "mask_token": case.params["mask_token"],
    }
    for name, official in (("official", True), ("intended", False)):
        masked = [
            span_mask(text, start=None if start < 0 else start, official_first_occurrence=official, **options)
            for text, start in zip(texts, starts, strict=True)
        ]
        assert masked == strings(case, f"out.{name}")
    # −1: nothing was drawn, because the text is too short.
    assert all((start < 0) == (text == span_mask(text, **options)) for text, start in zip(texts, starts, strict=True))


def check_drophead(case: Case) -> None:
    x, keep, w = case.leaf("in.x"), case["in.keep_mask"], case["in.w"]
    y: Tensor = drop_heads(x, keep)
    case.check("out.y", y)
    case.check_gradient("grad.x", (y * w).sum(), x)
    torch.testing.assert_close(drop_heads(x, keep.bool()), y)


CHECKS = {
    "pooling and loss": check_pooling_and_loss,
    "span mask": check_span_mask,
    "drophead": check_drophead,
}
