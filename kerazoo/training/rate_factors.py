"""Learning rates that differ between the variables of a model: by layer, and by name."""

import re
from collections.abc import Callable, Sequence
from typing import Any

import keras

from kerazoo import _checks

_NUMBERED = re.compile(r"(block|lstm|forward|backward|dense|convolution|stem)_(\d+)")  # layers of the stacks of kerazoo


def scale_rates(optimizer: keras.optimizers.Optimizer, factors_of: Callable[[list], Sequence[float]]) -> None:
    """Multiplies the learning rate of an optimizer by a factor for each variable, in its updates.

    Decoupled weight decay keeps the plain rate.

    Args:
        optimizer: `keras.optimizers.Optimizer` that updates each variable by `update_step`, so none around another one.
        factors_of: function of the list of trained variables that returns the factor of each.

    Example:

    ```python
    import keras

    import kerazoo as kz

    optimizer = keras.optimizers.Adam(1e-3)
    kz.training.scale_rates(optimizer, lambda variables: kz.training.layer_factors(variables, decay=0.8))
    ```
    """
    update, factors = optimizer.update_step, []

    def update_step(gradient: Any, variable: Any, learning_rate: Any) -> None:
        if not factors:
            factors.extend(factors_of(optimizer._trainable_variables))
        factor = factors[optimizer._get_variable_index(variable)]
        update(gradient, variable, learning_rate if factor == 1 else learning_rate * factor)

    optimizer.update_step = update_step


def layer_factors(variables: Sequence[Any], decay: float) -> list[float]:
    """Returns factors that shrink from layer to layer: 1 for the last of a stack, `decay` for the one before it.

    Each stack is counted from its end, the encoder and the decoder each on its own. Embeddings lie below the highest
    stack, and what is in no stack, such as a head, keeps its rate.

    Args:
        variables: list of Keras variables.
        decay: float in (0, 1].

    Reference: Bao, Dong, Piao, Wei 2021, BEiT: BERT Pre-Training of Image Transformers, arXiv:2106.08254.
    """
    _checks.number("layer_factors", "decay", decay, low=0, high=1, low_open=True)
    positions = [_stack_position(variable.path) for variable in variables]
    layers: dict[str, int] = {}
    for stack, number in filter(None, positions):
        layers[stack] = max(layers.get(stack, 0), number + 1)
    highest = max(layers.values(), default=0)
    return [
        _factor(variable.path, position, layers, highest, decay) for variable, position in zip(variables, positions)
    ]


def named_factors(variables: Sequence[Any], rules: Sequence[tuple[str, float]]) -> list[float]:
    """Returns for each variable the product of the factors whose regular expression is found in its path.

    Args:
        variables: list of Keras variables.
        rules: list of regular expression and factor.

    Raises:
        ValueError: if an expression is found in no path.
    """
    factors = [1.0] * len(variables)
    for pattern, factor in rules:
        found = [index for index, variable in enumerate(variables) if re.search(pattern, variable.path)]
        if not found:
            paths = ", ".join(variable.path for variable in variables[:3])
            raise ValueError(
                f"`rate_factors`: no trained variable has {pattern!r} in its path; got {len(variables)} variables, "
                f"such as {paths}."
            )
        for index in found:
            factors[index] *= factor
    return factors


def _stack_position(path):
    """Returns the stack of the layer of a variable and its number in it, None where it has none."""
    parts = path.split("/")
    for index, part in enumerate(parts[1:], 1):  # the first part is the name of the model
        match = _NUMBERED.fullmatch(part)
        if match:
            return "/".join([*parts[:index], match[1]]), int(match[2])
    return None


def _factor(path, position, layers, highest, decay):
    if position is not None:
        stack, number = position
        return decay ** (layers[stack] - 1 - number)
    return decay**highest if "embedding" in path.lower() else 1.0
