"""The tensors of BERT in the names of Hugging Face: the encoder of a model of kerazoo."""

from collections.abc import Mapping
from typing import Any

from kerazoo.transfer.tensor_names import Family, Stack

ACTIVATIONS = {"gelu": "gelu", "gelu_new": "gelu_tanh", "gelu_pytorch_tanh": "gelu_tanh", "relu": "relu",
               "silu": "silu", "swish": "silu"}  # fmt: skip


def activation(name: Any) -> Any:
    """Returns the name that an activation of Hugging Face has here."""
    return ACTIVATIONS.get(name, name)


LAYERS = {
    "attention/query_key_value": ("attention.self.query", "attention.self.key", "attention.self.value"),
    "attention/output": ("attention.output.dense",),
    "attention_norm": ("attention.output.LayerNorm",),
    "feed_forward/expand": ("intermediate.dense",),
    "feed_forward/contract": ("output.dense",),
    "feed_forward_norm": ("output.LayerNorm",),
}


def options(config: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the options of the encoder that a `config.json` gives."""
    return {
        "num_layers": config.get("num_hidden_layers", 12),
        "hidden_dim": config.get("hidden_size", 768),
        "num_heads": config.get("num_attention_heads", 12),
        "intermediate_dim": config.get("intermediate_size", 3072),
        "activation": activation(config.get("hidden_act", "gelu")),
        "epsilon": config.get("layer_norm_eps", 1e-12),
        "embedding.epsilon": config.get("layer_norm_eps", 1e-12),
    }


BERT = Family(
    name="BERT",
    types=("bert",),
    prefixes=("bert.", ""),
    encoder=Stack(
        block="encoder.layer.{}.",
        layers=LAYERS,
        tokens=("embeddings.word_embeddings.weight",),
        positions="embeddings.position_embeddings.weight",
        types="embeddings.token_type_embeddings.weight",
        embedding_norm="embeddings.LayerNorm",
    ),
    decoder=None,
    needs={
        "norm": "post",
        "normalization": "layer",
        "positions": None,
        "embedding.positions": "learned",
        "embedding.normalization": "layer",
        "embedding.scale": False,
    },
    options=options,
    bias="cls.predictions.bias",
    head={"transform": "cls.predictions.transform.dense", "norm": "cls.predictions.transform.LayerNorm"},
    pooled={"pooler": "pooler.dense", "head": "classifier"},
    copies={
        "cls.predictions.decoder.weight": ("embeddings.word_embeddings.weight",),
        "cls.predictions.decoder.bias": ("cls.predictions.bias",),
    },
    # The pooler and the heads, where they are those of other tasks.
    unused=r"(bert\.)?(pooler\..*|embeddings\.position_ids|embeddings\.token_type_ids)|(cls|classifier|qa_outputs)\..*",
)
