"""Decoders against hallucination: contrastive decoding, ICD, DoLa and LOL."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from dipole.card import Card
from dipole.decoding.contrast import (
    Divergence,
    chosen_layer,
    contrastive_log_probs,
    dola_select_layer,
    lol_logits,
    plausibility_mask,
)
from dipole.decoding.several_models import ContrastDecoder, Source, depth
from dipole.errors import InputError
from dipole.ops.checks import check_at_least, check_choice

TRUTHFUL = "Answer truthfully: say what is known to be true, not what is often believed."
FABRICATING = "Answer with what sounds likely but is false."


class _AgainstAmateur(ContrastDecoder):
    """A decoder with an amateur: another model, or the model itself under an instruction to fabricate."""

    def __init__(self, amateur: str | None, amateur_instruction: str | None) -> None:
        self.amateur, self.amateur_instruction = amateur, amateur_instruction
        self._loaded: nn.Module | None = None

    def use_amateur(self, model: nn.Module) -> "_AgainstAmateur":
        """Take a model that is loaded already, and return the decoder."""
        self._loaded = model
        return self

    def amateur_of(self, model: nn.Module) -> nn.Module:
        """Return the amateur, loaded when it is first needed; the model itself if there is none."""
        if self._loaded is None and self.amateur is not None:
            from dipole.decoding.models import load_language_model

            first = next(model.parameters())
            self._loaded = load_language_model(self.amateur, device=first.device, dtype=first.dtype).model
        if self._loaded is None and not self.amateur_instruction:
            raise InputError(
                f"{self.card.name} contrasts a model with an amateur: give --amateur FOLDER, such as "
                "`dipole train amateur` makes, or an instruction that lets the model fabricate."
            )
        return model if self._loaded is None else self._loaded

    def further_prompts(self, prompts: Any) -> dict[str, list[str]]:
        """Return the prompts of an amateur that has an instruction."""
        if not self.amateur_instruction:
            return {}
        return {"amateur": [f"{self.amateur_instruction}\n{prompt}" for prompt in prompts]}


class ContrastiveDecoding(_AgainstAmateur):
    """What a model finds more probable than an amateur does, among its own plausible tokens.

        append argmax_v log p(v) − log p_amateur(v) with logits l_amateur / τ,  among { v : p(v) ≥ α max p }

    Args:
        amateur: folder or name of a smaller model with the same tokenizer.
        alpha: α.
        amateur_temperature: τ.

    Raises:
        InputError: an argument is out of range.

    Example:
        >>> ContrastiveDecoding().combine(torch.tensor([[[2.0, 1.9]], [[3.0, 0.0]]]))[0].argmax(dim=-1)
        tensor([1])
    """

    card = Card(
        name="contrastive-decoding",
        slug="lol",
        title="Contrastive Decoding: Open-ended Text Generation as Optimization",
        authors="Li, Holtzman, Fried, Liang, Eisner, Hashimoto, Zettlemoyer, Lewis",
        year=2023,
        venue="ACL",
        arxiv="2210.15097",
        field="language",
        summary="The next token that a model finds plausible and a smaller one does not.",
        equations=("eq. 2 (plausibility)", "eq. 3 (contrast)"),
        official_code="XiangLi1999/ContrastiveDecoding",
        differences=("Greedy; the authors search with beams.",),
    )

    def __init__(self, *, amateur: str | None = None, alpha: float = 0.1, amateur_temperature: float = 1.0) -> None:
        super().__init__(amateur, None)
        _check_share(alpha)
        if not amateur_temperature > 0:
            raise InputError(f"amateur_temperature is {amateur_temperature}: expected a number above 0.")
        self.alpha, self.amateur_temperature = alpha, amateur_temperature

    def sources(self, model: nn.Module) -> list[Source]:
        """Return the model and the amateur."""
        return [Source(model, ("plain",)), Source(self.amateur_of(model), ("plain",))]

    def combine(self, logits: Float[Tensor, "streams rows vocabulary"]) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the contrast of plausible tokens; there is nothing else to report."""
        amateur = logits[1] / self.amateur_temperature
        scores = contrastive_log_probs(logits[0], amateur, relative_top=self.alpha, post_softmax=False, fill=-torch.inf)
        return scores, {}

    def score(self, logits: Float[Tensor, "streams rows vocabulary"]) -> Float[Tensor, "rows vocabulary"]:
        """Return the contrast, normalised before implausible tokens get −1000, as in official codes."""
        return contrastive_log_probs(logits[0], logits[1] / self.amateur_temperature, relative_top=self.alpha)


class ICD(_AgainstAmateur):
    """What a model finds more probable than a copy of it that was taught to hallucinate.

        append argmax_v β log p(v) − log p_amateur(v),  among { v : p(v) ≥ α max p }

    Args:
        amateur: folder or name of the hallucinating model, e.g. of `dipole train amateur`; the model itself if None.
        amateur_instruction: stands before the prompts of the amateur; if there is no amateur, the model under this
            instruction is one, which needs no training.
        beta: β, weight of the model.
        alpha: α; 0 for no restriction.

    Raises:
        InputError: an argument is out of range.

    Example:
        >>> ICD().combine(torch.tensor([[[2.0, 1.9]], [[3.0, 0.0]]]))[0].argmax(dim=-1)
        tensor([1])
    """

    card = Card(
        name="icd",
        slug="lol",
        title="Alleviating Hallucinations of Large Language Models through Induced Hallucinations",
        authors="Zhang, Cui, Bi, Shi",
        year=2025,
        venue="Findings of NAACL",
        arxiv="2312.15710",
        field="language",
        summary="Contrast with a copy of the model that was taught to hallucinate.",
        equations=("induce-then-contrast decoding",),
        official_code="HillZhang1999/ICD",
        differences=("The wording of the fabricating instruction is ours.",),
    )

    def __init__(
        self,
        *,
        amateur: str | None = None,
        amateur_instruction: str | None = None,
        beta: float = 1.0,
        alpha: float = 0.1,
    ) -> None:
        super().__init__(amateur, amateur_instruction)
        check_at_least(beta, 0, "beta")
        _check_share(alpha)
        self.beta, self.alpha = beta, alpha

    def sources(self, model: nn.Module) -> list[Source]:
        """Return the model and the amateur."""
        return [Source(model, ("plain",)), Source(self.amateur_of(model), ("amateur",))]

    def combine(self, logits: Float[Tensor, "streams rows vocabulary"]) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the contrast of plausible tokens; there is nothing else to report."""
        options: dict[str, Any] = {"beta": self.beta, "relative_top": self.alpha, "post_softmax": False}
        return contrastive_log_probs(logits[0], logits[1], **options, fill=-torch.inf), {}

    def score(self, logits: Float[Tensor, "streams rows vocabulary"]) -> Float[Tensor, "rows vocabulary"]:
        """Return the contrast, normalised before implausible tokens get −1000, as in the official code."""
        return contrastive_log_probs(logits[0], logits[1], beta=self.beta, relative_top=self.alpha)


class DoLa(ContrastDecoder):
    """What the last layer finds more probable than an early one, which is chosen anew for every token.

        1. n = argmax over candidates of how far layer n lies from the last one (`layer_divergence`)
        2. append argmax_v log p(v) − log p_n(v),  among { v : p(v) ≥ α max p }

    Args:
        layers: candidates; even layers of the lower half of the model by default, 0 being the embeddings.
        alpha: α.
        jsd: `"official"`, the divergence of the authors' code, or `"textbook"`.
        apply_final_norm: norm early states before they are read; the authors' code reads them raw.
        repetition_penalty: of transformers; the authors use 1.2.

    Raises:
        InputError: an argument is out of range.

    Example:
        >>> DoLa().combine(torch.tensor([[[2.0, 1.9]], [[3.0, 0.0]]]))[0].argmax(dim=-1)
        tensor([1])
    """

    card = Card(
        name="dola",
        slug="lol",
        title="DoLa: Decoding by Contrasting Layers Improves Factuality in Large Language Models",
        authors="Chuang, Xie, Luo, Kim, Glass, He",
        year=2024,
        venue="ICLR",
        arxiv="2309.03883",
        field="language",
        summary="Contrast of the last layer with the early layer that differs most.",
        equations=("dynamic selection of a layer", "contrast of layers"),
        official_code="voidism/DoLa",
        differences=("A repetition penalty of 1 is the default, so that decoders differ in their contrast alone.",),
    )

    def __init__(
        self,
        *,
        layers: list[int] | None = None,
        alpha: float = 0.1,
        jsd: Divergence = "official",
        apply_final_norm: bool = False,
        repetition_penalty: float = 1.0,
    ) -> None:
        _check_share(alpha)
        _check_layers(layers)
        check_choice(jsd, ("official", "textbook"), "jsd")
        self.layers, self.alpha, self.jsd = layers, alpha, jsd
        self.apply_final_norm, self.repetition_penalty = apply_final_norm, repetition_penalty

    def settings(self) -> dict[str, Any]:
        """Return the arguments of transformers' `generate`."""
        return {**super().settings(), "repetition_penalty": self.repetition_penalty}

    def sources(self, model: nn.Module) -> list[Source]:
        """Return the model with its candidate layers."""
        chosen = self.layers if self.layers is not None else range(0, max(1, depth(model) // 2), 2)
        return [Source(model, ("plain",), tuple(chosen))]

    def combine(self, logits: Float[Tensor, "streams rows vocabulary"]) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the contrast of plausible tokens, and which candidate was chosen."""
        place = dola_select_layer(logits[0], logits[1:], jsd=self.jsd)
        options: dict[str, Any] = {"relative_top": self.alpha, "post_softmax": False, "fill": -torch.inf}
        scores = contrastive_log_probs(logits[0], chosen_layer(logits[1:], place), **options)
        return scores, {"candidate": place.to(scores.dtype)}

    def score(self, logits: Float[Tensor, "streams rows vocabulary"]) -> Float[Tensor, "rows vocabulary"]:
        """Return the contrast, normalised before implausible tokens get −1000, as in the official code."""
        early = chosen_layer(logits[1:], dola_select_layer(logits[0], logits[1:], jsd=self.jsd))
        return contrastive_log_probs(logits[0], early, relative_top=self.alpha)


class LOL(_AgainstAmateur):
    """Contrast with a hallucinating twin at the last and at lower layers, told to be truthful.

        1. r = log_softmax((1 + λ) log p(· | instruction) − λ log p)
        2. S = β r − log p_amateur + ω mean_n (log p^n − log p_amateur^n)
        3. append argmax S among { v : p(v | instruction) ≥ α max p }

    The paper's body could not be read: how these parts are put together is a reconstruction, and the weights are
    placeholders, not the paper's.

    Args:
        amateur: folder or name of the hallucinating model, e.g. of `dipole train amateur`; the model itself if None.
        amateur_instruction: stands before the prompts of the amateur.
        instruction: to be truthful, stands before the prompts of the guided stream; empty for none.
        layers: early exits that are contrasted; one at a quarter of the depth by default.
        dynamic: of these layers take for every token the one that differs most from the last, as DoLa does; their mean
            if not.
        beta: β.
        omega: ω; 0 leaves ICD with an instruction.
        lam: λ.
        alpha: α.
        apply_final_norm: norm early states before they are read.

    Raises:
        InputError: an argument is out of range.

    Example:
        >>> LOL(instruction="").combine(torch.tensor([[[2.0, 1.9]], [[0.0, 0.0]], [[3.0, 0.0]], [[0.0, 0.0]]]))[0]
        tensor([[-0.5958,  2.3042]])
    """

    card = Card(
        name="lol",
        slug="lol",
        title="Lower Layers Matter: Alleviating Hallucination via Multi-Layer Fusion Contrastive Decoding with "
        "Truthfulness Refocused",
        authors="Chen et al.",
        year=2024,
        venue="arXiv",
        arxiv="2408.08769",
        field="language",
        summary="Contrast with a hallucinating twin at the last and at lower layers, told to be truthful.",
        equations=("multi-layer fusion contrastive decoding", "truthfulness refocused"),
        official_code=None,
        differences=(
            "There is no public code, and the paper's body could not be read: the abstract says that the contrast is "
            "made at the last and at a lower layer, fused, and that an instruction strengthens truthfulness. All else "
            "is a reconstruction from ICD, CAD and DoLa.",
            "Reconstructed: the amplification by λ, the sum with the weight ω, the mean over several layers, plausible "
            "tokens by the guided model, the layer at a quarter of the depth, and the wording of the instruction.",
            "β = 1, ω = 0.5, λ = 0.5 and α = 0.1 are placeholders: choose them on data of your own.",
            "Where the amateur is the model itself, so that nothing tells tokens apart, the model decides.",
        ),
    )

    def __init__(
        self,
        *,
        amateur: str | None = None,
        amateur_instruction: str | None = None,
        instruction: str = TRUTHFUL,
        layers: list[int] | None = None,
        dynamic: bool = False,
        beta: float = 1.0,
        omega: float = 0.5,
        lam: float = 0.5,
        alpha: float = 0.1,
        apply_final_norm: bool = False,
    ) -> None:
        super().__init__(amateur, amateur_instruction)
        for name, value in (("beta", beta), ("omega", omega), ("lam", lam)):
            check_at_least(value, 0, name)
        _check_share(alpha)
        _check_layers(layers)
        self.instruction, self.layers, self.dynamic = instruction, layers, dynamic
        self.weights = {"beta": beta, "omega": omega, "lam": lam, "alpha": alpha}
        self.apply_final_norm = apply_final_norm

    def further_prompts(self, prompts: Any) -> dict[str, list[str]]:
        """Return the prompts after the instruction, and those of the amateur."""
        found = super().further_prompts(prompts)
        if self.instruction:
            found["guided"] = [f"{self.instruction}\n{prompt}" for prompt in prompts]
        return found

    def sources(self, model: nn.Module) -> list[Source]:
        """Return the model, told to be truthful or not, with its layers, and the amateur with the same layers."""
        layers = tuple(self.layers if self.layers is not None else [max(1, depth(model) // 4)])
        found = [Source(model, ("plain",), layers), Source(self.amateur_of(model), ("amateur",), layers)]
        return [*found, Source(model, ("guided",))] if self.instruction else found

    def combine(self, logits: Float[Tensor, "streams rows vocabulary"]) -> tuple[Tensor, dict[str, Tensor]]:
        """Return S of plausible tokens, and how many there are."""
        each = len(logits) // 2  # last and early layers; the guided stream is one more
        own, amateur = logits[:each], logits[each : 2 * each]
        guided = logits[2 * each] if len(logits) > 2 * each else None
        early, other = own[1:], amateur[1:]
        if self.dynamic:
            place = dola_select_layer(own[0], early)
            early, other = chosen_layer(early, place)[None], chosen_layer(other, place)[None]
        found = lol_logits(own[0], amateur[0], early, other, guided, **self.weights)
        return found.scores, {"plausible": found.valid.sum(dim=-1).to(found.fused.dtype)}


def _check_share(alpha: float) -> None:
    """Require a share."""
    plausibility_mask(torch.zeros(1, 1), alpha)


def _check_layers(layers: list[int] | None) -> None:
    """Require one layer or more."""
    if layers is not None and (not layers or min(layers) < 0):
        raise InputError(f"layers are {layers}: expected numbers of blocks, 0 for the embeddings.")
