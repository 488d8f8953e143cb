"""The layers and the variables of a model by path, such as `encoder.block_3.attention`."""

import fnmatch
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import keras

from kerazoo import _checks
from kerazoo.layers.computed_weight import ComputedWeight


def layers(model: keras.Model) -> dict[str, keras.layers.Layer]:
    """Returns the layers of a built model by path, outer ones before those inside them.

    A path begins with the attribute of the model that holds the layer, such as `encoder`, `source_embedding`, `decoder`
    or `head`; the second of a list has a number, `encoder_2`. The names of the layers inside follow, with a dot before
    each: `encoder.block_3.feed_forward.expand`. Names that Keras gave are numbered from the first one in their layer,
    so the paths do not depend on what else was made before. A layer that two attributes share has two paths.

    Args:
        model: `keras.Model`. One that is built.

    Example:

    ```python
    import kerazoo as kz

    model = kz.create("transformer_classifier", num_layers=2)
    model.build_from_inputs()
    print(list(kz.transfer.layers(model))[:4])
    ```
    """
    found: dict[str, keras.layers.Layer] = {}
    for name, layer in _top(model):
        _add(found, name, layer)
    return found


def _top(model) -> Iterator[tuple[str, keras.layers.Layer]]:
    """Yields the layers of a model by the attributes that hold them; those without an attribute by their names."""
    rest = {id(layer): layer for layer in model.layers}
    named = []
    for name, value in vars(model).items():
        for index, layer in enumerate(value if isinstance(value, list | tuple) else [value]):
            if not name.startswith("_") and isinstance(layer, keras.layers.Layer) and id(layer) in rest:
                named.append((f"{name}_{index + 1}" if index else name, layer))
    for _, layer in named:
        rest.pop(id(layer), None)
    yield from [*named, *_named(rest.values())]


def _add(found, path, layer):
    found[path] = layer
    for name, inner in _named(layer._flatten_layers(include_self=False, recursive=False)):
        _add(found, f"{path}.{name}", inner)


def _named(inner: Iterable[keras.layers.Layer]) -> list[tuple[str, keras.layers.Layer]]:
    """Returns the layers inside one by name; those that Keras named are numbered anew."""
    automatic: dict[str, list] = {}
    for layer in inner:
        base = re.sub(r"_\d+$", "", layer.name)
        if base.replace("_", "") == type(layer).__name__.lower():
            automatic.setdefault(base, []).append(layer)
    numbered = {}
    for base, group in automatic.items():
        if group[0].name != f"{base}_0":  # which Keras never gives
            numbered.update({id(layer): f"{base}_{index}" if index else base for index, layer in enumerate(group)})
    return [(numbered.get(id(layer), layer.name), layer) for layer in inner]


def variables(model: keras.Model) -> dict[str, keras.Variable]:
    """Returns the weights of a built model by path: that of the layer, a dot and the name of the weight.

    These are all weights, trained or not, without the states of random generators. A weight of a layer with two paths
    has two as well.

    Args:
        model: `keras.Model`. One that is built.
    """
    found = {variable.name: variable for variable in weights(model)}
    for path, layer in layers(model).items():
        found.update({f"{path}.{variable.name}": variable for variable in weights(layer)})
    return found


def computed_variables(model: keras.Model) -> dict[str, Any]:
    """Returns what `variables` does, with a weight that a layer computes, such as a quantized one, for its parts.

    Args:
        model: `keras.Model`. One that is built.
    """
    found: dict[str, Any] = {variable.name: variable for variable in weights(model)}
    for path, layer in layers(model).items():
        computed = [value for value in vars(layer).values() if isinstance(value, ComputedWeight)]
        parts = {id(part) for each in computed for part in _parts(each)}
        held = [variable for variable in weights(layer) if id(variable) not in parts]
        found.update({f"{path}.{each.name}": each for each in [*held, *computed]})
    return found


def _parts(weight):
    """Returns the parts of a computed weight, and those of parts that are computed themselves."""
    return [each for part in weight.parts.values() for each in [part, *_parts_of(part)]]


def _parts_of(part):
    return _parts(part) if isinstance(part, ComputedWeight) else []


def weights(layer: keras.layers.Layer) -> list[keras.Variable]:
    """Returns the weights that a layer has itself, without those of the layers inside it."""
    return [*layer._trainable_variables, *layer._non_trainable_variables]


def find_layers(owner: str, argument: str, model: keras.Model, patterns: Sequence[str]) -> list[str]:
    """Returns the paths of the layers that match one of some patterns, in the order of the model.

    A pattern is compared with the path of a layer, and with its name alone; `*`, `?` and `[abc]` are wildcards, and a
    slash means the same as a dot.

    Args:
        owner: string. What the message names.
        argument: string. The argument that the message names.
        model: `keras.Model`. One that is built.
        patterns: sequence of strings.

    Raises:
        ValueError: if a pattern matches no layer; the message offers the nearest path.
    """
    paths = layers(model)
    found: set[str] = set()
    for pattern in patterns:
        pattern = pattern.strip().replace("/", ".")
        matched = [
            path
            for path, layer in paths.items()
            if fnmatch.fnmatchcase(path, pattern) or fnmatch.fnmatchcase(layer.name, pattern)
        ]
        if not matched:
            tops = ", ".join(path for path in paths if "." not in path)
            raise ValueError(
                f"{owner}: `{argument}` must match a layer; got {pattern!r}, and the model has {tops} and the layers "
                f"in them.{_checks.hint(pattern, paths)}"
            )
        found.update(matched)
    return [path for path in paths if path in found]
