"""Layers of a model that are called through other functions for a while, to record or to replace what they return."""

import contextlib
import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import keras


@contextlib.contextmanager
def replaced_calls(replacements: Iterable[tuple[keras.layers.Layer, Callable[[Callable], Callable]]]) -> Iterator[None]:
    """Within it, the `call` of some layers is another function; a model runs as before otherwise.

    Args:
        replacements: pairs of a layer and a function that takes its `call` and returns what is called in its place.

    Example:

    ```python
    import keras
    import numpy as np
    from kerazoo.models.replaced_calls import replaced_calls

    layer = keras.layers.Dense(2)
    layer.build((None, 3))
    with replaced_calls([(layer, lambda call: lambda x: 2 * call(x))]):
        doubled = layer(np.ones((1, 3)))
    assert np.allclose(doubled, 2 * layer(np.ones((1, 3))))
    ```
    """
    with contextlib.ExitStack() as stack:
        for layer, replace in replacements:
            before = vars(layer).get("call")  # of an outer block
            # Straight into the dictionary: Keras tracks attributes.
            vars(layer)["call"] = replace(layer.call)
            stack.callback(_restore, layer, before)
        yield


def _restore(layer, before):
    if before is None:
        del vars(layer)["call"]
    else:
        vars(layer)["call"] = before


def numbered(path: str, found: Any) -> str:
    """Returns a path, from its second use on with a number after it, `encoder:2`, so that it is not in `found`.

    Args:
        path: string. The path of a layer.
        found: container of strings.
    """
    names = (path if count == 1 else f"{path}:{count}" for count in itertools.count(1))
    return next(name for name in names if name not in found)
