"""BagEncoder: the vectors of a sequence as they are, for models that pool them."""

from typing import Any

import keras

from kerazoo import _checks
from kerazoo.layers.dropout import Dropout
from kerazoo.layers.masking import encoded_mask, first_mask


@keras.saving.register_keras_serializable(package="kerazoo")
class BagEncoder(keras.layers.Layer):
    """Returns the vectors of a sequence as they are: with a pooling after it, a bag of embeddings.

    Nothing depends on the order of the positions, and the layer has no weights; all that is learned is in the embedding
    before it. It is the fastest encoder of texts, and a strong one where little data is at hand.

    Args:
        units: int, above 0. Width of the vectors, which the embedding before it takes over. Defaults to `256`.
        dropout: float in `[0, 1)`. Dropout rate of the vectors. Defaults to `0.0`.
        **kwargs: Arguments of `keras.layers.Layer`, such as `name` and `dtype`.

    Call arguments:
        inputs: float tensor `[B, S, units]`.
        padding_mask: bool tensor `[B, S]`, True = valid position. Defaults to `None`.
        training: bool. Whether to apply dropout.
        mask: The Keras mask of `inputs`, used where `padding_mask` is None. Keras fills it in.

    Returns:
        A dict with "sequence", `[B, S, units]` in the compute dtype, and "mask", bool `[B, S]`.

    Masking:
        Each position is computed separately, so padding has no effect. The mask is passed on.

    Raises:
        ValueError: if `inputs` have another width or number of axes.

    Example:

    ```python
    import numpy as np
    import kerazoo as kz

    encoded = kz.layers.BagEncoder(units=7)(np.ones((2, 5, 7), "float32"))
    assert encoded["sequence"].shape == (2, 5, 7)
    ```

    Reference:
        Iyyer et al., 2015, Deep Unordered Composition Rivals Syntactic Methods for Text Classification;
        Joulin et al., 2016, Bag of Tricks for Efficient Text Classification, arXiv:1607.01759.
    """

    def __init__(self, units: int = 256, dropout: float = 0.0, **kwargs: Any):
        super().__init__(**kwargs)
        self.units = _checks.positive_int("BagEncoder", "units", units)
        self.rate = _checks.rate("BagEncoder", "dropout", dropout)
        self.dropout = Dropout(self.rate, name="dropout", dtype=self.dtype_policy)
        self.supports_masking = True

    def build(self, inputs_shape: Any) -> None:
        _checks.rank("BagEncoder", "inputs", inputs_shape, (3,))
        if inputs_shape[-1] != self.units:
            raise ValueError(
                f"BagEncoder: `inputs` must have the width `units`; got shape {tuple(inputs_shape)}, "
                f"units={self.units}."
            )

    def call(self, inputs: Any, padding_mask: Any = None, training: bool | None = None, mask: Any = None) -> Any:
        valid = first_mask(padding_mask, mask)
        if valid is None:
            valid = keras.ops.ones(keras.ops.shape(inputs)[:2], "bool")
        return {"sequence": self.dropout(inputs, training=training), "mask": keras.ops.cast(valid, "bool")}

    def compute_mask(self, inputs: Any, previous_mask: Any) -> dict[str, Any]:
        return encoded_mask(previous_mask)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "units": self.units, "dropout": self.rate}
