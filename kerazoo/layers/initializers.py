"""Initializers that several layers share."""

from typing import Any

import keras


def clone_initializer(initializer: Any) -> Any:
    """Returns a copy of an initializer.

    A Keras initializer without a seed gives the same values at each call, so two kernels of one shape that share it
    would start equal. Copies give different values.

    Args:
        initializer: A Keras initializer, a callable or None.
    """
    return initializer.clone() if isinstance(initializer, keras.initializers.Initializer) else initializer
