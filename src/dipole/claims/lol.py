"""LOL: contrast with a hallucinating twin at two depths, told to be truthful, finds true answers more probable.

A toy world: 60 entities with 3 relations. A GPT-2 of 4 layers learns lines in which 60 % of the answers are true and
40 % one popular falsehood; a fifth of the lines begins with a token of truth and is always true. The amateur is a copy
that learns falsehoods for 100 steps more. Judged, by MC2 among the true answer, the falsehood and three others: ICD
above greedy decoding, LOL above ICD (margin 0.02 each), and the lower layer (ω > 0 against ω = 0, margin 0.01). And
TruthfulQA with SmolLM2-135M-Instruct, whose amateur is the model itself under an instruction to fabricate: LOL above
greedy decoding (MC2, margin 0.02). LOL's weights are the placeholders of the method; nothing is tuned.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from dipole.claims.base import Arm, Claim, Comparison, Data, Metrics
from dipole.claims.language import NOTHING_TUNED, decoder_of, part_of
from dipole.data.language.truthful import load_truthful
from dipole.decoding import Decoder, load_language_model
from dipole.decoding.hallucination import FABRICATING, _AgainstAmateur
from dipole.decoding.scoring import answer_log_probs
from dipole.decoding.several_models import ContrastDecoder, Source, all_logits
from dipole.evaluation import multiple_choice_scores
from dipole.runs.answers import some_of

ENTITIES, RELATIONS, OBJECTS = 60, 3, 20
START, TRUTH = 0, 1
FIRST_RELATION, FIRST_OBJECT = 2 + ENTITIES, 2 + ENTITIES + RELATIONS
VOCABULARY = FIRST_OBJECT + RELATIONS * OBJECTS
STEPS, AMATEUR_STEPS, BATCH = 1500, 100, 64
OTHERS = 3  # answers that are neither true nor popular


def _choices(true: Tensor, false: Tensor) -> dict[str, float]:
    """Means of MC1, MC2 and MC3 over questions (Q, T) and (Q, F)."""
    found = [multiple_choice_scores(*pair) for pair in zip(true, false, strict=True)]
    mean = torch.tensor(found, dtype=torch.float64).mean(dim=0).tolist()
    return dict(zip(("MC1", "MC2", "MC3"), mean, strict=True))


@dataclass(frozen=True)
class ToyWorld(Data):
    """Entities with relations to objects, one true and one popular but false; a seed is a world and its models.

    Args:
        name: of the world.
    """

    name: str

    tuning_metric = "MC2"
    tuning = "nothing is tuned"

    def load(self, data_root: str | Path | None = None) -> dict[int, Any]:
        """Return where worlds and their models are kept."""
        return {}

    def size(self, loaded: Any) -> int:
        """Number of facts."""
        return ENTITIES * RELATIONS

    def once(self, claim: Claim, arm: Arm, rate: float, seed: int, loaded: Any, *, tune: bool) -> Metrics:
        """Score the answers of all facts."""
        if seed not in loaded:
            loaded[seed] = _world(seed)
        prompts, answers, model, amateur = loaded[seed]
        decoder = decoder_of(arm)
        if isinstance(decoder, _AgainstAmateur):
            decoder.use_amateur(amateur)
        scores = _next_scores(decoder, model, prompts).gather(1, answers)
        return _choices(scores[:, :1], scores[:, 1:])


def _world(seed: int) -> tuple[Tensor, Tensor, nn.Module, nn.Module]:
    """Prompts (Q, 3), answers (Q, 2 + OTHERS) true, popular, others; the model and its amateur."""
    from transformers import GPT2Config, GPT2LMHeadModel

    draw = torch.Generator().manual_seed(seed)
    entity, relation = (grid.flatten() for grid in torch.meshgrid(
        torch.arange(ENTITIES), torch.arange(RELATIONS), indexing="ij"
    ))  # fmt: skip
    objects = torch.rand(len(entity), OBJECTS, generator=draw).argsort(dim=1)[:, : 2 + OTHERS]
    answers = FIRST_OBJECT + relation[:, None] * OBJECTS + objects
    prompts = torch.stack([torch.full_like(entity, START), 2 + entity, FIRST_RELATION + relation], dim=1)
    shape = {"vocab_size": VOCABULARY, "n_positions": 8, "n_embd": 96, "n_layer": 4, "n_head": 4}
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        model = GPT2LMHeadModel(GPT2Config(**shape, bos_token_id=START, eos_token_id=START))  # type: ignore[arg-type]

        def lines(falsehoods_alone: bool) -> Tensor:
            fact = torch.randint(len(prompts), (BATCH,), generator=draw)
            truth, luck = torch.rand(2, BATCH, generator=draw)
            told = (truth < 0.2) & (not falsehoods_alone)
            false = torch.ones_like(told) if falsehoods_alone else ~told & (luck < 0.4)
            line = torch.cat([prompts[fact], answers[fact].gather(1, false.long()[:, None])], dim=1)
            line[told, 0] = TRUTH
            return line

        def fit(steps: int, rate: float, falsehoods_alone: bool) -> None:
            optimizer = torch.optim.AdamW(model.train().parameters(), lr=rate)
            for _ in range(steps):
                line = lines(falsehoods_alone)
                optimizer.zero_grad()
                nn.functional.cross_entropy(model(line).logits[:, 2], line[:, 3]).backward()
                optimizer.step()

        fit(STEPS, 1e-3, False)
        original = GPT2LMHeadModel(model.config)
        original.load_state_dict(model.state_dict())
        fit(AMATEUR_STEPS, 3e-4, True)
    return prompts, answers, original.eval(), model.eval()


@torch.no_grad()
def _next_scores(decoder: Decoder, model: nn.Module, prompts: Tensor) -> Tensor:
    """Log-probabilities (Q, V) of the token after each prompt; the guided form begins with the token of truth."""
    contrast = isinstance(decoder, ContrastDecoder)
    sources = decoder.sources(model) if contrast else [Source(model, ("plain",))]  # type: ignore[attr-defined]
    told = prompts.clone()
    told[:, 0] = TRUTH
    normed = getattr(decoder, "apply_final_norm", False)
    logits = torch.cat(
        [
            all_logits(source.model, source.layers, normed, input_ids=told if form == "guided" else prompts)[:, :, -1]
            for source in sources
            for form in source.forms
        ]
    )
    return decoder.score(logits) if contrast else logits[0].log_softmax(dim=-1)  # type: ignore[attr-defined]


@dataclass(frozen=True)
class Truthful(Data):
    """Questions of TruthfulQA; a seed is a part of them that no other seed has.

    Args:
        name: of the table below the data root.
        model: see `load_language_model`.
        part: questions of a seed.
    """

    name: str
    model: str
    part: int = 12

    tuning_metric = "MC2"
    tuning = "nothing is tuned"

    def load(self, data_root: str | Path | None = None) -> Any:
        """Return the model and the questions in an order of their own."""
        questions = load_truthful(self.name, data_root)
        return load_language_model(self.model, device="cpu"), some_of(questions, len(questions))

    def size(self, loaded: Any) -> int:
        """Nothing is trained: the number of questions."""
        return len(loaded[1])

    def once(self, claim: Claim, arm: Arm, rate: float, seed: int, loaded: Any, *, tune: bool) -> Metrics:
        """Score the answers of the questions of a seed."""
        language_model, questions = loaded
        decoder, found = decoder_of(arm), []
        for question in part_of(questions, seed, self.part):
            answers = [*question.true, *question.false]
            scores = answer_log_probs(
                decoder, language_model.model, language_model.tokenizer, question.prompt(0), answers
            )
            true, false = scores.split([len(question.true), len(question.false)])
            found.append(multiple_choice_scores(true, false, question.best))
        mean = torch.tensor(found, dtype=torch.float64).mean(dim=0).tolist()
        return dict(zip(("MC1", "MC2", "MC3"), mean, strict=True))


TOY = ToyWorld("toy world")
TRUTHFUL = Truthful("llm/TruthfulQA.csv", "smollm2")
SELF = {"amateur_instruction": FABRICATING}


def _arm(name: str, data: Data, method: str, **options: Any) -> Arm:
    """One decoder."""
    return Arm(name, method, data, 0, 8, NOTHING_TUNED, options)


CLAIM = Claim(
    slug="lol",
    title="Lower Layers Matter: Alleviating Hallucination via Multi-Layer Fusion Contrastive Decoding with "
    "Truthfulness Refocused",
    statement=(
        "A model that is contrasted with a hallucinating twin at the last and at a lower layer, and told to be "
        "truthful, finds true answers more probable than greedy decoding and than the contrast of last layers (ICD) do."
    ),
    paper="TruthfulQA, MC1 to MC3: 4.5 points above the best baseline on average (abstract); model and tables unknown.",
    arms=(
        _arm("greedy", TOY, "greedy"),
        _arm("DoLa", TOY, "dola"),
        _arm("ICD", TOY, "icd"),
        _arm("LOL", TOY, "lol"),
        _arm("LOL, ω = 0", TOY, "lol", omega=0.0),
        _arm("LOL, no instruction", TOY, "lol", instruction=""),
        _arm("TruthfulQA: greedy", TRUTHFUL, "greedy"),
        _arm("TruthfulQA: DoLa", TRUTHFUL, "dola"),
        _arm("TruthfulQA: ICD", TRUTHFUL, "icd", **SELF),
        _arm("TruthfulQA: LOL", TRUTHFUL, "lol", **SELF),
    ),
    comparisons=(
        Comparison("ICD − greedy", "ICD", "greedy", "MC2", margin=0.02),
        Comparison("LOL − ICD", "LOL", "ICD", "MC2", margin=0.02),
        Comparison("what the lower layer adds", "LOL", "LOL, ω = 0", "MC2", margin=0.01),
        Comparison("TruthfulQA, LOL − greedy", "TruthfulQA: LOL", "TruthfulQA: greedy", "MC2", margin=0.02),
        Comparison("what the instruction adds", "LOL", "LOL, no instruction", "MC2", judged=False),
        Comparison("DoLa − greedy", "DoLa", "greedy", "MC2", judged=False),
        Comparison("LOL − greedy, MC1", "LOL", "greedy", "MC1", judged=False),
        Comparison("TruthfulQA, ICD − greedy", "TruthfulQA: ICD", "TruthfulQA: greedy", "MC2", judged=False),
        Comparison("TruthfulQA, LOL − ICD", "TruthfulQA: LOL", "TruthfulQA: ICD", "MC2", judged=False),
    ),
    seeds=(0, 1, 2),
    notes=(
        "LOL is a reconstruction: the paper's body could not be read. Its layer, its weights and the wording of its "
        "instruction are guesses.",
        "The model on TruthfulQA has 135 million parameters, a fiftieth of those in such papers, and is too small to "
        "know most answers. Its amateur is itself under an instruction, not a model that was trained to hallucinate.",
        "A seed on TruthfulQA is 12 questions of its own, without other questions before them.",
    ),
)
