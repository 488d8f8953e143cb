"""JoinEncoded: several encoded sources as one sequence."""

from typing import Any

import keras
from keras import ops

from kerazoo import _checks


@keras.saving.register_keras_serializable(package="kerazoo")
class JoinEncoded(keras.layers.Layer):
    """Concatenates several encoded sequences along their positions, so that a decoder can attend to all of them.

    Sequences narrower than the widest one are projected to its width by a dense layer.

    Args:
        **kwargs: `name`, `dtype` and other arguments of `keras.layers.Layer`.

    Call arguments:
        sequences: list of float tensors `[B, S_i, D_i]`.
        padding_masks: list of boolean tensors `[B, S_i]`, True for valid positions.

    Returns:
        A dictionary with `"sequence"`, float tensor `[B, S, D]` of the sum S of all lengths and the maximum D of all
        widths, in the compute dtype, and `"mask"`, boolean tensor `[B, S]`.

    Raises:
        ValueError: if the sequences do not have 3 axes.

    Example:

    ```python
    import numpy as np
    import kerazoo as kz

    image, text = np.ones((2, 4, 7), "float32"), np.ones((2, 3, 5), "float32")
    masks = [np.ones((2, 4), "bool"), np.ones((2, 3), "bool")]
    assert kz.models.JoinEncoded()([image, text], masks)["sequence"].shape == (2, 7, 7)
    ```

    Reference:
        Libovický and Helcl (2017), Attention Strategies for Multi-Source Sequence-to-Sequence Learning,
        arXiv:1704.06567 (attention over all sources at once, without their projection of equally wide sources).
    """

    def __init__(self, **kwargs: Any):
        super().__init__(**kwargs)
        self.supports_masking = True

    def build(self, sequences_shape: Any, padding_masks_shape: Any = None) -> None:
        for shape in sequences_shape:
            _checks.rank("JoinEncoded", "sequences", shape, (3,))
        width = max(shape[-1] for shape in sequences_shape)
        self.projections = [
            None
            if shape[-1] == width
            else keras.layers.Dense(width, name=f"projection_{index}", dtype=self.dtype_policy)
            for index, shape in enumerate(sequences_shape)
        ]
        for projection, shape in zip(self.projections, sequences_shape):
            if projection is not None:
                projection.build(tuple(shape))

    def call(self, sequences: list, padding_masks: list) -> dict[str, Any]:
        sequences = [
            sequence if projection is None else projection(sequence)
            for projection, sequence in zip(self.projections, sequences)
        ]
        masks = [ops.cast(mask, "bool") for mask in padding_masks]
        return {"sequence": ops.concatenate(sequences, axis=1), "mask": ops.concatenate(masks, axis=1)}

    def compute_mask(self, sequences: list, previous_mask: list) -> dict[str, Any] | None:
        if any(mask is None for mask in previous_mask):
            return None
        return {"mask": None, "sequence": ops.concatenate(previous_mask, axis=1)}
