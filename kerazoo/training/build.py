"""Creates the variables of a model, its loss, metrics and optimizer before the first step."""

from typing import Any

import keras


class _CreateVariables(keras.Operation):
    """Runs the model, its loss and its metrics on symbolic tensors, which creates their variables."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def call(self, x, y, sample_weight):
        y_pred = self.model(x, training=False)
        self.model.compute_loss(x=x, y=y, y_pred=y_pred, sample_weight=sample_weight)
        self.model.compute_metrics(x, y, y_pred, sample_weight)
        return y_pred


def build(model: keras.Model, batch: Any) -> None:
    """Creates all variables of a model, its loss, metrics and optimizer.

    Args:
        model: A compiled `keras.Model`.
        batch: What a train step takes, as arrays or their shapes and dtypes.
    """

    def symbolic(array):
        dtype = None if array is None else keras.backend.standardize_dtype(array.dtype)
        return None if array is None else keras.KerasTensor(array.shape, dtype)

    parts = keras.utils.unpack_x_y_sample_weight(keras.tree.map_structure(symbolic, batch))
    try:
        _CreateVariables(model)(*parts)
    except NotImplementedError:
        if not model.built:  # a built model whose `train_step` calls several networks needs no `call`
            raise
    if model.optimizer is not None and not model.optimizer.built:
        model.optimizer.build(model.trainable_variables)
