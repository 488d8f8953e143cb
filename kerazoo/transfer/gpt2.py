"""The tensors of GPT-2 in the names of Hugging Face: a Transformer language model of kerazoo."""

from collections.abc import Mapping
from typing import Any

from kerazoo.transfer.bert import activation
from kerazoo.transfer.tensor_names import Family, Stack

LAYERS = {
    "attention/query_key_value": ("attn.c_attn",),
    "attention/output": ("attn.c_proj",),
    "attention_norm": ("ln_1",),
    "feed_forward/expand": ("mlp.c_fc",),
    "feed_forward/contract": ("mlp.c_proj",),
    "feed_forward_norm": ("ln_2",),
}


def options(config: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the options of the decoder that a `config.json` gives."""
    width = config.get("n_embd", 768)
    return {
        "num_layers": config.get("n_layer", 12),
        "hidden_dim": width,
        "num_heads": config.get("n_head", 12),
        "intermediate_dim": config.get("n_inner") or 4 * width,
        "activation": activation(config.get("activation_function", "gelu_new")),
        "epsilon": config.get("layer_norm_epsilon", 1e-5),
    }


GPT2 = Family(
    name="GPT-2",
    types=("gpt2",),
    prefixes=("transformer.", ""),
    encoder=None,
    decoder=Stack(
        block="h.{}.",
        layers=LAYERS,
        tokens=("wte.weight",),
        positions="wpe.weight",
        final_norm="ln_f",
    ),
    needs={
        "norm": "pre",
        "normalization": "layer",
        "positions": None,
        "cross_attention": False,
        "embedding.positions": "learned",
        "embedding.normalization": None,
        "embedding.scale": False,
    },
    options=options,
    transposed=False,  # its layers are `Conv1D`, whose kernels are [inputs, outputs]
    copies={"lm_head.weight": ("wte.weight",)},
    unused=r"(transformer\.)?h\.\d+\.attn\.(bias|masked_bias)",  # the causal mask
)
