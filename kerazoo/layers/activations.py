"""Activation functions by name, as a callable, or one for each layer of a stack."""

import math
from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from kerazoo import _checks


@keras.saving.register_keras_serializable(package="kerazoo")
def gelu(x: Any) -> Any:
    """Computes the Gaussian error linear unit, `x / 2 * (1 + erf(x / sqrt(2)))`.

    This is the exact form. It consists of operations that every exporter has, unlike `keras.activations.gelu`.

    Args:
        x: float tensor of any shape.

    Returns:
        A tensor of the same dtype and shape.

    Example:

    ```python
    import numpy as np
    from kerazoo.layers import gelu

    assert np.allclose(gelu(np.array([0.0, 1.0], "float32")), [0.0, 0.841345], atol=1e-5)
    ```

    Reference:
        Hendrycks and Gimpel, 2016, Gaussian Error Linear Units, arXiv:1606.08415.
    """
    return 0.5 * x * (1.0 + ops.erf(x * math.sqrt(0.5)))


@keras.saving.register_keras_serializable(package="kerazoo")
def gelu_tanh(x: Any) -> Any:
    """Computes the approximation of the Gaussian error linear unit by a hyperbolic tangent, as GPT-2 does.

    It is `x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 * x^3)))`, which differs from `gelu` by 5e-4 at most.

    Args:
        x: float tensor of any shape.

    Returns:
        A tensor of the same dtype and shape.

    Example:

    ```python
    import numpy as np
    from kerazoo.layers import gelu_tanh

    assert np.allclose(gelu_tanh(np.array([0.0, 1.0], "float32")), [0.0, 0.841192], atol=1e-5)
    ```

    Reference:
        Hendrycks and Gimpel, 2016, Gaussian Error Linear Units, arXiv:1606.08415.
    """
    return ops.gelu(x, approximate=True)


OURS = {"gelu": gelu, "gelu_tanh": gelu_tanh}  # names that are those of functions of this file


def get_activation(owner: str, activation: Any, more: tuple[str, ...] = ()) -> Callable:
    """Returns the function for a name, a serialized configuration, a callable or None.

    Args:
        owner: string. The class that is named in the error message.
        activation: The name, configuration or callable; None gives the identity.
        more: Further names that the owner accepts, for the error message.
    """
    if isinstance(activation, str) and activation in OURS:
        return OURS[activation]
    try:
        return keras.activations.get(activation)
    except ValueError as error:
        names = {name for name in dir(keras.activations) if name.islower() and not name.startswith("_")}
        names = sorted((names | set(more) | set(OURS)) - {"deserialize", "get", "serialize"})
        raise ValueError(
            f"{owner}: `activation` must be the name of an activation function, a callable or None; "
            f"got activation={activation!r}.{_checks.hint(activation, names)} Names: {', '.join(names)}."
        ) from error


def one_per_layer(owner: str, name: str, value: Any, count: int) -> list:
    """Returns `count` values: those of a list or tuple, or one value repeated.

    Args:
        owner: string. The class that is named in the error message.
        name: string. The argument that is named in the error message.
        value: The argument.
        count: int. The number of layers.
    """
    if not isinstance(value, list | tuple):
        return [value] * count
    if len(value) != count:
        raise ValueError(
            f"{owner}: `{name}` must be one value or one for each of the {count} layers; got {name}={value!r}. "
            f"Try {count} entries, None for a layer without."
        )
    return list(value)


def serialize_activation(activation: Any) -> Any:
    """Returns an activation for a configuration; lists are serialized by their entries."""
    if isinstance(activation, list | tuple):
        return [serialize_activation(each) for each in activation]
    if activation is None or isinstance(activation, str | dict):
        return activation
    names = [name for name, function in OURS.items() if function is activation]
    return names[0] if names else keras.activations.serialize(activation)
