"""Writes the weights of a model as a safetensors file with the names of this library."""

import os

import keras
import numpy as np
from keras import ops

from kerazoo import _checks, _files
from kerazoo.layers.computed_weight import ComputedWeight
from kerazoo.models.layer_paths import computed_variables, variables


def save_weights(model: keras.Model, path: str | os.PathLike) -> None:
    """Writes all weights of a built model as a safetensors file, which `load_weights` reads back.

    The names are those of `kerazoo.transfer.variables(model)`; a weight of several paths is written once.

    Args:
        model: A built `keras.Model`.
        path: string or path. The file.

    Raises:
        ValueError: if the model is not built, or its weights are stored in few bits or as products.
        SetupError: if the package `safetensors` is not installed, or the file cannot be written.

    Example:

    ```python
    import kerazoo as kz

    model = kz.create("transformer_lm_tiny", vocabulary_size=11, num_layers=1, hidden_dim=8, num_heads=2)
    model.build_from_inputs()
    kz.transfer.save_weights(model, "weights.safetensors")
    print(kz.transfer.load_weights(model, "weights.safetensors"))
    ```
    """
    try:
        import safetensors.numpy
    except ModuleNotFoundError as error:
        raise _checks.SetupError('Writing safetensors needs: pip install "kerazoo[weights]"') from error
    if not model.built:
        raise ValueError(f"save_weights: the model must be built first; got {model.name!r}.")
    if any(isinstance(each, ComputedWeight) for each in computed_variables(model).values()):
        raise ValueError(
            "save_weights: the weights must be plain numbers; got a model whose weights are stored in few bits or as "
            "products. Export it with format='saved_model'."
        )
    found = {}
    for name, variable in variables(model).items():
        found.setdefault(id(variable), (name, variable))
    tensors = {name: np.ascontiguousarray(ops.convert_to_numpy(variable.value)) for name, variable in found.values()}
    _files.write_file(path, safetensors.numpy.save(tensors))
