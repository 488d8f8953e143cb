# TensorFlow has no complete types: those that come with the type checker lack many of its names.
from typing import Any

def __getattr__(name: str) -> Any: ...
