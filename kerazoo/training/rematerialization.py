"""Blocks whose activations are computed again in the backward pass, in place of being kept."""

import functools
from typing import Any

import keras


def rematerialize(layer: keras.layers.Layer) -> None:
    """Lets a built layer compute its activations again in the backward pass of training, which takes less memory.

    Only its inputs are kept, by `keras.remat`. The random numbers of dropout are those of the forward pass, and the
    statistics of batch normalization are updated once: the variables that the layer changes go into the computation as
    values and come out of it.

    Args:
        layer: `keras.layers.Layer` without losses of its own, whose `call` has the argument `training`.

    Example:

    ```python
    import numpy as np

    import kerazoo as kz

    model = kz.create("transformer_lm_tiny", vocabulary_size=11)
    model({"targets": np.ones((2, 5), "int32")})
    for layer in kz.training.numbered_blocks(model):
        kz.training.rematerialize(layer)
    ```

    Reference: Chen, Xu, Zhang, Guestrin 2016, Training Deep Nets with Sublinear Memory Cost, arXiv:1604.06174.
    """
    call, changed = layer.call, layer.non_trainable_variables

    @functools.wraps(call)
    def rematerialized(*args: Any, **kwargs: Any) -> Any:
        if not kwargs.get("training"):
            return call(*args, **kwargs)
        leaves = keras.tree.flatten((args, kwargs))
        indices = [index for index, leaf in enumerate(leaves) if keras.ops.is_tensor(leaf)]

        def run(tensors, values):
            filled = list(leaves)
            for index, tensor in zip(indices, tensors):
                filled[index] = tensor
            args_now, kwargs_now = keras.tree.pack_sequence_as((args, kwargs), filled)
            # All of them: a scope inside another one does not see the values of that one.
            trained = [(variable, variable.value) for variable in layer.trainable_variables]
            with keras.StatelessScope(state_mapping=[*trained, *zip(changed, values)]) as scope:
                outputs = call(*args_now, **kwargs_now)
            return outputs, [scope.get_current_value(variable) for variable in changed]

        tensors, values = [leaves[index] for index in indices], [variable.value for variable in changed]
        outputs, values = keras.remat(run)(tensors, values)
        for variable, value in zip(changed, values):
            variable.assign(value)
        return outputs

    layer.call = rematerialized


def numbered_blocks(model: keras.Model) -> list[keras.layers.Layer]:
    """Returns the layers of a model that are named `block_N`: those of the stacks of kerazoo."""
    return [layer for layer in model._flatten_layers() if layer.name.rpartition("_")[0] == "block"]
