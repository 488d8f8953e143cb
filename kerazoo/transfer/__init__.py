"""Weights from elsewhere: those of another model or library, or the mean of several checkpoints of a run."""

from kerazoo.models.layer_paths import find_layers, layers, variables
from kerazoo.transfer.adapters import Adapters, base_hash, save_adapter
from kerazoo.transfer.averaging import average_checkpoints
from kerazoo.transfer.hugging_face import load_hugging_face, save_hugging_face
from kerazoo.transfer.loading import LoadedWeights, load_weights
from kerazoo.transfer.lora import add_lora, lora_layers, merge_lora
from kerazoo.transfer.saving import save_weights
from kerazoo.transfer.warm_start import WarmStart, warm_start
from kerazoo.transfer.weight_table import weight_table

__all__ = [
    "Adapters",
    "LoadedWeights",
    "WarmStart",
    "add_lora",
    "average_checkpoints",
    "base_hash",
    "find_layers",
    "layers",
    "load_hugging_face",
    "load_weights",
    "lora_layers",
    "merge_lora",
    "save_adapter",
    "save_hugging_face",
    "save_weights",
    "variables",
    "warm_start",
    "weight_table",
]
