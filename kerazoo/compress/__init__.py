"""Smaller and faster models from trained ones: pruning, distillation, quantization, low rank, and recipes of them.

The names are loaded when they are first used, so that listing the steps of a recipe imports no Keras.
"""

import importlib

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


def __getattr__(name):
    if name not in _NAMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_NAMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__():
    return sorted([*globals(), *__all__])
