"""Smaller and faster models from trained ones: pruning, distillation, quantization, low rank, and recipes of them.

The names are loaded when they are first used, so that listing the steps of a recipe imports no Keras.
"""

from kerazoo import registry

_NAMES = {
    "Pruning": "pruning",
    "STEPS": "recipes",
    "calibrate": "calibration",
    "distil": "distillation",
    "factorize": "low_rank",
    "observe": "calibration",
    "parse_recipe": "recipes",
    "prepare": "quantization",
    "prepare_factors": "low_rank",
    "quantize": "quantization",
    "round_weights": "rounding",
    "shrink": "shrinking",
    "sparsity_of": "pruning",
    "stored_weights": "quantization",
}

__all__ = sorted(_NAMES)

__getattr__, __dir__ = registry.lazy_names(__name__, _NAMES)
