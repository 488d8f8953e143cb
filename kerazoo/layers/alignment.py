"""Attention with one head over an encoded sequence: the additive and the multiplicative score."""

import keras
from keras import ops

from kerazoo import _checks

SCORES = ("additive", "multiplicative")


@keras.saving.register_keras_serializable(package="kerazoo")
class AlignmentAttention(keras.layers.Layer):
    """Averages a sequence for each query, weighted by how well query and position fit.

    The additive score of a query q and a position s is v . tanh(Wq q + Wk s), the multiplicative one q . (Wk s); a
    softmax in float32 over the real positions turns scores into weights. Unlike multi-head attention the values are
    the sequence itself, unprojected. The projected positions do not depend on the query: `memory` computes them once
    for many calls of `attend`.

    Args:
        units: Width U of the space in which queries and positions are compared; for the multiplicative score it
            must be the width of the queries.
        score: `"additive"` or `"multiplicative"` (default).
        **kwargs: `name`, `dtype` and whatever else every Keras layer takes.

    Call arguments:
        queries: Float tensor [B, T, Q].
        sequence: Float tensor [B, S, D].
        padding_mask: Bool tensor [B, S], True = real position, or None.

    Returns:
        The averages [B, T, D] in the compute dtype, and the weights [B, T, S] in float32, which sum to one over S.

    Masking:
        Padded positions of the sequence get weight zero; a sequence without real positions gets equal weights.

    Raises:
        ValueError: If `score` is unknown, or a multiplicative score meets queries of a width other than `units`.

    Example:

    ```python
    import numpy as np
    import kerazoo as kz

    attention = kz.layers.AlignmentAttention(units=5, score="additive")
    context, weights = attention(np.ones((2, 3, 5), "float32"), np.ones((2, 7, 11), "float32"))
    assert context.shape == (2, 3, 11) and weights.shape == (2, 3, 7)
    ```

    Reference:
        Bahdanau, Cho and Bengio, 2014, Neural Machine Translation by Jointly Learning to Align and Translate,
        arXiv:1409.0473 (additive). Luong, Pham and Manning, 2015, Effective Approaches to Attention-based Neural
        Machine Translation, arXiv:1508.04025 (multiplicative; their score "general").
    """

    def __init__(self, units, score="multiplicative", **kwargs):
        super().__init__(**kwargs)
        self.units = _checks.positive_int("AlignmentAttention", "units", units)
        self.score = _checks.one_of("AlignmentAttention", "score", score, SCORES)
        self.key_dense = keras.layers.Dense(self.units, use_bias=False, dtype=self.dtype_policy, name="key")
        if self.score == "additive":
            self.query_dense = keras.layers.Dense(self.units, dtype=self.dtype_policy, name="query")
            self.energy_dense = keras.layers.Dense(1, use_bias=False, dtype=self.dtype_policy, name="energy")

    def build(self, queries_shape, sequence_shape):
        _checks.rank("AlignmentAttention", "queries", queries_shape, (3,))
        _checks.rank("AlignmentAttention", "sequence", sequence_shape, (3,))
        self.key_dense.build(sequence_shape)
        if self.score == "additive":
            self.query_dense.build(queries_shape)
            self.energy_dense.build((None, None, None, self.units))
        elif queries_shape[-1] != self.units:
            raise ValueError(
                "AlignmentAttention: `units` must be the width of the queries for the multiplicative score; got "
                f"units={self.units}, queries of width {queries_shape[-1]}. Try units={queries_shape[-1]}."
            )

    def call(self, queries, sequence, padding_mask=None):
        return self.attend(queries, self.memory(sequence, padding_mask))

    def memory(self, sequence, padding_mask=None):
        """Returns what `attend` needs of a sequence: a dict with "keys" [B, S, U], "values" [B, S, D], "mask"."""
        if padding_mask is None:
            padding_mask = ops.ones(ops.shape(sequence)[:2], dtype="bool")
        values = ops.cast(sequence, self.compute_dtype)
        return {"keys": self.key_dense(values), "values": values, "mask": padding_mask}

    def attend(self, queries, memory):
        """Returns the averages [B, T, D] and the weights [B, T, S] for `queries` [B, T, Q]."""
        keys, values = memory["keys"], memory["values"]
        if self.score == "additive":
            pairs = self.query_dense(queries)[:, :, None] + keys[:, None]  # [B, T, S, U]
            scores = ops.squeeze(self.energy_dense(ops.tanh(pairs)), axis=-1)  # [B, T, S]
        else:
            scores = ops.matmul(queries, ops.transpose(keys, (0, 2, 1)))  # [B, T, S]
        scores = ops.where(memory["mask"][:, None], ops.cast(scores, "float32"), -1e9)
        weights = ops.softmax(scores, axis=-1)
        return ops.matmul(ops.cast(weights, self.compute_dtype), values), weights  # [B, T, D]

    def get_config(self):
        return {**super().get_config(), "units": self.units, "score": self.score}
