"""Fixtures of the tests of decoding."""

import keras
import pytest

from kerazoo import _backend


@pytest.fixture
def run_eagerly(monkeypatch):
    """Runs searches without tracing them, which is faster where a test runs each of them once.

    JAX traces the loop of a search in any case. That compiled programs give the same is shown in `test_compiled.py`.
    """
    if keras.backend.backend() == "tensorflow":
        monkeypatch.setattr(_backend, "compile", lambda function, variables=(), jit=False: function)
