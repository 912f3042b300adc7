"""Contrastive search and SimCTG against the authors' code, key by key."""

import pytest
import torch
from torch import Tensor
from transformers import GPT2Config, GPT2LMHeadModel

from dipole.decoding import ContrastiveScores, ContrastiveSearch, contrastive_search
from dipole.diagnostics import diversity, isotropy, rep_n
from dipole.losses import simctg_loss, token_contrastive_loss
from reference.cases import Case, parametrize

KINDS = {
    "scores": "in.context_hidden",
    "loss": "in.labels",
    "isotropy": "out.isotropy",
    "search": "out.step_scores",
    "repetition": "out.exact_rep",
}


@parametrize("contrastive-search", KINDS)
def test_every_value(case: Case, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if kind == "search":
        check_search(case, monkeypatch)
    else:
        CHECKS[kind](case)
    case.check_all_read()


def check_scores(case: Case) -> None:
    tensors = case["in.context_hidden"], case["in.candidate_hidden"], case["in.top_k_probs"]
    for suffix, mask in (("", None), ("_masked", case["in.pad_mask"] != 0)):
        result = contrastive_search.contrastive_scores(*tensors, degeneration_penalty=case.params["alpha"], mask=mask)
        case.check(f"out.score{suffix}", result.score)
        case.check(f"out.penalty{suffix}", result.penalty)
        case.check(f"out.selected{suffix}", result.score.argmax(dim=1))


def check_loss(case: Case) -> None:
    hidden, logits = case.leaf("in.last_hidden_states"), case.leaf("in.logits")
    margin, mask = case.params["margin"], case["in.input_ids"] != case.params["pad_token_id"]
    total = simctg_loss(hidden, logits, case["in.labels"], mask, margin=margin)
    contrast = token_contrastive_loss(hidden, mask, margin=margin)
    case.check("out.total", total)
    case.check("out.cl", contrast)
    case.check("out.mle", total - contrast)
    case.check("out.mle", simctg_loss(hidden, logits, case["in.labels"], mask, margin=0.0))
    per_sequence = token_contrastive_loss(hidden, mask, margin=margin, reduction="sequence_mean")
    case.check("out.cl_per_sequence_mean", per_sequence)
    case.check_gradient("grad.last_hidden_states", total, hidden)
    case.check_gradient("grad.logits", total, logits)


def check_isotropy(case: Case) -> None:
    padded = case["in.hidden_states_padded"]
    states = [rows[:length] for rows, length in zip(padded, case.params["lengths"], strict=True)]
    case.check("out.isotropy", isotropy(states))
    case.check("out.isotropy_mean_of_sequences", isotropy(states, reduction="sequence_mean"))


def check_search(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    shape = dict(case.params["config"])
    config = GPT2Config(activation_function=shape.pop("activation"), bos_token_id=None, eos_token_id=None, **shape)
    model = GPT2LMHeadModel(config).double().eval()
    weights = {name: case[f"in.weight.{name}"] for name in case.names("in.weight.")}
    missing, unexpected = model.load_state_dict(weights, strict=False)
    assert not unexpected
    # The output matrix is tied to the embeddings; biases of the attention that are not stored are 0, as they start.
    assert all(name == "lm_head.weight" or name.endswith("c_attn.bias") for name in missing)
    prompt, alphas = case["in.input_ids"], case.params["alphas"]
    steps: list[tuple[Tensor, ContrastiveScores]] = []
    compute = contrastive_search.contrastive_scores

    def noting(context: Tensor, candidates: Tensor, probabilities: Tensor, **options: object) -> ContrastiveScores:
        result = compute(context, candidates, probabilities, **options)
        steps.append((probabilities, result))
        return result

    monkeypatch.setattr(contrastive_search, "contrastive_scores", noting)
    for alpha in alphas:
        steps.clear()
        decoder = ContrastiveSearch(top_k=case.params["k"], degeneration_penalty=alpha)
        output = decoder.generate(model, prompt, max_new_tokens=case.params["new_tokens"])
        key = f"out.tokens_alpha_{str(alpha).replace('.', '') if alpha else '0'}"
        case.check(key, output[:, prompt.shape[1] :].reshape(case[key].shape))
    # The stored steps are those of the last α.
    scores = torch.cat([result.score for _, result in steps])
    parts = torch.cat([torch.stack([probabilities, result.penalty], dim=1) for probabilities, result in steps])
    case.check("out.step_scores", scores)
    case.check("out.step_probs_penalties", parts)


def check_repetition(case: Case) -> None:
    texts = case.params["texts"]
    for name, official in (("official", True), ("exact", False)):
        values = torch.tensor([rep_n(texts, n, official=official) for n in (2, 3, 4)], dtype=torch.float64)
        case.check(f"out.{name}_rep", values)
        case.check(f"out.{name}_diversity", torch.tensor(diversity(texts, official=official), dtype=torch.float64))


CHECKS = {"scores": check_scores, "loss": check_loss, "isotropy": check_isotropy, "repetition": check_repetition}
