"""LoRA: dense layers whose kernels stay as they are while a product of two thin matrices is trained beside them."""

from collections.abc import Collection, Sequence

import keras
import numpy as np

from kerazoo import _checks
from kerazoo.models import layer_paths
from kerazoo.training import set_trainable

ADAPTED = (keras.layers.Dense, keras.layers.EinsumDense)
FACTORS = ("lora_kernel_a", "lora_kernel_b")


def add_lora(
    model: keras.Model,
    rank: int,
    alpha: float | None = None,
    layers: Sequence[str] = (),
    train: Collection[str] = (),
) -> list[str]:
    """Freezes a model and adds a trainable product of two thin matrices to the kernels of its dense layers.

    The output of such a layer is `x W + b + (alpha / rank) x A B`; A has `rank` columns and B as many rows. B begins
    with zeros, so the function of the model does not change at first. It is Keras' own LoRA, `enable_lora` of its
    layers, in which kerazoo's layers multiply `x A B` from the left, which never makes a matrix of the size of W.
    Biases are frozen. What is one kernel for several projections, as queries, keys and values of
    `kerazoo.layers.Attention`, has one A and one B.

    Args:
        model: `keras.Model`. One that is built.
        rank: int, above 0. The rank of the product.
        alpha: float, above 0. The factor of the product before the division by `rank`. Defaults to `None`: `rank`.
        layers: sequence of strings. Patterns of the paths or names of layers, see `kerazoo.transfer.find_layers`; the
            dense layers that they match, or that lie in those, are adapted. Defaults to `()`: all in encoders and
            decoders.
        train: collection of strings. Paths of weights that are trained whole, such as those of a new head. Defaults to
            `()`.

    Returns:
        The paths of the layers that are adapted.

    Raises:
        ValueError: if `layers` match no dense layer, or the model has LoRA already.

    Example:

    ```python
    import kerazoo as kz

    model = kz.create("transformer_lm_tiny", num_layers=1)
    model.build_from_inputs()
    print(kz.transfer.add_lora(model, rank=4, layers=["*.attention"]))
    ```

    Reference:
        Hu et al., 2021, LoRA: Low-Rank Adaptation of Large Language Models, arXiv:2106.09685.
    """
    owner = "add_lora"
    rank = _checks.positive_int(owner, "rank", rank)
    if alpha is not None:
        _checks.number(owner, "alpha", alpha, low=0, low_open=True)
    found = layer_paths.layers(model)
    chosen = _dense_layers(model, found, layers)
    if lora_layers(model):
        raise ValueError(f"{owner}: the model has LoRA already, of rank {next(iter(found.values())).lora_rank}.")
    for layer in model.layers:
        set_trainable(layer, False)
    for variable in layer_paths.weights(model):
        variable.trainable = False
    trained = layer_paths.variables(model)
    for path in train:
        trained[path].trainable = True
    for path in chosen:
        found[path].enable_lora(rank, lora_alpha=alpha)
        for name in FACTORS:
            getattr(found[path], name).trainable = True
    return chosen


def _dense_layers(model, found, patterns):
    """Returns the paths of the dense layers that match patterns, or lie in layers that match; each layer once."""
    if patterns:
        inside = layer_paths.find_layers("add_lora", "layers", model, patterns)
    else:
        inside = [path for path in found if path.partition("_")[0] in ("encoder", "decoder")]
    chosen, seen = [], set()
    for path, layer in found.items():
        parents = [path, *(path[:end] for end, character in enumerate(path) if character == ".")]
        if isinstance(layer, ADAPTED) and not set(inside).isdisjoint(parents) and id(layer) not in seen:
            seen.add(id(layer))
            chosen.append(path)
    if not chosen:
        dense = [path for path, layer in found.items() if isinstance(layer, ADAPTED)]
        raise ValueError(
            f"add_lora: `layers` must match dense layers; got {', '.join(patterns) or 'all in encoders and decoders'}, "
            f"and the dense layers of the model are {', '.join(dense[:5]) or 'none'}."
        )
    return chosen


def lora_layers(model: keras.Model) -> dict[str, keras.layers.Layer]:
    """Returns the layers that have LoRA by path, each once.

    Args:
        model: `keras.Model`. One that is built.
    """
    found: dict[int, tuple[str, keras.layers.Layer]] = {}
    for path, layer in layer_paths.layers(model).items():
        if getattr(layer, "lora_enabled", False):
            found.setdefault(id(layer), (path, layer))
    return dict(found.values())


def merge_lora(model: keras.Model) -> None:
    """Adds the products of LoRA to the kernels, and removes them: the model is what it was without LoRA, but tuned.

    Args:
        model: `keras.Model`. One with LoRA; another one stays as it is.
    """
    for layer in lora_layers(model).values():
        layer._kernel.assign(np.asarray(keras.ops.convert_to_numpy(layer.kernel)))
        layer._tracker.unlock()
        for name in FACTORS:
            layer._untrack_variable(getattr(layer, name))
            setattr(layer, name, None)
        layer._tracker.lock()
        layer.lora_enabled, layer.lora_rank, layer.lora_alpha = False, None, None
        layer._kernel.trainable = True
