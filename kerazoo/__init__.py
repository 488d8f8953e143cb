"""kerazoo: encoder-decoder models with Keras 3, from raw examples to a trained, measured and exported model.

Every public name is loaded when it is first used, so `import kerazoo` and the listings of the catalog cost no
TensorFlow. Where Keras is imported already, its classes are registered at once: after `import keras, kerazoo`
`keras.saving.load_model` reads the files of models that kerazoo saved.
"""

import importlib
import sys

__version__ = "0.1.0"

_PACKAGES = ("catalog", "compress", "data", "decoding", "export", "inspect", "layers", "models", "run", "serve",
             "tasks", "text", "training", "transfer")  # fmt: skip

_NAMES = {
    "count_parameters": "catalog",
    "create": "catalog",
    "describe": "catalog",
    "list_models": "catalog",
    "load": "run",
    "parse_assignments": "_options",
    "register": "catalog",
    "verify": "export",
}

__all__ = sorted([*_PACKAGES, *_NAMES])


def __getattr__(name):
    if name in _NAMES:
        value = getattr(importlib.import_module(f"{__name__}.{_NAMES[name]}"), name)
    elif name in _PACKAGES:
        value = importlib.import_module(f"{__name__}.{name}")
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__():
    return sorted([*globals(), *__all__])


if "keras" in sys.modules:
    for _package in ("layers", "models", "training"):
        importlib.import_module(f"{__name__}.{_package}")
