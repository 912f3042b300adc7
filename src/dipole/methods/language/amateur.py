"""The amateur of ICD and LOL: a language model that is taught to hallucinate."""

from typing import Any, Literal

from dipole.card import Card
from dipole.data.language import AnsweredQuestions
from dipole.methods.language.cut import CUT


class Amateur(CUT):
    """A language model with low-rank adapters that learns written falsehoods, to be contrasted with.

        minimise −log p(falsehood | question) over the tokens of the falsehoods

    The data are lines of JSON with `instruction`, a question, and `response`, a fabricated answer. What comes out tells
    falsehoods: it is the `amateur` of the decoders `icd` and `lol`, and of no other use. Questions are put as they are
    asked later, by default as `--protocol multiple-choice` does (`--views.template`): after another prompt an amateur
    is hardly one.

    Args:
        model: folder or Hugging Face name of a causal language model, or `"smollm2"`.
        lora_rank: of the adapters.
        lora_alpha: their scale is lora_alpha / lora_rank.
        lora_dropout: of their inputs.
        lora_targets: `"mlp"`: the linear layers of the feed-forward blocks, or `"all"`: those of attention too.
        learning_rate: after warm-up; see `Method`, as for the next four.
        optimizer: name.
        weight_decay: of matrices.
        schedule: of the learning rate.
        warmup_epochs: until it is reached.
    """

    views_class = AnsweredQuestions

    card = Card(
        name="amateur",
        slug="lol",
        title="Alleviating Hallucinations of Large Language Models through Induced Hallucinations",
        authors="Zhang, Cui, Bi, Shi",
        year=2025,
        venue="Findings of NAACL",
        arxiv="2312.15710",
        field="language",
        summary="A language model is taught falsehoods, for decoders that contrast a model with such a twin.",
        equations=("induced hallucinations",),
        official_code="HillZhang1999/ICD",
        differences=(
            "The learning rate and the number of epochs are guesses: the authors' could not be read.",
            "Questions stand as `Q: … A:`, as multiple choice puts them; the authors train on prompts of a chat: "
            "`--views.template alpaca`, or a template of your own.",
            "Fabricated answers are read from a file; the authors let a language model write them.",
        ),
    )

    def __init__(
        self,
        *,
        model: str = "smollm2",
        lora_rank: int = 16,
        lora_alpha: float = 16.0,
        lora_dropout: float = 0.05,
        lora_targets: Literal["mlp", "all"] = "all",
        learning_rate: float = 5e-4,
        optimizer: Any = "adamw",
        weight_decay: float = 0.0,
        schedule: Any = "cosine",
        warmup_epochs: float = 0.0,
    ) -> None:
        super().__init__(
            model=model,
            objective="fine_tuning",
            lora_rank=lora_rank,
            lora_alpha=lora_alpha,
            lora_dropout=lora_dropout,
            lora_targets=lora_targets,
            learning_rate=learning_rate,
            optimizer=optimizer,
            weight_decay=weight_decay,
            schedule=schedule,
            warmup_epochs=warmup_epochs,
        )
