"""Mixtures of experts in place of the feed-forward layers of a transformer."""

import copy
from typing import Any, Literal, get_args

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from dipole.errors import InputError
from dipole.ops.checks import check_at_least, check_choice

Router = Literal["enforced", "switch", "sentence_top_k", "token_top_k"]
ROUTERS: tuple[str, ...] = get_args(Router)


class Routing:
    """What the mixtures of one encoder share: the domains of the texts going in, the routers' logits coming out.

    Attributes:
        domains: (N,), the expert of each text; None where routers decide.
        logits: (N, E) of every layer that has been passed.
    """

    def __init__(self) -> None:
        self.domains: Tensor | None = None
        self.logits: list[Tensor] = []

    def __getstate__(self) -> dict[str, Any]:
        """A copy begins anew: what belongs to a pass is none of it."""
        return {"domains": None, "logits": []}

    def start(self, domains: Tensor | None) -> None:
        """Begin a pass."""
        self.domains, self.logits = domains, []


class MixtureOfExperts(nn.Module):
    """E copies of a feed-forward layer, of which every text or token passes some.

        enforced        y_n = Expert_{domain(n)}(x_n): no gate
        switch          y_n = Expert_{argmax r_n}(x_n), r_n = W_g mean_t x_nt; the gate learns from a router loss alone
        sentence_top_k  y_n = Σ_{e∈top k} softmax(r_n)_e Expert_e(x_n), weights as they are
        token_top_k     y_nt = Σ_{e∈top k} w_nte Expert_e(x_nt), w = softmax(W_g x_nt), scaled to add up to 1

    As in the authors' code the mean over t takes in padding. All experts begin as copies of the same layer, so that a
    mixture with weights that add up to 1 begins as that layer.

    Hallee et al.: *Contrastive Learning and Mixture of Experts Enables Precise Vector Embeddings* (2024); enforced: the
    published code; the others: its earlier versions.

    Args:
        expert: the layer, from (…, D) to (…, D).
        num_experts: E.
        width: D.
        router: see above.
        top_k: experts of a text or token.
        routing: shared by all mixtures of an encoder; one of its own if None.

    Raises:
        InputError: an unknown router, or a number out of range.

    Example:
        >>> mixture = MixtureOfExperts(nn.Linear(4, 4), 3, width=4)
        >>> mixture.routing.start(torch.tensor([0, 2]))
        >>> mixture(torch.zeros(2, 5, 4)).shape
        torch.Size([2, 5, 4])
    """

    def __init__(
        self,
        expert: nn.Module,
        num_experts: int,
        *,
        width: int,
        router: Router = "enforced",
        top_k: int = 2,
        routing: Routing | None = None,
    ) -> None:
        super().__init__()
        check_choice(router, ROUTERS, "router")
        check_at_least(num_experts, 1, "num_experts")
        if not 1 <= top_k <= num_experts and router.endswith("top_k"):
            raise InputError(f"top_k is {top_k}: expected a number from 1 to the {num_experts} experts.")
        self.experts = nn.ModuleList(copy.deepcopy(expert) for _ in range(num_experts))
        self.router, self.top_k = router, top_k
        self.routing = Routing() if routing is None else routing
        if router != "enforced":
            self.gate = nn.Linear(width, num_experts, bias=False)

    def forward(self, x: Float[Tensor, "n t d"]) -> Float[Tensor, "n t d"]:
        """Return what the experts make of the tokens (N, T, D).

        Raises:
            InputError: domains are missing or have no expert.
        """
        if self.router == "enforced":
            return self._by(self._domains(len(x)), x)
        if self.router == "token_top_k":
            logits = self.gate(x)
            self.routing.logits.append(logits.mean(dim=1))
            weight, chosen = logits.softmax(dim=-1).flatten(0, 1).topk(self.top_k, dim=-1)
            return self._weighted(weight / weight.sum(dim=-1, keepdim=True), chosen, x.flatten(0, 1)).view_as(x)
        logits = self.gate(x.mean(dim=1))
        self.routing.logits.append(logits)
        if self.router == "switch":
            return self._by(logits.argmax(dim=1), x)
        weight, chosen = logits.softmax(dim=1).topk(self.top_k, dim=1)
        return self._weighted(weight, chosen, x)

    def _domains(self, rows: int) -> Int64[Tensor, "n"]:
        """The experts that the texts belong to."""
        domains = self.routing.domains
        if domains is None or domains.shape != (rows,):
            came = "missing" if domains is None else f"{tuple(domains.shape)}"
            raise InputError(f"the domains are {came}: expected one for each of {rows} texts (Routing.start).")
        wrong = domains[(domains < 0) | (domains >= len(self.experts))]
        if len(wrong):
            raise InputError(f"a domain is {int(wrong[0])}: there are {len(self.experts)} experts, from 0 on.")
        return domains

    def _by(self, chosen: Tensor, x: Tensor) -> Tensor:
        """Every row of x (M, …) through the expert it has been given to."""
        order = chosen.argsort(stable=True)
        parts = x[order].split(chosen.bincount(minlength=len(self.experts)).tolist())
        done = [expert(part) for expert, part in zip(self.experts, parts, strict=True) if len(part)]
        return torch.cat(done)[order.argsort()]

    def _weighted(self, weight: Tensor, chosen: Tensor, x: Tensor) -> Tensor:
        """The weighted sum of what several experts make of every row."""
        shaped = weight.view(*weight.shape, *(1,) * (x.ndim - 1)).to(x.dtype)
        return torch.stack([shaped[:, rank] * self._by(chosen[:, rank], x) for rank in range(self.top_k)]).sum(dim=0)


class SentencePooler(nn.Module):
    """The mean of the tokens through `W₂ tanh(W₁ LN(x) + b₁) + b₂`.

    Args:
        width: D.

    Example:
        >>> SentencePooler(4)(torch.zeros(2, 4)).shape
        torch.Size([2, 4])
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.first, self.second = nn.Linear(width, width), nn.Linear(width, width)

    def forward(self, mean: Float[Tensor, "*rows d"]) -> Float[Tensor, "*rows d"]:
        """Return embeddings of the means of tokens."""
        return self.second(torch.tanh(self.first(self.norm(mean))))


def extend_to_experts(
    backbone: nn.Module,
    num_experts: int,
    *,
    layers: Literal["all", "middle"] = "all",
    router: Router = "enforced",
    top_k: int = 2,
) -> Routing:
    """Replace the feed-forward layers of a transformer by mixtures of copies of them, in place.

    The norms of a block stay what they are, so that an encoder with enforced routing begins as the one it was.

    Args:
        backbone: a model of transformers of the kinds of BERT, MPNet, DistilBERT, ModernBERT or Llama.
        num_experts: E.
        layers: of all blocks, or of the one in the middle (number ⌊L / 2⌋).
        router: see `MixtureOfExperts`.
        top_k: likewise.

    Returns:
        The routing that all mixtures share.

    Raises:
        InputError: the model's blocks are of another kind.

    Example:
        >>> from transformers import BertConfig, BertModel
        >>> sizes = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2}
        >>> bert = BertModel(BertConfig(vocab_size=9, **sizes))
        >>> routing = extend_to_experts(bert, 3)
        >>> sum(isinstance(module, MixtureOfExperts) for module in bert.modules())
        2
    """
    check_choice(layers, ("all", "middle"), "layers")
    config: Any = backbone.config
    blocks = [module for module in backbone.modules() if _feed_forward_of(module) is not None]
    if not blocks:
        raise InputError(
            f"a {config.model_type} has no feed-forward layers that can become experts: expected BERT, RoBERTa, MPNet, "
            "DistilBERT, ModernBERT or a Llama-like model."
        )
    routing = Routing()
    for block in blocks if layers == "all" else [blocks[len(blocks) // 2]]:
        name = _feed_forward_of(block)
        width = int(config.hidden_size)
        options: dict[str, Any] = {"width": width, "router": router, "top_k": top_k, "routing": routing}
        if name == "intermediate":
            inside, outside = block.intermediate, block.output
            block.intermediate = MixtureOfExperts(nn.Sequential(inside, outside.dense), num_experts, **options)  # type: ignore[arg-type,union-attr]
            outside.dense = nn.Identity()  # type: ignore[union-attr]
        else:
            assert name is not None
            setattr(block, name, MixtureOfExperts(getattr(block, name), num_experts, **options))
    return routing


def _feed_forward_of(block: nn.Module) -> str | None:
    """The name of the feed-forward layer of a block; None for a module that is no block."""
    children = dict(block.named_children())
    if "intermediate" in children and hasattr(children.get("output"), "dense"):
        return "intermediate"
    attention = any("attn" in name or "attention" in name for name in children)
    return next((name for name in ("mlp", "ffn") if name in children and attention), None)
