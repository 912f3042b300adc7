"""CUT: contrastive unlikelihood training from judgments."""

import warnings
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from dipole.card import Card
from dipole.data.language import JudgmentPairs
from dipole.decoding import load_language_model
from dipole.errors import InputError
from dipole.losses.cut import ResponseTokens, cut_terms, response_mean, response_tokens, unlikelihood
from dipole.methods.base import Method
from dipole.methods.optimization import OptimizerName, ScheduleName
from dipole.ops.checks import check_at_least, check_choice

READ = ("input_ids", "attention_mask", "labels")
Objective = Literal["cut", "hindsight", "fine_tuning", "unlikelihood"]


class CUT(Method):
    """A language model unlearns the tokens that a judgment blames, and keeps the rest of the response.

        1. p⁻ = p(y | instruction, judgment), p⁺ = p(y | instruction) of an unsatisfactory response y
        2. its inappropriate tokens are those with p⁻ > λ p⁺
        3. minimise −log p⁺ of its other tokens and −α (p⁻)^γ log(1 − p⁺) of these
        4. and −log p of satisfactory responses, and of unsatisfactory ones after their judgment

    Low-rank adapters (LoRA) are trained; the model itself is frozen. The objectives beside CUT are baselines:
    `"hindsight"` is step 4 alone, `"fine_tuning"` the likelihood of satisfactory responses alone, and `"unlikelihood"`
    adds the unlikelihood of every token of the others, whatever the judgment says.

    Args:
        model: folder or Hugging Face name of a causal language model, or `"smollm2"`; see `load_language_model`.
        objective: `"cut"`, or a baseline: `"hindsight"`, `"fine_tuning"` or `"unlikelihood"`.
        alpha: α, weight of the unlikelihood; authors: 1.0 online, 0.5 offline.
        threshold: λ; authors: 1.1 online, 1.2 offline.
        gamma: γ of the paper's weight; 0 in the authors' code.
        reduction: `"token"`: mean over all tokens of a batch, or `"sample"`: within a response first.
        combine: `"mean"` of steps 3 and 4 as in the authors' code, or `"sum"` as in the paper.
        lora_rank: of the adapters.
        lora_alpha: their scale is lora_alpha / lora_rank.
        lora_dropout: of their inputs.
        lora_targets: `"mlp"`: the linear layers of the feed-forward blocks, or `"all"`: those of attention too.
        optimizer: see `Method`; so are the next three.
        learning_rate: after warm-up.
        weight_decay: of matrices.
        schedule: of the learning rate.
        **optimization: further arguments of `Method`.

    Raises:
        InputError: the model cannot be opened, or an argument is out of range.
    """

    card = Card(
        name="cut",
        slug="cut",
        title="Reasons to Reject? Aligning Language Models with Judgments",
        authors="Xu, Cai, Jiang, Zhang, Chen",
        year=2024,
        venue="Findings of ACL",
        arxiv="2312.14591",
        field="language",
        summary="Tokens that a negative judgment makes more probable are pushed down; the rest is learned.",
        equations=("inappropriate tokens p⁻ > λ p⁺", "L1 (Align-N against Misalign)", "L2 (Align-P and Align-N)"),
        official_code="wwxu21/CUT",
        differences=(
            "The misaligned prompt has no judgment, as in the authors' code; the paper's fake positive one is "
            "`--views.misalign_prompt fake_positive`.",
            "The weight is α, as in the authors' code; the paper's α (p⁻)^γ is `--method.gamma`.",
            "L1 and L2 are averaged, over all tokens of a batch, as in the authors' code; the paper adds them and "
            "averages within each response first: `--method.combine sum --method.reduction sample`.",
            "Batches are computed at once. The authors accumulate the gradients of single samples, so that every "
            "sample counts the same; `--method.reduction sample` is nearest to that.",
            "1 − p is at least 10⁻⁶; the authors replace 0 by 10⁻⁵. The ratio is compared in logarithms.",
            "Prompt and response are tokenised apart, so that the response is the same after both prompts.",
            "The frozen model is in float32, not in 8 bits.",
            "The warm-up is a share of an epoch; the authors take 100 steps.",
        ),
    )
    domain: ClassVar[str] = "language"
    views_class: ClassVar[type[JudgmentPairs]] = JudgmentPairs

    def __init__(
        self,
        *,
        model: str = "smollm2",
        objective: Objective = "cut",
        alpha: float = 1.0,
        threshold: float = 1.1,
        gamma: float = 0.0,
        reduction: Literal["token", "sample"] = "token",
        combine: Literal["mean", "sum"] = "mean",
        lora_rank: int = 16,
        lora_alpha: float = 16.0,
        lora_dropout: float = 0.05,
        lora_targets: Literal["mlp", "all"] = "mlp",
        optimizer: OptimizerName = "adamw",
        learning_rate: float = 4e-4,
        weight_decay: float = 0.0,
        schedule: ScheduleName = "cosine",
        **optimization: Any,
    ) -> None:
        super().__init__(
            optimizer=optimizer,
            learning_rate=learning_rate,
            weight_decay=weight_decay,
            schedule=schedule,
            **optimization,
        )
        check_choice(objective, ("cut", "hindsight", "fine_tuning", "unlikelihood"), "objective")
        check_choice(reduction, ("token", "sample"), "reduction")
        check_choice(combine, ("mean", "sum"), "combine")
        check_at_least(alpha, 0, "alpha")
        check_at_least(gamma, 0, "gamma")
        if not threshold > 0:
            raise InputError(f"threshold is {threshold}: expected a number above 0; 1.1 to 1.2 is usual.")
        self.objective, self.alpha, self.threshold, self.gamma = objective, alpha, threshold, gamma
        self.reduction: Literal["token", "sample"] = reduction
        self.combine: Literal["mean", "sum"] = combine
        base, self.tokenizer = load_language_model(model, device="cpu", dtype=torch.float32)
        self.language_model: Any = add_adapters(
            base, rank=lora_rank, alpha=lora_alpha, dropout=lora_dropout, targets=lora_targets
        ).train()
        # Checkpoints hold the adapters alone.
        self.strict_loading = False

    def loss_terms(self, batch: Mapping[str, Any]) -> dict[str, Tensor]:
        """Return the loss and, for CUT, its parts and which share of all tokens was inappropriate."""
        views = batch["views"]
        negative = views["is_negative"]
        if self.objective == "hindsight":
            tokens = self.score(views, 0, torch.ones_like(negative))
            return {"loss": response_mean(-tokens.log_probability, tokens.sample, self.reduction)}
        if self.objective == "fine_tuning":
            tokens = self.score(views, 0, ~negative)
            return {"loss": self._mean(-tokens.log_probability, tokens.sample)}
        if self.objective == "unlikelihood":
            good, bad = self.score(views, 0, ~negative), self.score(views, 1, negative)
            values = torch.cat([-good.log_probability, self.alpha * unlikelihood(bad.log_probability)])
            return {"loss": self._mean(values, torch.cat([good.sample, bad.sample]))}
        judged, plain = self._score_both(views)
        terms = cut_terms(
            judged,
            plain,
            negative,
            alpha=self.alpha,
            threshold=self.threshold,
            gamma=self.gamma,
            reduction=self.reduction,
            combine=self.combine,
        )
        return {
            "loss": terms.loss,
            "likelihood": terms.likelihood,
            "unlikelihood": terms.unlikelihood,
            "inappropriate": terms.inappropriate.sum() / len(judged.token),
        }

    def score(self, views: Mapping[str, Tensor], which: int, rows: Tensor) -> ResponseTokens:
        """Return the tokens of some responses of a batch with their log probabilities.

        Args:
            views: what `JudgmentPairs` returns.
            which: 0 for the prompt with judgment, 1 for the misaligned one.
            rows: (N,) True for the samples that are read.
        """
        chosen = rows.nonzero().squeeze(1)
        if len(chosen) == 0:
            nothing = chosen.new_empty(0)
            return ResponseTokens(torch.empty(0, device=chosen.device), nothing, nothing)
        tokens = self._read(*(views[name][which][chosen] for name in READ))
        return tokens._replace(sample=chosen[tokens.sample])

    def _score_both(self, views: Mapping[str, Tensor]) -> tuple[ResponseTokens, ResponseTokens]:
        """All responses after their own prompt, and the unsatisfactory ones after the other, in one pass."""
        negative = views["is_negative"].nonzero().squeeze(1)
        count = len(views["is_negative"])
        tokens = self._read(*(torch.cat([views[name][0], views[name][1][negative]]) for name in READ))
        own = tokens.sample < count
        judged, plain = (ResponseTokens(*(part[mask] for part in tokens)) for mask in (own, ~own))
        return judged, plain._replace(sample=negative[plain.sample - count])

    def _read(self, ids: Tensor, mask: Tensor, labels: Tensor) -> ResponseTokens:
        """One pass of the model."""
        return response_tokens(self.language_model(input_ids=ids, attention_mask=mask).logits, labels)

    def _mean(self, values: Tensor, sample: Tensor) -> Tensor:
        """The reduced values; a batch without a response of the kind moves nothing."""
        if len(values):
            return response_mean(values, sample, self.reduction)
        return torch.stack([p.sum() for p in self.parameters() if p.requires_grad]).sum() * 0

    def embed(self, inputs: Any) -> Tensor:
        """Refuse: a language model that writes has no embeddings of its inputs.

        Raises:
            InputError: always.
        """
        raise InputError("cut trains a model that writes texts and embeds none: use it with `dipole generate`.")

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the frozen model out of the checkpoint."""
        trained = {name for name, parameter in self.named_parameters() if parameter.requires_grad}
        checkpoint["state_dict"] = {k: v for k, v in checkpoint["state_dict"].items() if k in trained}


def add_adapters(
    model: nn.Module, *, rank: int = 16, alpha: float = 16.0, dropout: float = 0.05, targets: str = "mlp"
) -> nn.Module:
    """Freeze a language model and add low-rank adapters with peft.

    Args:
        model: of transformers.
        rank: of the adapters.
        alpha: their scale is α / rank.
        dropout: of their inputs.
        targets: `"mlp"` or `"all"`.

    Returns:
        A `peft.PeftModel`.

    Raises:
        InputError: an argument is out of range, the model has no such layer, or peft is missing.
    """
    check_at_least(rank, 1, "lora_rank")
    if not alpha > 0 or not 0 <= dropout < 1:
        raise InputError(f"lora_alpha={alpha}, lora_dropout={dropout}: expected above 0, and from 0 to below 1.")
    check_choice(targets, ("mlp", "all"), "lora_targets")
    try:
        from peft import LoraConfig, get_peft_model
        from transformers.pytorch_utils import Conv1D
    except ImportError as error:
        raise InputError("this method needs peft: pip install 'dipole[language]'.") from error
    head: Any = model.get_output_embeddings()  # type: ignore[operator]
    layers = {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear | Conv1D) and module is not head
    }
    if targets == "mlp":
        layers = {name: module for name, module in layers.items() if {"mlp", "feed_forward"} & set(name.split("."))}
    if not layers:
        raise InputError(f"{type(model).__name__} has no linear layers of a block 'mlp': pass lora_targets='all'.")
    config = LoraConfig(
        r=rank,
        lora_alpha=alpha,  # type: ignore[arg-type]
        lora_dropout=dropout,
        target_modules=sorted(layers),
        fan_in_fan_out=any(isinstance(module, Conv1D) for module in layers.values()),
        task_type="CAUSAL_LM",
    )
    with warnings.catch_warnings():
        # peft still reads an attribute that transformers has renamed.
        warnings.filterwarnings("ignore", ".*is_gradient_checkpointing.*", FutureWarning)
        adapted: nn.Module = get_peft_model(model, config)
    return adapted
