"""The tensors of Marian in the names of Hugging Face: a post-norm encoder-decoder of kerazoo."""

from collections.abc import Mapping
from typing import Any

from kerazoo.transfer.bert import activation
from kerazoo.transfer.tensor_names import Family, Stack

ENCODER = {
    "attention/query_key_value": ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
    "attention/output": ("self_attn.out_proj",),
    "attention_norm": ("self_attn_layer_norm",),
    "feed_forward/expand": ("fc1",),
    "feed_forward/contract": ("fc2",),
    "feed_forward_norm": ("final_layer_norm",),
}
DECODER = {
    **ENCODER,
    "cross_attention/query": ("encoder_attn.q_proj",),
    "cross_attention/key_value": ("encoder_attn.k_proj", "encoder_attn.v_proj"),
    "cross_attention/output": ("encoder_attn.out_proj",),
    "cross_attention_norm": ("encoder_attn_layer_norm",),
}
BIAS = "final_logits_bias"


def options(config: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the options of encoder and decoder that a `config.json` gives."""
    sides = {}
    for side in ("encoder", "decoder"):
        sides |= {
            f"{side}.num_layers": config.get(f"{side}_layers", 12),
            f"{side}.num_heads": config.get(f"{side}_attention_heads", 16),
            f"{side}.intermediate_dim": config.get(f"{side}_ffn_dim", 4096),
        }
    return {
        **sides,
        "hidden_dim": config.get("d_model", 1024),
        "activation": activation(config.get("activation_function", "gelu")),
        "epsilon": 1e-5,
        "embedding.scale": bool(config.get("scale_embedding", False)),
    }


MARIAN = Family(
    name="Marian",
    types=("marian",),
    prefixes=("model.", ""),
    encoder=Stack(block="encoder.layers.{}.", layers=ENCODER, tokens=("shared.weight", "encoder.embed_tokens.weight")),
    decoder=Stack(block="decoder.layers.{}.", layers=DECODER, tokens=("shared.weight", "decoder.embed_tokens.weight")),
    needs={
        "norm": "post",
        "normalization": "layer",
        "positions": None,
        "embedding.positions": "sinusoidal",
        "embedding.normalization": None,
    },
    options=options,
    bias=BIAS,
    copies={
        "lm_head.weight": ("shared.weight", "decoder.embed_tokens.weight"),  # without one vocabulary for both sides
        "encoder.embed_tokens.weight": ("shared.weight",),
        "decoder.embed_tokens.weight": ("shared.weight",),
    },
    unused=r"(model\.)?(encoder|decoder)\.embed_positions\.weight",  # the sines and cosines of the paper
)
