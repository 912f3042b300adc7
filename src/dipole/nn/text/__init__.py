"""Text encoders: transformers with a pooling, static token embeddings, noise inside them, embeddings of many texts."""

from dipole.nn.text.bidirectional import BIDIRECTIONAL, make_bidirectional
from dipole.nn.text.build import build_text_encoder
from dipole.nn.text.decoder import DecoderEncoder, add_lora, without_adapters
from dipole.nn.text.domains import DomainEncoder
from dipole.nn.text.dropout import DropHead, add_drophead, drop_heads, set_dropout
from dipole.nn.text.encode import encode_texts
from dipole.nn.text.encoder import TextEncoder
from dipole.nn.text.experts import MixtureOfExperts, Routing, SentencePooler, extend_to_experts
from dipole.nn.text.latent_attention import LatentAttentionPooling
from dipole.nn.text.pooling import Pooling, pool
from dipole.nn.text.pretraining import learn_tokenizer, mask_for_prediction, new_bert, pretrain_mlm
from dipole.nn.text.static import StaticTextEncoder

__all__ = [
    "BIDIRECTIONAL",
    "DecoderEncoder",
    "DomainEncoder",
    "DropHead",
    "LatentAttentionPooling",
    "MixtureOfExperts",
    "Pooling",
    "Routing",
    "SentencePooler",
    "StaticTextEncoder",
    "TextEncoder",
    "add_drophead",
    "add_lora",
    "build_text_encoder",
    "drop_heads",
    "encode_texts",
    "extend_to_experts",
    "learn_tokenizer",
    "make_bidirectional",
    "mask_for_prediction",
    "new_bert",
    "pool",
    "pretrain_mlm",
    "set_dropout",
    "without_adapters",
]
