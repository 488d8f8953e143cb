"""Serves SavedModels over HTTP in the form of TensorFlow Serving, with a page to try them on.

The names are loaded when they are first used, so that the options can be listed without TensorFlow.
"""

import importlib

_NAMES = {
    "ModelServer": "http_server",
    "ServingOptions": "serving_options",
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
