"""Quantization of the weights of a model, in place."""

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from kerazoo import _checks
from kerazoo.compress.input_rounding import RoundedInputs, round_inputs
from kerazoo.compress.stored_weight import FORMATS, SPARSE, StoredFormat, StoredWeight, is_depthwise
from kerazoo.layers.computed_weight import ComputedWeight

# The weights of Keras' layers that hold most of a model; all of their uses go through `keras.ops`.
NAMES = (
    "kernel", "recurrent_kernel", "depthwise_kernel", "pointwise_kernel", "embeddings", "reverse_embeddings",
)  # fmt: skip
MIN_SIZE = 256  # values of a weight, below which the scales would take more than is gained


def quantize(
    model: keras.Model,
    format: str = "int8",
    input_ranges: Sequence[tuple[float, float] | None] = (),
) -> list[dict[str, Any]]:
    """Stores the kernels and embeddings of a built model in fewer bits, in place.

    The model predicts, decodes, saves its weights and exports as before. Layers compute with float32: the weights are
    computed from what is stored, once for each call of a program. So memory and disk shrink and speed does not grow.
    Biases, normalizations, kernels below 256 values and learned positions stay as they are. Of a weight with a quarter
    of zeros, as after pruning, only the other values are stored. A model that was quantized cannot be trained.

    With `input_ranges` of `calibrate` the inputs of layers are rounded as well, to 256 values between fixed limits: a
    static quantization of activations. The products are those of integers, computed in float32.

    Args:
        model: a built `keras.Model`.
        format: string. `"int8"` (a quarter of the size), `"int4"` (0.14), `"float16"` (half), or `"float32"`, which
            changes only what has zeros. Defaults to `"int8"`.
        input_ranges: list of the lowest and the highest value of what each kernel multiplies, see `calibrate`. For
            `"int8"` only. Defaults to `()`: inputs are not rounded.

    Returns:
        list of dicts of plain values, one for each weight. `prepare` makes another model of them that fits the weights
        of this one.

    Raises:
        ValueError: if the format is unknown or takes no ranges, there is another number of ranges than of kernels, or
            the model is not built or has nothing to quantize.

    Example:

    ```python
    import keras
    import numpy as np

    import kerazoo as kz

    model = keras.Sequential([keras.Input((64,)), keras.layers.Dense(32)])
    x = np.random.default_rng(0).normal(size=(5, 64)).astype("float32")
    before = model.predict_on_batch(x)
    weights = kz.compress.quantize(model, "int8")
    assert np.abs(model.predict_on_batch(x) - before).max() < 0.1

    model.save_weights("small.weights.h5")
    loaded = keras.Sequential([keras.Input((64,)), keras.layers.Dense(32)])
    kz.compress.prepare(loaded, weights)
    loaded.load_weights("small.weights.h5")
    ```

    Reference:
        Jacob et al. (2017), Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only
        Inference, arXiv:1712.05877.
        Dettmers and Zettlemoyer (2022), The case for 4-bit precision: k-bit Inference Scaling Laws, arXiv:2212.09720
        (groups of values with a scale of their own).
    """
    _checks.one_of("quantize", "format", format, FORMATS)
    found = weights_of(model, "quantize")
    ranges = _checked_ranges(input_ranges, format, len(found))
    described = [_described(variable, format, limits) for (_, variable), limits in zip(found, ranges)]
    for (layer, variable), each in zip(found, described):
        value = ops.convert_to_numpy(variable.value)
        stored = _replace(layer, variable, each)
        if stored is not None:
            stored.assign(value)
    forget_programs(model)
    return [each._asdict() for each in described]


def prepare(model: keras.Model, weights: Sequence[Mapping[str, Any]]) -> None:
    """Gives a built model the weights in a small format that `quantize` made of another one, without their values.

    Args:
        model: a built `keras.Model` of the same configuration.
        weights: list of dicts. What `quantize` returned.

    Raises:
        ValueError: if the model has other weights than these.
    """
    found = described_weights_of(model, "prepare", "weights", weights)
    described = [_checked(each, variable) for each, (_, variable) in zip(weights, found)]
    for (layer, variable), each in zip(found, described):
        _replace(layer, variable, each)
    forget_programs(model)


def weights_of(model: keras.Model, owner: str) -> list[tuple[keras.layers.Layer, Any]]:
    """Returns the kernels and embeddings of a built model that are worth storing in fewer bits, with their layers.

    Args:
        model: a built `keras.Model`.
        owner: string. The function that messages name.

    Raises:
        ValueError: if the model is not built, or has none of them.
    """
    if not model.built:
        raise ValueError(f"{owner}: the model must be built first; got {model.name!r}.")
    found: dict[int, tuple[keras.layers.Layer, Any]] = {}
    for layer in model._flatten_layers():
        for variable in [*layer._trainable_variables, *layer._non_trainable_variables]:
            if re.sub("_(left|right)$", "", variable.name) in NAMES and math.prod(variable.shape) >= MIN_SIZE:
                found[id(variable)] = layer, variable
    if not found:
        raise ValueError(
            f"{owner}: the model must have a kernel or embedding of at least {MIN_SIZE} values; got "
            f"{model.name!r}, which has none that is not quantized."
        )
    return list(found.values())


def described_weights_of(
    model: keras.Model, owner: str, argument: str, described: Sequence[Mapping[str, Any]]
) -> list[tuple[keras.layers.Layer, Any]]:
    """Returns what `weights_of` does, for a list that describes each of them.

    Args:
        model: a built `keras.Model`.
        owner: string. The function that messages name.
        argument: string. The argument that messages name.
        described: list of dicts, one for each weight.

    Raises:
        ValueError: if the list has another length.
    """
    found = weights_of(model, owner)
    if len(found) != len(described):
        raise ValueError(
            f"{owner}: `{argument}` must describe the {len(found)} kernels and embeddings of the model; got "
            f"{len(described)}."
        )
    return found


def stored_weights(model: keras.Model) -> list[StoredWeight]:
    """Returns the weights of a model that are stored in a small format."""
    found: dict[int, StoredWeight] = {}
    for layer in model._flatten_layers():
        computed = [each for each in vars(layer).values() if isinstance(each, ComputedWeight)]
        parts = [part for each in computed for part in each.parts.values()]
        found |= {id(each): each for each in [*computed, *parts] if isinstance(each, StoredWeight)}
    return [each for each in found.values() if not each.trainable]


def _checked_ranges(ranges, format, count):
    if not ranges:
        return [None] * count
    if format != "int8":
        raise ValueError(f"quantize: `input_ranges` need format='int8'; got format={format!r}.")
    if len(ranges) != count:
        raise ValueError(
            f"quantize: `input_ranges` must be those of the {count} kernels and embeddings of the model; got "
            f"{len(ranges)}."
        )
    return [None if limits is None else _checked_range("quantize", "input_ranges", limits) for limits in ranges]


def _checked_range(owner, name, limits):
    low, high = (_checks.number(owner, name, each) for each in limits)
    if not low <= 0 <= high or low == high:
        raise ValueError(f"{owner}: `{name}` must be two numbers around 0; got {tuple(limits)!r:.60}.")
    return low, high


def _described(variable, format, inputs):
    zeros = int(np.sum(ops.convert_to_numpy(variable.value) == 0))
    size = math.prod(variable.shape)
    nonzero = size - zeros if zeros >= SPARSE * size else None
    return StoredFormat(variable.path, format, nonzero, inputs)


def _checked(values, variable):
    """Returns the `StoredFormat` of plain values, which may come from elsewhere."""
    try:
        found = StoredFormat(**values)
        _checks.one_of("prepare", "format", found.format, FORMATS)
        if found.nonzero is not None:
            _checks.not_above("prepare", "nonzero", found.nonzero, math.prod(variable.shape))
            _checks.non_negative_int("prepare", "nonzero", found.nonzero)
        if found.inputs is not None:
            found = found._replace(inputs=_checked_range("prepare", "inputs", found.inputs))
    except TypeError as error:
        raise ValueError(f"prepare: `weights` must be what quantize returned; got {values!r:.60}.") from error
    return found


def _replace(layer, variable, stored_format):
    """Puts a `StoredWeight` where a layer has a variable, and returns it; None for a plain float32 weight."""
    if stored_format.format == "float32" and stored_format.nonzero is None:
        return None
    recurrent = isinstance(layer, keras.layers.LSTMCell)
    rounds = stored_format.inputs is not None
    if rounds and recurrent:
        stored: StoredWeight = RoundedInputs(variable, stored_format)
    else:
        stored = StoredWeight(variable, stored_format, is_depthwise(layer))
    stored.replace(layer, variable)
    if rounds and not recurrent:
        round_inputs(layer, stored_format.inputs)
    return stored


def forget_programs(model: keras.Model) -> None:
    """Removes the compiled functions of a model, which read the variables that it had.

    Args:
        model: `keras.Model`.
    """
    model.train_function = model.test_function = model.predict_function = None
    vars(model).pop("_compiled_programs", None)
