"""Run directories: train into one, measure it, load it as a callable, export it.

The functions are loaded when they are first used: naming an option of a run costs no TensorFlow.
"""

import importlib

_NAMES = {
    "Answer": "answer",
    "Answerer": "answer",
    "RunDirectory": "directory",
    "TrainingOptions": "options",
    "evaluate": "evaluation",
    "export": "exporting",
    "load": "answer",
    "train": "trainer",
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
