"""Encoders of several domains: a token of the domain in the first place, an expert for each."""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Bool, Float, Int, Int64
from torch import Tensor, nn

from dipole.errors import InputError
from dipole.nn.text.encoder import TextEncoder
from dipole.nn.text.experts import Router, Routing, extend_to_experts
from dipole.nn.text.pooling import Pooling


class DomainEncoder(TextEncoder):
    """A transformer whose first token says the domain of a text, and whose feed-forward layers are experts.

    A domain's token begins as a copy of the first special token ([CLS]) and stands in its place. A text is of
    `default_domain` unless its first token says otherwise.

    Args:
        backbone: a transformers model that is none of experts yet.
        tokenizer: its fast tokenizer.
        domains: names.
        default_domain: of texts that come without one; the first if None.
        layers: which feed-forward layers become experts: `"all"`, `"middle"` or `"none"`.
        router: see `MixtureOfExperts`.
        top_k: likewise.
        pooling: see `TextEncoder`.
        max_length: likewise.

    Raises:
        InputError: no or equal domains, an unknown default, or a model that cannot be extended.

    Example:
        >>> import tempfile
        >>> from dipole.nn.text import build_text_encoder, new_bert
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     plain = build_text_encoder(str(new_bert(["a few words"], folder, width=8)))
        >>> encoder = DomainEncoder(plain.backbone, plain.tokenizer, domains=["law", "art"], max_length=16)
        >>> encoder.tokenizer.convert_tokens_to_ids("[art]") - encoder.first_id
        1
    """

    def __init__(
        self,
        backbone: nn.Module,
        tokenizer: Any,
        *,
        domains: Sequence[str],
        default_domain: str | None = None,
        layers: str = "all",
        router: Router = "enforced",
        top_k: int = 2,
        pooling: Pooling = "mean",
        max_length: int = 128,
        **options: Any,
    ) -> None:
        names = list(domains)
        if not names or len(set(names)) < len(names) or not all(names):
            raise InputError(f"domains are {names}: expected one or more different names.")
        super().__init__(backbone, tokenizer, pooling=pooling, max_length=max_length, **options)
        self.domains, self.layers, self.router, self.top_k = names, layers, router, top_k
        self.default_domain = names[0] if default_domain is None else default_domain
        self.number(self.default_domain)
        self.first_id = self._add_tokens()
        self.routing = Routing()
        if layers != "none":
            self.routing = extend_to_experts(backbone, len(names), layers=layers, router=router, top_k=top_k)  # type: ignore[arg-type]

    def number(self, domain: str) -> int:
        """Return the number of a domain.

        Raises:
            InputError: there is no such domain.
        """
        if domain not in self.domains:
            raise InputError(f"there is no domain {domain!r}: the encoder has {', '.join(self.domains)}.")
        return self.domains.index(domain)

    def forward(
        self, input_ids: Int[Tensor, "n t"], attention_mask: Int[Tensor, "n t"] | Bool[Tensor, "n t"]
    ) -> Float[Tensor, "n d"]:
        """Return embeddings (N, D) of texts, by the experts that their first tokens say."""
        input_ids = self.marked(input_ids)
        self.routing.start(input_ids[:, 0] - self.first_id)
        return super().forward(input_ids, attention_mask)

    def marked(self, input_ids: Int[Tensor, "n t"], domains: Int64[Tensor, "n"] | None = None) -> Int[Tensor, "n t"]:
        """Return token ids with the domains' tokens in the first place.

        Args:
            input_ids: (N, T).
            domains: (N,) numbers; the default domain where a text has no token of a domain yet if None.
        """
        first = input_ids[:, 0]
        known = (first >= self.first_id) & (first < self.first_id + len(self.domains))
        default = self.number(self.default_domain)
        wanted = torch.where(known, first - self.first_id, default) if domains is None else domains.to(first)
        return torch.cat([(wanted + self.first_id)[:, None], input_ids[:, 1:]], dim=1)

    def _add_tokens(self) -> int:
        """Add a token for each domain, as a copy of [CLS], unless they are there; return the first one's id."""
        tokens = [f"[{name}]" for name in self.domains]
        begin = self.tokenizer.cls_token_id
        begin = self.tokenizer.bos_token_id if begin is None else begin
        if begin is None:
            raise InputError("the tokenizer puts no special token first, whose place a domain's token could take.")
        self.tokenizer.add_special_tokens({"additional_special_tokens": tokens})
        ids = self.tokenizer.convert_tokens_to_ids(tokens)
        if ids != list(range(ids[0], ids[0] + len(ids))):
            raise InputError(f"the tokenizer knows some of the tokens {', '.join(tokens)} already: rename the domains.")
        backbone: Any = self.backbone
        table = backbone.get_input_embeddings().weight
        if len(table) < len(self.tokenizer):
            row = table[begin].detach().clone()
            backbone.resize_token_embeddings(len(self.tokenizer), mean_resizing=False)
            with torch.no_grad():
                backbone.get_input_embeddings().weight[ids] = row
        return int(ids[0])
