"""Serves SavedModels over HTTP in the form of TensorFlow Serving, with a page to try them on.

The names are loaded when they are first used, so that the options can be listed without TensorFlow.
"""

from kerazoo import registry

_NAMES = {
    "ModelServer": "http_server",
    "ServingOptions": "serving_options",
}

__all__ = sorted(_NAMES)

__getattr__, __dir__ = registry.lazy_names(__name__, _NAMES)
