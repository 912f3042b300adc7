"""Curved contrastive learning: cosines that say how far, and in which direction, two turns of a dialogue are apart."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from dipole.card import Card
from dipole.data.text.dialogues import TurnPairs, turns_of_all
from dipole.data.text.text_set import TextSet
from dipole.errors import InputError
from dipole.evaluation.dialogue import sequence_scores
from dipole.losses import curved_loss
from dipole.losses.common import inner_products
from dipole.methods.text.embedding import SentenceEmbedding
from dipole.nn.text import Pooling, StaticTextEncoder, encode_texts
from dipole.views.text import TextViews
from dipole.views.text.turns import TURN_TOKENS, TurnViews, after_text, before_text, context_is_odd


class CurvedCL(SentenceEmbedding):
    """The cosine of a turn seen from before and another one seen from after falls with their distance.

        1. of every window w₀ … w_{l−1} of turns make pairs (w₀ before, w_d after) with the label (l − d) / l,
           the same against the direction of time with 0, and random ones with 0
        2. u = f("[O] [BEFORE] …") or, an even number of turns apart, f("[E] [BEFORE] …");  v = f("[AFTER] …")
        3. minimise (cos(u, v) − label)²

    Args:
        window: l.
        speaker_tokens: say whether the other turn is that of another speaker.
        directional: with pairs against the direction of time.
        marked: with the tokens of before and after; a baseline without direction lacks them.
        official_windows: leave the last window of each dialogue out, as the authors' code does.
        dialogue_column: of the data that holds the turns.
        seed: of the random pairs.
        pooling: see `SentenceEmbedding`; so are the next three.
        max_length: tokens of a turn.
        learning_rate: after warm-up.
        weight_decay: of matrices.
        **options: further arguments of `SentenceEmbedding` and `Method`.

    Example:
        >>> import tempfile
        >>> from dipole.nn.text import new_bert
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     method = CurvedCL(encoder=str(new_bert(["hello there", "bye"], folder, width=8)), max_length=16)
        >>> pairs = TurnPairs([["hello", "there", "bye"]], window=3)
        >>> views = method.build_views()([pairs[0], pairs[1]], method.encoder.tokenizer)
        >>> sorted(method.loss_terms({"views": views, "index": torch.arange(2)}))
        ['loss']
    """

    card = Card(
        name="curved-cl",
        slug="curved-cl",
        title="Imagination is All You Need! Curved Contrastive Learning for Abstract Sequence Modeling Utilized on "
        "Long Short-Term Dialogue Planning",
        authors="Erker, Schaffer, Spanakis",
        year=2023,
        venue="Findings of ACL",
        arxiv="2211.07591",
        field="text",
        summary="Cosines between a turn seen from before and one seen from after fall with their distance.",
        equations=("curved labels with directional negatives", "sequence modelling, planning and ordering of goals"),
        official_code="Justus-Jonas/imaginaryNLP",
        differences=(
            "All windows of a dialogue are used; the authors' code leaves the last one out: `official_windows`.",
            "Random pairs are drawn anew in every epoch, not once.",
            "The second objective on AllNLI, whose neutral pairs the authors label 2, is not part of the training; its "
            "loss is `margin_contrastive_loss`.",
            "Candidates come back by their scores; the authors' method for one context returns other ones.",
            "Only abstract and code were at hand, not the body of the paper.",
        ),
    )
    views_class = TurnViews
    compares_views = False

    def __init__(
        self,
        *,
        window: int = 5,
        speaker_tokens: bool = True,
        directional: bool = True,
        marked: bool = True,
        official_windows: bool = False,
        dialogue_column: str = "dialogue",
        seed: int = 0,
        pooling: Pooling = "mean",
        max_length: int = 64,
        learning_rate: float = 2e-5,
        weight_decay: float = 0.01,
        **options: Any,
    ) -> None:
        super().__init__(
            pooling=pooling, max_length=max_length, learning_rate=learning_rate, weight_decay=weight_decay, **options
        )
        self.pairs = {
            "window": window,
            "speaker_tokens": speaker_tokens,
            "directional": directional,
            "marked": marked,
            "official_windows": official_windows,
            "seed": seed,
        }
        self.dialogue_column = dialogue_column
        _add_turn_tokens(self.encoder)

    def build_views(self, **options: Any) -> TextViews:
        """Return the views of pairs of turns."""
        return TurnViews(max_length=self.encoder.max_length, **options)

    def expand(self, texts: TextSet) -> TextSet:
        """Return the pairs of turns of dialogues."""
        return TurnPairs(turns_of_all(texts, self.dialogue_column), texts.name, **self.pairs)  # type: ignore[arg-type]

    def loss_terms(self, batch: Mapping[str, Any]) -> dict[str, Tensor]:
        """Return the squared error of the cosines."""
        before, after = self.project(batch["views"])
        return {"loss": curved_loss(before, after, batch["views"]["label"])}

    def encode_before(self, texts: Sequence[str], odd: bool | Sequence[bool] = True) -> Float[Tensor, "n d"]:
        """Return unit embeddings of turns seen from before.

        Args:
            texts: N turns.
            odd: whether what follows is an odd number of turns away, for all or each.
        """
        if not texts:
            return torch.empty(0, self.encoder.width)
        parities = [odd] * len(texts) if isinstance(odd, bool) else list(odd)
        speakers = self.pairs["speaker_tokens"]
        marked = [
            before_text(text, parity if speakers else None) if self.pairs["marked"] else text
            for text, parity in zip(texts, parities, strict=True)
        ]
        return encode_texts(self.encoder, marked, normalize=True)

    def encode_after(self, texts: Sequence[str]) -> Float[Tensor, "n d"]:
        """Return unit embeddings of turns seen from after."""
        marked = [after_text(text) if self.pairs["marked"] else text for text in texts]
        return encode_texts(self.encoder, marked, normalize=True)


class SequenceScorer:
    """Candidates for the next turn of a dialogue, scored as it goes on: only the newest turn is encoded in each step.

    While the partner is speaking, `precompute` adds up what is known; then `add` takes one product of a matrix and a
    vector.

    Args:
        method: a trained `CurvedCL`.
        candidates: C turns that may come next.

    Raises:
        InputError: there is no candidate.

    Example:
        >>> import tempfile
        >>> from dipole.nn.text import new_bert
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     method = CurvedCL(encoder=str(new_bert(["hello there", "bye"], folder, width=8)), max_length=16).eval()
        >>> scorer = SequenceScorer(method, ["bye", "hello"])
        >>> scorer.add("hello there")
        >>> scorer.scores().shape, len(scorer.best(1))
        (torch.Size([2]), 1)
    """

    def __init__(self, method: CurvedCL, candidates: Sequence[str]) -> None:
        if not candidates:
            raise InputError("there are no candidates: give one turn or more that may come next.")
        self.method, self.candidates = method, list(candidates)
        self._after = method.encode_after(self.candidates)
        self._kept = torch.arange(len(self.candidates))
        self._other, self._same = (torch.empty(0, self._after.shape[1]) for _ in range(2))
        self._known: Tensor | None = None
        self._waiting = False

    def add(self, turn: str) -> None:
        """Append a turn to the dialogue."""
        other = self.method.encode_before([turn], odd=True)
        if not self._waiting:
            self._known = None  # with one turn more, every parity is another one
        elif self._known is not None:
            self._known = self._known + inner_products(self._after[self._kept], other)[:, 0]
        self._other = torch.cat([self._other, other])
        self._same = torch.cat([self._same, self.method.encode_before([turn], odd=False)])
        self._waiting = False

    def precompute(self, keep: float = 1.0) -> None:
        """Add up the scores of the dialogue so far for what comes after the partner's turn, which is still to be added.

        Args:
            keep: share of the best candidates that stay, above 0 and at most 1.

        Raises:
            InputError: the share is out of range.
        """
        if not 0 < keep <= 1:
            raise InputError(f"keep is {keep}: expected a share above 0 and at most 1.")
        scores = sequence_scores(self._other, self._same, self._after[self._kept], ahead=2)
        best = scores.argsort(descending=True, stable=True)[: max(1, round(keep * len(scores)))]
        self._kept, self._known, self._waiting = self._kept[best], scores[best], True

    def scores(self) -> Float[Tensor, "c"]:
        """Return the scores (C,) of the candidates for the next turn; −2 H for those that were not kept, below all."""
        found = torch.full((len(self.candidates),), -2.0 * (1 + len(self._other)))
        known = self._known
        if known is None:
            known = sequence_scores(self._other, self._same, self._after[self._kept])
        found[self._kept] = known
        return found

    def best(self, k: int = 5) -> list[str]:
        """Return the k best candidates, the best first."""
        order = self.scores().argsort(descending=True, stable=True)[:k]
        return [self.candidates[place] for place in order.tolist()]


def context_embeddings(method: CurvedCL, context: Sequence[str], *, ahead: int = 1) -> Float[Tensor, "h d"]:
    """Return a context (H, D) seen from before a turn that is `ahead` turns after its last one."""
    return method.encode_before(context, context_is_odd(len(context), ahead=ahead))


def _add_turn_tokens(encoder: Any) -> None:
    """Let an encoder know the four tokens; those of one that knows them stay as they are."""
    if isinstance(encoder, StaticTextEncoder):
        raise InputError("a static encoder has no place for the tokens of turns: use a transformer.")
    vocabulary = encoder.tokenizer.get_vocab()
    if all(token in vocabulary for token in TURN_TOKENS):
        return
    encoder.tokenizer.add_special_tokens({"additional_special_tokens": list(TURN_TOKENS)})
    backbone: nn.Module = encoder.backbone
    if len(encoder.tokenizer) > len(backbone.get_input_embeddings().weight):  # type: ignore[operator]
        backbone.resize_token_embeddings(len(encoder.tokenizer), mean_resizing=False)  # type: ignore[operator]
